"""Grading one submission, from bytes to `Grading`."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from grader.course.catalog import Case, in_float32
from grader.course.exercise import Exercise
from grader.course.reference import Reference
from grader.diagnosis.autograd_use.flags import (
    apply_policy,
    autograd_flags,
    names_autograd,
    scaled_cases,
    wants_explaining,
)
from grader.diagnosis.diagnose import explained
from grader.diagnosis.where import Where
from grader.errors import ExecutionError, SubmissionError
from grader.execution.execute import Execution, HiddenRun, Runner
from grader.execution.plan import probe_parts
from grader.execution.reference_agreement import computed_by_kernels, disagreements
from grader.execution.tensors import Export
from grader.grading.evidence import cell_views, evidence_for, graph_of
from grader.grading.live_kernel import Live, place, remarked
from grader.grading.ungradable import ungradable
from grader.intake.saved_cmp import with_saved
from grader.intake.take_in import Intake, take_in
from grader.kernels import KernelSource
from grader.marking.near_zero import Edge, edges
from grader.marking.used_parts import UsedParts
from grader.marking.verdicts import PartMarks, References
from grader.notebook.gradient_names import gradient_of
from grader.records import Check, Evidence, Flag, Grade, Grading, PartView, Submission, Verdict
from grader.wording import listed, rounded

KERNELS = 2
"""How many kernels a grading takes, mostly: the visible case's, and that of the hidden ones."""
SoFar = Callable[[int, int], None]
MAX_NAMED = 4
"""So many tensors are named in a sentence."""


