# promise: A system call that no exercise needs isn't there, by whatever door it is called.
import ctypes
import errno
import os
import platform

libc = ctypes.CDLL(None, use_errno=True)
CALLS = {  # x86-64, newer architectures
    "add_key": (248, 217), "bpf": (321, 280), "clone3": (435, 435), "fanotify_init": (300, 262), "fsopen": (430, 430),
    "inotify_init1": (294, 26), "io_setup": (206, 0), "io_uring_setup": (425, 425), "keyctl": (250, 219),
    "memfd_create": (319, 279), "mlockall": (151, 230), "mount": (165, 40), "mq_open": (240, 180),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "perf_event_open": (298, 241),
    "personality": (135, 92), "pidfd_open": (434, 434), "process_vm_readv": (310, 270), "ptrace": (101, 117),
    "seccomp": (317, 277), "semget": (64, 190), "setns": (308, 268), "shmget": (29, 194), "splice": (275, 76),
    "sync": (162, 81), "syslog": (103, 116), "tee": (276, 77), "unshare": (272, 97), "userfaultfd": (323, 282),
    "vmsplice": (278, 75), "one that Linux doesn't have": (1000, 1000),
}  # fmt: skip
column = 0 if platform.machine() == "x86_64" else 1
for name, numbers in CALLS.items():
    for number in {numbers[column], 0x40000000 + numbers[0]}:
        if libc.syscall(number, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != errno.ENOSYS:
            print("ESCAPED", name, os.strerror(ctypes.get_errno()))
if platform.machine() == "x86_64":  # getpid by the entry for 32-bit programs
    import mmap

    code = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)
    code.write(bytes.fromhex("53 b8 14 00 00 00 cd 80 5b c3"))
    door = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    if door() > 0:
        print("ESCAPED by the 32-bit entry", door())
print("TRIED")
