"""A filter of system calls for kernels: the calls that exercises need are allowed, with these arguments, and no others.

Namespaces, limits and dropped capabilities already refuse most of the rest. The filter closes what they leave open:
memory that no measurement of processes sees (memfd, System V segments, anonymous shared mappings, huge pages kept alive
by pipes, byte-range locks), counters that all kernels of a user share (asynchronous I/O, inotify), sockets that no
network namespace confines, and the corners of the Linux kernel in which privilege escalations are found. A call that is
not on the list fails as in a Linux that doesn't have it, so libraries fall back on older calls.

The program is classic BPF, written by hand: it doesn't earn a compiler, and libseccomp isn't on every machine.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import platform
import socket
import struct
from collections.abc import Callable, Iterable, Iterator

from . import system_calls
from .confine import prctl

_MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""Linux's number of the architecture, which is another for its 32-bit calls, and the column of its numbers."""

_LOAD, _AND, _IF_EQUAL, _IF_ABOVE, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x25, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE = 0, 4
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2

_STREAM, _DATAGRAM, _RAW, _SEQPACKET = 1, 2, 3, 5
_NETLINK = 16
_TYPE_FLAGS = 0x800 | 0x80000  # SOCK_NONBLOCK, SOCK_CLOEXEC
_SHARED_ANONYMOUS = 0x21
"""Its pages stay when a process lets go of them: no measurement of processes sees them. Files in /dev/shm have a limit.
"""
_HUGE_PAGES = 0x40000
_NAMESPACES_OR_UNCLE = 0x7E020000 | 0x8000
"""Of clone: new namespaces, and CLONE_PARENT, whose child would be counted among nobody's."""
_LOCK_COMMANDS = (6, 7, 37, 38, 1024, 1026)
"""Byte-range locks, which the Linux kernel keeps as many of as asked; leases, and notices about folders."""
_FILTERS_AND_ZERO_COPY = (26, 50, 51, 52, 60)
"""Of setsockopt: programs for the Linux kernel, and pages kept alive by a socket."""

_Step = tuple[int, int, int, int]


def known_machine() -> bool:
    """Whether there is a filter for this machine's processor."""
    return platform.machine() in _MACHINES


def program() -> bytes:
    """The filter for this machine: `struct sock_filter` after `struct sock_filter`."""
    architecture, column = _MACHINES[platform.machine()]
    steps = [
        (_LOAD, _ARCHITECTURE, 0, 0),
        (_IF_EQUAL, architecture, 1, 0),
        _refuse(errno.EPERM),
        (_LOAD, _NUMBER, 0, 0),
    ]
    for numbers, closer_look in _CLOSER_LOOKS.items():
        look = [*closer_look(), (_RETURN, _ALLOW, 0, 0)]
        steps += [(_IF_EQUAL, numbers[column], 0, len(look)), *look]
    for first, last in _ranges(system_calls.numbers(column)):  # ascending: what is below a range is in none
        steps += [(_IF_ABOVE, last, 3, 0), (_IF_AT_LEAST, first, 1, 0), _refuse(errno.ENOSYS), (_RETURN, _ALLOW, 0, 0)]
    steps.append(_refuse(errno.ENOSYS))
    return b"".join(struct.pack("HBBI", code, jump, jump_else, value) for code, value, jump, jump_else in steps)


# --- calls that depend on their arguments -----------------------------------------------------------------------------


def _socket() -> Iterator[_Step]:
    """TCP and UDP, which the network namespace confines, Unix sockets, and netlink for the list of interfaces.

    A cold kernel's libzmq asks for that list, and ends the process where it gets none.
    """
    interfaces = [
        *_among(2, (0,), errno.EPROTONOSUPPORT),
        *_among(1, (_RAW, _DATAGRAM), errno.ESOCKTNOSUPPORT, without=_TYPE_FLAGS),
    ]
    for family, look in ((socket.AF_UNIX, list(_local_socket())), (_NETLINK, interfaces)):
        yield from [_load(0), (_IF_EQUAL, family, 0, len(look) + 1), *look, (_RETURN, _ALLOW, 0, 0)]
    yield from _among(0, (socket.AF_INET, 10), errno.EAFNOSUPPORT)
    yield from _among(2, (0, socket.IPPROTO_TCP, socket.IPPROTO_UDP), errno.EPROTONOSUPPORT)
    yield from _among(1, (_STREAM, _DATAGRAM), errno.ESOCKTNOSUPPORT, without=_TYPE_FLAGS)


