"""When Python's garbage collector had better not look."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


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
