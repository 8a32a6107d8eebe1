"""The assignment that every tool grades: part 1 of exercise 01, and three students' answers to it."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from grader.course.catalog import ExerciseSpec
from grader.course.course import Course
from grader.notebook.file import grade_id_of, part_of, role_of

TOP = Path(__file__).parents[2]
GRADER = str(Path(sys.executable).with_name("grader"))
"""The command, as those who installed the package call it."""
EXERCISE, PART = "01_backprop_ninja", "every-gradient"
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"

Answers = dict[str, str]
"""`grade_id` of a gradients cell → what the student wrote there."""


@dataclass(frozen=True)
class Assignment:
    """The part's notebook with its answers, and what lies around it."""

    course: Course
    notebook: NotebookNode

    @property
    def spec(self) -> ExerciseSpec:
        """The catalogue's entry of the whole exercise."""
        return self.course.spec(EXERCISE)

    @property
    def code(self) -> list[NotebookNode]:
        """The code cells, in order."""
        return [cell for cell in self.notebook.cells if cell.cell_type == "code"]

    @property
    def files(self) -> dict[str, Path]:
        """The files that the notebook reads."""
        return self.course.files(self.spec)

    def students(self) -> dict[str, Answers]:
        """Three students: one has everything right, one a wrong sign early on, one stopped before the last cell."""
        right = {str(grade_id_of(cell)): answer(cell.source) for cell in self.code if role_of(cell) == "gradients"}
        last = list(right)[-1]
        wrong = "dcounts_sum = -counts_sum"
        assert wrong in right["loss-gradients"]
        return {
            "right": right,
            "sign": {**right, "loss-gradients": right["loss-gradients"].replace(wrong, wrong.replace("-", "", 1))},
            "unfinished": {**right, last: "# not yet\ndemb = None\ndC = None"},
        }


def read_assignment() -> Assignment:
    """Exercise 01 of this repository, cut down to its first part."""
    course = Course(TOP / "exercises")
    notebook = nbformat.read(course.solution_path(EXERCISE), as_version=4)
    notebook.cells = [cell for cell in notebook.cells if part_of(cell) in (None, PART) and grade_id_of(cell) != "end"]
    return Assignment(course, notebook)


def answer(source: str) -> str:
    """A gradients cell without the markers around its answer."""
    return "\n".join(line for line in source.splitlines() if line.strip() not in (BEGIN, END))


def gradients_compared(cell: NotebookNode) -> list[str]:
    """The tensors `X` that a compare cell's `cmp('X', dX, X)` lines name."""
    return re.findall(r"^cmp\('(\w+)'", cell.source, re.M)


def filled_in(blank: NotebookNode, answers: Answers, key: Callable[[NotebookNode], str | None]) -> NotebookNode:
    """What a student hands in: `blank` with the answers in the cells that `key` gives a gradients cell's id for."""
    notebook = copy.deepcopy(blank)
    left = dict(answers)
    for cell in notebook.cells:
        name = key(cell)
        if name in left:
            cell.source = left.pop(name)
    assert not left, f"no cell for {list(left)}"
    return notebook


def make_course(assignment: Assignment, folder: Path) -> None:
    """A course of ours with this one part, released: the exercise's own cases, tolerances and shares."""
    for name in ("exercises", "solutions"):
        (folder / name).mkdir(parents=True)
    (folder / "exercises" / "catalog.toml").write_text(_catalog(assignment.spec), encoding="utf-8")
    for name, path in assignment.files.items():
        shutil.copy(path, folder / "exercises" / name)
    nbformat.write(assignment.notebook, folder / "solutions" / f"{EXERCISE}.ipynb")
    subprocess.run([GRADER, "release"], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def _catalog(spec: ExerciseSpec) -> str:
    lines = ["[[exercises]]"]
    lines += _entries(spec, ("id", "title", "minutes", "rtol", "atol", "carried", "visible_only", "autograd", "files"))
    lines += _entries(spec, ("cell_seconds", "notebook_seconds"))
    lines += [f"visible = {_table(spec.visible)}"]
    for case in spec.cases:
        lines += ["[[exercises.cases]]", f'id = "{case.id}"', f"parameters = {_table(case.parameters)}"]
        lines += [f'only_after = "{case.only_after}"'] if case.only_after else []
    lines += ["[[exercises.parts]]", *_entries(spec.part(PART), ("id", "title", "points"))]
    return "\n".join(lines) + "\n"


def _entries(record: object, names: Sequence[str]) -> list[str]:
    return [f"{name} = {json.dumps(getattr(record, name))}" for name in names]


def _table(values: dict[str, Any]) -> str:
    return "{ " + ", ".join(f"{name} = {json.dumps(value)}" for name, value in values.items()) + " }"
