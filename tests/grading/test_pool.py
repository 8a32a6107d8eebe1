"""One submission never costs another its marks."""

from __future__ import annotations

import os
from contextlib import nullcontext

import pytest

from grader.cohort.run import grade_cohort
from grader.errors import UsageError
from grader.gradebook.gradebook import Gradebook
from grader.grading.grade import Grader
from grader.grading.pool import GraderPool
from grader.grading.pytest_items import grade_batch
from grader.grading.workers import InProcess
from grader.intake.found import Found
from grader.records import Submission
from grader.student.hints import next_hint
from grader.student.progress import STATE


def test_a_mistake_of_the_graders_own_is_one_ungradable_submission(pool, solved, monkeypatch):
    original = Grader._graded

    def broken(self, submission, *rest):
        if submission.student == "unlucky":
            raise ZeroDivisionError("ours")
        return original(self, submission, *rest)

    monkeypatch.setattr(Grader, "_graded", broken)
    unlucky = pool.grade(Submission(student="unlucky", exercise="mini", data=solved()))
    assert unlucky.grade.status == "ungradable"
    assert "ZeroDivisionError: ours" in unlucky.grade.reason
    assert pool.grade(Submission(student="lucky", exercise="mini", data=solved())).grade.score == 16


def test_a_known_problem_is_the_reason(pool):
    grading = pool.grade(Submission(student="s", exercise="mini", problem="It is a folder."))
    assert (grading.grade.status, grading.grade.reason, grading.grade.max_score) == (
        "ungradable",
        "It is a folder.",
        16,
    )


def test_a_disk_that_is_full_stops_the_run_with_a_sentence(pool, course, solved, tmp_path):
    path = tmp_path / "ann.ipynb"
    path.write_bytes(solved())
    (tmp_path / "out").write_text("in the way")
    found = [Found(student="ann", exercise="mini", path=str(path))]
    with Gradebook(tmp_path / "gradebook.sqlite") as book, pytest.raises(UsageError, match="can't be written"):
        grade_cohort(found, course, book, tmp_path / "out", lambda _: nullcontext(InProcess(pool)))


def test_hints_open_one_after_the_other_and_are_remembered(pool, course, tmp_path):
    grade = pool.grade(Submission(student="s", exercise="mini", data=course.notebook_path("mini").read_bytes())).grade
    spec = course.spec("mini")
    assert next_hint(spec, grade, tmp_path).lines == [
        "Hint 1 of 1 for dscaled: A mean shares its gradient.",
        "That was the last hint for dscaled.",
    ]
    assert (tmp_path / STATE).exists()
    assert "Hint 1 of 1" in next_hint(spec, grade, tmp_path).lines[0]


def test_what_pytest_puts_into_the_environment_is_the_same_in_every_session(pool, monkeypatch):
    """The C library keeps for ever what was once in there: a worker would grow with each submission."""
    seen = []

    def grade(submission):
        seen.append(os.environ["PYTEST_CURRENT_TEST"])
        return GraderPool.grade(pool, submission)

    monkeypatch.setattr(pool, "grade", grade)
    for student in ("ann", "bob"):
        grade_batch([Submission(student=student, exercise="mini", problem="It is a problem.")], pool, lambda _: None)
    assert len(seen) == 2
    assert len(set(seen)) == 1
