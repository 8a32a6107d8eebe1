"""Where a part's cells stopped before their end: what was never computed, and in which case a statement raises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch

from grader.execution.execute import CellError, CellRun
from grader.execution.time_limits import cell_seconds
from grader.intake.take_in import PlannedCell
from grader.marking.case_outcomes import PartCase
from grader.marking.outcome import Outcome
from grader.marking.part_in_all_cases import PartCases
from grader.notebook.code import Code, Statement
from grader.notebook.file import REFERENCE_ROLES
from grader.notebook.gradient_names import gradient_of


@dataclass(eq=False)
class Stops:
    """The stops of a part."""

    part: PartCases

    # --- in the visible case

    def could_not_check(self, name: str, asking: frozenset[str] = frozenset()) -> str | None:
        """Why a name says nothing about the student: its cell, or one it builds on, never came to its end.

        Or the kernel, to the last, did not hand over what the part had computed.

        `asking` are the names that are built on this one: used before they are bound, two may be built on each other.
        """
        if self._own_cell_failed is not None:
            return self._own_cell_failed
        for index, cell in enumerate(self.part.cells):
            run = self.part.execution.cells[index]
            if not (cell.student or cell.role == "backward") or cell.part != self.part.part_id or run.status == "ok":
                continue
            reason = self._unfinished(name, cell.code, run, asking | {name})
            if reason is not None:
                return reason
        attempted = any(cell.role == "gradients" for cell in self.part.student_cells)
        return _LOST if attempted and self.part.part_id not in self.part.execution.visible else None

    @cached_property
    def _own_cell_failed(self) -> str | None:
        """What kept one of the exercise's own cells, on which all else is built, from coming to its end."""
        for cell, run in zip(self.part.cells, self.part.execution.cells, strict=True):
            own = not cell.student and cell.role in REFERENCE_ROLES and cell.part in (None, self.part.part_id)
            if own and run.status in _NOT_OVER:
                return f"The exercise's own cell {cell.label} {_NOT_OVER[run.status]}."
        return None

    def _unfinished(self, name: str, code: Code, run: CellRun, asking: frozenset[str]) -> str | None:
        """Why one cell has not bound `name` for good; None where it has, or binds it nowhere."""
        left = code.onward(code.top_level_line(run.line))
        if not any(name in statement.binds for statement in left):
            return None
        if run.status == "timeout":
            return f"The cell that assigns {name} was stopped after {cell_seconds(self.part.exercise.spec):g} s."
        if run.status == "died":
            return f"The kernel died in the cell that assigns {name}{f': {run.end}' if run.end else ''}."
        if run.status == "skipped":
            return "The notebook ran out of time before this cell was reached."
        wanted = [
            other
            for other in sorted(left[0].reads)
            if other in self.part.checks.gradients and other not in left[0].binds
        ]
        for other in wanted:
            absent = other not in asking and self.part.visible.outcomes[other] is Outcome.ABSENT
            if absent and self.could_not_check(other, asking) is not None:
                return f"It is computed from {other}, which could not be checked."
        return None

    def not_reached(self, name: str) -> str | None:
        """Why a name that the student's cells assign is not there: an error above it, or text that isn't Python."""
        for cell, run, line in self.part.cell_errors:
            if any(name in each.binds for each in cell.code.unfinished(line)):
                error = (run.error or "an error").split(":")[0]
                return f"{cell.place(line)} stopped with {error} before this was assigned."
        assigns = re.compile(rf"^\s*{re.escape(name)}\b\s*(?:\[.*\]\s*)?[-+*/@]?=(?!=)")
        for cell in self.part.student_cells:
            kept = cell.source.split("\n") if cell.code.is_python else []
            for number, text in enumerate((cell.shown or cell.source).split("\n"), 1):
                if assigns.match(text) and text not in kept:
                    where = cell.place(number)
                    if cell.code.is_python:
                        return f"{where}, which assigns it, isn't valid Python."
                    return f"{where} assigns it but was not run: the cell has a syntax error."
        return None

    def stopped_short(self, name: str) -> str | None:
        """Why a tensor is only half done: an error stopped its cell before, or in, the last statement for it."""
        for cell, line in self._stopped_for_good(name):
            if any(name in each.binds for each in cell.code.unfinished(line)):
                return f"An error in line {line} stopped the cell before {name} was complete."
            if gradient_of(name) in cell.code.binds and self._untrained(name):
                return f"An error in line {line} stopped the cell before {name} was trained."
        return None

    def stopped_in(self, name: str) -> bool:
        """Whether a cell stopped in one of the tensor's own statements, or in a loop around one."""
        stopped = self._stopped_for_good(name)
        return any(name in each.binds for cell, line in stopped for each in cell.code.around(line))

    def _stopped_for_good(self, name: str) -> Iterator[tuple[PlannedCell, int]]:
        """The cells that an error stopped, each with its line, where no cell further down binds `name` anew."""
        stopped = [(cell, line) for cell, _, line in self.part.cell_errors]
        below = False
        for cell in reversed(self.part.student_cells):
            line = next((line for other, line in stopped if other is cell), None)
            if line is not None and not below:
                yield cell, line
            ends = line or len(cell.source)
            below = below or any(each.binds == (name,) and name not in each.reads and each.last < ends
                                 for each in cell.code.statements)  # fmt: skip

    def _untrained(self, name: str) -> bool:
        """Whether a parameter is still what it was before the training loop."""
        value = self.part.visible.usable(name) if name in self.part.checks.values else None
        return value is not None and torch.equal(value, self.part.visible.reference.initial[name].to(value.dtype))

    # --- in one of the other cases

    def raises_only_here(self, part_case: PartCase, name: str) -> bool:
        """Whether a statement that binds `name` raises in this case, in a cell that raised nothing in the visible."""
        for error in self.part.errors(part_case):
            if error.line is None or self.part.execution.cells[error.cell].error is not None:
                continue
            for statement in self.part.cells[error.cell].code.at(error.line):
                if name in statement.binds:
                    return not any(self._spoiled(part_case, other) for other in statement.reads if other != name)
        return False

    def own_statement_failed(self, part_case: PartCase, name: str) -> bool:
        """Whether the statement that should bind `name` raised, and not only for want of an earlier one's result."""
        for error in self.part.errors(part_case):
            statement = self._stopped_at(error)
            if statement is not None and name in statement.binds:
                return not any(self._spoiled(part_case, other) for other in statement.reads if other != name)
        return False

    def _stopped_at(self, error: CellError) -> Statement | None:
        """The binding statement that raised, or the next one after a line that raised and binds nothing."""
        if error.line is None:
            return None
        code = self.part.cells[error.cell].code
        return next(iter(code.at(error.line) or code.onward(error.line)), None)

    @staticmethod
    def _spoiled(part_case: PartCase, name: str) -> bool:
        """Whether a gradient is absent in a case, or of a shape that nothing can be computed with."""
        if name not in part_case.outcomes:
            return False
        return part_case.outcomes[name] is Outcome.ABSENT or part_case.usable(name) is None


_NOT_OVER = {
    "timeout": "was out of time, so nothing after it could be checked",
    "died": "ended its kernel, so nothing after it could be checked",
    "skipped": "was not reached: the notebook had run out of time",
}
_LOST = "The kernel died, or was tampered with, before the grader could read what this part computed."
