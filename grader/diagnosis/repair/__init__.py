"""Changes to a student's formula, each tried until one gives the right value."""
