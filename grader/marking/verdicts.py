"""From tensors to verdicts: what a student's gradient is worth, and in which case that was decided.

The hidden cases, in float64, decide what is right; the visible one shows what the student's own `cmp` shows.
`docs/verdicts.md` explains the rules to students.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from grader.execution.tensors import Export, StudentTensor
from grader.marking.case_values import CaseValues
from grader.marking.combined_outcomes import CombinedOutcomes
from grader.marking.float32_only import ShortFloats
from grader.marking.line_alone import Alone
from grader.marking.near_zero import Edge, Finding, Trial, judge
from grader.marking.outcome import Outcome
from grader.marking.part_in_all_cases import PartCases
from grader.marking.remarks import Remarks
from grader.marking.tolerance import cmp_line, finite_or_none
from grader.marking.unfinished_cells import Stops
from grader.notebook.gradient_names import gradient_of, tensor_of
from grader.records import VISIBLE, Check, CmpLine, Verdict

NUMERICAL = 1e-11
"""Formulas leave some 1e-15 of a gradient to rounding in float64, finite differences at the best 1e-10."""


class PartMarks:
    """A part's verdicts, from what every case says.

    Args:
        part: the part in all cases.
        tried: the steps of the chain rule of which right values prove little.

    Attributes:
        combined: what the cases say together.
        remarks: what is said beside a verdict.
    """

    def __init__(self, part: PartCases, tried: Sequence[Edge]) -> None:
        self.part = part
        self._visible = part.visible
        self._stops = Stops(part)
        self._short_floats = ShortFloats(part, self._stops)
        self.combined = CombinedOutcomes(part, self._stops, self._short_floats)
        self.remarks = Remarks(part, self._stops, self.combined)
        self._tried = tried
        self._judged: dict[str, list[Trial]] = {}
        self._cmp: dict[str, CmpLine | None] = {}

    @property
    def wants_float32(self) -> bool:
        """Whether some tensor can't be judged in float64, because the student's code works in float32 only."""
        return bool(self._short_floats.names)

    def cmp(self, name: str) -> CmpLine | None:
        """What the student's own `cmp` shows on the visible case."""
        if name not in self._cmp:
            case = self._visible
            found, right = case.exported.get(name, StudentTensor.absent()).tensor, case.expected(name)
            self._cmp[name] = None if found is None or right is None else cmp_line(found, right, case.tolerance)
        return self._cmp[name]

    def check(self, name: str) -> Check:
        """The verdict on one check."""
        worst, case_id = self.combined.worst(name)
        unfinished = self._stops.could_not_check(name) is not None
        absent = self._visible.outcomes[name] is Outcome.ABSENT
        if worst is Outcome.RIGHT and absent and not unfinished and self._only_not_reached(name):
            worst = Outcome.CARRIED
        if unfinished or absent:
            told = (Outcome.CARRIED,) if unfinished else (Outcome.CARRIED, Outcome.WRONG)
            if worst not in told or not self._tried_alone(name):
                return self._absent(name)
        if worst is Outcome.RIGHT and not self.combined.confirmed(name):
            return self._check(name, Verdict.UNCHECKED, _UNCONFIRMED)
        if worst is Outcome.RIGHT:
            slip = self.slip_by_symmetry(name)
            if slip is not None and self.part.first_hidden is not None:
                return self._check(name, Verdict.WRONG, None, case_id=self.part.first_hidden.case.id)
            return self._right(name)
        if worst is Outcome.BLANK:
            return self._check(name, Verdict.UNCHECKED, _BLANK)
        return self._carried(name, case_id) if worst is Outcome.CARRIED else self._wrong(name, worst, case_id)

    def _carried(self, name: str, case_id: str) -> Check:
        remark = self.remarks.shape(name)
        if self._visible.outcomes[name] is not Outcome.CARRIED:
            remark = " ".join(filter(None, (self.remarks.right_alone(name), remark)))
        share = 1.0 if self.remarks.rebound(name) else self.part.exercise.spec.carried
        return self._check(name, Verdict.CARRIED, remark or self.remarks.wrong_elements(name), share, case_id)

    def _wrong(self, name: str, worst: Outcome, case_id: str) -> Check:
        if worst is Outcome.WRONG:
            if (differing := self.remarks.forward_differs(name)) is not None:
                return self._check(name, Verdict.UNCHECKED, differing)
            stopped = self._stops.stopped_short(name)
            if stopped is not None and (self._stops.stopped_in(name) or not self._tried_alone(name)):
                return self._check(name, Verdict.MISSING, stopped)
        share, remark = 0.0, self.remarks.shape(name)
        if self.combined.visible_only(name):
            share = self.part.exercise.spec.visible_only
            remark = "It is right for the sizes and numbers you see, but not for others."
        elif self.combined.right_in_float32(name):
            remark = remark or "cmp says True in the visible case: float32 is too coarse to show the difference."
        elif name in self.part.checks.values:
            remark = remark or self.remarks.right_elsewhere(name)
        return self._check(name, Verdict.WRONG, remark or self.remarks.wrong_elements(name), share, case_id)

    def _only_not_reached(self, name: str) -> bool:
        """Whether a line is right on its own, and something above it stopped its cell in the visible case alone.

        A file may be that, which is there for the hidden cases.
        """
        missed = {each for each, outcome in self._visible.outcomes.items() if outcome is Outcome.ABSENT} - {name}
        raised = any(
            name in each.binds and not missed & each.reads
            for cell, _, line in self.part.cell_errors
            for each in cell.code.at(line)
        )
        return not raised and not self.detached(name)

    def _tried_alone(self, name: str) -> bool:
        """Whether the line for a gradient, or the update of a parameter, was tried on its own in some hidden case."""
        return any(case.alone is not None and case.alone.tried(name) for case in self.part.hidden.values())

    def detached(self, name: str) -> list[CaseValues]:
        """The hidden cases as a line was tried on its own, with random numbers above it, where it failed in one."""
        tried = [case for case in self.part.hidden.values() if case.alone is not None and case.alone.tried(name)]
        if not any(case.alone is not None and case.alone.says(name) is False for case in tried):
            return []
        return [self._alone(case, case.alone, name) for case in tried if case.alone is not None]

    def _alone(self, case: CaseValues, alone: Alone, name: str) -> CaseValues:
        found, tensor = self._with(case, alone.export(name)), tensor_of(name)
        if tensor in case.reference.lists:
            found.upstream[tensor] = alone.numbers(tensor)  # what a line for one element found in the others
        return found

    def tried_again(self, slip: Trial) -> list[CaseValues]:
        """The first hidden case as its second detached run had it, in which a step was found to slip."""
        first = self.part.first_hidden
        return [self._with(first, slip.export)] if first is not None and slip.export is not None else []

    @staticmethod
    def _with(case: CaseValues, export: Export) -> CaseValues:
        return CaseValues(case.case, case.gradients, case.upstream_names, case.values, {**case.exported, **export},
                          case.reference, case.tolerance)  # fmt: skip

    def follows(self, name: str) -> bool | None:
        """Whether a value moves with random numbers in the gradients above it; None where nobody can tell."""
        first, alone = self.part.first_hidden, self.part.alone
        value = first.usable(name) if first is not None else None
        if alone is None or value is None or name in self._short_floats.names:
            return None  # code that works in float32 only is tried in float64
        return alone.trains_on(name, value) if name in self.part.checks.values else alone.follows(name, value)

    @cached_property
    def unmoved(self) -> list[str]:
        """The right values that take up nothing of what is above them."""
        return [name for name in self.part.checks.names if self.right_by_value(name) and self.follows(name) is False]

    def skipped(self, name: str) -> str:
        """The gradients directly above one that takes up nothing of them."""
        return self.part.alone.skipped(name) if self.part.alone is not None else "the gradients above it"

    def is_numerical(self, name: str) -> bool:
        """Whether a right value is right to so few digits, in float64, as a numerical derivative is."""
        first = self.part.first_hidden
        value, right = (first.usable(name), first.expected(name)) if first is not None else (None, None)
        if value is None or right is None or not right.numel():
            return False
        return float((value - right).abs().max()) > NUMERICAL * float(right.abs().max())

    def right_by_value(self, name: str) -> bool:
        """Whether a value is right in every case, whatever its line is."""
        return self.combined.worst(name)[0] is Outcome.RIGHT

    def _right(self, name: str) -> Check:
        line = self.cmp(name)
        remark = self.remarks.shape(name)
        if self._short_floats.starts_at(name):
            remark = (
                remark
                or "The code works in float32 only (see .float() and dtype=), so it was judged to float32's rounding."
            )
        elif line is not None and not line.approximate and remark is None:
            remark = "cmp says False in the visible case. That is float32 rounding, and in float64 it is right."
        exact = line is not None and line.exact and remark is None
        own_way = f"It is computed in a different way, not from {self.skipped(name)}." if name in self.unmoved else None
        remarks = [text for text in (remark, self._can_not_tell(name) or own_way) if text is not None]
        verdict = Verdict.EXACT if exact else Verdict.APPROXIMATE
        return self._check(name, verdict, " ".join(remarks) or None, 1.0)

    def slip_by_symmetry(self, name: str) -> Trial | None:
        """The trial in which a line with a right value made something else than the chain rule of other numbers."""
        return next((trial for trial in self._trials(name) if trial.export is not None), None)

    def _can_not_tell(self, name: str) -> str | None:
        """That a right value proves little, where its line could not be tried with other numbers."""
        return next((trial.doubt for trial in self._trials(name) if trial.finding is not Finding.FOLLOWS), None)

    def _trials(self, name: str) -> list[Trial]:
        """What the two detached runs of the first hidden case say of the steps to a gradient."""
        if name not in self._judged:
            edges = [edge for edge in self._tried if gradient_of(edge.lower) == name]
            self._judged[name] = [] if self.part.first_hidden is None else judge(self.part.alone, edges)
        return self._judged[name]

    def _absent(self, name: str) -> Check:
        reason = self._stops.could_not_check(name)
        if reason is not None:
            return self._check(name, Verdict.UNCHECKED, reason)
        return self._check(name, Verdict.MISSING, self.remarks.absent(name))

    def _check(
        self, name: str, verdict: Verdict, remark: str | None, share: float = 0.0, case_id: str = VISIBLE
    ) -> Check:
        part_case = self._visible if case_id == VISIBLE else self.part.hidden.get(case_id) or self.part.float32[case_id]
        found, expected = part_case.exported.get(name), part_case.expected(name)
        line = self.cmp(name) if case_id == VISIBLE else None  # of a hidden case only shapes are shown, never numbers
        points = self.part.exercise.max_points(self.part.part_id)
        return Check(
            part=self.part.part_id,
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
    "It is right in the visible case, but could not be computed again with different numbers: "
    "the cell died, took too long, or stopped before this line."
)


_BLANK = (
    "What reaches this line from your gradients further up is zero, NaN, or of the wrong shape, so it can't be judged: "
    "fix the first wrong one."
)
