"""How each cell of a notebook was understood, in words: what `grader check --explain` shows."""

from __future__ import annotations

from collections.abc import Sequence

from grader.intake.matching import CellReading
from grader.intake.release_index import Released
from grader.records import Record
from grader.wording import listed

EVIDENCE = {
    "grade_id": "its grade_id",
    "cell id": "its cell id",
    "role": "its role",
    "text": "the same text",
    "likeness": "much like it",
    "names": "the names it binds",
    None: "nothing of the exercise in it",
}
MAX_BEGINNING = 36
"""Letters of a cell's first line that are shown."""
MAX_NAMES = 6
"""Gradients of a cell that are named."""


class CellSense(Record, frozen=True):
    """One code cell: its place in the notebook (from 1), how it begins, what it is taken for, and why."""

    position: int
    beginning: str
    meaning: str
    evidence: str


def in_words(readings: Sequence[CellReading], known: Released) -> list[CellSense]:
    """Every code cell that has anything in it, in order."""
    return [
        CellSense(reading.position, _beginning(reading.source), _meaning(reading, known), EVIDENCE[reading.how])
        for reading in readings
    ]


def _beginning(source: str) -> str:
    line = next(line.strip() for line in source.split("\n") if line.strip())
    return line if len(line) <= MAX_BEGINNING else line[: MAX_BEGINNING - 1] + "…"


def _meaning(reading: CellReading, known: Released) -> str:
    if reading.broken:
        return f"not valid Python: a syntax error in line {min(reading.lost)}, so nothing in it is run"
    said: list[str] = []
    names: dict[str, list[str]] = {}
    for each in reading.readings:
        if each.part is not None:
            bound = [*each.piece.binds, *each.piece.inner]
            names.setdefault(each.part, []).extend(name for name in bound if name in known.gradients[each.part])
    said += [f"{part}: {listed(list(dict.fromkeys(bound)), MAX_NAMES)}" for part, bound in names.items()]
    copied = list(
        dict.fromkeys(
            known.cells[each.cell].grade_id
            for each in reading.readings
            if each.does == "copy" and each.cell is not None
        )
    )
    if copied:
        said.append(f"the original {listed(copied, MAX_NAMES)} is run instead")
    if any(each.does == "own" for each in reading.readings):
        said.append("the student's own lines" if said else "the student's own cell")
    if reading.dissected.magics:
        said.append("shell lines and magics, not run")
    if reading.lost:
        said.append(f"without {len(reading.lost)} statement{'s'[: len(reading.lost) > 1]} with a syntax error")
    return "; ".join(said) or "nothing to run"
