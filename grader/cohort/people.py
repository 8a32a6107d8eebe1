"""What becomes of students after they were graded: another name, nothing of theirs, or longer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from grader.cohort.run import report_paths, write_again
from grader.course.course import Course
from grader.errors import UsageError
from grader.files import as_text, folder_names
from grader.gradebook import Gradebook
from grader.gradebook.late_policy import Extension
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


def _delete_reports(grades: Iterable[Grade], folder: Path, names: Mapping[str, str]) -> None:
    for grade in grades:
        for path in map(folder.joinpath, report_paths(grade, names)):
            path.unlink(missing_ok=True)
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
