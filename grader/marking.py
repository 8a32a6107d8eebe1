"""From tensors to verdicts: what a student's gradient is worth, and in which case that was decided.

The hidden cases, in float64, decide what is right; the visible one shows what the student's own `cmp` shows.
`docs/verdicts.md` explains the rules to students.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from grader.catalog import Case
from grader.compare import FLOAT64, Tolerance, cmp_line, conformed, finite_or_none
from grader.diagnose import diagnose, diagnose_step, unknown_name
from grader.execute import CellError, CellRun, Execution, HiddenRun
from grader.exercise import Exercise
from grader.intake import PlannedCell
from grader.methods import Methods
from grader.naming import nearest
from grader.near_zero import Finding, Trial, judge
from grader.part_case import Outcome, PartCase
from grader.records import VISIBLE, Check, CmpLine, Diagnosis, Verdict
from grader.reference import PartReference
from grader.syntax import Statement, assigned_names, line_that_binds, statements, top_level_line
from grader.tensors import Export, StudentTensor

References = Mapping[str, Mapping[str, PartReference]]
"""Case id → part id → reference."""


MAX_NAME = 60
"""Letters of a student's name that a sentence repeats."""
NEARLY = Tolerance(1e-4, 1e-5)
"""What float32 arithmetic inside a float64 case can still reach."""
_SHORT = {"torch.float32", "torch.float16", "torch.bfloat16"}
_SHORT_FLOAT = re.compile(r"(?<![A-Za-z])(float(16|32)?|half|bfloat16|Float(Tensor|Storage))(?![A-Za-z0-9])|\bnumpy\b")


