"""`grader check`: a student's own notebook, on the student's own machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from pathlib import Path
from threading import Event

from grader.course.course import Course
from grader.errors import SubmissionError, UsageError
from grader.grading.pool import GraderPool
from grader.intake.collect import collect
from grader.intake.explain_cells import CellSense, in_words
from grader.intake.found import Found
from grader.intake.matching import understand
from grader.intake.release_index import released
from grader.kernels import default_kind
from grader.notebook.file import read_notebook
from grader.records import Grading, Submission
from grader.student.progress import remember_check
from grader.student.watch import saved_versions


def explain_notebook(course: Course, notebook: Path, exercise_id: str | None) -> list[CellSense]:
    """How each code cell of a notebook is understood; empty where the file can't be read, which grading then says."""
    (found,) = collect([notebook], course, exercise_id)
    if found.exercise not in course.catalog.ids:
        return []
    exercise = course.exercise(found.exercise)
    try:
        return in_words(understand(read_notebook(found.read()).cells, exercise), released(exercise))
    except SubmissionError:
        return []


def student_pool(course: Course, so_far: Callable[[int, int], None] | None = None) -> GraderPool:
    """Graders without a sandbox: it is the student's own code, on the student's own machine.

    Kernels are forks of a warm process where the system and ipykernel allow it, and new interpreters elsewhere.
    `so_far`: see `Grader`.
    """
    return GraderPool(course, default_kind(), "none", hurry=True, so_far=so_far)


def check_notebook(
    course: Course, notebook: Path, exercise_id: str | None, step: Callable[[str], None] = lambda _: None
) -> Grading:
    """Grade one notebook, and remember in its folder what came of it; `step` is told what is being done.

    Raises:
        UsageError: there is no such file.
    """
    submission = _found(course, notebook, exercise_id).submission()

    def so_far(right: int, total: int) -> None:
        step(f"so far {right} of {total} agree with autograd in the visible case; trying the hidden ones")

    with student_pool(course, so_far) as pool:
        if submission.exercise in course.catalog.ids and submission.problem is None:
            step("computing the gradients to compare with")
            pool.names(submission.exercise)
        step("running your cells")
        grading = pool.grade(submission)
    remember_check(notebook.absolute(), submission.data, grading.grade)
    return grading


def watch_notebook(
    course: Course, notebook: Path, exercise_id: str | None, stop: Event | None = None
) -> Generator[tuple[Grading, float], None, None]:
    """Grade a notebook now and after every save that changes its code: the grading, and the seconds that it took.

    Raises:
        UsageError: there is no such file at the start.
    """
    _found(course, notebook, exercise_id)
    with student_pool(course) as pool:
        for content in saved_versions(notebook, stop):
            started = time.monotonic()
            found = _found(course, notebook, exercise_id)
            problem = None if content else "The file is empty or gone: save the notebook again."
            data = b"" if found.problem else content
            submission = Submission(found.student, found.exercise, data, found.problem or problem)
            grading = pool.grade(submission)
            yield grading, time.monotonic() - started
            if grading.grade.status == "graded":
                remember_check(notebook.absolute(), content, grading.grade)
                pool.prepare(submission.exercise)


def _found(course: Course, notebook: Path, exercise_id: str | None) -> Found:
    if notebook.is_dir():
        raise UsageError(f"{str(notebook)!r} is a folder: give the notebook itself, or use `grader grade` for many.")
    (found,) = collect([notebook], course, exercise_id)
    return found
