"""The bare floor: what the cells of a submission cost where nothing is graded, confined or reported."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import torch

from benchmarks.speed.assignment import Answers, Assignment
from grader.course.catalog import Case
from grader.course.exercise import Exercise
from grader.notebook.file import grade_id_of, role_of

WARM, TIMED = 3, 20


class Floor(NamedTuple):
    """CPU seconds of one submission in all cases: of all its cells after the setup, and of the student's own alone."""

    cells: float
    own: float


def measure_floor(assignment: Assignment, exercise: Exercise) -> Floor:
    """Run the cells of all students in all cases with `exec`, in this process, on one thread; the mean of a submission.

    The setup cells are run once and not counted. What the hidden cases leave out is left out here, too.
    """
    torch.set_num_threads(1)
    students = assignment.students()
    with _beside_files(assignment):
        namespace: dict[str, Any] = {"__name__": "__main__"}
        for cell in assignment.code:
            if role_of(cell) == "setup":
                exec(compile(_plain(cell.source), "<setup>", "exec"), namespace)
        found = [_submission(_codes(assignment, answers), exercise, namespace) for answers in students.values()]
    return Floor(sum(one.cells for one in found) / len(found), sum(one.own for one in found) / len(found))


Codes = Sequence[tuple[str | None, CodeType]]
"""Role and code of each cell, in order."""


def _codes(assignment: Assignment, answers: Answers) -> Codes:
    sources = [
        (role_of(cell), answers.get(str(grade_id_of(cell)), cell.source))
        for cell in assignment.code
        if role_of(cell) != "setup"
    ]
    return [(role, compile(_plain(source), "<cell>", "exec")) for role, source in sources]


def _submission(codes: Codes, exercise: Exercise, namespace: dict[str, Any]) -> Floor:
    cells = own = 0.0
    for turn in range(WARM + TIMED):
        for case in exercise.cases:
            seconds, of_those = _run(codes, case, dict(namespace))
            if turn >= WARM:
                cells, own = cells + seconds, own + of_those
    return Floor(cells / TIMED, own / TIMED)


def _run(codes: Codes, case: Case, namespace: dict[str, Any]) -> tuple[float, float]:
    kept = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, case.dtype))
    cells = own = 0.0
    try:
        for role, code in codes:
            if role == "compare" and case.id != "visible":
                continue
            seconds = _timed(lambda code=code: exec(code, namespace))  # type: ignore[misc]
            cells += seconds
            own += seconds if role == "gradients" else 0.0
            if role == "parameters":
                namespace.update(case.parameters)
    finally:
        torch.set_default_dtype(kept)
    return cells, own


def _timed(work: Callable[[], None]) -> float:
    started = time.process_time()
    with contextlib.suppress(Exception):  # an unfinished answer raises where it is used
        work()
    return time.process_time() - started


def _plain(source: str) -> str:
    return "\n".join(line for line in source.splitlines() if not line.startswith(("%", "!")))


@contextlib.contextmanager
def _beside_files(assignment: Assignment) -> Iterator[None]:
    """A folder with the exercise's files; what the cells print goes nowhere."""
    os.environ.setdefault("MPLBACKEND", "agg")
    with tempfile.TemporaryDirectory() as folder:
        for name, path in assignment.files.items():
            (Path(folder) / name).write_bytes(path.read_bytes())
        sys.path.insert(0, folder)
        try:
            with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
                yield
        finally:
            sys.path.remove(folder)
