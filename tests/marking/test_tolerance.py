"""What is equal up to rounding, and which shapes stand for which."""

from __future__ import annotations

import pytest
import torch

from grader.marking.tolerance import FLOAT64, Tolerance, cmp_line, conformed


@pytest.mark.parametrize(("mine", "shape", "found"), [
    ((64,), (1, 64), (1, 64)), ((1, 64), (64,), (64,)), ((1, 64), (32, 64), (32, 64)), ((), (3, 2), (3, 2)),
    ((32, 64), (1, 64), None), ((27, 64), (64, 27), None), ((2, 1, 64), (1, 64), None),
])  # fmt: skip
def test_a_shape_broadcasts_to_its_tensors_and_never_shrinks(mine, shape, found):
    value = conformed(torch.zeros(mine), torch.Size(shape))
    assert (None if value is None else tuple(value.shape)) == found


@pytest.mark.parametrize(("off", "holds"), [(1e-13, True), (1e-9, False)])
def test_float64_leaves_rounding_and_no_more(off, holds):
    expected = torch.tensor([0.0, 0.5], dtype=torch.float64)
    assert FLOAT64.holds(expected + off, expected) is holds


def test_the_absolute_tolerance_grows_with_the_largest_element():
    expected = torch.tensor([0.0, 1e6], dtype=torch.float64)
    assert FLOAT64.holds(expected + 1e-7, expected)
    assert not FLOAT64.holds(expected[:1] + 1e-7, expected[:1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_never_right(value):
    odd = torch.tensor([1.0, value])
    assert not Tolerance(1.0, 1.0).holds(odd, odd)
    assert not Tolerance(1.0, 1.0).holds(odd, torch.ones(2))


def test_cmp_broadcasts_as_the_lectures_and_is_none_where_that_would_raise():
    line = cmp_line(torch.ones(1, 3), torch.ones(3), Tolerance(1e-5, 1e-8))
    assert line is not None
    assert (line.exact, line.approximate, line.maxdiff) == (True, True, 0.0)
    assert cmp_line(torch.ones(4), torch.ones(3), Tolerance(1e-5, 1e-8)) is None
