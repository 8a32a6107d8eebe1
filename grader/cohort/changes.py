"""What is changed after grading: a student's name, time or marks, or who is in the class. The reports are rewritten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from grader.cohort.report_files import report_paths, write_cohort, write_grading
from grader.cohort.similarity import similar
from grader.course.course import Course
from grader.errors import UsageError
from grader.files import as_text, folder_names
from grader.gradebook.gradebook import Gradebook
from grader.gradebook.late_policy import Extension
from grader.gradebook.overrides import new_override
from grader.gradebook.review_records import SubmissionKey
from grader.intake.handed_in.names import composed
from grader.records import Grade


def rename_student(book: Gradebook, course: Course, folder: Path, old: str, new: str) -> list[Grade]:
    """Give a student another name, or make two students one; the reports are written anew. The student's grades.

    Raises:
        UsageError: there is no such student, the name is none, or it isn't known what counts of the two.
    """
    old, new = as_text(composed(old)), as_text(composed(new)).strip()
    if not new:
        raise UsageError("A student needs a name.")
    before, names = [grade for grade in book.grades() if grade.student == old], folder_names(book.students())
    book.people.rename(old, new)
    _delete_reports(before, folder, names)
    return write_again(book, course, folder, new)


def remove_student(book: Gradebook, course: Course, folder: Path, student: str, exercise: str | None) -> list[str]:
    """Take what a student handed in out of the class, and delete its reports. The exercises that it was.

    Raises:
        UsageError: there is nothing of the student's.
    """
    student = as_text(composed(student))
    before = [grade for grade in book.grades() if grade.student == student and exercise in (None, grade.exercise)]
    names = folder_names(book.students())
    removed = book.people.remove(student, exercise)
    _delete_reports(before, folder, names)
    write_again(book, course, folder, student)
    return removed


def extend_due_date(
    book: Gradebook, course: Course, folder: Path, student: str, exercise: str | None, due: datetime | None, reason: str
) -> list[Grade]:
    """Give a student until `due`, or excuse all lateness; the reports are written anew. The student's grades.

    Raises:
        UsageError: there is no reason, or no such exercise.
    """
    reason = " ".join(as_text(reason).split())
    if not reason:
        raise UsageError("An extension needs a reason: the student reads it in the report.")
    if exercise is not None:
        course.spec(exercise)
    student = as_text(composed(student))
    book.people.extend(student, exercise, Extension(due, reason))
    return write_again(book, course, folder, student)


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
    (grading,) = found
    key = SubmissionKey(student, grading.grade.exercise, grading.submission)
    book.log.set_mark(key, new_override(grading.grade, check, points, reason, part=part))
    (grade,) = write_again(book, course, folder, student, key.exercise)
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
    write_cohort(list(book.grades()), book, course, folder, similar(book, course))
    return [grading.grade for grading in gradings]


def _delete_reports(grades: Iterable[Grade], folder: Path, names: Mapping[str, str]) -> None:
    for grade in grades:
        for path in map(folder.joinpath, report_paths(grade, names)):
            path.unlink(missing_ok=True)
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
