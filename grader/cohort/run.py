"""`grader grade`: having many submissions graded, each kept in the gradebook and written as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from grader.cohort.report_files import is_written, write_cohort, write_grading
from grader.cohort.similarity import similar
from grader.course.course import Course
from grader.files import folder_names, safe_name
from grader.gradebook.gradebook import Gradebook
from grader.gradebook.results import GradingKey
from grader.intake.found import Found
from grader.records import Grade, Grading
from grader.reports.html import compile_pages
from grader.version import grader_version

if TYPE_CHECKING:  # it comes with all of torch, which a gradebook needs only while there is something to grade
    from grader.grading.workers import Workers


Submitted = Callable[[str, str], datetime | None]
"""Student and exercise → when it was handed in, where that is known."""
Done = Callable[[Grade], None]


def grade_cohort(
    found: Sequence[Found],
    course: Course,
    book: Gradebook,
    folder: Path,
    open_graders: Callable[[Sequence[Found]], AbstractContextManager[Workers]],
    *,
    resume: bool = True,
    submitted: Submitted = lambda *_: None,
    done: Done = lambda _: None,
) -> list[Grade]:
    """Grade every submission, keep it in the gradebook, and write its report, its JSON, and then the cohort's pages.

    The pages show everybody in the gradebook: those of earlier runs too, each with the last result.

    Args:
        found: what was handed in.
        course: the course.
        book: where gradings are kept.
        folder: where to write; made where it is missing.
        open_graders: opens the workers for what is left to grade.
        resume: take over what the gradebook has of the same content, exercise and grader.
        submitted: says when something was handed in.
        done: is called with each grade as soon as it is kept and its files are written.

    Returns:
        The grades of what was found.

    Raises:
        UsageError: `folder` can't be written to.
    """
    run = _Run(found, course, book, folder, submitted, done)
    try:
        left = [item for item in found if not (resume and run.take_over(item))]
        first, others = _one_of_each_group(left)
        if left:
            with open_graders(left) as graders:
                compile_pages(course.templates)  # while kernels get ready
                graders.grade(first, run.keep)
                if again := [item for item in others if not run.take_over(item)]:
                    graders.grade(again, run.keep)
        book.finish(run.number)
    finally:  # an interrupted run leaves the pages of what it did
        everybody = run.write_pages()
    asked = {(item.student, item.exercise) for item in found}
    return [grade for grade in everybody if (grade.student, grade.exercise) in asked]


class _Run:
    """A run of the gradebook, and the files that it leaves in a folder; the arguments are those of `grade_cohort`."""

    def __init__(
        self, found: Sequence[Found], course: Course, book: Gradebook, folder: Path, submitted: Submitted, done: Done
    ) -> None:
        self.course, self.book, self.folder = course, book, folder
        self.submitted, self.done = submitted, done
        self.number = book.start(folder, course.catalog.terms)
        self.names = folder_names({*book.students(), *(item.student for item in found)})
        self.paths = {  # in a zip it is the member's, which can't be taken up from there again, and says whose it was
            (item.student, item.exercise): str(Path(item.path).absolute().joinpath(*item.inside)) for item in found
        }
        exercises = {item.exercise for item in found} & {*course.catalog.ids}
        self.versions = {id_: course.exercise(id_).version for id_ in exercises}

    def take_over(self, item: Found) -> bool:
        """Take over the grading of this very submission that the gradebook has; whether it has one."""
        submission = item.submission()
        if submission.problem is not None or item.exercise not in self.versions:
            return False
        key = GradingKey(submission.digest, self.versions[item.exercise], grader_version())
        known = self.book.known([item.student, *item.group], item.exercise, key)
        if known is None:
            return False
        when, path = self._handed_in(item.student, item.exercise)
        grading = self.book.take_over(self.number, known, item.student, when, path)
        if not is_written(grading.grade, self.folder, self.names):
            self._write(grading)
        self.done(grading.grade)
        return True

    def keep(self, grading: Grading) -> None:
        """Keep a grading that was just made."""
        version = self.versions.get(grading.grade.exercise, "")
        when, path = self._handed_in(grading.grade.student, grading.grade.exercise)
        grading = self.book.add(self.number, msgspec.structs.replace(grading, exercise_version=version), when, path)
        self._write(grading)
        self.done(grading.grade)

    def write_pages(self) -> list[Grade]:
        """Write the pages about everybody in the gradebook; their grades."""
        everybody = list(self.book.grades())
        for grade in everybody:  # of an earlier run, before there was another whose folder would be the same
            own = self.names.get(grade.student) == safe_name(grade.student)
            if not own and not is_written(grade, self.folder, self.names):
                for grading in self.book.gradings(student=grade.student, exercise=grade.exercise):
                    self._write(grading)
        write_cohort(everybody, self.book, self.course, self.folder, similar(self.book, self.course))
        return everybody

    def _handed_in(self, student: str, exercise: str) -> tuple[datetime | None, str | None]:
        return self.submitted(student, exercise), self.paths.get((student, exercise))

    def _write(self, grading: Grading) -> None:
        write_grading(grading, self.folder, self.course, self.names)


def _one_of_each_group(found: Sequence[Found]) -> tuple[list[Found], list[Found]]:
    """One submission of each that a group handed in, and the same for its other members: it is graded once."""
    first: dict[tuple[object, ...], Found] = {}
    others = []
    for item in found:
        key = (item.path, *item.inside, item.exercise, item.student if not item.group else "")
        if key in first:
            others.append(item)
        else:
            first[key] = item
    return list(first.values()), others
