"""The order and the metadata of a solution notebook's cells, checked before anything is run."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nbformat import NotebookNode

from grader.course.catalog import ExerciseSpec
from grader.course.exercise import Cell, code_cells


def layout_problems(spec: ExerciseSpec, notebook: NotebookNode) -> Iterator[str]:
    """What about the cells would keep the exercise from being graded as its author meant it, each in a sentence.

    Raises:
        CourseError: a code cell has no role or no grade_id.
    """
    cells = code_cells(notebook)
    yield from _twice(notebook)
    yield from _foreign_markers(notebook)
    yield from _parts(spec, cells)
    yield from _order(cells)
    yield from _locks(notebook)
    yield from _parameters(spec, cells)


_FOREIGN = {
    "otter": r"#\s*(?:BEGIN|END)\s+(?:SOLUTION|PROMPT|QUESTION|TESTS?|TEST CONFIG)\b.*|.*#\s*SOLUTION(?:\s+NO PROMPT)?|"
    r"#\s*(?:ASSIGNMENT CONFIG|HIDDEN)",
    "nbgrader": r"###\s*(?:BEGIN|END)\s+(?:HIDDEN TESTS|MARK SCHEME)",
}
"""Lines that mean something to other tools, and would be handed out here."""
_INSTEAD = {
    "otter": "put the answer between ### BEGIN SOLUTION and ### END SOLUTION, and remove otter's other markers",
    "nbgrader": "delete it and what it encloses: gradients are checked without tests",
}


def _foreign_markers(notebook: NotebookNode) -> Iterator[str]:
    for number, cell in enumerate(notebook.cells, 1):
        which = cell.metadata.get("nbgrader", {}).get("grade_id") or f"number {number}"
        for tool, pattern in _FOREIGN.items():
            if found := re.search(rf"^[ \t]*(?:{pattern})[ \t]*$", cell.source, re.M):
                yield f"cell {which} has {tool}'s marker {found[0].strip()!r}; {_INSTEAD[tool]}."


def _twice(notebook: NotebookNode) -> Iterator[str]:
    ids = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
    for id_ in dict.fromkeys(id_ for id_ in ids if id_ and ids.count(id_) > 1):
        yield f"{ids.count(id_)} cells have the grade_id {id_}; give each its own."


def _parts(spec: ExerciseSpec, cells: list[Cell]) -> Iterator[str]:
    known = [part.id for part in spec.parts]
    for cell in cells:
        if cell.part is not None and cell.part not in known:
            yield (
                f"cell {cell.grade_id} belongs to part {cell.part}, which the catalogue doesn't have; add it "
                "there, or correct the cell."
            )
        if cell.part is None and cell.role in ("gradients", "backward", "reference"):
            yield f"cell {cell.grade_id} has the role {cell.role} but no part; give it one of {', '.join(known)}."
    for part in spec.parts:
        answers = [cell for cell in cells if cell.role == "gradients" and cell.part == part.id]
        if not answers and not part.uses:
            yield (
                f"part {part.id} has no gradients cell; add one, say in the catalogue which parts it uses, or take the "
                f"part out."
            )
        if answers and part.uses:
            yield (
                f"part {part.id} uses other parts and has a gradients cell, {answers[0].grade_id}; give that cell a "
                "part of its own."
            )


def _order(cells: list[Cell]) -> Iterator[str]:
    started: set[str | None] = set()
    for before, cell in zip([None, *cells], cells, strict=False):
        if cell.role == "setup" and before is not None and before.role != "setup":
            yield f"the setup cell {cell.grade_id} comes after {before.grade_id}; move it up, setup cells come first."
        if cell.role == "forward" and cell.part in started:
            yield f"the forward cell {cell.grade_id} comes after a gradients cell of its part; move it up."
        if cell.role == "gradients":
            started.add(cell.part)


def _locks(notebook: NotebookNode) -> Iterator[str]:
    for cell in notebook.cells:
        marks = cell.metadata.get("nbgrader", {})
        students = cell.metadata.get("grader", {}).get("role") == "gradients"
        if marks.get("locked") is students or marks.get("solution") is not students:
            kind = "the student's: locked false, solution true" if students else "locked: locked true, solution false"
            yield f"cell {marks.get('grade_id')} must be {kind} in its nbgrader metadata."


def _parameters(spec: ExerciseSpec, cells: list[Cell]) -> Iterator[str]:
    settable = {name for cell in cells if cell.role == "parameters" for name in cell.code.binds}
    for case in spec.all_cases:
        for name in sorted(case.parameters.keys() - settable):
            yield f"the case {case.id} sets {name}, which no parameters cell assigns; correct it, or assign it in one."
