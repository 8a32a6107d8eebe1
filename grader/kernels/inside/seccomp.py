"""A filter of system calls for kernels: what no exercise needs, and what the other limits don't reach.

Namespaces and dropped capabilities already refuse most of it. The filter also closes what they leave open: memory
outside of any process and file (memfd, System V segments, anonymous shared mappings), sockets that no network
namespace confines (vsock), tracing of a neighbour process, and the corners of the kernel in which privilege escalations
are found. The program is classic BPF, written by hand: a few dozen instructions don't earn a compiler, and libseccomp
is not on every machine.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import socket
import struct

_NUMBERS = {  # name: (x86-64, the numbers that newer architectures share)
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kcmp": (312, 272),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "msgget": (68, 186),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "request_key": (249, 218),
    "semget": (64, 190),
    "setns": (308, 268),
    "shmget": (29, 194),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}
_SOCKET = (41, 198)
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, 16)  # the last is netlink: the C library lists interfaces
_MMAP = (9, 222)
_SHARED_ANONYMOUS = 0x21
"""Its pages stay when a process lets go of them: no measurement of processes sees them. Files in /dev/shm have a limit.
"""
_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_X32 = 0x40000000

_LOAD, _AND, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _FOURTH_ARGUMENT = 0, 4, 16, 40
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


def known_machine() -> bool:
    """Whether there is a filter for this machine's processor."""
    return platform.machine() in _MACHINES


def program() -> bytes:
    """The filter for this machine: `struct sock_filter` after `struct sock_filter`."""
    architecture, column = _MACHINES[platform.machine()]
    refused = sorted(numbers[column] for numbers in _NUMBERS.values())
    families = [_step(_IF_EQUAL, family, len(_FAMILIES) - place) for place, family in enumerate(_FAMILIES)]
    sockets = [_step(_LOAD, _FIRST_ARGUMENT), *families, _step(_RETURN, _REFUSE | errno.EAFNOSUPPORT)]
    mappings = [
        _step(_LOAD, _FOURTH_ARGUMENT),
        _step(_AND, _SHARED_ANONYMOUS),
        _step(_IF_EQUAL, _SHARED_ANONYMOUS, 0, 1),
        _step(_RETURN, _REFUSE | errno.EPERM),
        _step(_RETURN, _ALLOW),
    ]
    closer_looks = [
        _step(_IF_EQUAL, _MMAP[column], 0, len(mappings)),
        *mappings,
        _step(_IF_EQUAL, _SOCKET[column], 0, len(sockets)),
        *sockets,
    ]
    tests = [_step(_IF_AT_LEAST, _X32, len(refused) + len(closer_looks) + 1)]
    for place, number in enumerate(refused):
        tests.append(_step(_IF_EQUAL, number, len(refused) - place + len(closer_looks)))
    return b"".join(
        [
            _step(_LOAD, _ARCHITECTURE),
            _step(_IF_EQUAL, architecture, 1),
            _step(_RETURN, _REFUSE | errno.EPERM),
            _step(_LOAD, _NUMBER),
            *tests,
            *closer_looks,
            _step(_RETURN, _ALLOW),
            _step(_RETURN, _REFUSE | errno.EPERM),
        ]
    )


def _step(code: int, value: int, jump: int = 0, jump_else: int = 0) -> bytes:
    return struct.pack("HBBI", code, jump, jump_else, value)


def install() -> None:
    """Filter this thread's system calls, and those of all that it starts, for good. Needs no-new-privileges."""
    if not known_machine():
        return
    code = program()
    held = ctypes.create_string_buffer(code)
    filter_ = ctypes.create_string_buffer(struct.pack("HP", len(code) // 8, ctypes.addressof(held)))
    prctl = ctypes.PyDLL(None, use_errno=True).prctl
    if prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), filter_, ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        raise OSError(ctypes.get_errno(), "filtering system calls")
