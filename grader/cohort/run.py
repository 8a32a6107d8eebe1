"""Many submissions: having them graded, and writing what `grader grade` promises to write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from grader.cohort.similarity import own_lines, similar_groups
from grader.course.course import Course
from grader.errors import UsageError
from grader.files import as_text, folder_names, safe_name, write_file
from grader.gradebook import Gradebook, Key
from grader.gradebook.overrides import new_override
from grader.intake.collect import Found
from grader.records import Grade, Grading
from grader.reports.cohort_page import CohortRow, Group
from grader.reports.html import render_index, render_report
from grader.reports.json_csv_junit import grade_json, grades_csv, junit_pieces, totals_csv
from grader.reports.totals import Excused
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
        write_cohort(everybody, folder, course, similar(book, course), book.people.excused(everybody))
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
    key = Key(submission.digest, versions[item.exercise], grader_version())
    return book.known([item.student, *item.group], item.exercise, key)


def is_written(grade: Grade, folder: Path, names: Mapping[str, str]) -> bool:
    """Whether the folder has the files of this very grade; the JSON is written after the report."""
    try:
        return (folder / report_paths(grade, names)[1]).read_text(encoding="utf-8") == grade_json(grade)
    except OSError:
        return False


def similar(book: Gradebook, course: Course) -> list[Group]:
    """The groups of suspiciously similar submissions, of all that the gradebook's students handed in last.

    Who handed something in together is no such group.
    """
    known = course.catalog.ids
    together = {student: {*said} for student, said in book.people.identities().items()}
    found = similar_groups(
        own_lines(grading, course.exercise(grading.grade.exercise))
        for grading in book.gradings()
        if grading.grade.exercise in known and grading.cells
    )
    shared = [set.intersection(*(together.get(student, set()) for student in group.students)) for group in found]
    return [group for group, same in zip(found, shared, strict=True) if not any(each.kind == "group" for each in same)]


def override_mark(
    book: Gradebook,
    course: Course,
    folder: Path,
    student: str,
    exercise: str | None,
    check: str | None,
    points: float,
    reason: str,
    part: str | None = None,
) -> Grade:
    """Set a mark by hand for what a student handed in last, and write its files and the cohort's pages anew.

    Raises:
        UsageError: no such submission, check or part, or a number that can't be its points.
    """
    student, reason = as_text(student), as_text(reason)  # a student as `collect` names whose file is called that
    found = list(book.gradings(student=student, exercise=exercise))
    if not found:
        what = f"submission of {student!r}" + (f" for {exercise}" if exercise is not None else "")
        raise UsageError(f"The gradebook has no {what}: `grader export csv` lists what it has.")
    if len(found) > 1:
        exercises = " or ".join(each.grade.exercise for each in found)
        raise UsageError(f"{student!r} handed in several exercises: say which with --exercise: {exercises}.")
    book.override(found[0], new_override(found[0].grade, check, points, reason, part=part))
    (grade,) = write_again(book, course, folder, student, found[0].grade.exercise)
    return grade


def undo_override(book: Gradebook, course: Course, folder: Path, number: int) -> Grade:
    """Take back a mark that was set by hand, and write its submission's files and the cohort's pages anew.

    Raises:
        UsageError: no such mark counts.
    """
    undone = book.log.withdraw("overrides", [number], None)
    if not undone:
        raise UsageError(f"There is no mark {number} to take back: `grader overrides DIR` lists the numbers.")
    (grade,) = write_again(book, course, folder, undone[0].student, undone[0].exercise)
    return grade


def write_again(
    book: Gradebook, course: Course, folder: Path, student: str, exercise: str | None = None
) -> list[Grade]:
    """Write a student's files, of an exercise or all, and the cohort's pages anew; the student's grades."""
    gradings, names = list(book.gradings(student=student, exercise=exercise)), folder_names(book.students())
    for grading in gradings:
        write_grading(grading, folder, course, names)
    everybody = list(book.grades())
    write_cohort(everybody, folder, course, similar(book, course), book.people.excused(everybody))
    return [grading.grade for grading in gradings]


def report_paths(grade: Grade, names: Mapping[str, str]) -> tuple[str, str]:
    """Where a submission's report and JSON lie below the output folder; `names` are the students' `folder_names`."""
    stem = f"{names[grade.student]}/{safe_name(grade.exercise)}"
    return f"{stem}.html", f"{stem}.json"


def write_grading(grading: Grading, folder: Path, course: Course, names: Mapping[str, str]) -> None:
    """Write one student's report and JSON."""
    page, data = report_paths(grading.grade, names)
    write_file(folder / page, render_report(grading, course.templates))
    write_file(folder / data, grade_json(grading.grade))


def write_cohort(
    grades: Sequence[Grade], folder: Path, course: Course, similar: Sequence[Group], excused: Excused
) -> None:
    """Write the pages that are about all submissions together."""
    names = folder_names(grade.student for grade in grades)
    rows = [CohortRow(grade=grade, path=_report_in(folder, grade, names)) for grade in grades]
    write_file(folder / "index.html", render_index(rows, similar, course.templates, course.catalog.titles, excused))
    write_file(folder / "grades.csv", grades_csv(grades))
    write_file(folder / "totals.csv", totals_csv(grades, excused))
    write_file(folder / "junit.xml", junit_pieces(grades))


def _report_in(folder: Path, grade: Grade, names: Mapping[str, str]) -> str | None:
    """Where the report lies; None where this folder has none, because it was graded into another."""
    path = report_paths(grade, names)[0]
    return path if (folder / path).is_file() else None
