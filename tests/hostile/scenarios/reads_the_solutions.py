# promise: No solution is in a kernel or readable from it.
# seconds: 15
import os

if torch.get_default_dtype() is torch.float32:
    for path in ("@SOLUTION@", "@COURSE@", "@COURSE@/exercises/catalog.toml", "@GRADER@/marking.py", "@GRADER@"):
        if os.path.exists(path) and (os.path.isfile(path) or os.listdir(path)):
            print("ESCAPED", path)
    wanted = {"mini.ipynb", "catalog.toml", "marking.py", "solutions", "grades.csv", "gradebook.sqlite", "bob.ipynb"}
    known = {"proc", "sys", "share", "include", "torch", "sympy", "tests", "__pycache__"}  # large, and not ours
    for folder, folders, files in os.walk("/"):
        for name in wanted.intersection(files + folders):
            print("ESCAPED", folder, name)
        folders[:] = [name for name in folders if name not in known]
    print("TRIED")
