# promise: No process can be traced or written into, be it the parent or the kernel that runs the hidden cases.
import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
for pid in {1, os.getppid(), os.getpid() - 1}:
    if pid <= 0:
        continue
    if libc.ptrace(16, pid, 0, 0) == 0 or libc.ptrace(0x4206, pid, 0, 0) == 0:
        print("ESCAPED: ptrace", pid)
        raise SystemExit
    for name in ("mem", "environ", "maps", "fd", "cwd", "root", "auxv", "syscall"):
        if pid != os.getpid():
            try:
                path = f"/proc/{pid}/{name}"
                if os.path.isdir(path):
                    os.listdir(path)
                else:
                    open(path, "r+b" if name == "mem" else "rb", 0).close()
                print("ESCAPED", path)
            except OSError:
                pass
print("TRIED")
