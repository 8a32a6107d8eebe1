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
