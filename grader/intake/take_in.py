"""Intake: from the bytes a student handed in to the cells that will be run.

Locked cells always come from the release. What is left is the student's, in the student's order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from grader.course.exercise import Exercise
from grader.errors import NothingMatches
from grader.intake.matching import CellReading, names_by_cmp, understand
from grader.intake.notes import intake_notes
from grader.intake.release_index import Released, released
from grader.intake.run_order import in_order
from grader.intake.saved_cmp import SavedCmp, saved_lines
from grader.intake.segments import context_of, last_attempts, units_of
from grader.intake.text_cells import code_again
from grader.notebook.code import Code
from grader.notebook.file import Role, grader_metadata, read_notebook
from grader.notebook.gradient_names import tensor_of
from grader.records import Record

PASTE = 3
"""So many of the exercise's tensors, bound in a notebook without a gradient, still make it an attempt."""


class PlannedCell(Record, frozen=True):
    """A cell as it will be run, parsed. `student` tells whose text it is; `part` is the part it counts towards, if any.

    `shown` is the text as the student wrote it, line for line, where what is run leaves something out. `only_shows`
    says that nothing is computed in it that another cell could use: a figure, a `cmp`. `position` is its place in the
    notebook, from 1, or that of its copy there; `first_line` is the line of that cell where it begins.
    `lost` are its lines at which a statement that isn't valid Python was left out, with Python's words on it, if any:
    what is run there binds the names that are used elsewhere to None.
    """

    code: Code
    role: Role | None
    part: str | None
    student: bool
    label: str
    shown: str | None = None
    only_shows: bool = False
    position: int | None = None
    first_line: int = 1
    lost: dict[int, str] = {}

    @property
    def source(self) -> str:
        """The text that is run."""
        return self.code.source

    def place(self, line: int) -> str:
        """Where a line of it stands in the notebook: `Cell 4, line 3`; the line alone where the place isn't known."""
        number = self.line_number(line)
        return f"Line {number} of its cell" if self.position is None else f"Cell {self.position}, line {number}"

    def line_number(self, line: int) -> int:
        """The number that a line of it has in its cell of the notebook."""
        return self.first_line + line - 1


class Intake(Record, frozen=True):
    """What will be run, in order, and what was found on the way, one sentence each.

    `readings` say how each submitted code cell was understood, `saved` are the `cmp` lines that it came with.
    """

    cells: list[PlannedCell]
    notes: list[str]
    readings: list[CellReading] = []
    saved: list[SavedCmp] = []


def take_in(data: bytes, exercise: Exercise) -> Intake:
    """Read a submission and fit it to the exercise.

    Raises:
        UnreadableNotebook: it is no notebook.
        NothingMatches: no cell of it belongs to the exercise.
    """
    notebook = read_notebook(data)
    turned = code_again(notebook, exercise)
    readings = understand(notebook.cells, exercise)
    known = released(exercise)
    if not _evidence(readings, known):
        raise NothingMatches(
            f"Nothing in this notebook belongs to {exercise.id}: no cell is one of its cells, or computes one of its "
            "tensors or gradients. Use the exercise's own notebook, with the gradients filled in."
        )
    cells, changed = _planned(readings, known)
    changed += [f"{name} was taken for {gradient}, because a cmp line compares it with {tensor_of(gradient)}."
                for name, gradient in names_by_cmp(notebook.cells, known).items()]  # fmt: skip
    notes = turned + intake_notes(readings, known, cells_left=_left(cells), changed=changed)
    return Intake(cells=cells, notes=notes, readings=readings, saved=saved_lines(notebook.cells, readings, known))


def guess_exercise(data: bytes, exercises: Sequence[Exercise]) -> str | None:
    """The exercise that a notebook belongs to: the one its metadata names, else the one whose cells match best."""
    notebook = read_notebook(data)
    named = grader_metadata(notebook).get("exercise")
    if isinstance(named, str) and named in [exercise.id for exercise in exercises]:
        return named
    scores = [
        (_evidence(understand(notebook.cells, exercise), released(exercise)), exercise.id) for exercise in exercises
    ]
    best = max(scores, default=(0, ""), key=lambda score: score[0])
    return best[1] if best[0] else None


def _evidence(readings: Sequence[CellReading], known: Released) -> int:
    """How much of a notebook speaks for an exercise: its cells, and the gradients and tensors that it binds.

    An `import torch` is in every notebook, and so a statement alone is no evidence.
    """
    cells = sum(reading.match is not None and reading.how != "names" for reading in readings)
    statements = [reading for cell in readings for reading in cell.readings]
    gradients = {name for each in statements if each.does == "gradient" for name in each.piece.binds}
    inner = {name for each in statements if each.does == "gradient" for name in each.piece.inner}
    tensors = {name for each in statements for name in each.piece.binds if name in known.tensors}
    broken = sum(reading.broken and reading.part is not None for reading in readings)
    paste = len(tensors) if len(tensors) >= PASTE else 0
    return cells + broken + len((gradients | inner).intersection(known.names)) + paste


# --- the plan -------------------------------------------------------------------------------------------------------


def _planned(readings: Sequence[CellReading], known: Released) -> tuple[list[PlannedCell], list[str]]:
    """The release's locked cells with the student's between them, and what was set to the release's in a loop."""
    copies = {reading.match: reading.position for reading in reversed(readings)}
    readings, changed = last_attempts(readings, known)
    context = context_of(readings, known)
    units = [unit for reading in readings for unit in units_of(reading, known, context)]
    changed += [sentence for unit in units for sentence in unit.changed]
    cells: list[PlannedCell] = []
    emitted = 0
    for unit in in_order(units, known):
        # Nothing of the student's can matter to the setup, and a kernel that has run it is at hand.
        upto = max(emitted, known.leading if unit.code is not None else 0, unit.needs + 1)
        cells += _locked(known, emitted, upto, copies)
        emitted = upto
        if unit.code is not None:
            label = "the student's own cell" if unit.cell is None else known.cells[unit.cell].grade_id
            role: Role | None = "gradients" if unit.gradients else None
            cells.append(
                PlannedCell(
                    code=unit.code,
                    role=role,
                    part=unit.part,
                    student=True,
                    label=label,
                    shown=unit.shown,
                    only_shows=unit.shows,
                    position=unit.position,
                    first_line=unit.first_line,
                    lost=unit.lost,
                )
            )
    return cells + _locked(known, emitted, len(known.cells), copies), changed


def _locked(known: Released, first: int, last: int, copies: Mapping[int | None, int]) -> list[PlannedCell]:
    return [
        PlannedCell(
            code=cell.code,
            role=cell.role,
            part=cell.part,
            student=False,
            label=cell.grade_id,
            position=copies.get(first + number),
        )
        for number, cell in enumerate(known.cells[first:last])
        if cell.role != "gradients"
    ]


def leading_cells(exercise: Exercise) -> list[PlannedCell]:
    """The exercise's own cells above the first that is the student's, as they are planned for every submission."""
    known = released(exercise)
    first = next((number for number, cell in enumerate(known.cells) if cell.role == "gradients"), len(known.cells))
    return _locked(known, 0, first, {})


def _left(cells: Sequence[PlannedCell]) -> set[tuple[str | None, str]]:
    """Part and name of everything that the student's cells bind."""
    return {(cell.part, name) for cell in cells if cell.student for name in (*cell.code.binds, *cell.code.defines)}
