"""From tensors to verdicts: what a student's gradient is worth, and in which case that was decided.

The hidden cases, in float64, decide what is right; the visible one shows what the student's own `cmp` shows.
`docs/verdicts.md` explains the rules to students.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from grader.course.exercise import Exercise
from grader.execution.execute import Execution
from grader.execution.tensors import StudentTensor
from grader.intake.take_in import PlannedCell
from grader.marking.case_outcomes import Outcome, PartCase
from grader.marking.decision import Decision
from grader.marking.float32_only import ShortFloats
from grader.marking.near_zero import Finding, Trial, judge
from grader.marking.part_in_all_cases import PartCases, References
from grader.marking.tolerance import cmp_line, conformed, finite_or_none
from grader.marking.unfinished_cells import Stops
from grader.notebook.near_names import nearest
from grader.notebook.syntax import assigned_names
from grader.records import VISIBLE, Check, CmpLine, Verdict

__all__ = ["PartMarks", "References"]

MAX_NAME = 60
"""Letters of a student's name that a sentence repeats."""


class PartMarks(PartCases):
    """A part's verdicts, from what every case says; the arguments are those of `PartCases`."""

    def __init__(self, part_id: str, exercise: Exercise, cells: Sequence[PlannedCell], execution: Execution,
                 references: References) -> None:  # fmt: skip
        super().__init__(part_id, exercise, cells, execution, references)
        self._stops = Stops(self)
        self._short_floats = ShortFloats(self)
        self._decision = Decision(self, self._stops, self._short_floats)
        self.trials = self._trials()
        self._cmp: dict[str, CmpLine | None] = {}

    def _trials(self) -> list[Trial]:
        """What the replays of the first hidden case say."""
        replays = self.execution.replays.get(self.part_id)
        first = next(iter(self.exercise.cases[1:]), None)
        if replays is None or first is None or first.id not in self.hidden:
            return []
        return judge(self.hidden[first.id], replays.tried, replays.runs)

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
        if self.visible.outcomes[name] is Outcome.ABSENT or self._stops.could_not_check(name) is not None:
            return self._absent(name, found)
        worst, case_id = self._decision.worst(name)
        if worst is Outcome.RIGHT and not self._decision.confirmed(name):
            return self._check(name, Verdict.UNCHECKED, 0.0, VISIBLE, _UNCONFIRMED)
        if worst is Outcome.RIGHT:
            slip = self.slip_by_symmetry(name)
            if slip is not None and slip.replayed is not None:
                return self._check(name, Verdict.WRONG, 0.0, slip.replayed.case.id, None)
            return self._right(name)
        if worst is Outcome.BLANK:
            return self._check(name, Verdict.UNCHECKED, 0.0, VISIBLE, _BLANK)
        if worst is Outcome.WRONG and (stopped := self._stops.stopped_short(name)) is not None:
            return self._check(name, Verdict.MISSING, 0.0, VISIBLE, stopped)
        share = 0.0
        remark = _shape_remark(name, found, self.visible.expected(name))
        if worst is Outcome.CARRIED:
            share = self.exercise.spec.carried
        elif self.visible_only(name):
            share = self.exercise.spec.visible_only
            remark = "It is right at the size you can see, and not at another."
        elif self.right_in_float32(name):
            remark = remark or "cmp says True on the visible case: float32 is too coarse to show the difference."
        elif name in self.checks.values:
            remark = remark or self._right_elsewhere(name)
        if worst is Outcome.CARRIED:
            return self._check(name, Verdict.CARRIED, share, case_id, remark)
        return self._check(name, Verdict.WRONG, share, case_id, remark)

    def _right_elsewhere(self, name: str) -> str | None:
        """In which hidden cases a wrong value is right: what they are called says what sets them apart."""
        right = [case_id for case_id, case in self.hidden.items() if case.outcomes[name] is Outcome.RIGHT]
        return f"In the hidden case {' and '.join(right)} it is right." if right else None

    def _right(self, name: str) -> Check:
        line = self.cmp(name)
        remark = _shape_remark(name, self.visible.exported[name], self.visible.expected(name))
        if self._short_floats.starts_at(name):
            remark = remark or "Its code works in float32 only, so rounding there decided; see .float() and dtype=."
        elif line is not None and not line.approximate and remark is None:
            remark = "cmp says False on the visible case: that is float32 rounding, and in float64 it is right."
        exact = line is not None and line.exact and remark is None
        remarks = [text for text in (remark, self._can_not_tell(name)) if text is not None]
        verdict = Verdict.EXACT if exact else Verdict.APPROXIMATE
        return self._check(name, verdict, 1.0, VISIBLE, " ".join(remarks) or None)

    def slip_by_symmetry(self, name: str) -> Trial | None:
        """The replay in which a line with a right value made something else than the chain rule of other numbers."""
        return next((trial for trial in self._tried(name) if trial.replayed is not None), None)

    def _can_not_tell(self, name: str) -> str | None:
        """That a right value proves little, where its line could not be tried with other numbers."""
        return next((trial.doubt for trial in self._tried(name) if trial.finding is not Finding.FOLLOWS), None)

    def _tried(self, name: str) -> list[Trial]:
        return [trial for trial in self.trials if f"d{trial.edge.lower}" == name]

    def _absent(self, name: str, found: StudentTensor) -> Check:
        reason = self._stops.could_not_check(name)
        if reason is not None:
            return self._check(name, Verdict.UNCHECKED, 0.0, VISIBLE, reason)
        said = {
            "absent": f"Nothing is called {name}.",
            "none": f"{name} is still None.",
            "tensor": f"It can't be judged before d{name} is there.",
            "other": f"{name} is not a tensor but {found.note.type[:60]}.",
        }
        remark = said[found.note.kind]
        meant = self._named_otherwise(name) if found.note.kind == "absent" else None
        if meant is not None:
            remark += f" {meant} is no name of this exercise: is it meant?"
        return self._check(name, Verdict.MISSING, 0.0, VISIBLE, remark)

    def _named_otherwise(self, name: str) -> str | None:
        """The student's name to which this one, which is missing, is the nearest of those expected."""
        missing = [other for other in self.checks.gradients if self.visible.outcomes[other] is Outcome.ABSENT]
        ours = {*self.checks.names, *self.checks.upstream, *(f"d{other}" for other in self.visible.reference.known)}
        bound = [other for cell in self.student_cells for other in assigned_names(cell.source) if other not in ours]
        found = (other for other in bound if other.isidentifier() and nearest(other, missing) == name)
        return next((other for other in found if len(other) <= MAX_NAME), None)

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
    "It is right on the case you see, and could not be computed again with other numbers: "
    "the cell died, took too long, or stopped before this line."
)


_BLANK = (
    "What your gradients further up send here is zero, not a number, or of a wrong shape, so that nothing can be said "
    "of this one: begin with the first wrong one."
)


def _shape_remark(name: str, found: StudentTensor, expected: Tensor | None) -> str | None:
    if expected is None or found.shape is None or found.shape == list(expected.shape):
        return None
    shapes = f"{name} has shape {_shape(found.shape)}, its tensor {_shape(list(expected.shape))}"
    if found.tensor is not None and conformed(found.tensor, expected.shape) is not None:
        return f"{shapes}: it broadcasts, so the value counts."
    return f"{shapes}: a gradient has its tensor's shape."


def _shape(shape: list[int]) -> str:
    return str(tuple(shape))
