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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rtol", [0.0, 1e-8, 1e-3])
@pytest.mark.parametrize("atol", [0.0, 1e-12, 1e-3])
def test_what_is_told_sooner_is_what_allclose_says(dtype, rtol, atol):
    expected = torch.tensor([0.0, -2e-3, 5.0, 1e4], dtype=dtype)
    tolerance, seen = Tolerance(rtol, atol), set()
    for place in range(len(expected)):
        for times in (0.0, 0.5, 0.999, 1.0, 1.0005, 1.01, 3.0, torch.nan, torch.inf):
            student = expected.clone()
            student[place] += times * (atol * 1e4 + rtol * abs(expected[place]))
            says = torch.allclose(student, expected, rtol=rtol, atol=atol * 1e4)
            assert tolerance.holds(student, expected) is says
            seen.add(says)
    assert seen == {True, False}


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_isnt_finite_is_never_right(value):
    expected = torch.tensor([value, 1.0])
    assert not FLOAT64.holds(expected, expected)
    assert FLOAT64.holds(torch.full((2,), 3e38), torch.full((2,), 3e38))  # whose sum isn't finite


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