def _local_socket() -> Iterator[_Step]:
    yield from _among(0, (socket.AF_UNIX,), errno.EAFNOSUPPORT)
    yield from _among(2, (0,), errno.EPROTONOSUPPORT)
    yield from _among(1, (_STREAM, _DATAGRAM, _SEQPACKET), errno.ESOCKTNOSUPPORT, without=_TYPE_FLAGS)


def _mmap() -> Iterator[_Step]:
    yield from [_load(3), (_IF_ANY_BIT, _HUGE_PAGES, 2, 0)]
    yield from [(_AND, _SHARED_ANONYMOUS, 0, 0), (_IF_EQUAL, _SHARED_ANONYMOUS, 0, 1), _refuse(errno.EPERM)]


def _clone() -> Iterator[_Step]:
    yield from [_load(0), (_IF_ANY_BIT, _NAMESPACES_OR_UNCLE, 0, 1), _refuse(errno.EPERM)]


def _fcntl() -> Iterator[_Step]:
    yield from _not_among(1, _LOCK_COMMANDS, errno.ENOLCK)


def _setsockopt() -> Iterator[_Step]:
    look = list(_not_among(2, _FILTERS_AND_ZERO_COPY, errno.ENOPROTOOPT))
    yield from [_load(1), (_IF_EQUAL, socket.SOL_SOCKET, 0, len(look)), *look]


_CLOSER_LOOKS: dict[tuple[int, int], Callable[[], Iterator[_Step]]] = {
    (41, 198): _socket,
    (53, 199): _local_socket,  # socketpair
    (9, 222): _mmap,
    (56, 220): _clone,  # clone3, whose flags no filter can read, is not there
    (72, 25): _fcntl,
    (54, 208): _setsockopt,
}
"""By the call's numbers: steps that refuse, or come to their end."""


def _among(argument: int, values: Iterable[int], otherwise: int, without: int = 0) -> Iterator[_Step]:
    """Refuse where an argument, but for the bits `without`, is none of the values."""
    values = list(values)
    yield from [_load(argument), (_AND, 0xFFFFFFFF & ~without, 0, 0)]
    yield from ((_IF_EQUAL, value, len(values) - place, 0) for place, value in enumerate(values))
    yield _refuse(otherwise)


def _not_among(argument: int, values: Iterable[int], otherwise: int) -> Iterator[_Step]:
    """Refuse where an argument is one of the values."""
    yield _load(argument)
    for value in values:
        yield from [(_IF_EQUAL, value, 0, 1), _refuse(otherwise)]


def _load(argument: int) -> _Step:
    """The lower half of an argument, which is all of what these calls look at."""
    return (_LOAD, 16 + 8 * argument, 0, 0)


def _refuse(number: int) -> _Step:
    return (_RETURN, _REFUSE | number, 0, 0)


def _ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in numbers:
        first = found.pop()[0] if found and found[-1][1] == number - 1 else number
        found.append((first, number))
    return found


@functools.cache
def prepare() -> int | None:
    """Make the filter, once for all forks of this process; its address, or None where this machine has none."""
    if not known_machine():
        return None
    code = ctypes.create_string_buffer(program())
    told = ctypes.create_string_buffer(struct.pack("HP", (len(code) - 1) // 8, ctypes.addressof(code)))
    _kept.extend([code, told])
    return ctypes.addressof(told)


_kept: list[object] = []
"""What the filter's `struct sock_fprog` lies in, and what it points to."""


def install() -> None:
    """Filter this thread's system calls, and those of all that it starts, for good. Needs no-new-privileges."""
    address = prepare()
    if address is not None and prctl(_PR_SET_SECCOMP, _MODE_FILTER, address) != 0:
        raise OSError(ctypes.get_errno(), "filtering system calls")
