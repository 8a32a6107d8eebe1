"""How long cells may take: the catalogue's limits, stretched where the machine is slow."""

from __future__ import annotations

import math
import os

from grader.course.catalog import ExerciseSpec
from grader.errors import UsageError

OWN_CELL_SECONDS = 120.0
"""What each of the exercise's own cells may take at least, up to the first that is a student's: a cold kernel imports
torch in one of them, and there is nobody's loop in there that a shorter limit would have to stop."""
FACTOR = "GRADER_TIME_FACTOR"
"""The environment variable with the factor of all limits. Workers on this machine inherit it."""


def time_factor() -> float:
    """What all limits are multiplied by.

    Raises:
        UsageError: the variable holds no such number.
    """
    text = os.environ.get(FACTOR, "1")
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
