"""From tensors to verdicts: what a student's gradient is worth, and in which case that was decided.

The hidden cases, in float64, decide what is right; the visible one shows what the student's own `cmp` shows.
`docs/verdicts.md` explains the rules to students.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch

from grader.course.exercise import Exercise
from grader.execution.execute import Execution
from grader.execution.tensors import Export, StudentTensor
from grader.intake.take_in import PlannedCell
from grader.marking.alone import Alone
from grader.marking.case_outcomes import Outcome, PartCase
from grader.marking.decision import Decision
from grader.marking.float32_only import ShortFloats
from grader.marking.near_zero import Edge, Finding, Trial, judge, untried
from grader.marking.part_in_all_cases import PartCases, References
from grader.marking.tolerance import cmp_line, conformed, finite_or_none
from grader.marking.unfinished_cells import Stops
from grader.notebook.near_names import nearest
from grader.notebook.syntax import assigned_names, first_bindings, line_that_binds, statements
from grader.records import VISIBLE, Check, CmpLine, Verdict

__all__ = ["PartMarks", "References"]

NUMERICAL = 1e-11
"""Formulas leave some 1e-15 of a gradient to rounding in float64, finite differences at the best 1e-10."""
MAX_NAME = 60
"""Letters of a student's name that a sentence repeats."""


