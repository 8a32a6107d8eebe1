"""How long cells may take, and the clock that stops them: limits are stretched where the machine is slow or busy."""

from __future__ import annotations

import asyncio
import functools
import math
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from grader.course.catalog import ExerciseSpec
from grader.errors import UsageError

OWN_CELL_SECONDS = 120.0
"""What each of the exercise's own cells may take at least, up to the first that is a student's: a cold kernel imports
torch in one of them, and there is nobody's loop in there that a shorter limit would have to stop."""
FACTOR = "GRADER_TIME_FACTOR"
"""The environment variable with the factor of all limits. Workers on this machine inherit it."""
ROOM_SECONDS = 0.0036
"""CPU time that a small piece of work may take before limits are stretched: twice that of the machine they were made
for, so that on most machines they are what the catalogue says."""
MAX_FACTOR = 10.0
_TRIES = 5
MAX_STRETCH = 5
"""On a busy machine a time limit is stretched by what the kernel waited for a core, to so many times itself at most."""
_LITTLE_SECONDS = 0.05
_Reply = TypeVar("_Reply")


def _work() -> None:
    total = 0.0
    for number in range(50_000):
        total = total * 0.999 + number


@functools.cache
def machine_factor() -> float:
    """How much longer than the catalogue says things may take on this machine: 1 where it isn't slow.

    It is measured once in a process, in about ten milliseconds, by CPU time, which other processes hardly change.
    Windows counts that in steps of 16 ms; there it is wall time.
    """
    fine = time.get_clock_info("process_time").resolution < ROOM_SECONDS
    clock = time.process_time if fine else time.perf_counter
    took = []
    for _ in range(_TRIES):
        began = clock()
        _work()
        took.append(clock() - began)
    return round(min(max(1.0, min(took) / ROOM_SECONDS), MAX_FACTOR), 1)


def time_factor() -> float:
    """What all limits are multiplied by: what the variable says, or else what the machine needs.

    Raises:
        UsageError: the variable holds no such number.
    """
    text = os.environ.get(FACTOR)
    if text is None:
        return machine_factor()
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0 < factor <= 1000:
        raise UsageError(
            f"The time factor ({FACTOR}, --time-factor) is {text!r}: give a number above 0 and up to 1000."
        )
    return factor


def cell_seconds(spec: ExerciseSpec) -> float:
    """What a student's cell may take."""
    return spec.cell_seconds * time_factor()


def own_cell_seconds(spec: ExerciseSpec) -> float:
    """What one of the exercise's own cells may take."""
    return max(spec.cell_seconds, OWN_CELL_SECONDS) * time_factor()


def notebook_seconds(spec: ExerciseSpec) -> float:
    """What a student's cells may take together."""
    return spec.notebook_seconds * time_factor()


class Clock:
    """A kernel's time, which stands still while the kernel waits for a core.

    Args:
        waited: how many seconds it has waited so far.

    Attributes:
        stretched: the seconds by which limits were stretched so far.
    """

    def __init__(self, waited: Callable[[], Awaitable[float]]) -> None:
        self._waited = waited
        self.stretched = 0.0

    async def in_time(self, reply: asyncio.Future[_Reply], seconds: float) -> _Reply | None:
        """The reply; None where it takes longer than `seconds`."""
        last = time.monotonic() + MAX_STRETCH * seconds
        try:
            while not (await asyncio.wait([reply], timeout=seconds))[0]:
                seconds = min(await self.stretch(), last - time.monotonic())
                if seconds < _LITTLE_SECONDS and not reply.done():
                    return None
            return reply.result()
        finally:
            reply.cancel()

    async def stretch(self) -> float:
        """The seconds that the kernel has waited for a core and that this has not been told before."""
        more = await self._waited() - self.stretched
        self.stretched += max(0.0, more)
        return more
