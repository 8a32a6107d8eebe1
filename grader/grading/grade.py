"""Grading one submission, from bytes to `Grading`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import msgspec

from grader.course.catalog import Case, ScaledCase, in_float32
from grader.course.exercise import Exercise
from grader.course.part_reference import PartReference
from grader.diagnosis.autograd_use.flags import (
    apply_policy,
    autograd_flags,
    names_autograd,
    scaled_cases,
    wants_explaining,
)
from grader.diagnosis.diagnose import explained
from grader.diagnosis.gradient_lines import GradientLines
from grader.errors import ExecutionError, SubmissionError
from grader.execution.execute import Execution, HiddenRun, Runner
from grader.execution.plan import probe_parts
from grader.execution.tensors import Export
from grader.grading.evidence import cell_views, evidence_for, graph_of
from grader.grading.live_kernel import Live, place, remarked
from grader.grading.ungradable import ungradable
from grader.grading.warm_exercise import WarmExercise
from grader.intake.saved_cmp import SavedCmp, with_saved
from grader.intake.take_in import Intake, take_in
from grader.kernels import KernelSource
from grader.marking.part_in_all_cases import PartCases, References
from grader.marking.parts_using_others import PartUsingOthers
from grader.marking.verdicts import PartMarks
from grader.records import Check, Evidence, Flag, Grade, Grading, PartView, Submission, Verdict
from grader.wording import rounded

SoFar = Callable[[int, int], None]
"""Told how many checks hold in the visible case, and of how many."""


class Grader(WarmExercise):
    """Grades submissions of one exercise; a context manager that keeps its kernels and its reference warm.

    Args:
        exercise: the exercise.
        kernels: its kernels, which are opened when they are first needed.
        hurry: somebody waits for the verdicts, and nobody will look at what the cells show.
        so_far: is told how many checks hold in the visible case, and of how many, where the hidden cases take longer.
    """

    def __init__(
        self,
        exercise: Exercise,
        kernels: AbstractContextManager[KernelSource],
        *,
        hurry: bool = False,
        so_far: SoFar | None = None,
    ) -> None:
        super().__init__(exercise, kernels)
        self._hurry = hurry
        self._so_far = so_far

    def __enter__(self) -> Grader:
        return self

    def grade(self, submission: Submission, live: Live | None = None) -> Grading:
        """Grade a submission. What is wrong with it is in the result, never an exception.

        With `live`, the submission is what a running kernel has executed, and its tensors are judged.
        """
        wall, cpu = time.monotonic(), time.process_time()
        try:
            intake = take_in(submission.data, self.exercise)
            if live is not None:  # the kernel's cells, whose places in the notebook aren't known
                cells = [msgspec.structs.replace(cell, position=None) for cell in intake.cells]
                intake = msgspec.structs.replace(intake, cells=cells)
            read = time.monotonic(), time.process_time()
            self.get_ready()  # for all submissions: none of it is the first one's time
            wall, cpu = wall + time.monotonic() - read[0], cpu + time.process_time() - read[1]
            return self._graded(submission, intake, wall, cpu, live)
        except (SubmissionError, ExecutionError) as error:
            return ungradable(submission, self.exercise.spec, str(error))

    def _graded(self, submission: Submission, intake: Intake, wall: float, cpu: float,
                live: Live | None) -> Grading:  # fmt: skip
        references = self.references()
        visible = references[self.exercise.cases[0].id]
        judged = self._judged(intake, references, live)
        views, places = cell_views(intake.cells, judged.execution.cells)
        checks, evidence = self._explained(judged, visible, places, intake.saved if live is None else ())
        flags = [
            Flag(code="unchecked", message=f"{check.name}: {check.remark}", part=check.part)
            for check in checks
            if check.verdict is Verdict.UNCHECKED
        ]
        flags += self._autograd_flags(intake, judged)
        checks = apply_policy(checks, flags, self.exercise.spec)
        grade = Grade(
            student=submission.student,
            exercise=self.exercise.id,
            status="graded",
            score=rounded(math.fsum(check.points for check in checks)),
            max_score=self.exercise.max_score,
            checks=checks,
            flags=flags,
            cpu_seconds=time.process_time() - cpu + judged.runner.cpu_seconds,
            wall_seconds=time.monotonic() - wall,
        )
        part_views = [
            # where only values are checked, no gradient is there to be seen flowing
            PartView(id=part.id, title=part.title, graph=graph_of(visible[part.id]) if checked.gradients else [])
            for part, checked in ((part, self.exercise.parts[part.id]) for part in self.exercise.spec.parts)
        ]
        return Grading(
            grade=grade,
            title=self.exercise.spec.title,
            parts=part_views,
            cells=views,
            evidence=evidence,
            notes=intake.notes if live is None else [],
            submission=submission.digest,
            exercise_version=self.exercise.version,
        )

    def _judged(self, intake: Intake, references: References, live: Live | None) -> _Judged:
        """Run the cells in every case, and mark what they made; of a running kernel, what it holds."""
        visible = references[self.exercise.cases[0].id]
        scaled = scaled_cases(self.exercise.spec) if names_autograd(intake.cells) else []
        runner = Runner(
            intake.cells, probe_parts(self.exercise, visible), self.exercise.spec, self.kernels,
            further=scaled, references=self.detached_in(references), again=self.steps_again(references),
            hurry=self._hurry, seen=lambda visible: self._tell(intake, visible, references),
        )  # fmt: skip
        execution = runner.execute()
        marked = self._marked(intake, execution, references)
        if doubtful := _doubtful_cases(self.exercise.cases[1:], marked):
            execution = _run_again(runner, execution, doubtful)
            marked = self._marked(intake, execution, references)
        remarks: Mapping[tuple[str, str], str] = {}
        if live is not None:
            placed = place(live, execution, self.exercise, visible)
            execution, remarks = placed.execution, placed.remarks
            marked = self._marked(intake, execution, references)
            for part_id, names in placed.alone.items():
                marked[part_id].part.visible_alone.update(names)
        self._judge_in_float32(marked, runner)
        return _Judged(runner, execution, marked, remarks, scaled)

    def _explained(self, judged: _Judged, visible: Mapping[str, PartReference], places: Mapping[int, int],
                   saved: Sequence[SavedCmp]) -> tuple[list[Check], list[Evidence]]:  # fmt: skip
        """Every check with its reason, and what a report shows beside it."""
        checks: list[Check] = []
        evidence: list[Evidence] = []
        wheres = {part_id: GradientLines(marks.part) for part_id, marks in judged.marked.items()}
        for part_id, part_checks in self.exercise.parts.items():
            marks, where = judged.marked[part_id], wheres[part_id]
            using = PartUsingOthers(part_id, self.exercise, visible)
            for name in visible[part_id].in_backward_order(part_checks.names):
                check = marks.check(name)
                settled = using.settled(check, checks, lambda other: wheres[other.part].code(other.name))
                check = explained(check, marks, where) if settled is check else settled
                check = remarked(with_saved(check, saved, marks.cmp(name)), judged.remarks)
                checks.append(check)
                evidence.append(evidence_for(marks, where, check, places))
        return checks, evidence

    def _autograd_flags(self, intake: Intake, judged: _Judged) -> list[Flag]:
        """The flags about autograd; where nothing names it and values want explaining, the cases are run for it now."""
        execution, scaled = judged.execution, judged.scaled
        if not scaled and wants_explaining(intake.cells, judged.marked):
            scaled = scaled_cases(self.exercise.spec)
            execution = _run_again(judged.runner, execution, scaled)
        return autograd_flags(intake.cells, execution, scaled, judged.marked)

    def _tell(self, intake: Intake, visible: dict[str, Export], references: References) -> None:
        """Say what the visible case shows, as the student's own `cmp` would: no verdict before the others are there."""
        if self._so_far is None:
            return
        hidden = {case.id: HiddenRun(failed="not there yet") for case in self.exercise.cases[1:]}
        marked = self._marked(intake, Execution(cells=[], visible=visible, hidden=hidden), references)
        lines = [marks.cmp(name) for marks in marked.values() for name in marks.part.checks.names]
        self._so_far(sum(line is not None and line.approximate for line in lines), len(lines))

    def _marked(self, intake: Intake, execution: Execution, references: References) -> dict[str, PartMarks]:
        tried = self.steps_to_try(references)
        return {
            part_id: PartMarks(
                PartCases(part_id, self.exercise, intake.cells, execution, references), tried.get(part_id, ())
            )
            for part_id in self.exercise.parts
        }

    def _judge_in_float32(self, marked: Mapping[str, PartMarks], runner: Runner) -> None:
        """Run the hidden cases once more, in float32, where some part's code knows nothing else."""
        wanting = [marks for marks in marked.values() if marks.wants_float32]
        if not wanting:
            return
        cases = [in_float32(case) for case in self.exercise.cases[1:]]
        runs = runner.execute_hidden(cases)
        references = {case.id: self.reference.case(case) for case in cases}
        rounding = {case.id: self.reference.rounding(case) for case in cases}
        for marks in wanting:
            marks.part.judge_in_float32(cases, runs, references, rounding)


class _Judged(NamedTuple):
    """What came of a submission's cells, by part, with the remarks on values that a running kernel alone has.

    `scaled` are the cases that were run to find out about autograd.
    """

    runner: Runner
    execution: Execution
    marked: dict[str, PartMarks]
    remarks: Mapping[tuple[str, str], str]
    scaled: Sequence[ScaledCase]


def _run_again(runner: Runner, execution: Execution, cases: Sequence[Case]) -> Execution:
    """With these hidden cases as each of them is in a process of its own."""
    again = runner.execute_hidden(cases, alone=True)
    return msgspec.structs.replace(execution, hidden={**execution.hidden, **again})


def _doubtful_cases(cases: Sequence[Case], marked: Mapping[str, PartMarks]) -> list[Case]:
    """The hidden cases in which something came out worse than in the first.

    The first had a process to itself until it was done. What the others found there it may have left behind: a patched
    function, a changed data set. A student's case is judged by what its code does on its own.
    """
    found = []
    for case in cases[1:]:
        for marks in marked.values():
            first, other = marks.part.hidden.get(cases[0].id), marks.part.hidden.get(case.id)
            if first and other and any(other.outcomes[name] > outcome for name, outcome in first.outcomes.items()):
                found.append(case)
                break
    return found
