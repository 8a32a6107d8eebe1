"""Where the kernels of an exercise's submissions begin: as far along as its locked cells lead.

What stands above a submission's first own line is the same in all of them, so it is run once, in a process that the
kernels are forks of: the setup in one, and from there on the visible case's cells in a branch of it, and those of all
hidden cases in another, for no code of the visible case may read their parameters. A submission that has something of
its own above the last of these cells gets kernels that have run less.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from grader.course.exercise import Exercise
from grader.errors import ExecutionError
from grader.execution.detached import DetachedCase
from grader.execution.execute import Start
from grader.execution.plan import ProbePart, Step, begins_with, begun_source, plan_steps, probe_source
from grader.intake.take_in import PlannedCell, leading_cells
from grader.kernels import KernelSource


@dataclass
class _Head:
    """Steps that kernels come with, what a branch is told for those below the setup, and its kernels, if any."""

    steps: list[Step]
    told: list[tuple[str, str]]
    kernels: KernelSource | None = None


class KernelStarts:
    """The kernels of one exercise, kept warm until `close`.

    Args:
        exercise: the exercise.
        kernels: its kernels, opened here when they are first asked for.
    """

    def __init__(self, exercise: Exercise, kernels: AbstractContextManager[KernelSource]) -> None:
        self._exercise = exercise
        self._kernels = kernels
        self._own = leading_cells(exercise)
        self._steps = plan_steps(self._own, {})
        self._source: KernelSource | None = None
        self._heads: dict[str, _Head] = {}
        self._stack = contextlib.ExitStack()

    def close(self) -> None:
        """End all kernels."""
        self._source = None
        self._heads.clear()
        self._stack.close()

    @property
    def source(self) -> KernelSource:
        """Kernels that have run the setup at most, opened when they are first asked for."""
        if self._source is None:
            self._source = self._stack.enter_context(self._kernels)
        return self._source

    def begin_visible(self) -> None:
        """Have the visible case's locked cells run, in the background, where kernels can come with them."""
        if "visible" not in self._heads:
            case = self._exercise.cases[0]
            told = [
                ("cell", self._own[step.cell].source) if step.cell is not None else ("probe", probe_source(step, case))
                for step in self._steps
            ]
            self._heads["visible"] = _Head(self._steps, told[self.source.setup_cells_run :])
        self._begin("visible")

    def begin_hidden(
        self, below: Callable[[], tuple[ProbePart | None, Mapping[str, Mapping[str, DetachedCase]]]]
    ) -> None:
        """Have the hidden cases' locked cells run, in the background, where kernels can come with them.

        Args:
            below: asked for once, since it is the same for every submission: the part that begins below them, None
                where it isn't the first one; and case → part → what is told of it where it is run detached.
        """
        if "hidden" not in self._heads:
            part, detached = below()
            steps = [*self._steps, *([Step(do="begin", part=part)] if part is not None else [])]
            own = steps[self.source.setup_cells_run :]
            probe = begun_source(own, self._own, self._exercise.cases[1:], detached)
            self._heads["hidden"] = _Head(steps, [("probe", probe)])
        self._begin("hidden")

    def _begin(self, case: str) -> None:
        self._heads[case].kernels = self.source.branch(self._heads[case].told)

    def visible(self, cells: Sequence[PlannedCell], steps: Sequence[Step]) -> Start:
        """Where the kernel of a submission's visible case begins."""
        return self._start("visible", cells, steps)

    def hidden(self, cells: Sequence[PlannedCell], steps: Sequence[Step]) -> Start:
        """Where the kernel of its hidden cases begins."""
        return self._start("hidden", cells, steps)

    def locked(self) -> tuple[list[PlannedCell], list[Step], Start]:
        """The locked cells that come first, their steps, and where a kernel of the visible case begins with them."""
        return self._own, self._steps, self.visible(self._own, self._steps)

    def _start(self, case: str, cells: Sequence[PlannedCell], steps: Sequence[Step]) -> Start:
        ready = self.source
        done = ready.setup_cells_run
        head = self._heads.get(case)
        if head is None or head.kernels is None or not begins_with(steps, cells, head.steps, self._own):
            return Start(ready, done, done, ready.setup_outputs)
        try:
            head.kernels.wait()
        except ExecutionError:  # a locked cell fails: the kernels' own cells will say so
            head.kernels = None
            return self._start(case, cells, steps)
        return Start(head.kernels, done, len(head.steps), [*ready.setup_outputs, *head.kernels.setup_outputs])

    def prepare(self) -> None:
        """Start the kernels of the next grading, where that can be done."""
        for case in ("visible", "hidden"):
            head = self._heads.get(case)
            ((head and head.kernels) or self.source).prepare(1)
