# promise: A kernel inherits no file, folder or socket but its own connections.
import os
import socket
import stat

wire = b'\x00\x00\x00\x0d{"do":"start"}'
for name in os.listdir("/proc/self/fd"):
    number = int(name)
    try:
        mode = os.fstat(number).st_mode
        target = os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        continue
    if stat.S_ISDIR(mode) and not target.startswith("/proc/"):
        print("ESCAPED: a folder", target)
    if stat.S_ISREG(mode) and not target.startswith(("/kernel", "/tmp", "/usr", "/proc", "/memfd")):
        print("a file", target)
    if stat.S_ISSOCK(mode):
        with socket.socket(fileno=os.dup(number)) as held:
            try:
                peer, own = held.getpeername(), held.getsockname()
            except OSError:
                peer = own = "listening"
            if peer == own == "" and held.family == socket.AF_UNIX:
                # A pair: the kernel's own, or somebody's control channel. Ask it for another kernel.
                print("pair", number)
print(
    "TRIED",
    sorted(
        os.readlink(f"/proc/self/fd/{n}").split(":")[0]
        for n in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{n}")
    ),
)
