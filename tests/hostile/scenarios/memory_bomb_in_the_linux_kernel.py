# promise: Memory that Linux keeps for a process outside of it is refused or bounded, and so are counters of a user.
import ctypes
import fcntl
import os
import platform
import resource
import socket

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p


class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def huge_pages_in_a_pipe():
    page = libc.mmap(None, 4 << 20, 3, 0x22, -1, 0)
    piece = Piece(page, 8)
    return libc.syscall(278 if platform.machine() == "x86_64" else 75, os.pipe()[1], ctypes.byref(piece), 1, 0) > 0


def huge_pages_of_the_machine():
    return libc.mmap(None, 2 << 20, 3, 0x40022, -1, 0) != ctypes.c_void_p(-1).value or ctypes.get_errno() != 1


def byte_range_locks():
    with open("/tmp/locked", "wb") as file:
        fcntl.lockf(file, fcntl.LOCK_EX, 1, 10)
    return True


def pages_in_a_socket():
    socket.socket().setsockopt(socket.SOL_SOCKET, 60, 1)
    return True


def a_child_that_is_counted_nowhere():
    pid = libc.syscall(56 if platform.machine() == "x86_64" else 220, 0x8000 | 17, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    return pid > 0


def waiting_signals():
    return resource.getrlimit(resource.RLIMIT_SIGPENDING)[1] > 1000


def locked_memory():
    return resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] > 0


for attempt in (
    huge_pages_in_a_pipe, huge_pages_of_the_machine, byte_range_locks, pages_in_a_socket,
    a_child_that_is_counted_nowhere, waiting_signals, locked_memory,
):  # fmt: skip
    try:
        if attempt():
            print("ESCAPED", attempt.__name__)
    except OSError:
        pass
print("TRIED")
