# promise: No solution is in a kernel or readable from it.
# seconds: 15
import os

if torch.get_default_dtype() is torch.float32:
    for path in ("@SOLUTION@", "@COURSE@", "@COURSE@/exercises/catalog.toml", "@GRADER@/marking.py", "@GRADER@"):
        if os.path.exists(path) and (os.path.isfile(path) or os.listdir(path)):
            print("ESCAPED", path)
    wanted = {"mini.ipynb", "catalog.toml", "marking.py", "solutions", "grades.csv", "gradebook.sqlite", "bob.ipynb"}
    for folder, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in ("/proc", "/sys", "/usr/share")]
        for name in wanted.intersection(files + folders):
            print("ESCAPED", folder, name)
    print("TRIED")
