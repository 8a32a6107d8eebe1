"""Hypotheses about a slip, each tried on the right step until one gives the student's value."""
