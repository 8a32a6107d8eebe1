"""Execution: a submission's cells, run by nbclient in a kernel that nothing is believed of.

The visible case runs cell by cell, as the student saw it. The hidden cases run in a kernel of their own, so that no
code of the visible case can read their parameters.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Protocol

import msgspec
import nbformat
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from grader.course.catalog import Case, ExerciseSpec
from grader.course.part_reference import PartReference
from grader.execution.cell_client import Client
from grader.execution.detached import Detached, read_detached
from grader.execution.detached_plan import plan_detached
from grader.execution.plan import (
    DETACHED,
    HOLD,
    ProbePart,
    Step,
    hidden_source,
    plan_steps,
    probe_source,
    setup_length,
    trailing_looks,
)
from grader.execution.tensors import MAX_NAMES, Export, read_export, unpacked
from grader.execution.time_limits import cell_seconds, notebook_seconds, own_cell_seconds
from grader.intake.take_in import PlannedCell
from grader.kernels import KernelSource
from grader.notebook.file import MAX_CELLS
from grader.records import Record

MAX_RESTARTS = 3
"""How often a kernel that died is started again, each time without the cell that killed it."""


class Start(NamedTuple):
    """Where a kernel begins: what has been run in those that `source` gives.

    `setup` is the number of setup cells, and `steps` that of a submission's steps; `outputs` are those of the cells
    among these.
    """

    source: KernelSource
    setup: int
    steps: int
    outputs: list[list[dict[str, Any]]]


class Kernels(Protocol):
    """Where a submission's kernels come from."""

    def visible(self, cells: Sequence[PlannedCell], steps: Sequence[Step]) -> Start:
        """Where the kernel of a submission's visible case begins."""

    def hidden(self, cells: Sequence[PlannedCell], steps: Sequence[Step]) -> Start:
        """Where the kernel of its hidden cases begins."""


class CellRun(Record, frozen=True):
    """What came of running one cell in the visible case.

    `status`: `ok`; `error` (it raised); `timeout`; `died` (the kernel did); `skipped` (the notebook's time was over).
    `line` is the 1-based line of the cell that raised or was running when the time was over. `end` is how the kernel
    died, in a few words, where that is known.
    """

    status: str = "skipped"
    outputs: list[dict[str, Any]] = []
    error: str | None = None
    line: int | None = None
    seconds: float = 0.0
    end: str | None = None


class CellError(Record, frozen=True):
    """A cell that raised in a hidden case."""

    cell: int
    name: str
    line: int | None = None
    message: str = ""


class HiddenRun(Record, frozen=True):
    """What came of one hidden case; `failed` is `timeout` or `died` where nothing came."""

    parts: dict[str, Export] = {}
    errors: list[CellError] = []
    failed: str | None = None


class _RawHidden(Record, frozen=True):
    parts: Annotated[dict[str, msgspec.Raw], msgspec.Meta(max_length=MAX_NAMES)] = {}
    errors: Annotated[list[CellError], msgspec.Meta(max_length=MAX_CELLS)] = []
    failed: str | None = None


_Ids = Annotated[list[str], msgspec.Meta(max_length=MAX_NAMES)]


class Execution(Record, frozen=True):
    """All that left the kernels: one `CellRun` a planned cell, and the exported tensors of every part and case.

    A part that is missing in `visible` was never handed over: its kernel had died, or had lost its ways. `detached` has
    what the parts gave in the cases in which they were run detached.
    """

    cells: list[CellRun]
    visible: dict[str, Export]
    hidden: dict[str, HiddenRun]
    detached: dict[str, dict[str, Detached]] = {}


