# promise: What is written to /tmp, /dev/shm or a file in memory has a size limit.
import ctypes
import os

descriptor = ctypes.CDLL(None).memfd_create(b"bomb", 0)
if descriptor >= 0:
    print("ESCAPED: memfd")
for folder in ("/tmp", "/dev/shm", os.path.expanduser("~"), "."):
    total = 0
    paths = []
    try:
        for number in range(40):
            path = f"{folder}/bomb{number}"
            paths.append(path)
            with open(path, "wb", 0) as file:
                for _ in range(7):
                    total += file.write(bytes(1 << 20))
        print("ESCAPED", folder, total)
    except OSError as error:
        print("TRIED", folder, total >> 20, error)
    for path in paths:
        if os.path.exists(path):
            os.unlink(path)
