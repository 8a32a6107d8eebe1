"""A template's memory, laid out so that its forks copy little of it."""

from __future__ import annotations

import ctypes
import functools
import platform
from collections.abc import Iterator
from typing import Any

_HUGE = 2 << 20
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK, _KEPT_BYTES = 32 << 20, 128 << 20
"""The largest block that the C library lets be a part of its heap, and so much of that it keeps when it is free."""
_LARGEST_GAP, _FINE, _STEP = 1 << 16, 1 << 10, 16
_MOST = 1 << 28  # a heap that can't grow goes on wherever the system has room, before its end perhaps
_BEFORE = 8
"""What the C library keeps before a block."""
_NEW_BYTES = 16 << 20
"""More than a notebook of the course makes anew."""
_SMALL, _SMALL_OBJECTS = 512 - bytes.__basicsize__, 1 << 17
"""The largest object that Python has in its arenas, and as many as take up what torch and the notebooks need there."""
_ANCHOR_EVERY = 1 << 10  # an arena of a megabyte has room for twice as many


def lay_out() -> None:
    """Have the objects that are made next lie side by side.

    Python's arenas of a megabyte each, and the C library's larger blocks, would come to lie between the libraries that
    are loaded meanwhile, and be too short for large pages.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    blocks = [bytes(_SMALL) for _ in range(_SMALL_OBJECTS)]
    _anchors.extend(blocks[::_ANCHOR_EVERY])


_anchors: list[bytes] = []
"""One small object in each arena, which is then not given back."""


def fill_gaps() -> None:
    """Take for good what is free between the blocks of the C library's heap, so that new blocks lie at its end.

    Importing libraries leaves thousands of gaps in it. A fork that puts its blocks into them copies a page for each,
    where at the end of the heap they would lie side by side. What of the gaps is whole pages goes back to the system.
    """
    libc = _glibc()
    if libc is None:
        return
    libc.malloc_trim(0)
    end = libc.sbrk(0)
    size, taken = _LARGEST_GAP, 0
    while size > 0 and taken < _MOST:
        block = libc.malloc(size)
        if block is not None and block < end:
            taken += size
        else:
            size = size // 2 if size > _FINE else size - _STEP


def gather() -> None:
    """Move this process's private memory into large pages, where Linux can (from 6.1 on).

    A fork copies the page tables of its parent, and frees them at its end: with entries that are 512 times larger, a
    fork of a process that has torch loaded takes a third of the time. A write still copies a small page only. What a
    fork makes anew, at the end of the heap, it gets in large pages, too.
    """
    for start, end in _private_memory():
        _advise(start, end, _MADV_COLLAPSE)
    libc = _glibc()
    if libc is not None and (block := libc.malloc(_NEW_BYTES)) is not None:
        _advise(block, min(block + _NEW_BYTES, libc.sbrk(0)), _MADV_HUGEPAGE)
        libc.free(block)


def begin_anew() -> None:
    """In a fork, have what it makes lie in large pages that nobody has touched.

    Of the large page at the end of the heap its parent uses some, so there each small page would be copied.
    """
    libc = _glibc()
    if libc is not None and (end := libc.malloc(_LARGEST_GAP)) is not None:
        libc.free(end)
        libc.malloc((-end % _HUGE or _HUGE) - _BEFORE)


def _advise(start: int, end: int, advice: int) -> None:
    """Say what the large pages between two addresses shall be; where that is refused, they stay as they are."""
    first, last = -(-start // _HUGE) * _HUGE, end // _HUGE * _HUGE
    if first < last:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), advice)


@functools.cache
def _glibc() -> Any:
    """The C library, where it is the one whose heap is known here: Python's own file is read to find out."""
    if platform.libc_ver()[0] != "glibc":
        return None
    libc = ctypes.CDLL(None)
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
    libc.malloc.argtypes, libc.sbrk.argtypes, libc.free.argtypes = (
        [ctypes.c_size_t],
        [ctypes.c_ssize_t],
        [ctypes.c_void_p],
    )
    return libc


def _private_memory() -> Iterator[tuple[int, int]]:
    """The address ranges of anonymous, writable memory, without the stack."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            addresses, permissions, _, _, inode, *name = line.split()
            if permissions == "rw-p" and inode == "0" and name != ["[stack]"]:
                start, _, end = addresses.partition("-")
                yield int(start, 16), int(end, 16)
