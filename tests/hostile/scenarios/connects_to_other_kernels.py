# promise: Neither the sockets of other kernels nor the template's can be reached.
import os
import socket

found = []
for folder in ("@RUNTIME@", "@FOLDER@", "/tmp", "/run", "/run/user"):
    for path, _, names in os.walk(folder):
        found += [os.path.join(path, name) for name in names if name.startswith(("z-", "socket"))]
for path in [*found, "@SOCKET@", *(f"@RUNTIME@/k-{n}/z-1" for n in range(3))]:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        print("ESCAPED", path)
    except OSError:
        pass
for line in open("/proc/net/unix").read().splitlines()[1:]:
    path = line.split()[-1]
    if path.startswith(("/", "@")):
        try:
            socket.socket(socket.AF_UNIX).connect(path.replace("@", "\0", 1))
            print("ESCAPED", path)
        except OSError:
            pass
print("TRIED")
