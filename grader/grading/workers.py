"""Who grades a cohort: this process, or workers of dask.distributed on this machine or many.

Both run `grade_batch`; a worker gets the same submissions and gives the same gradings.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from grader.choices import Sandbox
from grader.course.course import Course
from grader.grading.pool import GraderPool
from grader.intake.found import Found
from grader.kernels import KernelKind
from grader.records import Grading

START_SECONDS = 5.0
"""What a further process takes until it grades, with imports and the process of its kernels: 3 to 6 s on two cores."""
QUICK_SECONDS = 0.12
"""What a submission takes, as long as none has been graded."""
SESSION = 25
"""Submissions in one pytest session of this process."""

Done = Callable[[Grading], None]


class Workers(Protocol):
    """Grades submissions."""

    def grade(self, found: Sequence[Found], done: Done) -> None:
        """Grade all of them; `done` is called in this thread, once for each, in no certain order.

        Raises:
            GraderError: no submission can be graded here.
        """


Others = Callable[[Sequence[Found], float], AbstractContextManager[Workers] | None]
"""Opens other processes for the submissions that are left, where each takes so many seconds and that is sooner."""


class InProcess:
    """Grades in this process, one submission after the other, until others would be done sooner with what is left.

    Args:
        pool: the graders.
        others: opens the others.
    """

    def __init__(self, pool: GraderPool, others: Others = lambda left, seconds: None) -> None:
        self.pool = pool
        self._others = others

    def grade(self, found: Sequence[Found], done: Done) -> None:
        """As `Workers.grade`."""
        from grader.grading.pytest_items import grade_batch  # pytest, while the kernels' process loads torch

        graded, seconds = 0, 0.0

        def noted(grading: Grading) -> None:
            nonlocal seconds
            seconds += grading.grade.wall_seconds
            done(grading)

        while graded < len(found):
            batch = found[graded : graded + min(graded + 1, SESSION)]  # the first few soon tell what one takes
            grade_batch([item.submission() for item in batch], self.pool, noted)
            graded += len(batch)
            left = found[graded:]
            others = self._others(left, seconds / graded)
            if others is not None:
                self.pool.close()
                with others as workers:
                    workers.grade(left, done)
                return


@contextlib.contextmanager
def open_workers(
    course: Course,
    found: Sequence[Found],
    kernel: KernelKind,
    sandbox: Sandbox,
    count: int | None = None,
    scheduler: str | None = None,
) -> Iterator[Workers]:
    """The workers for these submissions: those of `scheduler`, else up to `count` processes, by default one a core.

    There are fewer, or none but this one, as long as what is left is done sooner than others would begin.

    Raises:
        ClusterError: the scheduler or its workers can't be used.
    """

    def others(left: Sequence[Found], seconds: float) -> AbstractContextManager[Workers] | None:
        where = scheduler or _processes(len(left), seconds, count)
        if where == 1:
            return None
        from grader.grading.dask_cluster import open_dask

        exercises = sorted({item.exercise for item in left if item.exercise in course.catalog.ids})
        return open_dask(course, exercises, kernel, sandbox, where)

    at_once = others(found, QUICK_SECONDS)
    if at_once is not None:
        with at_once as workers:
            yield workers
        return
    with GraderPool(course, kernel, sandbox) as pool:
        for item in found[:1]:
            if item.problem is None and item.exercise in course.catalog.ids:
                pool.begin(item.exercise)
        yield InProcess(pool, others)


def _processes(submissions: int, seconds: float, most: int | None) -> int:
    """How many to have for submissions that take so long: each shall grade for as long as it takes to start."""
    found = min(submissions, int(submissions * seconds / START_SECONDS))
    if found < 2:
        return 1
    if most is None:
        from dask.system import CPU_COUNT

        most = int(CPU_COUNT)
    return min(found, most)
