"""Grades what it is told to in a process of its own, and says how far it is, a line of JSON each.

    python -m grader.review.regrade_process < order.json

The server itself never runs a grading: it stays without torch, and what goes wrong here ends here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import grader.startup  # noqa: F401  (before what imports nbformat)
from grader.choices import Sandbox
from grader.cohort.run import grade_cohort
from grader.course.course import Course
from grader.errors import GraderError
from grader.gradebook.gradebook import Gradebook
from grader.intake.found import Found
from grader.records import Record

if TYPE_CHECKING:
    from grader.grading.workers import Workers


class Order(Record, frozen=True):
    """What is to be graded, how, and where its files go."""

    found: list[Found]
    exercises: str
    gradebook: str
    folder: str
    sandbox: Sandbox


class Said(Record, frozen=True):
    """A submission that is done, or why everything ended."""

    student: str | None = None
    exercise: str | None = None
    error: str | None = None


def main() -> None:
    """Carry out the order on standard input."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    course = Course(Path(order.exercises))
    try:
        with Gradebook(order.gradebook) as book:
            grade_cohort(
                order.found, course, book, Path(order.folder), lambda left: _graders(course, left, order),
                resume=False, done=lambda grade: _say(Said(grade.student, grade.exercise)),
            )  # fmt: skip
    except GraderError as error:
        _say(Said(error=str(error)))


def _graders(course: Course, left: Sequence[Found], order: Order) -> AbstractContextManager[Workers]:
    from grader.grading.workers import open_workers

    return open_workers(course, left, "snapshot", order.sandbox)


def _say(said: Said) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