class PartMarks(PartCases):
    """A part's verdicts, from what every case says.

    Args:
        part_id, exercise, cells, execution, references: as those of `PartCases`.
        tried: the steps of the chain rule of which right values prove little.
    """

    def __init__(self, part_id: str, exercise: Exercise, cells: Sequence[PlannedCell], execution: Execution,
                 references: References, tried: Sequence[Edge] = ()) -> None:  # fmt: skip
        super().__init__(part_id, exercise, cells, execution, references)
        self._stops = Stops(self)
        self._short_floats = ShortFloats(self, self._stops)
        self._decision = Decision(self, self._stops, self._short_floats)
        self._tried = tried
        self._judged: dict[str, list[Trial]] = {}
        self._cmp: dict[str, CmpLine | None] = {}

    @property
    def wants_float32(self) -> bool:
        """Whether some tensor can't be judged in float64, because the student's code works in float32 only."""
        return self._short_floats.wanted

    def speaking(self, name: str) -> list[PartCase]:
        """The hidden float64 cases that say something of a tensor, and in which it is there to be looked at."""
        return self._decision.speaking(name)

    def visible_only(self, name: str) -> bool:
        """Right wherever the sizes are the visible case's, and wrong only where they are others."""
        return self._decision.visible_only(name)

    def right_in_float32(self, name: str) -> bool:
        """Whether the visible case shows nothing of a mistake that its twin in float64 has."""
        return self._decision.right_in_float32(name)

    def right_as_seen(self, name: str) -> bool:
        """Whether a value is right with the numbers that the student sees, rounding aside."""
        return self._decision.right_as_seen(name)

    def cmp(self, name: str) -> CmpLine | None:
        """What the student's own `cmp` shows on the visible case."""
        if name not in self._cmp:
            found, expected = (
                self.visible.exported.get(name, StudentTensor.absent()).tensor,
                self.visible.expected(name),
            )
            self._cmp[name] = (
                None if found is None or expected is None else cmp_line(found, expected, self.visible.tolerance)
            )
        return self._cmp[name]

    def check(self, name: str) -> Check:
        """The verdict on one check."""
        found = self.visible.exported.get(name, StudentTensor.absent())
        worst, case_id = self._decision.worst(name)
        unfinished = self._stops.could_not_check(name) is not None
        if unfinished or self.visible.outcomes[name] is Outcome.ABSENT:
            told = (Outcome.CARRIED,) if unfinished else (Outcome.CARRIED, Outcome.WRONG)
            if worst not in told or not self._tried_alone(name):
                return self._absent(name, found)
        if worst is Outcome.RIGHT and not self._decision.confirmed(name):
            return self._check(name, Verdict.UNCHECKED, 0.0, VISIBLE, _UNCONFIRMED)
        if worst is Outcome.RIGHT:
            slip = self.slip_by_symmetry(name)
            if slip is not None and self.first_hidden is not None:
                return self._check(name, Verdict.WRONG, 0.0, self.first_hidden.case.id, None)
            return self._right(name)
        if worst is Outcome.WRONG and (differing := self._forward_differs(name)) is not None:
            return self._check(name, Verdict.UNCHECKED, 0.0, VISIBLE, differing)
        if worst is Outcome.BLANK:
            return self._check(name, Verdict.UNCHECKED, 0.0, VISIBLE, _BLANK)
        stopped = self._stops.stopped_short(name) if worst is Outcome.WRONG else None
        if stopped is not None and (self._stops.stopped_in(name) or not self._tried_alone(name)):
            return self._check(name, Verdict.MISSING, 0.0, VISIBLE, stopped)
        share = 0.0
        remark = self._shape_remark(name, found)
        if worst is Outcome.CARRIED:
            share = 1.0 if self._rebound(name) else self.exercise.spec.carried
            if self.visible.outcomes[name] is not Outcome.CARRIED:
                remark = " ".join(filter(None, (self._right_alone(name), remark)))
        elif self.visible_only(name):
            share = self.exercise.spec.visible_only
            remark = "It is right for the sizes and numbers you can see, but not for different ones."
        elif self.right_in_float32(name):
            remark = remark or "cmp says True on the visible case: float32 is too coarse to show the difference."
        elif name in self.checks.values:
            remark = remark or self._right_elsewhere(name)
        remark = remark or self._wrong_elements(name)
        if worst is Outcome.CARRIED:
            return self._check(name, Verdict.CARRIED, share, case_id, remark)
        return self._check(name, Verdict.WRONG, share, case_id, remark)

    def _wrong_elements(self, name: str) -> str | None:
        """Of a list of gradients some of which are right, which are not."""
        if name[1:] not in self.visible.reference.lists:
            return None
        first = self.first_hidden
        wrong = first.alone.wrong_elements(name) if first is not None and first.alone is not None else []
        if not 0 < len(wrong) < len(self.visible.reference.forward[name[1:]]):
            return None
        return f"It is wrong at {_elements(name, wrong)}; elsewhere in the list the line is right."

    def _tried_alone(self, name: str) -> bool:
        """Whether the line for a gradient, or the update of a parameter, was tried on its own in some hidden case."""
        return any(case.alone is not None and case.alone.tried(name) for case in self.hidden.values())

    def _right_alone(self, name: str) -> str:
        """That a line is right, though its value isn't or isn't there, and what holds it up."""
        if name in self.checks.values:
            right = self.right_by_value(f"d{name}")
            return f"Right on its own; {'the loop stopped before its update' if right else 'its gradient is not'}."
        if (line := self._rebound(name)) is not None:
            return f"Right; from line {line} on, {name} is something else."
        if (otherwise := self.given_otherwise(name)) is not None:
            return f"Right on its own; {otherwise}."
        above = self.visible.reference.computed_from(name[1:])
        states = {other: self._state(other) for other in self.checks.gradients if other[1:] in above}
        held_up = [(other, state) for other, state in states.items() if state is not None and other != name]
        first = self.first_hidden
        if self.visible.outcomes[name] is not Outcome.ABSENT and first is not None and first.alone is not None:
            slips = first.alone.slips_on_the_way()
            held_up += [(first.alone.variable(slip), "is wrong") for slip in slips if slip[1:] in above]
        if not held_up:
            differing = self._first_differing() if self.checks.values else None
            stopped = self.visible.outcomes[name] is Outcome.ABSENT or self._stops.stopped_short(name) is not None
            return f"Right on its own; {differing or (_STOPPED if stopped else _REACHED)}."
        other, state = held_up[-1]
        return f"Right on its own; {other}, further up, {state}."

    def _rebound(self, name: str) -> int | None:
        """The line from which on a gradient's name is something else, when its own line was done with."""
        first = self.first_hidden
        if first is None or first.alone is None or not first.alone.rebound(name):
            return None
        lines = [line_that_binds(cell.source, first.alone.variable(name)) for cell in self.student_cells]
        return next((line for line in reversed(lines) if line is not None), None)

    def _forward_differs(self, name: str) -> str | None:
        """Why a gradient of a training loop can't be judged: its line starts from a forward pass that isn't ours."""
        first = self.first_hidden
        alone = first.alone if first is not None else None
        if alone is None or not self.checks.values or name in self.checks.values:
            return None
        on_the_way = [other for other in alone.lines.starts if other[1:] in alone.reference.computed_from(name[1:])]
        if not any(alone.starts_from_differing(other) for other in (name, *on_the_way)) or alone.says(name) is False:
            return None
        differing = self._first_differing()
        return f"{differing}, and {name} is computed from it or from what follows." if differing is not None else None

    def _first_differing(self) -> str | None:
        """The first tensor of a training loop's forward pass that isn't the exercise's."""
        first = self.first_hidden
        differing = first.alone.differing if first is not None and first.alone is not None else frozenset()
        for cell in self.student_cells:
            for line, bound in first_bindings(cell.source):
                if bound in differing:
                    return f"`{bound}` is not what the exercise's forward pass makes, from {cell.place(line)} on"
        return None

    def given_otherwise(self, name: str) -> str | None:
        """Which of the names that the exercise has given a gradient's line reads, and the part's lines gave anew."""
        if self.checks.values:
            return None  # a training loop has a forward pass of its own
        known = {*self.visible.reference.forward, *self.visible.reference.constants} - {*self.checks.names}
        read = {read for cell in self.student_cells for each in statements(cell.source)
                if name in each.names for read in each.reads}  # fmt: skip
        for cell in self.student_cells:
            for line, bound in first_bindings(cell.source):
                if bound in read & known and bound in self.visible.exported:
                    number = self.visible.exported[bound].number
                    value = "something else" if number is None else f"{number:g}"
                    return f"`{bound}` is {value} from line {line} on"
        return None

    def _state(self, name: str) -> str | None:
        """What keeps the lines below a gradient from being judged by their values; None where nothing does."""
        worst, _ = self._decision.worst(name)
        if worst in (Outcome.RIGHT, Outcome.CARRIED):
            return None
        found = self.visible.exported.get(name, StudentTensor.absent())
        if found.tensor is None:
            return "is missing"
        if not bool(torch.isfinite(found.tensor).all()):
            return "holds NaN or infinity"
        return "is zero" if not bool(found.tensor.any()) else "is wrong"

    def detached(self, name: str) -> list[PartCase]:
        """The hidden cases as a line was tried on its own, with random numbers above it, where it failed in one."""
        tried = [case for case in self.hidden.values() if case.alone is not None and case.alone.tried(name)]
        if not any(case.alone is not None and case.alone.says(name) is False for case in tried):
            return []
        return [self._alone(case, case.alone, name) for case in tried if case.alone is not None]

    def _alone(self, case: PartCase, alone: Alone, name: str) -> PartCase:
        found = self._with(case, alone.export(name))
        if name[1:] in case.reference.lists:
            found.upstream[name[1:]] = alone.numbers(name[1:])  # what a line for one element found in the others
        return found

    def tried_again(self, slip: Trial) -> list[PartCase]:
        """The first hidden case as its second detached run had it, in which a step was found to slip."""
        first = self.first_hidden
        return [self._with(first, slip.export)] if first is not None and slip.export is not None else []

    @staticmethod
    def _with(case: PartCase, export: Export) -> PartCase:
        return PartCase(case.case, case.gradients, case.upstream_names, case.values, {**case.exported, **export},
                        case.reference, case.tolerance)  # fmt: skip

    def follows(self, name: str) -> bool | None:
        """Whether a value moves with random numbers in the gradients above it; None where nobody can tell."""
        first = self.first_hidden
        value = first.usable(name) if first is not None else None
        if first is None or first.alone is None or value is None or name in self._short_floats.names:
            return None  # code that works in float32 only is tried in float64
        return first.alone.trains_on(name, value) if name in self.checks.values else first.alone.follows(name, value)

    @cached_property
    def unmoved(self) -> list[str]:
        """The right values that take up nothing of what is above them."""
        return [name for name in self.checks.names if self.right_by_value(name) and self.follows(name) is False]

    def skipped(self, name: str) -> str:
        """The gradients directly above one that takes up nothing of them."""
        first = self.first_hidden
        return first.alone.skipped(name) if first is not None and first.alone is not None else "the gradients above it"

    def is_numerical(self, name: str) -> bool:
        """Whether a right value is right to so few digits, in float64, as a numerical derivative is."""
        first = self.first_hidden
        value, right = (first.usable(name), first.expected(name)) if first is not None else (None, None)
        if value is None or right is None or not right.numel():
            return False
        return float((value - right).abs().max()) > NUMERICAL * float(right.abs().max())

    def right_by_value(self, name: str) -> bool:
        """Whether a value is right in every case, whatever its line is."""
        return self._decision.worst(name)[0] is Outcome.RIGHT

    def _right_elsewhere(self, name: str) -> str | None:
        """In which hidden cases a wrong value is right: what they are called says what sets them apart."""
        right = [case_id for case_id, case in self.hidden.items() if case.outcomes[name] is Outcome.RIGHT]
        return f"In the hidden case {' and '.join(right)} it is right." if right else None

    def _right(self, name: str) -> Check:
        line = self.cmp(name)
        remark = self._shape_remark(name, self.visible.exported[name])
        if self._short_floats.starts_at(name):
            remark = remark or "Its code works in float32 only, so rounding there decided; see .float() and dtype=."
        elif line is not None and not line.approximate and remark is None:
            remark = "cmp says False on the visible case: that is float32 rounding, and in float64 it is right."
        exact = line is not None and line.exact and remark is None
        own_way = f"It is computed in a different way, not from {self.skipped(name)}." if name in self.unmoved else None
        remarks = [text for text in (remark, self._can_not_tell(name) or own_way) if text is not None]
        verdict = Verdict.EXACT if exact else Verdict.APPROXIMATE
        return self._check(name, verdict, 1.0, VISIBLE, " ".join(remarks) or None)

    def slip_by_symmetry(self, name: str) -> Trial | None:
        """The trial in which a line with a right value made something else than the chain rule of other numbers."""
        return next((trial for trial in self._trials(name) if trial.export is not None), None)

    def _can_not_tell(self, name: str) -> str | None:
        """That a right value proves little, where its line could not be tried with other numbers."""
        return next((trial.doubt for trial in self._trials(name) if trial.finding is not Finding.FOLLOWS), None)

    def _trials(self, name: str) -> list[Trial]:
        """What the two detached runs of the first hidden case say of the steps to a gradient."""
        if name not in self._judged:
            edges = [edge for edge in self._tried if f"d{edge.lower}" == name]
            first = self.first_hidden if edges else None
            alone = first.alone if first is not None else None
            self._judged[name] = [] if first is None else judge(alone, edges) if alone is not None else untried(edges)
        return self._judged[name]

    @property
    def first_hidden(self) -> PartCase | None:
        """The first of the hidden cases, if it came to its end."""
        first = next(iter(self.exercise.cases[1:]), None)
        return self.hidden.get(first.id) if first is not None else None

    def _absent(self, name: str, found: StudentTensor) -> Check:
        reason = self._stops.could_not_check(name)
        if reason is not None:
            return self._check(name, Verdict.UNCHECKED, 0.0, VISIBLE, reason)
        said = {
            "absent": f"Nothing is called {name}.",
            "none": f"{name} is still None.",
            "tensor": f"It can't be judged until there is a d{name}.",
            "other": f"{name} is not a tensor but {found.note.type[:60]}.",
        }
        remark = said[found.note.kind]
        if found.note.lacks:
            remark = f"There is no tensor at {_elements(name, found.note.lacks)}."
        if found.note.kind == "absent" and (why := self._stops.not_reached(name)) is not None:
            return self._check(name, Verdict.MISSING, 0.0, VISIBLE, why)
        meant = self._named_otherwise(name) if found.note.kind == "absent" else None
        lost = [line for cell in self.student_cells if (line := line_that_binds(cell.source, name[1:])) is not None]
        if meant is None and found.note.kind == "absent" and lost and not self.checks.values:
            remark += f" Line {lost[-1]} binds {name[1:]}, a tensor of the forward pass: did you mean {name}?"
        if meant is not None:
            remark += f" This exercise has no {meant}. Did you mean {name}?"
        return self._check(name, Verdict.MISSING, 0.0, VISIBLE, remark)

    def _named_otherwise(self, name: str) -> str | None:
        """The student's name to which this one, which is missing, is the nearest of those expected."""
        missing = [other for other in self.checks.gradients if self.visible.outcomes[other] is Outcome.ABSENT]
        ours = {*self.checks.names, *self.checks.upstream, *(f"d{other}" for other in self.visible.reference.known)}
        bound = [other for cell in self.student_cells for other in assigned_names(cell.source) if other not in ours]
        found = (other for other in bound if other.isidentifier() and nearest(other, missing) == name)
        return next((other for other in found if len(other) <= MAX_NAME), None)

    def _shape_remark(self, name: str, found: StudentTensor) -> str | None:
        expected = self.visible.expected(name)
        if expected is None or found.shape is None or found.shape == list(expected.shape):
            return None
        if name[1:] in self.visible.reference.lists and found.shape[:1] != list(expected.shape[:1]):
            return f"{name} has {found.shape[0] if found.shape else 0} elements, {name[1:]} has {len(expected)}."
        shapes = f"{name} has shape {_shape(found.shape)}, its tensor {_shape(list(expected.shape))}"
        if found.tensor is not None and conformed(found.tensor, expected.shape) is not None:
            return f"{shapes}: it broadcasts, so the value counts."
        return f"{shapes}: a gradient has its tensor's shape."

    def _check(self, name: str, verdict: Verdict, share: float, case_id: str, remark: str | None) -> Check:
        part_case = self.visible if case_id == VISIBLE else self.hidden.get(case_id) or self.float32[case_id]
        found, expected = part_case.exported.get(name), part_case.expected(name)
        line = self.cmp(name) if case_id == VISIBLE else None  # of a hidden case only shapes are shown, never numbers
        points = self.exercise.max_points(self.part_id)
        return Check(
            part=self.part_id,
            name=name,
            verdict=verdict,
            points=points * share,
            max_points=points,
            case=case_id,
            maxdiff=finite_or_none(line.maxdiff) if line is not None else None,
            shape=found.shape if found is not None else None,
            expected_shape=list(expected.shape) if expected is not None else None,
            remark=remark,
        )


_UNCONFIRMED = (
    "It is right on the case you see, and could not be computed again with different numbers: "
    "the cell died, took too long, or stopped before this line."
)


_STOPPED = "the cell stopped before this line"
_REACHED = "what reaches it isn't"
_BLANK = (
    "What your gradients further up hand to this line is zero, not a number, or of the wrong shape, so nothing can be "
    "said about it: begin with the first wrong one."
)


def _elements(name: str, places: Sequence[int]) -> str:
    """`dh[0]`, `dh[1] to dh[4]`, `dh[0], dh[3] and 2 more`."""
    if len(places) > 2 and places[-1] - places[0] == len(places) - 1:
        return f"{name}[{places[0]}] to {name}[{places[-1]}]"
    more = f" and {len(places) - 3} more" if len(places) > 3 else ""
    return ", ".join(f"{name}[{place}]" for place in places[:3]) + more


def _shape(shape: list[int]) -> str:
    return str(tuple(shape))
