"""The files in DIR, kept in step with what is done by hand: a student's soon, the class's when there is a pause."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from grader.cohort.report_files import is_written, write_cohort, write_grading
from grader.course.course import Course
from grader.errors import GraderError
from grader.files import folder_names
from grader.gradebook.gradebook import Gradebook
from grader.gradebook.review_records import SubmissionKey
from grader.reports.cohort_page import Group

SOON = 1.0
"""Seconds until a student's files are written: first whoever saved something gets their answer."""
PAUSE = 10.0
"""Seconds without a change after which the class's pages are written: they hold everybody, and take a while."""


class ReportsOnDisk:
    """Writes what `grader grade` wrote anew, in a thread of its own; nothing where there is no folder.

    The gradebook is what counts. Where the program ends before a file was written, the next start writes it.

    Args:
        book: the gradebook.
        course: the course.
        folder: where `grader grade --out` wrote.
    """

    def __init__(self, book: Gradebook, course: Course, folder: Path | None) -> None:
        self.book = book
        self.course = course
        self.folder = folder
        self.groups: list[Group] = []
        self.problem: str | None = None
        self._due: dict[tuple[str, str] | None, float] = {}
        self._closing = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._work, daemon=True)
        if folder is not None:
            self._thread.start()

    def changed(self, found: Iterable[SubmissionKey]) -> None:
        """Have these students' reports and JSON written, and after a pause the class's pages."""
        self._wait_for([(of.student, of.exercise) for of in found])

    def catch_up(self) -> None:
        """Have written what isn't as the gradebook has it: an earlier review may have been killed before it did."""
        if self.folder is not None and self.book.size()[0]:
            names = folder_names(self.book.students())
            stale = [grade for grade in self.book.grades() if not is_written(grade, self.folder, names)]
            self._wait_for([(grade.student, grade.exercise) for grade in stale], the_class=True)

    def close(self) -> None:
        """Write what is still to be written."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _wait_for(self, keys: list[tuple[str, str]], *, the_class: bool = False) -> None:
        now = time.monotonic()
        with self._wake:
            for key in keys:
                self._due.setdefault(key, now + SOON)
            if keys or the_class:
                self._due[None] = now + PAUSE
            self._wake.notify()

    def _work(self) -> None:
        while True:
            with self._wake:
                if self._closing and not self._due:
                    return
                # The class comes last: its pages hold what the others do.
                key = min(self._due, key=lambda key: (key is None, self._due[key]), default=None)
                left = self._due[key] - time.monotonic() if self._due else None
                if not self._closing and (left is None or left > 0):
                    self._wake.wait(left)
                    continue
                del self._due[key]
            self._write(key)

    def _write(self, key: tuple[str, str] | None) -> None:
        """One student's files, or the pages about everybody."""
        assert self.folder is not None
        try:
            if key is None:
                write_cohort(list(self.book.grades()), self.book, self.course, self.folder, self.groups)
            else:
                names = folder_names(self.book.students())
                for grading in self.book.gradings(student=key[0], exercise=key[1]):
                    write_grading(grading, self.folder, self.course, names)
            self.problem = None
        except (GraderError, SQLAlchemyError) as error:
            self.problem = (
                f"The files in the folder could not be written: {str(error).splitlines()[0]} "
                "Marks and comments are safe in the gradebook."
            )
