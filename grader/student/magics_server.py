"""The process beside a student's kernel that answers `%check` and `%hint`, so that nothing happens in the kernel.

It reads requests from its standard input, JSON on a line each, and answers the same way. It ends with its input.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

import msgspec

import grader.startup  # noqa: F401  (before what imports nbformat)
from grader.course.course import Course, find_course
from grader.course.exercise import Exercise
from grader.errors import GraderError, UsageError
from grader.execution.tensors import read_export
from grader.grading.live_kernel import Live, Ran, read_history
from grader.grading.ungradable import ITSELF_FAILED
from grader.intake.matching import match_cells
from grader.notebook.file import read_notebook
from grader.records import Grading, Record, Submission
from grader.reports.cell_output import as_text, narrowed
from grader.reports.html import render_cell_output, render_lines, render_progress
from grader.student.check import student_pool
from grader.student.hints import NO_HINT, next_hint
from grader.student.progress import remember_check


class Request(Record, frozen=True):
    """What the kernel sends. `do`: `names` (which tensors to export), `check`, `hint`."""

    do: str
    cells: list[Ran] = []
    tensors: list[str] = []
    exercise: str | None = None
    export: dict[str, Any] = {}
    only: list[str] = []


class MagicsServer:
    """Answers the requests of one kernel.

    Args:
        course: the course.
        notebook: the notebook's file, as far as it is known: its folder is the workspace.
    """

    def __init__(self, course: Course, notebook: Path) -> None:
        self.course = course
        self.notebook = notebook
        self.pool = student_pool(course)
        self._ready: set[str] = set()
        self._say: Callable[[str, int], None] = lambda *_: None

    def serve(self, requests: IO[str], answers: IO[str]) -> None:
        """Answer until there are no more requests."""
        with self.pool:
            self._say = partial(_say, answers)
            if self.notebook.stem in self.course.catalog.ids or len(self.course.catalog.ids) == 1:
                self._warm_up()
            for line in requests:
                try:
                    answer = self.answer(msgspec.json.decode(line, type=Request))
                except GraderError as error:
                    answer = {"error": str(error)}
                except Exception as error:  # noqa: BLE001 - the student gets a sentence, and the next request its answer
                    answer = {"error": f"{ITSELF_FAILED} ({type(error).__name__}: {error}): please report it."}
                _write(answers, {**answer, "last": True})
                if "exercise" in answer:
                    self.pool.prepare(answer["exercise"])

    def _warm_up(self) -> None:
        ids = self.course.catalog.ids
        try:
            self.pool.prepare(self.notebook.stem if self.notebook.stem in ids else ids[0])
        except GraderError:
            return  # said when a check is asked for

    def answer(self, request: Request) -> dict[str, Any]:
        """The answer to one request.

        Raises:
            GraderError: with what the student can do.
        """
        exercise = self._exercise(request)
        if request.do == "names":
            if exercise.id not in self._ready:
                self._say("Computing the gradients to compare with", 1)
            lists = self.pool.lists(exercise.id)
            return {"use": exercise.id, "names": self.pool.names(exercise.id), "lists": lists}
        if exercise.id not in self._ready:
            self._say("Running your cells", 2)
            self._ready.add(exercise.id)
        grading = self._grading(request, exercise)
        if request.do == "hint":
            narrowed(grading, request.only)  # refuses a name that no check has
            hints = next_hint(self.course.spec(exercise.id), grading.grade, self.notebook.parent, *request.only[:1])
            lines = hints.lines if hints is not None else [NO_HINT]
            return {"exercise": exercise.id, "text": "\n".join(lines), "html": render_lines(lines)}
        shown = narrowed(grading, request.only)
        after = self.course.catalog.after(exercise.id) if not request.only else None
        return {"exercise": exercise.id, "text": as_text(shown, after), "html": render_cell_output(shown, after)}

    def _grading(self, request: Request, exercise: Exercise) -> Grading:
        tensors = read_export(request.export)
        if tensors is None:
            raise UsageError("The kernel's tensors can't be read: restart the kernel and run all.")
        history = read_history(request.cells, exercise)
        live = Live(tensors, history.owners)
        grading = self.pool.grade(Submission("you", exercise.id, history.notebook), live)
        own = self.notebook.with_name(f"{exercise.id}.ipynb")
        for file in (self.notebook, own):
            if file.is_file():
                remember_check(file, None, grading.grade)
                break
        return grading

    def _exercise(self, request: Request) -> Exercise:
        """The exercise being worked on: the one said, else that whose cells were run, else that whose names exist."""
        if request.exercise is not None:
            return self.course.exercise(request.exercise)
        exercises = [self.course.exercise(id_) for id_ in self.course.catalog.ids]
        nodes = [{"cell_type": "code", "metadata": {}, "source": cell.source, "outputs": []} for cell in request.cells]
        notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": nodes}
        code = [cell for cell in read_notebook(json.dumps(notebook).encode()).cells if cell.source.strip()]
        matched = {one.id: sum(match is not None for match in match_cells(code, one)) for one in exercises}
        present = set(request.tensors)
        named = {
            one.id: len(present.intersection(name for checks in one.parts.values() for name in checks.names))
            for one in exercises
        }
        for scores in (matched, named):
            best = [one for one in exercises if scores[one.id] == max(scores.values()) > 0]
            if len(best) == 1:
                return best[0]
        ids = ", ".join(self.course.catalog.ids)
        raise UsageError(f"It isn't clear which exercise this is: say %check --exercise ID, with one of {ids}.")


def _say(answers: IO[str], what: str, done: int) -> None:
    _write(answers, {"text": f"{what} …", "html": render_progress(what, done, 3)})


def _write(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def main() -> None:
    """Serve the kernel that started this process; the argument is the notebook's path."""
    # What the course's cells print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    notebook = Path(sys.argv[1])
    MagicsServer(find_course(notebook.parent), notebook).serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