class PartMarks:
    """A part's verdicts, from what every case says.

    Args:
        part_id: the part.
        exercise: where shares, points and tolerances stand.
        cells: the submission's cells as they were run.
        execution: what left the kernels.
        references: the reference values of every case.
    """

    def __init__(self, part_id: str, exercise: Exercise, cells: Sequence[PlannedCell], execution: Execution,
                 references: References) -> None:  # fmt: skip
        self.part_id = part_id
        self.exercise = exercise
        self.cells = cells
        self.execution = execution
        self.references = references
        self.checks = exercise.parts[part_id]
        spec = exercise.spec
        self.visible = self._case(exercise.cases[0], execution.visible.get(part_id), references,
                                  Tolerance(spec.rtol, spec.atol))  # fmt: skip
        self.hidden: dict[str, PartCase] = {}
        for case in exercise.cases[1:]:
            if not execution.hidden[case.id].failed:
                exported = execution.hidden[case.id].parts.get(part_id)
                self.hidden[case.id] = self._case(case, exported, references, FLOAT64)
        self.visible_alone: set[str] = set()  # names that no hidden case speaks of: a running kernel's own values
        self.float32: dict[str, PartCase] = {}
        self._float32_runs: Mapping[str, HiddenRun] = {}
        self.trials = self._trials()

    def _trials(self) -> list[Trial]:
        """What the replays of the first hidden case say."""
        replays = self.execution.replays.get(self.part_id)
        first = next(iter(self.exercise.cases[1:]), None)
        if replays is None or first is None or first.id not in self.hidden:
            return []
        return judge(self.hidden[first.id], replays.tried, replays.runs)

    def _case(self, case: Case, exported: Export | None, references: References, tolerance: Tolerance) -> PartCase:
        checks = self.checks
        return PartCase(case, checks.gradients, checks.upstream, checks.values, exported or {},
                        references[case.id][self.part_id], tolerance)  # fmt: skip

    # --- code that insists on float32

    @property
    def wants_float32(self) -> bool:
        """Whether some tensor can't be judged in float64, because the student's code works in float32 only."""
        return any(self._only_float32(name) for name in self.checks.names)

    def judge_in_float32(self, cases: Sequence[Case], runs: Mapping[str, HiddenRun], references: References,
                         rounding: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:  # fmt: skip
        """Let float32 runs of the hidden cases decide where float64 can't, within the rounding measured there."""
        self._float32_runs = runs
        for case in cases:
            run = runs[case.id]
            if not run.failed:
                self.float32[case.id] = PartCase(
                    case, self.checks.gradients, self.checks.upstream, self.checks.values,
                    run.parts.get(self.part_id, {}), references[case.id][self.part_id], FLOAT64,
                    rounding[case.id][self.part_id],
                )  # fmt: skip

    def _only_float32(self, name: str) -> bool:
        """Whether float64 can't judge a tensor: its own code insists on float32, or is given what float32 rounded."""
        return name in self._float32_names

    @cached_property
    def _float32_names(self) -> frozenset[str]:
        names = [
            name
            for name in self.checks.names
            if self.visible.outcomes[name] is not Outcome.ABSENT and name not in self.visible_alone
        ]
        twins = [part_case for case_id, part_case in self.hidden.items() if self._as_visible(case_id)]
        insisting = {name for name in names for twin in twins if self._insists_on_float32(twin, name)}
        if not insisting:
            return frozenset()
        return frozenset(insisting | {name for name in names if self._rounded_above(name)})

    def _insists_on_float32(self, twin: PartCase, name: str) -> bool:
        """Whether a tensor is lost in float64, or right there but for the rounding of float32."""
        outcome = twin.outcomes[name]
        if outcome is Outcome.WRONG:
            return self._nearly_right(twin, name) and self._speaks_of_float32(twin)
        return outcome is Outcome.ABSENT

    def _rounded_above(self, name: str) -> bool:
        """Whether a tensor follows, in some case, from gradients that float32 rounded, and is right but for that."""
        carried = [case for case in self.hidden.values() if case.outcomes[name] in (Outcome.CARRIED, Outcome.BLANK)]
        return bool(carried) and all(self._nearly_right(part_case, name) for part_case in carried)

    def _nearly_right(self, part_case: PartCase, name: str) -> bool:
        """Whether a tensor, right in the visible case, is as near to right in another as float32 comes."""
        tensor, expected = part_case.usable(name), part_case.expected(name)
        right = self.visible.outcomes[name] is Outcome.RIGHT
        return right and tensor is not None and expected is not None and NEARLY.holds(tensor, expected)

    def _starts_float32(self, name: str) -> bool:
        """Whether it is at this tensor that float32 comes in: what follows from it need not be told again."""
        above = [f"d{consumer}" for consumer in self.visible.reference.consumers.get(name[1:], [])]
        return self._only_float32(name) and not any(other in self._float32_names for other in (*above, f"d{name}"))

    def _speaks_of_float32(self, twin: PartCase) -> bool:
        """Whether the part's code names a short floating type, or sent one where everything else is float64.

        Without that, a difference that float32 hides is a mistake that float32 hides.
        """
        sent = {found.note.dtype for found in twin.exported.values() if found.tensor is not None}
        return bool(sent & _SHORT) or any(_SHORT_FLOAT.search(cell.source) for cell in self.student_cells)

    # --- where a name comes from

    @property
    def student_cells(self) -> list[PlannedCell]:
        """The student's cells of the part, in order."""
        return [cell for cell in self.cells if cell.student and cell.part == self.part_id]

    def speaking(self, name: str) -> list[PartCase]:
        """The hidden float64 cases that say something of a tensor, and in which it is there to be looked at."""
        said = {case_id: self._says(part_case, name) for case_id, part_case in self.hidden.items()}
        return [self.hidden[case_id] for case_id, outcome in said.items()
                if outcome not in (Outcome.SILENT, Outcome.ABSENT)]  # fmt: skip

    def changed_before(self, part_case: PartCase) -> Export:
        """The tensors of the forward pass that cells of an earlier part changed, and that this part starts with."""
        found: Export = {}
        for part_id in self.exercise.parts:
            if part_id == self.part_id or part_case.case.id not in self.execution.hidden:
                return found
            reference = self.references[part_case.case.id][part_id]
            exported = self.execution.hidden[part_case.case.id].parts.get(part_id, {})
            for name, tensor in part_case.reference.forward.items():
                if name in exported and name in reference.forward and torch.equal(reference.forward[name], tensor):
                    found[name] = exported[name]
        return found

    def right_in_float32(self, name: str) -> bool:
        """Whether the visible case shows nothing of a mistake that its twin in float64 has."""
        twins = [case for case_id, case in self.hidden.items() if self._as_visible(case_id)]
        wrong = any(twin.outcomes[name] is Outcome.WRONG for twin in twins)
        return self.visible.outcomes[name] is Outcome.RIGHT and wrong

    def statement(self, name: str) -> tuple[int, int] | None:
        """The cell (index) and line of the student's last statement of the part that binds `name`.

        Where a cell of ours binds it, calling a method of the student's, it is the line in that method.
        """
        if (place := self.methods.place(name)) is not None:
            return place
        for index in reversed(range(len(self.cells))):
            cell = self.cells[index]
            if cell.student and cell.part == self.part_id:
                line = line_that_binds(cell.source, name)
                if line is not None:
                    return index, line
        return None

    @cached_property
    def methods(self) -> Methods:
        """The student's methods that our own cells of the part call."""
        return Methods(self.cells, self.part_id)

    def _could_not_check(self, name: str, asking: frozenset[str] = frozenset()) -> str | None:
        """Why a name says nothing about the student: its cell, or one it builds on, never came to its end.

        Or the kernel, to the last, did not hand over what the part had computed.

        `asking` are the names that are built on this one: used before they are bound, two may be built on each other.
        """
        for index, cell in enumerate(self.cells):
            run = self.execution.cells[index]
            if not (cell.student or cell.role == "backward") or cell.part != self.part_id or run.status == "ok":
                continue
            reason = self._unfinished(name, cell.source, run, asking | {name})
            if reason is not None:
                return reason
        attempted = any(cell.role == "gradients" for cell in self.student_cells)
        return _LOST if attempted and self.part_id not in self.execution.visible else None

    def _unfinished(self, name: str, source: str, run: CellRun, asking: frozenset[str]) -> str | None:
        """Why one cell has not bound `name` for good; None where it has, or binds it nowhere."""
        left = [statement for statement in statements(source) if statement.last >= top_level_line(source, run.line)]
        if not any(name in statement.names for statement in left):
            return None
        if run.status == "timeout":
            return f"The cell that assigns {name} was stopped after {self.exercise.spec.cell_seconds:g} s."
        if run.status == "died":
            return f"The kernel died in the cell that assigns {name}{f': {run.end}' if run.end else ''}."
        if run.status == "skipped":
            return "The notebook's time was over before this cell was reached."
        wanted = [
            other for other in sorted(left[0].reads) if other in self.checks.gradients and other not in left[0].names
        ]
        for other in wanted:
            absent = other not in asking and self.visible.outcomes[other] is Outcome.ABSENT
            if absent and self._could_not_check(other, asking) is not None:
                return f"It is computed from {other}, which could not be checked."
        return None

    # --- verdicts

    def cmp(self, name: str) -> CmpLine | None:
        """What the student's own `cmp` shows on the visible case."""
        found, expected = self.visible.exported.get(name), self.visible.expected(name)
        if found is None or found.tensor is None or expected is None:
            return None
        return cmp_line(found.tensor, expected, self.visible.tolerance)

    def check(self, name: str) -> Check:
        """The verdict on one check."""
        found = self.visible.exported.get(name, StudentTensor.absent())
        if self.visible.outcomes[name] is Outcome.ABSENT or self._could_not_check(name) is not None:
            return self._absent(name, found)
        worst, case_id = self._decide(name)
        if worst is Outcome.RIGHT and not self._confirmed(name):
            return self._check(name, Verdict.UNCHECKED, 0.0, VISIBLE, _UNCONFIRMED)
        if worst is Outcome.RIGHT:
            return self._right_by_symmetry(name) or self._right(name)
        if worst is Outcome.BLANK:
            return self._check(name, Verdict.UNCHECKED, 0.0, VISIBLE, _BLANK)
        if worst is Outcome.WRONG and (stopped := self._stopped_short(name)) is not None:
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
        diagnosis = diagnose(self, name) if name in self.checks.gradients else None
        return self._check(name, Verdict.WRONG, share, case_id, remark, diagnosis)

    def _right_elsewhere(self, name: str) -> str | None:
        """In which hidden cases a wrong value is right: what they are called says what sets them apart."""
        right = [case_id for case_id, case in self.hidden.items() if case.outcomes[name] is Outcome.RIGHT]
        return f"In the hidden case {' and '.join(right)} it is right." if right else None

    def _stopped_short(self, name: str) -> str | None:
        """Why a tensor is only half done: an error stopped its cell before, or in, the last statement for it."""
        for index, cell in enumerate(self.cells):
            run = self.execution.cells[index]
            if cell.student and cell.part == self.part_id and run.status == "error" and run.line is not None:
                left = [found for found in statements(cell.source) if found.last >= run.line]
                if any(name in found.names for found in left):
                    return f"An error in line {run.line} stopped the cell before {name} was complete."
        return None

    def _confirmed(self, name: str) -> bool:
        """Whether every case came to its end, and one with other numbers than the visible one's has judged the tensor.

        Pasted numbers, or code that stops wherever it is not watched, must never count as right.
        """
        others = self.exercise.cases[1:]
        if not others:
            return True
        deciding = self.hidden
        runs: Mapping[str, HiddenRun] = self.execution.hidden
        if self._only_float32(name):
            deciding, runs = self.float32, self._float32_runs
        if any(runs[case.id].failed for case in others if self._has_its_turn(case, deciding)):
            return False
        telling = [case for case in deciding.values() if self._other_numbers(case, deciding)] or deciding.values()
        return any(self._says(part_case, name) is not Outcome.SILENT for part_case in telling)

    def _other_numbers(self, part_case: PartCase, cases: Mapping[str, PartCase]) -> bool:
        """Whether a case's gradients in this part are others than those at the parameters that a student knows."""
        if self._as_visible(part_case.case.id):
            return False
        here = part_case.reference.gradients
        for case_id, known in cases.items():
            there = known.reference.gradients
            if self._as_visible(case_id) and all(torch.equal(here[name], there[name]) for name in here):
                return False
        return True

    @staticmethod
    def _has_its_turn(case: Case, cases: Mapping[str, PartCase]) -> bool:
        """Whether a case says anything at all: one that builds on another needs that one to be all right."""
        return case.only_after is None or (case.only_after in cases and cases[case.only_after].all_right)

    def _absent(self, name: str, found: StudentTensor) -> Check:
        reason = self._could_not_check(name)
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
        return self._check(name, Verdict.MISSING, 0.0, VISIBLE, remark, unknown_name(self, name))

    def _named_otherwise(self, name: str) -> str | None:
        """The student's name to which this one, which is missing, is the nearest of those expected."""
        missing = [other for other in self.checks.gradients if self.visible.outcomes[other] is Outcome.ABSENT]
        bound = [other for cell in self.student_cells for other in assigned_names(cell.source)]
        found = (other for other in bound if other.isidentifier() and nearest(other, missing) == name)
        return next((other for other in found if len(other) <= MAX_NAME), None)

    def _right(self, name: str) -> Check:
        line = self.cmp(name)
        remark = _shape_remark(name, self.visible.exported[name], self.visible.expected(name))
        if self._starts_float32(name):
            remark = remark or "Its code works in float32 only, so rounding there decided; see .float() and dtype=."
        elif line is not None and not line.approximate and remark is None:
            remark = "cmp says False on the visible case: that is float32 rounding, and in float64 it is right."
        exact = line is not None and line.exact and remark is None
        remarks = [text for text in (remark, self._can_not_tell(name)) if text is not None]
        verdict = Verdict.EXACT if exact else Verdict.APPROXIMATE
        return self._check(name, verdict, 1.0, VISIBLE, " ".join(remarks) or None)

    def _right_by_symmetry(self, name: str) -> Check | None:
        """The verdict on a right value whose line makes something else than the chain rule of other numbers."""
        for trial in self._tried(name):
            if trial.replayed is not None:
                diagnosis = diagnose_step(self, name, trial.slip, trial.replayed)
                return self._check(name, Verdict.WRONG, 0.0, trial.replayed.case.id, None, diagnosis)
        return None

    def _can_not_tell(self, name: str) -> str | None:
        """That a right value proves little, where its line could not be tried with other numbers."""
        return next((trial.doubt for trial in self._tried(name) if trial.finding is not Finding.FOLLOWS), None)

    def _tried(self, name: str) -> list[Trial]:
        return [trial for trial in self.trials if f"d{trial.edge.lower}" == name]

    def _decide(self, name: str) -> tuple[Outcome, str]:
        """The worst that any case says, and the case: the visible one where it says no better."""
        deciding = self.float32 if self._only_float32(name) else self.hidden
        said = {case_id: self._says(part_case, name) for case_id, part_case in deciding.items()}
        said = {case_id: outcome for case_id, outcome in said.items() if outcome is not Outcome.SILENT}
        visible = self.visible.outcomes[name]
        if not said:
            return visible, VISIBLE
        case_id = max(said, key=lambda key: said[key])
        worst = said[case_id]
        return worst, VISIBLE if visible >= worst and self._as_visible(case_id) else case_id

    def _as_visible(self, case_id: str) -> bool:
        """Whether a case has the visible one's parameters: its float64 twin."""
        parameters = {case.id: case.parameters for case in self.exercise.cases}
        return parameters[case_id] == parameters[self.exercise.cases[0].id]

    def right_as_seen(self, name: str) -> bool:
        """Whether a value is right with the numbers that the student sees, rounding aside."""
        twins = [part_case for case_id, part_case in self.hidden.items() if self._as_visible(case_id)]
        return any(part_case.outcomes[name] is Outcome.RIGHT for part_case in [self.visible, *twins])

    def _says(self, part_case: PartCase, name: str) -> Outcome:
        if name in self.visible_alone:
            return Outcome.SILENT
        if not self._has_its_turn(part_case.case, self.hidden if part_case.rounding is None else self.float32):
            return Outcome.SILENT
        outcome = part_case.outcomes[name]
        if outcome is Outcome.ABSENT and not self._own_statement_failed(part_case, name):
            return Outcome.SILENT  # an earlier line stopped the cell before this tensor had its turn
        if outcome < Outcome.WRONG and self._raises_only_here(part_case, name):
            return Outcome.WRONG  # what was written before the statement raised happens to be all of it
        return outcome

    def _raises_only_here(self, part_case: PartCase, name: str) -> bool:
        """Whether a statement that binds `name` raises in this case, in a cell that raised nothing in the visible."""
        for error in self._errors(part_case):
            if error.line is None or self.execution.cells[error.cell].error is not None:
                continue
            for statement in statements(self.cells[error.cell].source):
                if name in statement.names and statement.first <= error.line <= statement.last:
                    return not any(self._spoiled(part_case, other) for other in statement.reads if other != name)
        return False

    def _own_statement_failed(self, part_case: PartCase, name: str) -> bool:
        """Whether the statement that should bind `name` raised, and not only for want of an earlier one's result."""
        for error in self._errors(part_case):
            statement = self._stopped_at(error)
            if statement is not None and name in statement.names:
                return not any(self._spoiled(part_case, other) for other in statement.reads if other != name)
        return False

    def _stopped_at(self, error: CellError) -> Statement | None:
        """The binding statement that raised, or the next one after a line that raised and binds nothing."""
        if error.line is None:
            return None
        line = error.line
        found = [statement for statement in statements(self.cells[error.cell].source) if statement.last >= line]
        around = [statement for statement in found if statement.first <= line]
        return next(iter(around or found), None)

    @staticmethod
    def _spoiled(part_case: PartCase, name: str) -> bool:
        """Whether a gradient is absent in a case, or of a shape that nothing can be computed with."""
        if name not in part_case.outcomes:
            return False
        return part_case.outcomes[name] is Outcome.ABSENT or part_case.usable(name) is None

    def _errors(self, part_case: PartCase) -> list[CellError]:
        """The errors of a case's run in the cells of this part, in their order."""
        runs = self.execution.hidden if part_case.rounding is None else self._float32_runs
        here = {index for index, cell in enumerate(self.cells) if cell.part == self.part_id}
        errors = [error for error in runs[part_case.case.id].errors if error.cell in here]
        return sorted(errors, key=lambda error: error.cell)

    def visible_only(self, name: str) -> bool:
        """Right wherever the sizes are the visible case's, and wrong only where they are others."""
        wrong = [
            part_case for part_case in self.hidden.values() if self._says(part_case, name) >= Outcome.WRONG
        ]  # fmt: skip
        return bool(wrong) and all(self._other_size(part_case) for part_case in wrong)

    def _other_size(self, part_case: PartCase) -> bool:
        here = {name: tensor.shape for name, tensor in part_case.reference.tensors.items()}
        return here != {name: tensor.shape for name, tensor in self.visible.reference.tensors.items()}

    def _check(self, name: str, verdict: Verdict, share: float, case_id: str, remark: str | None,
               diagnosis: Diagnosis | None = None) -> Check:  # fmt: skip
        part_case = self.visible if case_id == VISIBLE else self.hidden.get(case_id) or self.float32[case_id]
        found, expected = part_case.exported.get(name), part_case.expected(name)
        line = None
        if found is not None and found.tensor is not None and expected is not None:
            line = cmp_line(found.tensor, expected, part_case.tolerance)
        points = self.exercise.max_points(self.part_id)
        return Check(
            part=self.part_id,
            name=name,
            verdict=verdict,
            points=points * share,
            max_points=points,
            case=case_id,
            # A hidden case is shown by its id and its shapes, never by its numbers.
            maxdiff=finite_or_none(line.maxdiff) if line is not None and case_id == VISIBLE else None,
            shape=found.shape if found is not None else None,
            expected_shape=list(expected.shape) if expected is not None else None,
            diagnosis=diagnosis,
            remark=remark,
        )


_LOST = "The kernel died, or was tampered with, before the grader could read what this part computed."


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
