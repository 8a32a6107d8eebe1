"""What is said of a submission's cells: one sentence each, for whoever handed it in."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence

from grader.intake.matching import CellReading
from grader.intake.release_index import Released, normal
from grader.notebook.gradient_names import nearest
from grader.wording import listed

_OURS = re.compile(r"\s*%(?:matplotlib|load_ext\s+grader|check|hint)\b")
"""Magics that the exercises hold themselves: nobody needs to be told that they weren't run."""
_COMMENT_OR_OURS = re.compile(rf"^(?:\s*#|{_OURS.pattern}).*$", re.MULTILINE)
MAX_QUOTED = 60
"""Characters of a student's text that a sentence quotes."""


def intake_notes(
    readings: Sequence[CellReading], known: Released, cells_left: set[tuple[str | None, str]], changed: Sequence[str]
) -> list[str]:
    """The notes on a submission.

    Args:
        readings: how its cells were understood.
        known: the exercise.
        cells_left: part and name of everything that the cells to be run bind.
        changed: what was set to the release's in a training loop.
    """
    copies = sum(reading.how == "text" for reading in readings)
    ours = copies > len(known.cells) / 4 or any(reading.how in ("grade_id", "cell id") for reading in readings)
    notes = list(_locked_notes(readings, known, cells_left)) if ours else [_FOREIGN]
    notes += _settings(readings, known)
    notes += dict.fromkeys(changed)
    notes += _unknown(readings, known)
    notes += [_no_python(reading) for reading in readings if reading.lost]
    lines = [line for reading in readings for line in reading.dissected.magics]
    shell = list(dict.fromkeys(line for line in lines if not _OURS.match(line)))
    if shell:
        more = f" and {len(shell) - 1} more" if len(shell) > 1 else ""
        notes.append(f"Shell lines and magics were not run: {_quoted(shell[0])}{more}.")
    return notes


def _no_python(reading: CellReading) -> str:
    where = f"{'line' if len(reading.lost) == 1 else 'lines'} {listed([*reading.lost], 4)}"
    if not reading.broken:
        return f"Cell {reading.position} has a syntax error in {where}: only the rest of the cell was run."
    if re.search(r"^<<<<<<< ", reading.source, re.MULTILINE):
        return f"Cell {reading.position} has git conflict markers in {where} and was not run: resolve the conflict."
    return f"Cell {reading.position} isn't valid Python (see its {where}) and was not run."


_FOREIGN = (
    "This notebook wasn't made from the exercise's own file: its cells were recognized by what they compute, and its "
    "data, parameters and forward pass were replaced by the exercise's."
)


def _locked_notes(
    readings: Sequence[CellReading], known: Released, cells_left: set[tuple[str | None, str]]
) -> Iterator[str]:
    for index, cell in enumerate(known.cells):
        if not normal(_COMMENT_OR_OURS.sub("", cell.source)):
            continue  # a cell of magics alone: there to be edited, and nothing depends on it
        copies = [reading for reading in readings if reading.match == index]
        copied = any(each.does == "copy" and each.cell == index for reading in readings for each in reading.readings)
        if cell.role == "gradients":
            wanted = {(cell.part, name) for name in (*known.gradients_of(index), *cell.code.defines)}
            if not copies and not cells_left >= wanted:
                yield f"The cell {cell.grade_id} is missing, and so is what it should assign."
            elif len(same := [each for each in copies if each.how != "names"]) > 1 and cell.part not in known.trained:
                yield f"Cells {_numbers(same)} are copies of one cell: all were run, in order."
        elif not copies and not copied:
            yield f"The locked cell {cell.grade_id} was missing: the original was run in its place."
        elif not copies:
            yield f"The locked cell {cell.grade_id} had been changed: the original was run instead."
        elif changed := [each for each in copies if normal(each.source) != normal(cell.source)]:
            yield f"Cell {changed[0].position} is locked and had been changed: the original was run instead."


def _numbers(readings: Sequence[CellReading]) -> str:
    *first, last = (str(reading.position) for reading in readings)
    return f"{', '.join(first)} and {last}"


def _settings(readings: Sequence[CellReading], known: Released) -> Iterator[str]:
    """The parameters that a notebook gives other values."""
    given = {normal(line.split("#")[0]) for cell in known.cells if cell.role == "parameters"
             for line in cell.source.split("\n")}  # fmt: skip
    ours = {text.split("=", 1)[0]: text.split("=", 1)[1] for text in given if "=" in text}
    seen: dict[str, str] = {}
    for reading in readings:
        for each in reading.readings:
            left, _, value = each.piece.text.partition("=")
            name = left.strip()
            same = name not in ours or _plain(value) == _plain(ours[name])
            left_out = each.piece.first in reading.lost  # no Python: what is run has `None` in its place
            if (
                each.does == "copy"
                and each.piece.binds == (name,)
                and name in known.settings
                and not (same or left_out)
            ):
                seen.setdefault(name, _plain(value))
    for name, value in seen.items():
        yield f"It sets {name} = {_quoted(value)}: the exercise's {name} = {_plain(ours[name])} was used."


def _plain(value: str) -> str:
    """A number as it is written, without what only parts its digits."""
    return normal(value.split("#")[0]).replace("_", "")


def _unknown(readings: Sequence[CellReading], known: Released) -> Iterator[str]:
    """Names that look like gradients and are none of the exercise's, with the ones that may be meant."""
    pieces = [each.piece for reading in readings for each in reading.readings if each.does != "copy"]
    bound = {name for piece in pieces for name in piece.binds}
    missing = [name for name in known.names if name not in bound]
    for name in dict.fromkeys(name for piece in pieces for name in piece.binds):
        meant = nearest(name, missing) if name not in known.binders and name not in known.names else None
        if meant is not None:
            yield f"This exercise has no {_quoted(name)}. Did you mean {meant}?"


def _quoted(text: str) -> str:
    """A student's text in a sentence: on one line, and not too long."""
    line = " ".join(text.split())
    return textwrap.shorten(line, MAX_QUOTED, placeholder=" …") if " " in line[:MAX_QUOTED] else line[:MAX_QUOTED]
