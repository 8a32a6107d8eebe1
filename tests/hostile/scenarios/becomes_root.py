# promise: There are no privileges in a kernel, and no way to new ones.
import ctypes
import os
import subprocess

libc = ctypes.CDLL(None, use_errno=True)
for name, arguments in {
    "setuid": (0,),
    "setgid": (0,),
    "unshare": (0x10000000,),
    "unshare ": (0x00020000,),
    "chroot": (b"/tmp",),
    "mount": (b"none", b"/tmp", b"tmpfs", 0, 0),
    "umount2": (b"/proc", 2),
    "pivot_root": (b"/tmp", b"/tmp"),
    "setns": (3, 0),
    "swapon": (b"/tmp/x", 0),
    "sethostname": (b"x", 1),
    "reboot": (0x01234567,),
    "init_module": (b"", 0, b""),
    "iopl": (3,),
    "personality ": (),
}.items():
    function = getattr(libc, name.strip(), None)
    if function is not None and arguments and function(*arguments) == 0:
        print("ESCAPED", name)
for number in (101, 155, 165, 175, 246, 250, 272, 298, 308, 310, 311, 313, 319, 321, 323, 425, 428, 430, 435, 438, 442):
    result = libc.syscall(number, 0, 0, 0, 0, 0, 0)
    if result > 0:
        print("ESCAPED", number, result)
CLONE_NEWUSER = 0x10000000
if libc.syscall(56, CLONE_NEWUSER | 17, 0, 0, 0, 0) == 0:
    os._exit(0 if open("/tmp/cloned", "w").close() else 1)
if os.path.exists("/tmp/cloned"):
    print("ESCAPED: a user namespace")
for command in (
    ["su", "-c", "id"],
    ["mount", "-t", "tmpfs", "x", "/tmp"],
    ["unshare", "-Ur", "id"],
    ["bwrap", "--version"],
):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if "uid=0" in done.stdout:
            print("ESCAPED", command)
    except OSError:
        pass
print("TRIED", os.getresuid())
