"""A run of `grade_cohort` with invented gradings, to be killed.

It notes each submission that it hands over in `FOLDER/handed`, and each that it was told is kept in `FOLDER/kept`.
"""

from __future__ import annotations

import contextlib
import time

from grader.cohort.run import grade_cohort
from grader.course.course import Course
from grader.gradebook.gradebook import Gradebook
from grader.intake.found import Found
from grader.records import Grade, Grading
from tests.conftest import HERE

STUDENTS = 150


class Graders:
    """Workers that invent gradings, each in a few milliseconds."""

    def __init__(self, notes, begun):
        self.notes = notes
        self.begun = begun

    @contextlib.contextmanager
    def open(self, left):
        yield self

    def grade(self, found, done):
        self.begun()
        for item in found:
            time.sleep(0.002)
            note(self.notes / "handed", item.student)
            grade = Grade(
                student=item.student, exercise="mini", status="graded", score=float(item.student[1:]), max_score=200.0,
                checks=[], flags=[], cpu_seconds=0.0, wall_seconds=0.0,
            )  # fmt: skip
            done(Grading(grade, "Mini", [], [], [], submission=item.submission().digest))


def note(path, line):
    """A line that is in the file, whole, when this returns."""
    with path.open("a") as file:
        file.write(line + "\n")


def main(folder, url, begun, grading_begun):
    """One run, from wherever the last was killed; says when it begins, and when it begins to grade."""
    course = Course(HERE / "courses" / "mini" / "exercises")
    found = [
        Found(student=f"s{number:03}", exercise="mini", path=str(folder / "in" / f"s{number:03}.ipynb"))
        for number in range(STUDENTS)
    ]
    graders = Graders(folder, grading_begun)
    begun()
    with Gradebook(url) as book:
        grade_cohort(
            found, course, book, folder / "out", graders.open, done=lambda grade: note(folder / "kept", grade.student)
        )
