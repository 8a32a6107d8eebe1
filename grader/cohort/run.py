"""`grader grade`: having many submissions graded, each kept in the gradebook and written as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from grader.version import grader_version

if TYPE_CHECKING:  # it comes with all of torch, which a gradebook needs only while there is something to grade
    from grader.grading.workers import Workers


def grade_cohort(
    found: Sequence[Found],
    course: Course,
    book: Gradebook,
    folder: Path,
    open_graders: Callable[[Sequence[Found]], AbstractContextManager[Workers]],
    *,
    resume: bool = True,
    submitted: Callable[[str, str], datetime | None] = lambda *_: None,
    done: Callable[[Grade], None] = lambda _: None,
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
        submitted: student and exercise → when it was handed in, where that is known.
        done: is called with each grade as soon as it is kept and its files are written.

    Returns:
        The grades of what was found.

    Raises:
        UsageError: `folder` can't be written to.
    """
    run = book.start(folder, course.catalog.terms)
    names = folder_names({*book.students(), *(item.student for item in found)})
    paths = {  # in a zip it is the member's, which can't be taken up from there again, and says whose it was
        (item.student, item.exercise): str(Path(item.path).absolute().joinpath(*item.inside)) for item in found
    }
    versions = {id_: course.exercise(id_).version for id_ in {item.exercise for item in found} & {*course.catalog.ids}}

    def taken_over(item: Found) -> bool:
        known = _known(item, versions, book)
        if known is None:
            return False
        where = paths.get((item.student, item.exercise))
        grading = book.take_over(run, known, item.student, submitted(item.student, item.exercise), where)
        if not is_written(grading.grade, folder, names):
            write_grading(grading, folder, course, names)
        done(grading.grade)
        return True

    def finished(grading: Grading) -> None:
        version = versions.get(grading.grade.exercise, "")
        when = submitted(grading.grade.student, grading.grade.exercise)
        path = paths.get((grading.grade.student, grading.grade.exercise))
        grading = book.add(run, msgspec.structs.replace(grading, exercise_version=version), when, path)
        write_grading(grading, folder, course, names)
        done(grading.grade)

    try:
        left = list(found)
        if resume:
            left = [item for item in found if not taken_over(item)]
        first, others = _one_of_each_group(left)
        if left:
            with open_graders(left) as graders:
                graders.grade(first, finished)
                if again := [item for item in others if not taken_over(item)]:
                    graders.grade(again, finished)
        book.finish(run)
    finally:  # an interrupted run leaves the pages of what it did
        everybody = list(book.grades())
        for grade in everybody:  # of an earlier run, before there was another whose folder would be the same
            if names.get(grade.student) != safe_name(grade.student) and not is_written(grade, folder, names):
                for grading in book.gradings(student=grade.student, exercise=grade.exercise):
                    write_grading(grading, folder, course, names)
        write_cohort(everybody, book, course, folder, similar(book, course))
    asked = {(item.student, item.exercise) for item in found}
    return [grade for grade in everybody if (grade.student, grade.exercise) in asked]


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


def _known(item: Found, versions: Mapping[str, str], book: Gradebook) -> int | None:
    """The number of this very submission's grading, where the gradebook has it already."""
    submission = item.submission()
    if submission.problem is not None or item.exercise not in versions:
        return None
    key = GradingKey(submission.digest, versions[item.exercise], grader_version())
    return book.known([item.student, *item.group], item.exercise, key)
