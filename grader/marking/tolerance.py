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
            return _finite(expected)
        largest = _largest(expected)
        # Beside a finite value, what isn't finite is never close.
        return math.isfinite(largest) and _close(
            student.to(expected.dtype), expected, Tolerance(self.rtol, self.atol * max(1.0, largest))
        )


FLOAT64 = Tolerance(rtol=1e-8, atol=1e-12)
"""Where rounding is no excuse: float64 leaves about 1e-15 of it on the sums of these exercises."""


def conformed(student: Tensor, shape: torch.Size) -> Tensor | None:
    """The student's tensor expanded to `shape`; None where it is larger than that or doesn't broadcast to it.

    Leading dimensions of size 1 count for nothing, as in the lecture's own `db1` of shape (1, 64) for (64,).
    """
    if student.shape == shape:
        return student
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
    same_dtype = student.dtype == expected.dtype
    if same_dtype and torch.equal(student, expected) and _finite(expected):
        return CmpLine(exact=True, approximate=True, maxdiff=0.0)
    try:
        maxdiff = _largest(student - expected)
        exact = bool(torch.all(student == expected))
        approximate = same_dtype and (exact or _close(student, expected, tolerance))
    except RuntimeError:
        return None
    return CmpLine(exact=exact, approximate=approximate, maxdiff=maxdiff)


def _close(student: Tensor, expected: Tensor, tolerance: Tolerance) -> bool:
    """As `torch.allclose`, which takes ten times as long: only where the largest difference leaves it open."""
    worst = _largest(student - expected)  # NaN is neither above nor below
    if worst * _SURELY <= tolerance.atol:
        return True
    if worst > _SURELY * (tolerance.atol + tolerance.rtol * _largest(expected)):
        return False
    return torch.allclose(student, expected, rtol=tolerance.rtol, atol=tolerance.atol)


def _largest(tensor: Tensor) -> float:
    """The largest magnitude; 0 where there is no element."""
    return float(tensor.abs().max()) if tensor.numel() else 0.0


def _finite(tensor: Tensor) -> bool:
    """Whether all elements are finite; a sum may overflow where none is infinite."""
    return math.isfinite(float(tensor.sum())) or bool(tensor.isfinite().all())


def finite_or_none(value: float | None) -> float | None:
    """A number that JSON can hold: NaN and infinity become None."""
    return value if value is not None and math.isfinite(value) else None
