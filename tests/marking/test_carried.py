"""The example of docs/verdicts.md, and its relatives: which of the student's numbers are carried."""

from __future__ import annotations

import pytest
import torch

from grader.course.catalog import Case
from grader.course.graph import backward_pass
from grader.course.part_reference import PartReference
from grader.execution.tensors import StudentTensor
from grader.marking.case_outcomes import PartCase
from grader.marking.outcome import Outcome
from grader.marking.tolerance import FLOAT64

RIGHT = {"db": 0.25, "da": 3.0, "dw": 9.0}


@pytest.fixture(scope="module")
def reference():
    """a = x * w, b = a ** 2, loss = b / 4, with x = 3 and w = 2"""
    x, w = torch.tensor(3.0, dtype=torch.float64), torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    a = x * w
    b = a**2
    root = b / 4
    named = {"w": w, "a": a, "b": b}
    return PartReference(root, named, backward_pass(root, named, {}), {"x": x})


def outcomes(reference, **mine):
    """What each gradient is worth with these numbers, and the right ones otherwise; None is missing."""
    numbers = {**RIGHT, **mine}
    sent = {
        name: StudentTensor.of(torch.tensor(value, dtype=torch.float64))
        for name, value in numbers.items()
        if value is not None
    }
    case = PartCase(Case(id="twin"), ["db", "da", "dw"], [], [], sent, reference, FLOAT64)
    return {name: outcome.name for name, outcome in case.outcomes.items()}


def test_all_right(reference):
    assert outcomes(reference) == dict.fromkeys(RIGHT, "RIGHT")


def test_what_follows_from_a_wrong_gradient_is_carried(reference):
    assert outcomes(reference, da=1.5, dw=4.5) == {"db": "RIGHT", "da": "WRONG", "dw": "CARRIED"}


def test_a_second_slip_below_a_first_is_its_own(reference):
    assert outcomes(reference, da=1.5, dw=-4.5) == {"db": "RIGHT", "da": "WRONG", "dw": "WRONG"}


def test_a_right_value_is_right_whatever_stands_above_it(reference):
    assert outcomes(reference, da=1.5) == {"db": "RIGHT", "da": "WRONG", "dw": "RIGHT"}


def test_zeros_follow_from_zeros_by_any_formula(reference):
    assert outcomes(reference, db=0.0, da=0.0, dw=0.0) == {"db": "WRONG", "da": "BLANK", "dw": "BLANK"}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_is_not_a_number_tells_nothing_of_the_lines_below_it(reference, number):
    found = outcomes(reference, db=number, da=number, dw=number)
    assert found == {"db": "WRONG", "da": "BLANK", "dw": "BLANK"}


def test_a_gradient_that_is_not_there_is_absent_and_the_next_is_worth_its_value(reference):
    assert outcomes(reference, da=None) == {"db": "RIGHT", "da": "ABSENT", "dw": "RIGHT"}


def test_the_worst_of_several_cases_counts():
    assert max(Outcome.RIGHT, Outcome.CARRIED, Outcome.WRONG) is Outcome.WRONG
    assert Outcome.SILENT < Outcome.RIGHT
