"""`grader check`: a student's own notebook, on the student's own machine."""

from __future__ import annotations

import sys
from pathlib import Path

from grader.collect import collect
from grader.course import Course
from grader.errors import SubmissionError, UsageError
from grader.matching import understand
from grader.notebook import read_notebook
from grader.pool import GraderPool
from grader.records import Grading
from grader.released import released
from grader.understanding import CellSense, in_words


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


def check_notebook(course: Course, notebook: Path, exercise_id: str | None) -> Grading:
    """Grade one notebook without a sandbox: it is the student's own code, on the student's own machine.

    Raises:
        UsageError: there is no such file.
    """
    if notebook.is_dir():
        raise UsageError(f"{str(notebook)!r} is a folder: give the notebook itself, or use `grader grade` for many.")
    (found,) = collect([notebook], course, exercise_id)
    kernel = "snapshot" if sys.platform == "linux" else "cold"
    with GraderPool(course, kernel, "none") as pool:  # type: ignore[arg-type]
        return pool.grade(found.submission())