class Runner:
    """Runs one submission.

    Args:
        cells: the submission's cells, as intake planned them.
        parts: what the probe is told of each part.
        spec: time limits and cases.
        kernels: where the kernels come from.
        further: hidden cases to run beside the exercise's own.
        references: case → part → reference, for the cases in which parts are run detached.
        again: part → the steps of the chain rule for which a second detached run is made; see `plan_detached`.
        hurry: somebody waits for the verdicts alone. The hidden cases are run beside the visible one, and the locked
            cells after the student's last one, which only show something, are not run.
        seen: is handed what the visible case left, where the hidden ones that are run beside it take longer.

    Attributes:
        cpu_seconds: what all kernels of this submission used so far.
    """

    def __init__(
        self,
        cells: Sequence[PlannedCell],
        parts: Mapping[str, ProbePart],
        spec: ExerciseSpec,
        kernels: Kernels,
        further: Sequence[Case] = (),
        references: Mapping[str, Mapping[str, PartReference]] | None = None,
        again: Mapping[str, Sequence[tuple[str, str]]] | None = None,
        *,
        hurry: bool = False,
        seen: Callable[[dict[str, Export]], None] = lambda _: None,
    ) -> None:
        self.cells = cells
        self.parts = parts
        self.references = references or {}
        self.again = again or {}
        self.further = further
        self.spec = spec
        self.steps = plan_steps(cells, parts)
        self._kernels = kernels
        self._left_out = trailing_looks(cells) if hurry else set()
        self._hurry = hurry
        self._seen = seen
        self.cpu_seconds = 0.0
        self.runs = [CellRun() for _ in cells]
        self.visible: dict[str, Export] = {}
        self.fatal: set[int] = set()  # cells that killed a kernel
        self.deadline = 0.0
        self._over = False  # whether this round has left a cell out because the notebook's time was over
        self._hidden: dict[str, HiddenRun] = {}
        self._detached: dict[str, dict[str, Detached]] = {}

    def execute(self) -> Execution:
        """Run the visible case, then the hidden ones.

        Raises:
            ExecutionError: no kernel could be started at all.
        """
        asyncio.run(self._execute())
        return Execution(cells=self.runs, visible=self.visible, hidden=self._hidden, detached=self._detached)

    def execute_hidden(self, cases: Sequence[Case], *, alone: bool = False) -> dict[str, HiddenRun]:
        """Run hidden cases, after `execute`; case id → what came of it. `alone`: each in a process of its own."""
        asyncio.run(self._run_hidden(cases, alone=alone))
        return self._hidden

    # The coroutines keep their results here and return None: at its end asyncio.run compares signal handlers, which
    # prints the task, which would print every tensor of its result, for 0.4 s of CPU.

    async def _execute(self) -> None:
        start = self._kernels.visible(self.cells, self.steps)  # first: to wait for it takes none of the student's time
        self.deadline = time.monotonic() + notebook_seconds(self.spec)
        cases = [*self.spec.all_cases[1:], *self.further]
        beside = asyncio.create_task(self._run_hidden(cases, detached=True)) if self._hurry else None
        for _ in range(MAX_RESTARTS):
            died_in = await self._run_visible(start)
            if died_in is None:
                break
            self.fatal.add(died_in)
        if beside is not None and not self._stops():
            if not beside.done():
                self._seen(self.visible)
            return await beside
        if beside is not None:  # it was begun without knowing which cells never end
            beside.cancel()
            await asyncio.wait([beside])
        await self._run_hidden(cases, detached=True)

    # --- the visible case

    async def _run_visible(self, start: Start) -> int | None:
        """Run the visible case once; the cell in which the kernel died, if it did.

        Where it is run again and the notebook's time ends, the parts that were handed over before stand.
        """
        self._over = False
        died_in = None
        for index, outputs in enumerate(start.outputs):
            self.runs[index] = CellRun(status="ok", outputs=outputs)
        async with self._client(start) as client:
            running = 0
            for step in self.steps[start.steps :]:
                if step.cell is not None:
                    running = step.cell
                    if step.cell in self.fatal or step.cell in self._left_out:
                        continue
                try:
                    await self._run_step(client, step)
                except (DeadKernelError, CellTimeoutError) as error:
                    # What it printed before is often what tells a student why.
                    printed = client.printed if step.cell is not None else self.runs[running].outputs
                    end = _DEAF if isinstance(error, CellTimeoutError) else None
                    died = CellRun(status="died", outputs=printed, error=type(error).__name__, end=end)
                    self.runs[running] = msgspec.structs.replace(died, seconds=self.runs[running].seconds)
                    died_in = running
                    break
        self.cpu_seconds += client.cpu_seconds
        self.deadline += client.clock.stretched
        if died_in is not None and client.end is not None:
            self.runs[died_in] = msgspec.structs.replace(self.runs[died_in], end=client.end)
        return died_in

    @contextlib.asynccontextmanager
    async def _client(self, start: Start) -> AsyncIterator[Client]:
        """A kernel that no cell can take the streams of."""
        async with Client.start(start.source) as client:
            if not start.source.held:
                await client.probe(HOLD, own_cell_seconds(self.spec))
            yield client

    async def _run_step(self, client: Client, step: Step) -> None:
        if step.cell is None:
            answer = await client.probe(probe_source(step, self.spec.all_cases[0]), cell_seconds(self.spec))
            if step.do == "export" and step.part is not None:
                export = read_export(answer[0] if answer else None, step.part.elements)
                if export is not None and not (self._over and step.part.id in self.visible):
                    self.visible[step.part.id] = export
            return
        started = time.monotonic()
        own = not any(cell.student for cell in self.cells[: step.cell + 1])
        if own:
            seconds = own_cell_seconds(self.spec)
        else:
            if self.deadline + client.clock.stretched - started < cell_seconds(self.spec):
                await client.clock.stretch()
            seconds = min(cell_seconds(self.spec), self.deadline + client.clock.stretched - started)
        if seconds <= 0:
            self._over = True
            part = self.cells[step.cell].part
            if part is not None and part not in self.visible:
                self.runs[step.cell] = CellRun()  # whatever it was before
            return
        cell = await client.run_cell(_from_line_one(self.cells[step.cell].source), seconds)
        took = time.monotonic() - started
        self.deadline += took if own else 0.0  # the notebook's time is the student's
        self.runs[step.cell] = _cell_run(cell, client.timed_out, took)

    # --- the hidden cases

    async def _run_hidden(self, cases: Sequence[Case], *, alone: bool = False, detached: bool = False) -> None:
        self._hidden = {}
        if not cases:
            return
        stops = self._stops()
        setup = setup_length(self.cells)
        steps = [step for step in self.steps if step.cell is None or step.cell >= setup]
        seconds = min(notebook_seconds(self.spec), 2 * cell_seconds(self.spec))
        plan = plan_detached(self.parts, self.references if detached else {}, self.again, self.cells, self.steps, stops)

        async def run(careful: bool) -> dict[str, memoryview]:
            source = hidden_source(
                steps,
                self.cells,
                cases,
                seconds,
                stops,
                alone=alone,
                careful=careful,
                detached=plan.request if plan.parts else None,
            )
            # In a process of its own a case has its own time, and may be tried twice.
            forks = len(cases) if careful else sum(case.autograd_factor != 1.0 for case in cases)
            return await self._hidden_found(source, setup, (1 + 2 * forks) * seconds + cell_seconds(self.spec))

        # A fork takes longer than most cases, and few end their kernel or forge its messages in hidden cases.
        for careful in (True,) if alone else (False, True):
            found = await run(careful)
            self._hidden = {case.id: self._hidden_run(found.get(case.id)) for case in cases}
            if not any(one.failed for one in self._hidden.values()):
                break
        if detached:
            self._detached = read_detached(found.get(DETACHED), plan)

    async def _hidden_found(self, source: str, setup: int, seconds: float) -> dict[str, memoryview]:
        """What the hidden cases' kernel hands over by case; nothing where it died or its time was over."""
        start = self._kernels.hidden(self.cells, self.steps)
        async with self._client(start) as client:
            try:
                for cell in self.cells[start.setup : setup]:
                    await client.run_cell(cell.source, own_cell_seconds(self.spec))
                answer = await client.probe(source, seconds)
            except (DeadKernelError, CellTimeoutError):
                answer = []
        self.cpu_seconds += client.cpu_seconds
        if client.timed_out or not answer:
            return {}
        ids, *results = answer
        return dict(zip(unpacked(ids, _Ids) or (), results, strict=False))

    def _stops(self) -> dict[int, int]:
        """The cells that never came to an end in the visible case → the line at which they were stopped, or 0."""
        stops = {index: run.line or 0 for index, run in enumerate(self.runs) if run.status == "timeout"}
        return {**stops, **dict.fromkeys(self.fatal, 0)}

    def _hidden_run(self, answer: memoryview | None) -> HiddenRun:
        result = unpacked(answer, _RawHidden)
        if result is None:
            return HiddenRun(failed="died")
        exports = {}
        for part in {step.part.id: step.part for step in self.steps if step.part is not None}.values():
            export = read_export(result.parts.get(part.id), part.elements)
            if export is not None:
                exports[part.id] = export
        errors = {error.cell: error for error in result.errors if 0 <= error.cell < len(self.cells)}
        return HiddenRun(parts=exports, errors=list(errors.values()), failed=result.failed)


def _from_line_one(source: str) -> str:
    """A cell whose first line isn't empty: IPython drops empty ones at the top, and counts lines without them."""
    return source if source.split("\n", 1)[0].strip() else f"#{source}"


_DEAF = "it ran out of time and did not react to an interrupt"
_LINE = re.compile(r"Cell In\[\d+\], line (\d{1,6})")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def _cell_run(cell: nbformat.NotebookNode, timed_out: bool, seconds: float) -> CellRun:
    outputs = [dict(output) for output in cell.outputs]
    raised = next((output for output in outputs if output.get("output_type") == "error"), None)
    line = None
    if raised is not None:
        rows = raised.get("traceback")
        text = _ANSI.sub("", "\n".join(map(str, rows if isinstance(rows, list) else [])))
        match = _LINE.search(text)
        line = int(match[1]) if match else None
    status = "timeout" if timed_out else "error" if raised is not None else "ok"
    error = str(raised.get("ename", "")) if raised is not None else None
    return CellRun(status=status, outputs=outputs, error=error, line=line, seconds=seconds)
