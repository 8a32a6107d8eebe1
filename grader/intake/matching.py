"""Whose cell is whose: each statement is a copy of a locked one, a gradient of some part, or the student's own.

Evidence, best first: the cell's `grade_id`, its cell id, its role, its text up to white space, its likeness to a locked
cell, and the names that it binds. Nothing but the last is there in a notebook that never saw our metadata.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

import msgspec
from nbformat import NotebookNode

from grader.course.exercise import Exercise
from grader.intake.compared_names import compared_names, renamed
from grader.intake.locked_copies import How, Reading, read_statements
from grader.intake.part_assignment import find_parts
from grader.intake.release_index import Released, normal, ratio, released
from grader.intake.syntax_repair import Allowance, first_error, repair
from grader.notebook.file import grade_id_of, part_of, role_of
from grader.notebook.statements import Dissected, dissect
from grader.records import Record

SIMILAR = 0.75
"""How alike two cells must be (difflib's ratio) for the one to count as an edited copy of the other."""


class CellReading(Record, frozen=True):
    """A submitted code cell as it was understood.

    `position` counts all cells of the notebook from 1. `match` is the released cell that it is as a whole, `how` the
    evidence for that. `broken` says that it is no Python; `part` is then the one it seems to be meant for. `lost` are
    the lines (from 1) of statements that are no Python, where the others of the cell could be kept, or the first one;
    with what Python says of each, if it does.
    """

    position: int
    source: str
    dissected: Dissected
    match: int | None
    how: How | None
    readings: list[Reading] = []
    broken: bool = False
    part: str | None = None
    lost: dict[int, str] = {}

    @property
    def has_gradients(self) -> bool:
        """Whether some statement of it binds a gradient."""
        return any(reading.does == "gradient" for reading in self.readings)


def understand(cells: Sequence[NotebookNode], exercise: Exercise) -> list[CellReading]:
    """Read every code cell of a notebook that has anything in it."""
    known = released(exercise)
    ids = _ids(exercise)
    found: list[CellReading] = []
    allowance = Allowance()
    meant = names_by_cmp(cells, known)
    for position, node in enumerate(cells, start=1):
        # A solution's reference cells are the grader's, not a student's.
        if node.cell_type != "code" or not node.source.strip() or role_of(node) == "reference":
            continue
        dissected, lost = _dissected(renamed(node.source, meant), known, allowance)
        match, how = _match(node, dissected, known, ids, [reading.match for reading in found])
        if dissected.pieces is None:
            found.append(_broken(position, node, dissected, match, how, known, lost))
            continue
        hint = _hint(node, match, known)
        readings = [msgspec.structs.replace(each, hint=hint) for each in
                    read_statements(dissected.pieces, match, how, known)]  # fmt: skip
        found.append(CellReading(position, node.source, dissected, match, how, readings, lost=lost))
    parts = iter(find_parts([reading.readings for reading in found], known))
    return [_with_parts(reading, list(islice(parts, len(reading.readings))), known) for reading in found]


def names_by_cmp(cells: Sequence[NotebookNode], known: Released) -> dict[str, str]:
    """The student's names that a `cmp` says are a gradient → that gradient."""
    sources = [node.source for node in cells if node.cell_type == "code"]
    return compared_names(sources, known.names, known.binders.keys())


def _dissected(source: str, known: Released, allowance: Allowance) -> tuple[Dissected, dict[int, str]]:
    """A cell taken apart, without what is no Python where some gradient is left in it; and the lines of that."""
    dissected = dissect(source)
    if dissected.pieces is not None:
        return dissected, {}
    asked = {*known.names, *known.definitions}
    repaired = repair(source, allowance) if any(name in source for name in asked) else None
    if repaired is not None and repaired.bound & asked:
        return repaired.dissected, repaired.lost
    return dissected, dict([first_error(source) or (1, "")])


def _ids(exercise: Exercise) -> dict[str, int]:
    """Cell id → index of the released code cell that has it."""
    code = [node for node in exercise.notebook.cells if node.cell_type == "code"]
    return {node.id: index for index, node in enumerate(code) if isinstance(node.get("id"), str)}


def _match(
    node: NotebookNode, dissected: Dissected, known: Released, ids: dict[str, int], before: Sequence[int | None]
) -> tuple[int | None, How | None]:
    """The released cell that a submitted one is as a whole; `before` are those that the cells above it are."""
    grade_ids = {cell.grade_id: index for index, cell in enumerate(known.cells)}
    grade_id = grade_id_of(node)
    if grade_id in grade_ids:
        return grade_ids[grade_id], "grade_id"
    if node.get("id") in ids:
        return ids[node.id], "cell id"
    text = normal(node.source)
    same = [index for index, other in enumerate(known.cell_texts) if text == other]
    if same:  # of two that are equal, the second is the one that is not there yet
        return next((index for index in same if index not in before), same[0]), "text"
    binds = {name for piece in dissected.pieces or [] for name in piece.binds}
    if binds.isdisjoint(known.names):
        for index, cell in enumerate(known.cells):
            unnamed = cell.role != "gradients" or not known.is_known_by_name(index)
            if unnamed and ratio(text, known.cell_texts[index], SIMILAR) > SIMILAR:
                return index, "likeness"
    return None, None


def _hint(node: NotebookNode, match: int | None, known: Released) -> str | None:
    """The part that a cell's metadata says its gradients belong to."""
    if match is not None and known.cells[match].role == "gradients":
        return known.cells[match].part
    part = part_of(node)
    return part if role_of(node) == "gradients" and part in known.gradients else None


def _broken(
    position: int, node: NotebookNode, dissected: Dissected, match: int | None, how: How | None, known: Released,
    lost: dict[int, str],
) -> CellReading:  # fmt: skip
    """A cell that is no Python: it is run all the same and says so, unless it is a locked cell's place."""
    part = _hint(node, match, known)
    if part is None and match is None:
        named = set(re.findall(r"^\s*(d\w+)\s*[-+*/@]?=(?!=)", node.source, re.MULTILINE))
        counts = {part: len(named.intersection(names)) for part, names in known.gradients.items()}
        part = max(counts, key=lambda key: counts[key]) if any(counts.values()) else None
    return CellReading(position, node.source, dissected, match, how, broken=True, part=part, lost=lost)


def _defined(each: Reading, part: str | None, known: Released) -> str | None:
    """The part of a class or function that the exercise leaves to the student, whatever names are inside of it."""
    homes = known.definitions.get(each.piece.binds[0], []) if each.piece.kind == "definition" else []
    asking = [known.cells[index].part for index in homes]
    if not asking or each.does != "gradient":
        return part
    return each.hint if each.hint in asking else asking[0]


# --- parts ----------------------------------------------------------------------------------------------------------


def _with_parts(reading: CellReading, parts: Sequence[str | None], known: Released) -> CellReading:
    """The reading with its gradients' parts filled in, and the released cell that most of their names are left in."""
    parts = [_defined(each, part, known) for each, part in zip(reading.readings, parts, strict=True)]
    bound: dict[str, set[str]] = {}
    for each, part in zip(reading.readings, parts, strict=True):
        if part is not None:
            bound.setdefault(part, set()).update(each.piece.binds, each.piece.inner)
    homes = {part: _home(reading, part, names, known) for part, names in bound.items()}
    statements = [
        each if part is None else Reading(each.piece, "gradient", homes[part], part)
        for each, part in zip(reading.readings, parts, strict=True)
    ]
    match, how = reading.match, reading.how
    if match is None:
        match, how = _as_a_whole(statements)
    return msgspec.structs.replace(reading, match=match, how=how, readings=statements)


def _home(reading: CellReading, part: str, bound: set[str], known: Released) -> int | None:
    cell = known.cells[reading.match] if reading.match is not None else None
    if cell is not None and cell.role == "gradients" and cell.part == part:
        return reading.match
    return known.cell_for(part, bound)


def _as_a_whole(readings: Sequence[Reading]) -> tuple[int | None, How | None]:
    """What a cell is by its statements: of the gradients' cells the most frequent, else of the copied ones."""
    for does in ("gradient", "copy"):
        cells = [reading.cell for reading in readings if reading.does == does and reading.cell is not None]
        if cells:
            return max(cells, key=cells.count), "names"
    return None, None


def match_cells(cells: Sequence[NotebookNode], exercise: Exercise) -> list[int | None]:
    """For each of a notebook's cells the released cell that it is, or that the first gradient it binds belongs to."""
    found: dict[int, int | None] = {}
    for cell in understand(cells, exercise):
        gradients = [reading.cell for reading in cell.readings if reading.does == "gradient"]
        found[cell.position] = cell.match if cell.match is not None else next(iter(gradients), None)
    return [found.get(position) for position in range(1, len(cells) + 1)]
