"""Comparing one student tensor with the value it should have."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from grader.records import CmpLine

_SURELY = 1.001
"""More than any rounding: a difference that is so many times what any element may be off needs no closer look."""


class Tolerance(NamedTuple):
    """How far a value may be off: `|student - expected| <= atol * scale + rtol * |expected|`.

    `scale` is the expected tensor's largest magnitude where that is above 1: a sum that cancels keeps the rounding of
    its largest term.
    """

    rtol: float
    atol: float

    def holds(self, student: Tensor, expected: Tensor) -> bool:
        """Whether `student`, of the same shape, is `expected`. NaN and infinity never are."""
        if torch.equal(student, expected):  # mostly so, and told in a tenth of the time
            return math.isfinite(float(expected.sum())) or bool(expected.isfinite().all())
        largest = float(expected.abs().max()) if expected.numel() else 0.0
        if not math.isfinite(largest):
            return False
        # Beside a finite value, what isn't finite is never close.
        atol = self.atol * max(1.0, largest)
        student = student.to(expected.dtype)
        worst = float((student - expected).abs().max())  # NaN is neither above nor below
        if worst <= atol:
            return True
        if worst > _SURELY * (atol + self.rtol * largest):
            return False
        return torch.allclose(student, expected, rtol=self.rtol, atol=atol)


FLOAT64 = Tolerance(rtol=1e-8, atol=1e-12)
"""Where rounding is no excuse: float64 leaves about 1e-15 of it on the sums of these exercises."""


def conformed(student: Tensor, shape: torch.Size) -> Tensor | None:
    """The student's tensor expanded to `shape`; None where it is larger than that or doesn't broadcast to it.

    Leading dimensions of size 1 count for nothing, as in the lecture's own `db1` of shape (1, 64) for (64,).
    """
    while student.dim() > len(shape) and student.shape[0] == 1:
        student = student.squeeze(0)
    try:
        return student.expand(shape)
    except RuntimeError:
        return None


def cmp_line(student: Tensor, expected: Tensor, tolerance: Tolerance) -> CmpLine | None:
    """What the lecture's `cmp` prints, broadcasting as it does; None where it would raise.

    Args:
        student: any shape, floating point.
        expected: autograd's gradient on the visible case.
    """
    if student.dtype == expected.dtype and torch.equal(student, expected) and bool(expected.isfinite().all()):
        return CmpLine(exact=True, approximate=True, maxdiff=0.0)
    try:
        difference = (student - expected).abs()
        exact = bool(torch.all(student == expected))
        approximate = student.dtype == expected.dtype and (
            exact or torch.allclose(student, expected, rtol=tolerance.rtol, atol=tolerance.atol)
        )
    except RuntimeError:
        return None
    return CmpLine(exact=exact, approximate=approximate, maxdiff=float(difference.max()) if difference.numel() else 0.0)


def finite_or_none(value: float | None) -> float | None:
    """A number that JSON can hold: NaN and infinity become None."""
    return value if value is not None and math.isfinite(value) else None