class Grader:
    """Grades submissions of one exercise; a context manager that keeps its kernels and its reference warm.

    Args:
        exercise: the exercise.
        open_kernels: opens a source of kernels that come with the given setup cells run.
        hurry: somebody waits for the verdicts, and nobody will look at what the cells show.
        so_far: is told how many checks hold in the visible case, and of how many, where the hidden cases take longer.
    """

    def __init__(
        self,
        exercise: Exercise,
        open_kernels: Callable[[Sequence[str]], KernelSource],
        *,
        hurry: bool = False,
        so_far: SoFar | None = None,
    ) -> None:
        self.exercise = exercise
        self.reference = Reference(exercise)
        self._open_kernels = open_kernels
        self._hurry = hurry
        self._so_far = so_far
        self._sources: dict[bool, KernelSource] = {}
        self._tried: dict[str, list[Edge]] | None = None
        self._detached: References | None = None
        self._agreed = False
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *error: object) -> None:
        self._sources.clear()
        self._stack.close()

    def source(self, *, ready: bool) -> KernelSource:
        """The kernels, opened when they are first asked for: with the setup run, or with nothing run."""
        if ready not in self._sources:
            setup = self.exercise.setup_sources if ready else []
            self._sources[ready] = self._stack.enter_context(self._open_kernels(setup))
        return self._sources[ready]

    def names(self) -> list[str]:
        """Every checked name, and the tensors of every part's forward pass."""
        names = {name for checks in self.exercise.parts.values() for name in checks.names}
        visible = self.reference.case(self.exercise.cases[0])
        return sorted(names.union(*(part.forward for part in visible.values())))

    def lists(self) -> list[str]:
        """Of these names, those that stand for lists of tensors."""
        visible = self.reference.case(self.exercise.cases[0])
        return sorted({name for part in visible.values() for each in part.lists for name in (each, gradient_of(each))})

    def prepare(self) -> None:
        """Compute the reference of every case, and start the kernels of the next grading where that can be done."""
        self._agree()
        for case in self.exercise.cases:
            self.reference.case(case)
        self.source(ready=True).prepare(KERNELS)

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
            return self._graded(submission, intake, wall, cpu, live)
        except (SubmissionError, ExecutionError) as error:
            return ungradable(submission, self.exercise.spec, str(error))

    def _graded(self, submission: Submission, intake: Intake, wall: float, cpu: float,
                live: Live | None) -> Grading:  # fmt: skip
        self._agree()
        references = {case.id: self.reference.case(case) for case in self.exercise.cases}
        visible = references[self.exercise.cases[0].id]
        parts = probe_parts(self.exercise, visible)
        scaled = scaled_cases(self.exercise.spec) if names_autograd(intake.cells) else []
        runner = Runner(
            intake.cells, parts, self.exercise.spec, self,
            further=scaled, references=self._detached_in(references), again=self._again(references), hurry=self._hurry,
            seen=lambda visible: self._tell(intake, visible, references),
        )  # fmt: skip
        execution = runner.execute()
        marked = self._marked(intake, execution, references)
        if doubtful := _doubtful_cases(self.exercise.cases[1:], marked):
            again = runner.execute_hidden(doubtful, alone=True)
            execution = msgspec.structs.replace(execution, hidden={**execution.hidden, **again})
            marked = self._marked(intake, execution, references)
        remarks: Mapping[tuple[str, str], str] = {}
        if live is not None:
            placed = place(live, execution, self.exercise, visible)
            execution, remarks = placed.execution, placed.remarks
            marked = self._marked(intake, execution, references)
            for part_id, names in placed.alone.items():
                marked[part_id].visible_alone.update(names)
        self._judge_in_float32(marked, runner)
        views, places = cell_views(intake.cells, execution.cells)
        checks: list[Check] = []
        evidence: list[Evidence] = []
        flags: list[Flag] = []
        wheres = {part_id: Where(marks) for part_id, marks in marked.items()}
        for part_id, part_checks in self.exercise.parts.items():
            marks, where = marked[part_id], wheres[part_id]
            used = UsedParts(part_id, self.exercise, visible)
            for name in visible[part_id].in_backward_order(part_checks.names):
                check = marks.check(name)
                settled = used.settled(check, checks, lambda other: wheres[other.part].code(other.name))
                check = explained(check, marks, where) if settled is check else settled
                check = with_saved(check, intake.saved if live is None else (), marks.cmp(name))
                check = remarked(check, remarks)
                checks.append(check)
                evidence.append(evidence_for(marks, where, check, places))
        flags += [
            Flag(code="unchecked", message=f"{check.name}: {check.remark}", part=check.part)
            for check in checks
            if check.verdict is Verdict.UNCHECKED
        ]
        if not scaled and wants_explaining(intake.cells, marked):
            scaled = scaled_cases(self.exercise.spec)
            again = runner.execute_hidden(scaled, alone=True)
            execution = msgspec.structs.replace(execution, hidden={**execution.hidden, **again})
        flags += autograd_flags(intake.cells, self.exercise.parts, self.exercise.spec, execution, scaled, marked)
        checks = apply_policy(checks, flags, self.exercise.spec)
        grade = Grade(
            student=submission.student,
            exercise=self.exercise.id,
            status="graded",
            score=rounded(math.fsum(check.points for check in checks)),
            max_score=self.exercise.max_score,
            checks=checks,
            flags=flags,
            cpu_seconds=time.process_time() - cpu + runner.cpu_seconds,
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

    def _tell(self, intake: Intake, visible: dict[str, Export], references: References) -> None:
        """Say what the visible case shows, as the student's own `cmp` would: no verdict before the others are there."""
        if self._so_far is None:
            return
        hidden = {case.id: HiddenRun(failed="not there yet") for case in self.exercise.cases[1:]}
        marked = self._marked(intake, Execution(cells=[], visible=visible, hidden=hidden), references)
        lines = [marks.cmp(name) for marks in marked.values() for name in marks.checks.names]
        self._so_far(sum(line is not None and line.approximate for line in lines), len(lines))

    def _agree(self) -> None:
        """See, once, that the reference's numbers are those of the kernels; compute it anew where they are not.

        Kernels that have nothing run yet are not asked: a cold one takes as long as a submission.

        Raises:
            ExecutionError: they are not, for the second time.
        """
        source = self.source(ready=True)
        if self._agreed or not source.setup_cells_run:
            return
        for attempt in range(2):
            if attempt:
                self.reference = Reference(self.exercise)
            self.reference.case(self.exercise.cases[0])
            given = self.reference.given
            differing = disagreements(given, computed_by_kernels(self.exercise, list(given), source))
            if not differing:
                self._agreed = True
                return
        names = listed([f"`{name}`" for name in differing], MAX_NAMED)
        raise ExecutionError(
            f"The locked cells of {self.exercise.id} give different numbers in each run ({names}), so no answer can "
            "be checked: seed every random number that they draw, release the exercise and grade again."
        )

    def _detached_in(self, references: References) -> References:
        """The references of the hidden cases in which parts are run detached; the same for every submission."""
        if self._detached is None:
            self._detached = first_of_each_size(self.exercise.cases[1:], references)
        return self._detached

    def _again(self, references: References) -> dict[str, list[tuple[str, str]]]:
        """Part → the steps of the chain rule for which a second detached run is made."""
        steps = self._steps_to_try(references)
        return {part: [(edge.upper, edge.lower) for edge in tried] for part, tried in steps.items()}

    def _steps_to_try(self, references: References) -> dict[str, list[Edge]]:
        """Part → the steps of the chain rule of which right values prove little."""
        if self._tried is None:
            hidden = [references[case.id] for case in self.exercise.cases[1:]]
            found = {
                part_id: edges(checks.gradients, [reference[part_id] for reference in hidden])
                for part_id, checks in self.exercise.parts.items()
            }
            self._tried = {part_id: tried for part_id, tried in found.items() if tried}
        return self._tried

    def _marked(self, intake: Intake, execution: Execution, references: References) -> dict[str, PartMarks]:
        tried = self._steps_to_try(references)
        return {
            part_id: PartMarks(part_id, self.exercise, intake.cells, execution, references, tried.get(part_id, ()))
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
            marks.judge_in_float32(cases, runs, references, rounding)


def _doubtful_cases(cases: Sequence[Case], marked: Mapping[str, PartMarks]) -> list[Case]:
    """The hidden cases in which something came out worse than in the first.

    The first had a process to itself until it was done. What the others found there it may have left behind: a patched
    function, a changed data set. A student's case is judged by what its code does on its own.
    """
    found = []
    for case in cases[1:]:
        for marks in marked.values():
            first, other = marks.hidden.get(cases[0].id), marks.hidden.get(case.id)
            if first and other and any(other.outcomes[name] > outcome for name, outcome in first.outcomes.items()):
                found.append(case)
                break
    return found


def first_of_each_size(cases: Sequence[Case], references: References) -> References:
    """Of the cases that build on no other, the first two and the first for each set of sizes, with their references.

    Of two networks, for a diagnosis must hold in both: what is one number in the first is another in the second.
    """
    free = [case.id for case in cases if case.only_after is None]
    sizes: dict[str, str] = {}
    for case_id in free:
        key = repr({part: reference.shapes for part, reference in references[case_id].items()})
        sizes.setdefault(key, case_id)
    chosen = {*sizes.values(), *free[:2]}
    return {case_id: references[case_id] for case_id in free if case_id in chosen}
