"""Limits that the machine and the run stretch; an exercise's own cell that is out of time says nothing of a student."""

from __future__ import annotations

import msgspec
import pytest

from grader.course.course import Course
from grader.errors import UsageError
from grader.execution import time_limits
from grader.execution.time_limits import FACTOR, cell_seconds, notebook_seconds, own_cell_seconds
from grader.grading.pool import GraderPool
from grader.records import Submission
from tests.conftest import HERE


def test_every_limit_is_stretched_by_the_factor(course, monkeypatch):
    spec = course.spec("mini")
    monkeypatch.delenv(FACTOR, raising=False)
    before = cell_seconds(spec), own_cell_seconds(spec), notebook_seconds(spec)
    assert before == (5, 120, 30)
    monkeypatch.setenv(FACTOR, "2.5")
    assert (cell_seconds(spec), own_cell_seconds(spec), notebook_seconds(spec)) == (12.5, 300, 75)
    for text in ("0", "-1", "nan", "inf", "fast"):
        monkeypatch.setenv(FACTOR, text)
        with pytest.raises(UsageError, match="give a number above 0"):
            cell_seconds(spec)


@pytest.fixture
def slow_forward(monkeypatch):
    """A pool for the mini course whose forward cell takes a second longer in a kernel."""
    course = Course(HERE / "course" / "exercises")
    exercise = course.exercise("mini")
    wait = "import sys, time\nif 'ipykernel' in sys.modules: time.sleep(1)\n"
    cells = [
        msgspec.structs.replace(cell, source=wait + cell.source) if cell.grade_id == "forward" else cell
        for cell in exercise.cells
    ]
    monkeypatch.setattr(exercise, "cells", cells)
    monkeypatch.setattr("grader.grading.grade.Grader._agree", lambda self: None)
    with GraderPool(course, "snapshot", "bwrap") as pool:
        yield pool, exercise


@pytest.mark.parametrize(("own_seconds", "found"), [(0.3, {"unchecked", "carried"}), (120, {"exact", "approximate"})])
def test_its_own_cell_out_of_time_is_never_missing(slow_forward, solved, monkeypatch, own_seconds, found):
    pool, exercise = slow_forward
    monkeypatch.setattr(time_limits, "OWN_CELL_SECONDS", own_seconds)
    if own_seconds < 1:
        monkeypatch.setattr(exercise, "spec", msgspec.structs.replace(exercise.spec, cell_seconds=own_seconds))
    grading = pool.grade(Submission("s", "mini", solved()))
    of_the_part = {check.verdict.value for check in grading.grade.checks if check.part == "steps"}
    assert of_the_part <= found
    if own_seconds < 1:
        remarks = [check.remark for check in grading.grade.checks if check.verdict == "unchecked"]
        assert any("The exercise's own cell forward was out of time" in remark for remark in remarks)
