"""Who grades a cohort: this process, or workers of dask.distributed on this machine or many.

Both run `grade_batch`; a worker gets the same submissions and gives the same gradings.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from grader.choices import Sandbox
from grader.course.course import Course
from grader.grading.pool import GraderPool
from grader.grading.pytest_items import grade_batch
from grader.intake.found import Found
from grader.kernels import KernelKind
from grader.records import Grading

FEW = 20
"""Submissions that one worker has graded in the time in which another one starts."""
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


class InProcess:
    """Grades in this process, one submission after the other.

    Args:
        pool: the graders.
    """

    def __init__(self, pool: GraderPool) -> None:
        self.pool = pool

    def grade(self, found: Sequence[Found], done: Done) -> None:
        """As `Workers.grade`."""
        for start in range(0, len(found), SESSION):
            grade_batch([item.submission() for item in found[start : start + SESSION]], self.pool, done)


@contextlib.contextmanager
def open_workers(
    course: Course,
    found: Sequence[Found],
    kernel: KernelKind,
    sandbox: Sandbox,
    count: int | None = None,
    scheduler: str | None = None,
) -> Iterator[Workers]:
    """The workers for these submissions: those of `scheduler`, else `count` processes here, by default one a core.

    A single worker needs no other process. By default there are fewer where there is little to do for each.

    Raises:
        ClusterError: the scheduler or its workers can't be used.
    """
    if scheduler is None:
        count = min(count or _fitting(len(found)), max(len(found), 1))
        if count == 1:
            with GraderPool(course, kernel, sandbox) as pool:
                for item in found[:1]:
                    if item.problem is None and item.exercise in course.catalog.ids:
                        pool.begin(item.exercise)
                yield InProcess(pool)
            return
    from grader.grading.dask_cluster import open_dask

    exercises = sorted({item.exercise for item in found if item.exercise in course.catalog.ids})
    with open_dask(course, exercises, kernel, sandbox, scheduler or count or 1) as workers:
        yield workers


def _fitting(submissions: int) -> int:
    if submissions < 2 * FEW:
        return 1
    from dask.system import CPU_COUNT

    return max(1, min(int(CPU_COUNT), submissions // FEW))
