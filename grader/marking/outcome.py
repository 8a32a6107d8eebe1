"""What one case says of one tensor, before all cases are heard: the verdict is what comes of all."""

from __future__ import annotations

from enum import IntEnum


class Outcome(IntEnum):
    """What one case says of one tensor, from best to worst. A silent case says nothing.

    `BLANK`: its line could not be tried on its own, and what arrives from above is zero, no number, or of a wrong
    shape, so that no formula can be told by it.
    """

    RIGHT = 0
    CARRIED = 1
    BLANK = 2
    WRONG = 3
    ABSENT = 4
    SILENT = -1
