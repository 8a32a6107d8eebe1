"""What a cell is called wherever it is spoken of: by its place in the notebook, as the notes and flags do."""

from __future__ import annotations

from collections.abc import Sequence

from grader.records import CellView


def cell_name(cells: Sequence[CellView], index: int) -> str:
    """`Cell 11`; with its lines where only some of them are shown; by its name where the notebook doesn't have it."""
    cell = cells[index]
    if cell.number is None:
        return f"The exercise’s cell {cell.label}" if cell.label else f"Cell {index + 1}"
    name = f"Cell {cell.number}"
    if cell.source and sum(other.number == cell.number for other in cells) > 1:
        return f"{name}, lines {cell.first_line} to {line_number(cell, len(cell.source.splitlines()))}"
    return name


def line_name(cells: Sequence[CellView], index: int, line: int) -> str:
    """`Cell 11, line 3`: the notebook's own numbers, also where a cell is shown in pieces.

    Of a running kernel nobody knows where in the notebook its cells are: `Line 3`.
    """
    cell = cells[index]
    if cell.number is None and cell.label:
        return f"Line {line_number(cell, line)}"
    return f"Cell {index + 1 if cell.number is None else cell.number}, line {line_number(cell, line)}"


def line_number(cell: CellView, line: int) -> int:
    """The line in the notebook's cell of a line of what is shown."""
    return cell.first_line + line - 1
