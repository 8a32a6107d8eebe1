"""The part of the grader that runs inside a sandbox: a template process and the kernels it starts.

Nothing here imports the rest of the grader, which a sandbox does not contain.
"""
