"""From records to text: pure functions that render a grade."""
