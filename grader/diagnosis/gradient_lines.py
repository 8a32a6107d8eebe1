"""Where a part's gradients are bound: in the student's own cells, or in a method that a cell of ours calls."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from grader.diagnosis.formula.program import Program
from grader.marking.part_in_all_cases import PartCases


@dataclass(eq=False)
class GradientLines:
    """The lines of a part."""

    part: PartCases

    @cached_property
    def program(self) -> Program:
        """The part's lines, gone through with no numbers known."""
        return Program(self.part.cells, self.part.part_id)

    def code(self, name: str) -> str:
        """What makes a gradient, as its author would call it: a method or a function, or the line that binds it."""
        made = self.program.made.get(name)
        return f"`{made.code if made is not None else name}`"

    def statement(self, name: str) -> tuple[int, int] | None:
        """The cell (index) and line of the student's last statement of the part that binds `name`.

        Where a cell of ours binds it, calling a method of the student's, it is the line in that method.
        """
        own = ((index, cell) for index, cell in enumerate(self.part.cells)
               if cell.student and cell.part == self.part.part_id)  # fmt: skip
        lines = [(index, line) for index, cell in own if (line := cell.code.line_that_binds(name)) is not None]
        if lines:  # so it mostly is: going through the program takes longer than all the rest of marking
            return lines[-1]
        made = self.program.made.get(name)
        return (made.cell, made.line) if made is not None else None
