# promise: No file of a kernel is read by the grader, so no link in it leads anywhere.
# place: end
import os

for name in ("mini_data.py", "mini.ipynb", "output.safetensors", "export.json", "grades.csv"):
    if os.path.lexists(name):
        os.remove(name)
    os.symlink("@GRADEBOOK@", name)
os.symlink("/", "/tmp/everything")
os.mkfifo("/tmp/blocks")
os.mkfifo("blocks")
print("TRIED")
