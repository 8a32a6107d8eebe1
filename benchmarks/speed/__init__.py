"""How fast the grader is: measured beside the tools that would be used instead, and beside a bare floor."""
