"""One part in all cases: what every case's kernel left of it, beside the reference.

It judges nothing: `unfinished_cells`, `float32_only` and `combined_outcomes` read from here what they judge by.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch

from grader.course.catalog import Case
from grader.course.exercise import Exercise
from grader.course.part_reference import PartReference
from grader.execution.execute import CellError, CellRun, Execution, HiddenRun
from grader.execution.tensors import Export, StudentTensor
from grader.intake.take_in import PlannedCell
from grader.marking.case_outcomes import PartCase
from grader.marking.case_values import CaseValues
from grader.marking.line_alone import Alone
from grader.marking.tolerance import FLOAT64, Tolerance
from grader.notebook.gradient_names import tensor_of
from grader.records import VISIBLE

References = Mapping[str, Mapping[str, PartReference]]
"""Case id → part id → reference."""


class PartCases:
    """A part of a submission.

    Args:
        part_id: the part.
        exercise: where parts and tolerances stand.
        cells: the submission's cells as they were run.
        execution: what left the kernels.
        references: the reference values of every case.

    Attributes:
        visible: the case that the student sees.
        hidden: the other cases that came to their end, in float64.
        visible_alone: the names that no hidden case speaks of: a running kernel's own values.
        float32: the hidden cases again in float32, once `judge_in_float32` was called.
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
        self.hidden: dict[str, PartCase] = {}
        self.visible = self._case(exercise.cases[0], execution.visible, references, Tolerance(spec.rtol, spec.atol))
        for case in exercise.cases[1:]:
            if not execution.hidden[case.id].failed:
                self.hidden[case.id] = self._case(case, execution.hidden[case.id].parts, references, FLOAT64)
        self.visible_alone: set[str] = set()
        self.float32: dict[str, PartCase] = {}
        self.float32_runs: Mapping[str, HiddenRun] = {}

    def _case(self, case: Case, parts: Mapping[str, Export], references: References, tolerance: Tolerance,
              rounding: Mapping[str, float] | None = None) -> PartCase:  # fmt: skip
        checks = self.checks
        exported = parts.get(self.part_id, {})
        started = self._started_from(parts, references[case.id], tolerance)
        left = {name: exported[name] for name in started if name in exported}
        reference = references[case.id][self.part_id]
        # The runs in float32 have a case's id, too, and no detached run.
        detached = self.execution.detached.get(case.id, {}).get(self.part_id) if rounding is None else None
        alone = alike = None
        if detached is not None and detached.runs:
            alone = Alone(detached, reference, checks.gradients, checks.upstream, checks.values)
        elif rounding is None and case.id != VISIBLE:
            tried = [other for other in self.hidden.values() if other.alone is not None]
            alike = next((other for other in tried if other.reference.shapes == reference.shapes), None)
        return PartCase(case, checks.gradients, checks.upstream, checks.values, {**exported, **started}, reference,
                        tolerance, rounding, left, alone, alike)  # fmt: skip

    def _started_from(self, parts: Mapping[str, Export], references: Mapping[str, PartReference],
                      tolerance: Tolerance) -> Export:  # fmt: skip
        """The part's upstream gradients as they were before its own cells, which may have changed them.

        Whoever changes one there has made the mistake there: what follows from it is nothing carried from elsewhere.
        """
        found: Export = {}
        earlier = list(itertools.takewhile(lambda part_id: part_id != self.part_id, self.exercise.parts))
        for name in self.checks.upstream:
            right = references[self.part_id].gradients.get(tensor_of(name))
            sent = self._left_by(earlier, name, parts, references, tolerance) if right is not None else None
            if sent is not None:
                found[name] = sent
            elif right is not None and self._changes_what_is_given(name, earlier):
                found[name] = StudentTensor.of(right)
        return found

    def _left_by(self, earlier: Sequence[str], name: str, parts: Mapping[str, Export],
                 references: Mapping[str, PartReference], tolerance: Tolerance) -> StudentTensor | None:  # fmt: skip
        """The gradient as the last of the earlier parts has left it that means the same by its name."""
        right = references[self.part_id].gradients[tensor_of(name)]
        for part_id in reversed(earlier):
            there, sent = references[part_id].gradients.get(tensor_of(name)), parts.get(part_id, {}).get(name)
            if there is None or sent is None or sent.tensor is None:
                continue
            if there.shape == right.shape and tolerance.holds(there, right):
                return sent
        return None

    def _changes_what_is_given(self, name: str, earlier: Sequence[str]) -> bool:
        """Whether the part's own cells may write a gradient that a locked cell gives, and no earlier part asks for.

        They do so by its name, or in code to which a cell of ours hands it on.
        """
        if any(name in self.exercise.parts[part_id].gradients for part_id in earlier):
            return False
        ours = [cell for cell in self.cells if cell.role == "backward" and cell.part == self.part_id]
        return any(name in cell.code.binds for cell in self.student_cells) or any(
            name in cell.code.reads for cell in ours
        )

    @property
    def student_cells(self) -> list[PlannedCell]:
        """The student's cells of the part, in order."""
        return [cell for cell in self.cells if cell.student and cell.part == self.part_id]

    @property
    def cell_errors(self) -> list[tuple[PlannedCell, CellRun, int]]:
        """The student's cells of the part that an error stopped in the visible case, each with its run and the line."""
        return [
            (cell, run, run.line)
            for cell, run in zip(self.cells, self.execution.cells, strict=True)
            if cell.student and cell.part == self.part_id and run.status == "error" and run.line is not None
        ]

    def changed_before(self, part_case: CaseValues) -> Export:
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

    @property
    def first_hidden(self) -> PartCase | None:
        """The first of the hidden cases, if it came to its end."""
        first = next(iter(self.exercise.cases[1:]), None)
        return self.hidden.get(first.id) if first is not None else None

    @property
    def alone(self) -> Alone | None:
        """The part's lines on their own in the first hidden case, if they were run detached there."""
        first = self.first_hidden
        return first.alone if first is not None else None

    @property
    def twins(self) -> list[PartCase]:
        """The hidden cases with the visible one's parameters: the same in float64."""
        return [part_case for case_id, part_case in self.hidden.items() if self.as_visible(case_id)]

    def as_visible(self, case_id: str) -> bool:
        """Whether a case has the visible one's parameters: its float64 twin."""
        parameters = {case.id: case.parameters for case in self.exercise.cases}
        return parameters[case_id] == parameters[self.exercise.cases[0].id]

    def other_size(self, part_case: PartCase) -> bool:
        """Whether some tensor of a case has another shape than in the visible one."""
        return part_case.reference.shapes != self.visible.reference.shapes

    def errors(self, part_case: PartCase) -> list[CellError]:
        """The errors of a case's run in the cells of this part, in their order."""
        runs = self.execution.hidden if part_case.rounding is None else self.float32_runs
        errors = [error for error in runs[part_case.case.id].errors if self.cells[error.cell].part == self.part_id]
        return sorted(errors, key=lambda error: error.cell)

    @staticmethod
    def has_its_turn(case: Case, cases: Mapping[str, PartCase]) -> bool:
        """Whether a case says anything at all: one that builds on another needs that one to be all right."""
        return case.only_after is None or (case.only_after in cases and cases[case.only_after].all_right)

    def judge_in_float32(self, cases: Sequence[Case], runs: Mapping[str, HiddenRun], references: References,
                         rounding: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:  # fmt: skip
        """Let float32 runs of the hidden cases decide where float64 can't, within the rounding measured there."""
        self.float32_runs = runs
        for case in cases:
            run = runs[case.id]
            if not run.failed:
                self.float32[case.id] = self._case(
                    case, run.parts, references, FLOAT64, rounding[case.id][self.part_id]
                )
