"""Intake: from the bytes a student handed in to the cells that will be run.

Locked cells always come from the release. What is left is the student's, in the student's order.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from nbformat import NotebookNode

from grader.errors import NothingMatches
from grader.exercise import Cell, Exercise
from grader.notebook import Role, grade_id_of, grader_metadata, read_notebook, role_of
from grader.records import Record
from grader.syntax import assigned_names, defined_names

SIMILAR = 0.75
"""How alike two cells must be (difflib's ratio) for the one to count as an edited copy of the other."""


class PlannedCell(Record, frozen=True):
    """A cell as it will be run. `student` tells whose text it is; `part` is the part it counts towards, if any."""

    source: str
    role: Role | None
    part: str | None
    student: bool
    label: str


class Intake(Record, frozen=True):
    """What will be run, in order, and what was found on the way, one sentence each."""

    cells: list[PlannedCell]
    notes: list[str]


def take_in(data: bytes, exercise: Exercise) -> Intake:
    """Read a submission and fit it to the exercise.

    Raises:
        UnreadableNotebook: it is no notebook.
        NothingMatches: no cell of it belongs to the exercise.
    """
    notebook = read_notebook(data)
    submitted = _code(notebook)
    matches = match_cells(submitted, exercise)
    if not any(match is not None for match in matches):
        raise NothingMatches(
            f"No cell of this notebook belongs to {exercise.id}: hand in the exercise's own notebook, "
            "with the gradients filled in."
        )
    return _assemble(submitted, matches, exercise)


def guess_exercise(data: bytes, exercises: Sequence[Exercise]) -> str | None:
    """The exercise that a notebook belongs to: the one its metadata names, else the one whose cells match best."""
    notebook = read_notebook(data)
    named = grader_metadata(notebook).get("exercise")
    if isinstance(named, str) and named in [exercise.id for exercise in exercises]:
        return named
    submitted = _code(notebook)
    scores = [
        (sum(match is not None for match in match_cells(submitted, exercise)), exercise.id) for exercise in exercises
    ]
    best = max(scores, default=(0, ""), key=lambda score: score[0])
    return best[1] if best[0] else None


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells with anything in them; a solution's reference cells are the grader's, not a student's."""
    return [
        cell
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.source.strip() and role_of(cell) != "reference"
    ]


def match_cells(submitted: Sequence[NotebookNode], exercise: Exercise) -> list[int | None]:
    """For each submitted code cell, the index of the released cell that it is, best evidence first, or None.

    Evidence, in this order: its `grade_id`; the text, equal up to white space; a likeness to a locked cell; the
    gradients it assigns and the classes it defines. A released cell may be matched by several submitted ones (a copied
    cell keeps its id).
    """
    released = exercise.cells
    by_id = {cell.grade_id: index for index, cell in enumerate(released)}
    by_text = {_normal(cell.source): index for index, cell in enumerate(released)}
    found: list[int | None] = []
    part: str | None = None
    for node in submitted:
        grade_id = grade_id_of(node)
        match = by_id.get(grade_id) if grade_id is not None else None
        if match is None:
            match = by_text.get(_normal(node.source))
        if match is None:
            match = _by_likeness(node.source, exercise)
        if match is None:
            match = _by_names(node.source, exercise, part)
        found.append(match)
        part = released[match].part if match is not None else part
    return found


def _normal(source: str) -> str:
    return "".join(source.split())


def _by_likeness(source: str, exercise: Exercise) -> int | None:
    """The locked cell that this one is an edited copy of, or one of the student's with no names to know it by."""
    normal = _normal(source)
    for index, cell in enumerate(exercise.cells):
        if _gradients(cell, exercise) or _definitions(cell):
            continue
        matcher = difflib.SequenceMatcher(None, normal, _normal(cell.source), autojunk=False)
        if matcher.real_quick_ratio() > SIMILAR and matcher.quick_ratio() > SIMILAR and matcher.ratio() > SIMILAR:
            return index
    return None


def _by_names(source: str, exercise: Exercise, part: str | None) -> int | None:
    """The gradients cell that most of the names made here belong to, best in the part that the cell stands in.

    The same names recur in several parts, so the place says more than their number. Gradients and classes only: a
    training loop also assigns the names of the forward pass, and so does a student's own copy of it.
    """
    names = {*assigned_names(source), *defined_names(source)}
    best, found = (False, 0), None
    for index, cell in enumerate(exercise.cells):
        shared = names.intersection([*_gradients(cell, exercise), *_definitions(cell)])
        if shared and (cell.part == part, len(shared)) > best:
            best, found = (cell.part == part, len(shared)), index
    return found


def _gradients(cell: Cell, exercise: Exercise) -> list[str]:
    """The checked gradients that a released cell leaves for the student to assign."""
    if cell.role != "gradients" or cell.part is None:
        return []
    return [name for name in assigned_names(cell.source) if name in exercise.parts[cell.part].gradients]


def _definitions(cell: Cell) -> list[str]:
    """The classes and functions that a released cell leaves for the student to finish."""
    return defined_names(cell.source) if cell.role == "gradients" else []


def _assemble(submitted: Sequence[NotebookNode], matches: Sequence[int | None], exercise: Exercise) -> Intake:
    """Interleave the release's locked cells with the student's cells, each kept behind what it followed."""
    released = exercise.cells
    cells: list[PlannedCell] = []
    emitted = 0
    part: str | None = None
    for node, match in zip(submitted, matches, strict=True):
        if match is not None:
            cells += _locked(released[emitted : match + 1])
            emitted = max(emitted, match + 1)
            part = released[match].part
            if released[match].role != "gradients":
                continue
        role = released[match].role if match is not None else None
        label = released[match].grade_id if match is not None else "the student's own cell"
        cells.append(PlannedCell(source=node.source, role=role, part=part, student=True, label=label))
    cells += _locked(released[emitted:])
    return Intake(cells=cells, notes=_found_notes(submitted, matches, exercise, cells))


def _locked(released: Sequence[Cell]) -> list[PlannedCell]:
    return [
        PlannedCell(source=cell.source, role=cell.role, part=cell.part, student=False, label=cell.grade_id)
        for cell in released
        if cell.role != "gradients"
    ]


def _found_notes(
    submitted: Sequence[NotebookNode], matches: Sequence[int | None], exercise: Exercise, cells: Sequence[PlannedCell]
) -> list[str]:
    assigned = {
        (cell.part, name)
        for cell in cells
        if cell.student
        for name in (*assigned_names(cell.source), *defined_names(cell.source))
    }
    notes = []
    for index, cell in enumerate(exercise.cells):
        copies = [node for node, match in zip(submitted, matches, strict=True) if match == index]
        if cell.role == "gradients":
            wanted = [*_gradients(cell, exercise), *_definitions(cell)]
            if not copies and not assigned.issuperset((cell.part, name) for name in wanted):
                notes.append(f"The cell {cell.grade_id} is missing: what it should assign is missing too.")
            elif len(copies) > 1:
                notes.append(f"The cell {cell.grade_id} is there {len(copies)} times: they were run in order.")
        elif not copies:
            notes.append(f"The locked cell {cell.grade_id} was missing: the release's own was run in its place.")
        elif any(_normal(node.source) != _normal(cell.source) for node in copies):
            notes.append(f"The locked cell {cell.grade_id} had been changed: the release's own was run instead.")
    return notes
