"""The files in DIR, kept in step with what is done by hand: a student's at once, the class's when there is a pause."""

from __future__ import annotations

import threading
from pathlib import Path

from grader.cohort.run import write_cohort, write_grading
from grader.course.course import Course
from grader.errors import GraderError
from grader.gradebook import Gradebook
from grader.gradebook.review_log import Of
from grader.reports.cohort_page import Group

PAUSE = 2.0
"""Seconds without a change after which the class's pages are written: they hold everybody, and take a while."""


class ReportsOnDisk:
    """Writes what `grader grade` wrote anew; nothing where there is no folder.

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
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def changed(self, of: Of) -> None:
        """Write a student's report and JSON, and soon the class's pages."""
        if self.folder is None:
            return
        try:
            for grading in self.book.gradings(student=of.student, exercise=of.exercise):
                write_grading(grading, self.folder, self.course)
            self.problem = None
        except GraderError as error:
            self.problem = str(error)
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(PAUSE, self.write_class)
            self._timer.daemon = True
            self._timer.start()

    def write_class(self) -> None:
        """Write the pages about everybody."""
        with self._lock:
            self._timer = None
        if self.folder is None or not self.book.size()[0]:
            return
        try:
            write_cohort(list(self.book.grades()), self.folder, self.course, self.groups)
        except GraderError as error:
            self.problem = str(error)

    def close(self) -> None:
        """Write what is still to be written."""
        with self._lock:
            waiting = self._timer
            if waiting is not None:
                waiting.cancel()
        if waiting is not None:
            self.write_class()
