"""The layout of a template's memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from tests.conftest import ROOT

BLOCKS_AFTER_GAPS = """
import ctypes
from grader.kernels.inside import memory_pages

libc = ctypes.CDLL(None)
libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.sbrk.argtypes = [ctypes.c_size_t], [ctypes.c_ssize_t]
libc.free.argtypes = [ctypes.c_void_p]
sizes = (24, 200, 1000, 5000, 40000)
blocks = [libc.malloc(size) for _ in range(200) for size in sizes]
for block in blocks[::2]:
    libc.free(block)
end = libc.sbrk(0)
if FILL:
    memory_pages.fill_gaps()
print(sum(libc.malloc(size) < end for _ in range(20) for size in sizes))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the heap of another C library is left as it is")
def test_new_blocks_lie_at_the_end_of_the_heap_once_its_gaps_are_filled():
    in_gaps = {}
    for fill in (False, True):
        done = subprocess.run(
            [sys.executable, "-c", BLOCKS_AFTER_GAPS.replace("FILL", str(fill))],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        in_gaps[fill] = int(done.stdout)
    assert in_gaps[False] > 50
    assert in_gaps[True] < 5  # Python itself has freed one or another since


LARGE_PAGES = """
import ctypes, mmap, re, sys
from grader.kernels.inside import memory_pages


def kilobytes(field):
    with open("/proc/self/smaps_rollup") as file:
        return int(re.search(field + r":\\s+(\\d+)", file.read())[1])


if LAY_OUT:
    memory_pages.lay_out()
objects, libraries = [], []
for _ in range(40):
    objects += [bytes(400) for _ in range(1 << 11)] + [bytes(200_000)]
    with open(sys.executable, "rb") as file:
        libraries.append(mmap.mmap(file.fileno(), 1 << 13, prot=mmap.PROT_READ))
memory_pages.fill_gaps()
memory_pages.gather()
print(kilobytes("AnonHugePages") / kilobytes("Anonymous"))
before = kilobytes("AnonHugePages")
new = ctypes.create_string_buffer(6 << 20)
print(kilobytes("AnonHugePages") - before)
"""


def large_pages(*, lay_out: bool) -> tuple[float, int]:
    """The share of memory in large pages after `gather`, and KB of them among 6 MB that are new after it."""
    done = subprocess.run(
        [sys.executable, "-c", LARGE_PAGES.replace("LAY_OUT", str(lay_out))],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    share, new = done.stdout.split()
    return float(share), int(new)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the heap of another C library is left as it is")
def test_what_was_laid_out_lies_in_large_pages_and_so_does_what_is_new():
    share, new = large_pages(lay_out=True)
    if share == 0:
        pytest.skip("this system gives no large pages")
    assert share > 0.8 > large_pages(lay_out=False)[0]
    assert new >= 4 << 10
