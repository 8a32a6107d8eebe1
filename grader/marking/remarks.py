"""What is said beside a verdict: why a line counts as right, what there is to compare, where a list is wrong.

Why a wrong line is wrong is `diagnosis`'s to say.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from grader.execution.tensors import StudentTensor
from grader.intake.take_in import PlannedCell
from grader.marking.combined_outcomes import CombinedOutcomes
from grader.marking.outcome import Outcome
from grader.marking.part_in_all_cases import PartCases
from grader.marking.tolerance import conformed
from grader.marking.unfinished_cells import Stops
from grader.notebook.gradient_names import gradient_of, nearest, tensor_of
from grader.wording import shape

MAX_NAME = 60
"""Letters of a student's name that a sentence repeats."""
_STOPPED = "the cell stopped before this line"
_REACHED = "what reaches it isn't"


class Remarks:
    """The sentences about a part's gradients, each for the name of one.

    Args:
        part: the part in all cases.
        stops: where its cells stopped.
        combined: what the cases say.
    """

    def __init__(self, part: PartCases, stops: Stops, combined: CombinedOutcomes) -> None:
        self._part = part
        self._visible = part.visible
        self._checks = part.checks
        self._cells = part.student_cells
        self._stops = stops
        self._combined = combined

    def right_alone(self, name: str) -> str:
        """That a line is right, though its value isn't or isn't there, and what holds it up."""
        if name in self._checks.values:
            right = self._combined.worst(gradient_of(name))[0] is Outcome.RIGHT
            return f"Right on its own; {'the loop stopped before its update' if right else 'its gradient is not'}."
        if (line := self.rebound(name)) is not None:
            return f"Right; from line {line} on, {name} is something else."
        if (otherwise := self.given_otherwise(name)) is not None:
            return f"Right on its own; {otherwise}."
        above = self._visible.reference.computed_from(tensor_of(name))
        states = {other: self._state(other) for other in self._checks.gradients if tensor_of(other) in above}
        held_up = [(other, state) for other, state in states.items() if state is not None and other != name]
        alone = self._part.alone
        if self._visible.outcomes[name] is not Outcome.ABSENT and alone is not None:
            slips = alone.slips_on_the_way()
            held_up += [(alone.variable(slip), "is wrong") for slip in slips if tensor_of(slip) in above]
        if not held_up:
            differing = self._first_differing() if self._checks.values else None
            stopped = self._visible.outcomes[name] is Outcome.ABSENT or self._stops.stopped_short(name) is not None
            return f"Right on its own; {differing or (self._stopped(name) if stopped else _REACHED)}."
        other, state = held_up[-1]
        return f"Right on its own; {other}, further up, {state}."

    def _stopped(self, name: str) -> str:
        """That the cell of a line stopped before it, and where."""
        for cell, _, line in self._part.cell_errors:
            if name in cell.code.binds:
                return f"the cell stopped in line {cell.line_number(line)}, before this one"
        return _STOPPED

    def rebound(self, name: str) -> int | None:
        """The line from which on a gradient's name is something else, when its own line was done with."""
        alone = self._part.alone
        if alone is None or not alone.rebound(name):
            return None
        lines = [cell.code.line_that_binds(alone.variable(name)) for cell in self._cells]
        return next((line for line in reversed(lines) if line is not None), None)

    def forward_differs(self, name: str) -> str | None:
        """Why a gradient of a training loop can't be judged: its line starts from a forward pass that isn't ours."""
        alone = self._part.alone
        if alone is None or not self._checks.values or name in self._checks.values:
            return None
        above = alone.reference.computed_from(tensor_of(name))
        on_the_way = [other for other in alone.lines.starts if tensor_of(other) in above]
        if not any(alone.starts_from_differing(other) for other in (name, *on_the_way)) or alone.says(name) is False:
            return None
        differing = self._first_differing()
        return f"{differing}, and {name} is computed from it or from what follows." if differing is not None else None

    def _first_differing(self) -> str | None:
        """The first tensor of a training loop's forward pass that isn't the exercise's."""
        differing = self._part.alone.differing if self._part.alone is not None else frozenset()
        if (found := self._first_binding(differing)) is None:
            return None
        cell, line, bound = found
        return f"`{bound}` isn't what the exercise's forward pass computes, from {cell.place(line)} on"

    def given_otherwise(self, name: str) -> str | None:
        """Which of the names that the exercise has given a gradient's line reads, and the part's lines gave anew."""
        if self._checks.values:
            return None  # a training loop has a forward pass of its own
        known = {*self._visible.reference.forward, *self._visible.reference.constants} - {*self._checks.names}
        read = {read for cell in self._cells for each in cell.code.statements
                if name in each.binds for read in each.reads}  # fmt: skip
        if (found := self._first_binding(read & known & self._visible.exported.keys())) is None:
            return None
        _, line, bound = found
        number = self._visible.exported[bound].number
        return f"`{bound}` is {'something else' if number is None else f'{number:g}'} from line {line} on"

    def _first_binding(self, names: Collection[str]) -> tuple[PlannedCell, int, str] | None:
        """The first of the student's lines to bind one of the names in its cell: cell, line and name."""
        bound = ((cell, *first) for cell in self._cells for first in cell.code.first_bindings)
        return next((each for each in bound if each[-1] in names), None)

    def _state(self, name: str) -> str | None:
        """What keeps the lines below a gradient from being judged by their values; None where nothing does."""
        worst, _ = self._combined.worst(name)
        if worst in (Outcome.RIGHT, Outcome.CARRIED):
            return None
        found = self._visible.exported.get(name, StudentTensor.absent())
        if found.tensor is None:
            return "has no value"
        if not bool(torch.isfinite(found.tensor).all()):
            return "holds NaN or infinity"
        return "is zero" if not bool(found.tensor.any()) else "is wrong"

    def right_elsewhere(self, name: str) -> str | None:
        """In which hidden cases a wrong value is right: what they are called says what sets them apart."""
        right = [case_id for case_id, case in self._part.hidden.items() if case.outcomes[name] is Outcome.RIGHT]
        return f"It is right in the hidden case {' and '.join(right)}." if right else None

    def wrong_elements(self, name: str) -> str | None:
        """Of a list of gradients some of which are right, which are not."""
        if tensor_of(name) not in self._visible.reference.lists:
            return None
        wrong = self._part.alone.wrong_elements(name) if self._part.alone is not None else []
        if not 0 < len(wrong) < len(self._visible.reference.forward[tensor_of(name)]):
            return None
        return f"It is wrong at {_elements(name, wrong)}; elsewhere in the list the line is right."

    def shape(self, name: str) -> str | None:
        """That a gradient's shape isn't its tensor's."""
        found, expected = self._visible.exported.get(name), self._visible.expected(name)
        if found is None or found.shape is None or expected is None or found.shape == list(expected.shape):
            return None
        if tensor_of(name) in self._visible.reference.lists and found.shape[:1] != list(expected.shape[:1]):
            return f"{name} has {found.shape[0] if found.shape else 0} elements, {tensor_of(name)} has {len(expected)}."
        shapes = f"{name} has shape {shape(found.shape)}, its tensor {shape(expected.shape)}"
        if found.tensor is not None and conformed(found.tensor, expected.shape) is not None:
            return f"{shapes}: it broadcasts, so the value counts."
        return f"{shapes}: a gradient must have its tensor's shape."

    def absent(self, name: str) -> str:
        """Why there is nothing to compare."""
        found = self._visible.exported.get(name, StudentTensor.absent())
        said = {
            "absent": f"{name} isn't defined.",
            "none": f"{name} is still None.",
            "tensor": f"It can't be judged until there is a d{name}.",
            "other": f"{name} isn't a tensor but {found.note.type[:60]}.",
        }
        remark = said[found.note.kind]
        if found.note.lacks:
            remark = f"There is no tensor at {_elements(name, found.note.lacks)}."
        if found.note.kind == "absent" and (why := self._stops.not_reached(name)) is not None:
            return why
        meant = self._named_otherwise(name) if found.note.kind == "absent" else None
        lost = [line for cell in self._cells if (line := cell.code.line_that_binds(tensor_of(name))) is not None]
        if meant is None and found.note.kind == "absent" and lost and not self._checks.values:
            remark += f" Line {lost[-1]} assigns {tensor_of(name)}, a tensor of the forward pass. Did you mean {name}?"
        if meant is not None:
            remark += f" This exercise has no {meant}. Did you mean {name}?"
        return remark

    def _named_otherwise(self, name: str) -> str | None:
        """The student's name to which this one, which is missing, is the nearest of those expected."""
        missing = [other for other in self._checks.gradients if self._visible.outcomes[other] is Outcome.ABSENT]
        ours = {
            *self._checks.names,
            *self._checks.upstream,
            *map(gradient_of, self._visible.reference.known),
        }
        bound = [other for cell in self._cells for other in cell.code.binds if other not in ours]
        found = (other for other in bound if other.isidentifier() and nearest(other, missing) == name)
        return next((other for other in found if len(other) <= MAX_NAME), None)


def _elements(name: str, places: Sequence[int]) -> str:
    """`dh[0]`, `dh[1] to dh[4]`, `dh[0], dh[3] and 2 more`."""
    if len(places) > 2 and places[-1] - places[0] == len(places) - 1:
        return f"{name}[{places[0]}] to {name}[{places[-1]}]"
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return ", ".join(f"{name}[{place}]" for place in places[:3]) + more
