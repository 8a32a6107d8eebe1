"""The catalogue of slips: each as it is made in the right step, and as it is undone in a student's formula."""
