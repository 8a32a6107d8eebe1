"""What a cell is called wherever it is spoken of: by its place in the notebook, as the notes and flags do."""

from __future__ import annotations

from collections.abc import Sequence

from grader.records import CellView


def cell_name(cells: Sequence[CellView], index: int) -> str:
    """`Cell 11`; with its lines where only some of them are shown; by its name where the notebook doesn't have it."""
    cell, number = cells[index], cell_number(cells, index)
    if number is None:
        return f"The exercise’s cell {cell.label}"
    name = f"Cell {number}"
    if cell.number is not None and cell.source and sum(other.number == cell.number for other in cells) > 1:
        return f"{name}, lines {cell.first_line} to {line_number(cell, len(code_lines(cell.source)))}"
    return name


def line_name(cells: Sequence[CellView], index: int, line: int) -> str:
    """`Cell 11, line 3`: the notebook's own numbers, also where a cell is shown in pieces.

    Of a running kernel nobody knows where in the notebook its cells are: `Line 3`.
    """
    number = cell_number(cells, index)
    shown = line_number(cells[index], line)
    return f"Line {shown}" if number is None else f"Cell {number}, line {shown}"


def cell_number(cells: Sequence[CellView], index: int) -> int | None:
    """The cell's number in the notebook; None where the notebook doesn't have the cell, or nobody knows."""
    cell = cells[index]
    return index + 1 if cell.number is None and not cell.label else cell.number


def has_line(cells: Sequence[CellView], number: int, line: int) -> bool:
    """Whether a line of the notebook's cell with a number is among those that are shown."""
    return any(
        cell_number(cells, index) == number and 0 <= line - cell.first_line < len(code_lines(cell.source))
        for index, cell in enumerate(cells)
    )


def code_lines(source: str) -> list[str]:
    """The lines as Python counts them; `str.splitlines` would also split at form feeds and Unicode separators."""
    if not source:
        return []
    return source.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")


def line_number(cell: CellView, line: int) -> int:
    """The line in the notebook's cell of a line of what is shown."""
    return cell.first_line + line - 1
