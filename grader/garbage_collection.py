"""When Python's garbage collector had better not look."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

_YOUNG = 10_000
"""Objects: twice as many as there are while a notebook of exercise 01 is graded."""


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """For importing libraries and loading data: nothing is collected meanwhile, nor ever of what is there at the end.

    It stays, and each collection would look at all of it: at a seventh of the time that importing torch takes, and half
    of what a list of a data set's words does.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def seldom_collected() -> Iterator[None]:
    """For grading: what a submission makes lives until it is graded, and goes with the last reference to it.

    By default Python looks at it seven times meanwhile, and finds nothing.
    """
    before = gc.get_threshold()
    gc.set_threshold(_YOUNG, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
