"""Backprop Grader: grades notebooks in which students write backpropagation by hand."""
