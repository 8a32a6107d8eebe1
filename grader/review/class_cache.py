"""The class as it is now: everybody's last result, the queue, and what was written by hand, kept in step."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy.exc import SQLAlchemyError

from grader.cohort.similarity import similar
from grader.course.course import Course
from grader.errors import GraderError
from grader.gradebook.gradebook import Gradebook
from grader.gradebook.results import Result
from grader.gradebook.review_records import Mark, Note, SubmissionKey
from grader.records import Grading
from grader.reports.cohort_page import Cohort, CohortRow, Group, cohort_of
from grader.reports.totals import Excused, totals
from grader.review.queue import Item, items_of


@dataclass(frozen=True)
class Snapshot:
    """All that pages are made of, at one moment. `items` are all questions, the settled ones too."""

    results: Mapping[tuple[str, str], Result]
    marks: list[Mark]
    notes: list[Note]
    items: list[Item]
    excused: Excused = frozenset()

    @cached_property
    def cohort(self) -> Cohort:
        """The class's numbers."""
        return cohort_of([CohortRow(each.grade, None) for each in self.results.values()])

    @cached_property
    def totals(self) -> dict[str, float | None]:
        """Each student's total in per cent, where there are several exercises."""
        grades = [each.grade for each in self.results.values()]
        several = len({grade.exercise for grade in grades}) > 1
        return {total.student: total.percent for total in totals(grades, self.excused)} if several else {}

    @cached_property
    def open(self) -> list[Item]:
        """What is left in the queue."""
        return [item for item in self.items if item.settled is None]

    def item(self, key: str) -> Item | None:
        """The question of this key."""
        return next((item for item in self.items if item.key == key), None)

    def of(self, student: str, exercise: str) -> SubmissionKey | None:
        """What a student handed in last."""
        result = self.results.get((student, exercise))
        return SubmissionKey(student, exercise, result.key.submission) if result is not None else None


class ClassCache:
    """Reads the gradebook once, and afterwards only what others changed in it.

    Args:
        book: the gradebook.
        course: the course.
    """

    def __init__(self, book: Gradebook, course: Course) -> None:
        self.book = book
        self.course = course
        self.groups: list[Group] | None = None
        """The groups of similar submissions; None until they were looked for."""
        self.problem: str | None = None
        self._lock = threading.RLock()
        self._written = (-1, -1, -1)
        self._size = (-1, -1, -1)
        self._results: dict[tuple[str, str], Result] = {}
        self._snapshot: Snapshot | None = None

    def now(self) -> Snapshot:
        """The class as the gradebook has it at this moment."""
        with self._lock:
            written, size = self.book.log.latest(), self.book.size()
            if self._snapshot is not None and (written, size) == (self._written, self._size):
                return self._snapshot
            # A new run may have new terms, which are all's; a student may have got another name, or be gone.
            if self._snapshot is None or size[::2] != self._size[::2] or size[1] < self._size[1]:
                self._results = {_key(each): each for each in self.book.results()} if size[0] else {}
            else:
                changed = self.book.log.students_since(self._written)
                if size != self._size:
                    changed |= self.book.students_of(self._size[0])
                for student in changed:
                    self._results.update({_key(each): each for each in self.book.results(student=student)})
            self._written, self._size = written, size
            self._snapshot = self._taken()
            return self._snapshot

    def compare(self) -> None:
        """Find the groups of similar submissions anew; of a large class that takes seconds."""
        groups: list[Group] = []
        problem = None
        try:
            groups = similar(self.book, self.course) if self.book.size()[0] else []
        except (GraderError, SQLAlchemyError) as error:
            problem = f"The search for similar code failed: {str(error).splitlines()[0]}"
        with self._lock:
            self.groups, self.problem = groups, problem
            if self._snapshot is not None:
                self._snapshot = self._taken()

    def grading(self, of: SubmissionKey) -> Grading | None:
        """All that there is to show of what a student handed in last."""
        return next(iter(self.book.gradings(student=of.student, exercise=of.exercise)), None)

    def _taken(self) -> Snapshot:
        marks, notes = self.book.log.marks(), self.book.log.notes()
        results = dict(sorted(self._results.items()))
        return Snapshot(
            results=results,
            marks=marks,
            notes=notes,
            items=items_of(results.values(), self.groups or [], marks, notes),
            excused=self.book.people.excused([each.grade for each in results.values()]),
        )


def _key(result: Result) -> tuple[str, str]:
    return result.grade.student, result.grade.exercise
