"""From the cells of a submission to the steps that the kernels run: the student's cells between the grader's probes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from grader.course.catalog import Case
from grader.course.exercise import Exercise
from grader.course.part_reference import PartReference
from grader.execution.detached import DetachedCase
from grader.execution.tensors import MAX_ELEMENTS
from grader.intake.take_in import PlannedCell
from grader.notebook.file import MAKES_GRADIENTS
from grader.notebook.gradient_names import gradient_of
from grader.records import Record

DETACHED = "#detached"
"""The id under which the detached runs travel with the hidden cases: no case can have it."""
DETACHED_SECONDS = 6.0
"""Time for all detached runs of a submission. They end by themselves before, unless the student's code hangs."""


class ProbePart(Record, frozen=True):
    """What the probe is told of a part: names only, no values.

    `gradients` are checked, `upstream` are the gradients they start from, `values` are compared by value; `also` are
    the other gradients, and `forward` the forward pass's tensors: reported only where the part's cells change them.
    `given` are the other names that the exercise has given to numbers and tensors by then. Where the part `restores`,
    what it has made of any of these is what they were before, for the parts below. `lists` are those of all these names
    that stand for lists of tensors. Of a tensor with more than so many `elements` only the shape is wanted.
    """

    id: str
    gradients: list[str]
    upstream: list[str]
    values: list[str]
    also: list[str]
    forward: list[str]
    given: list[str] = []
    restores: bool = False
    lists: list[str] = []
    elements: int = MAX_ELEMENTS


class Step(Record, frozen=True):
    """One thing that the kernel does. `cell` is the index into the planned cells of the cell to run."""

    do: Literal["cell", "inject", "begin", "export"]
    cell: int | None = None
    part: ProbePart | None = None


_TIMES_LARGER, _SMALL = 64, 1 << 16
"""A gradient that many times as large as its part's largest tensor, and not small, is wrong by its shape alone."""


def probe_parts(exercise: Exercise, references: Mapping[str, PartReference]) -> dict[str, ProbePart]:
    """Part id → what the probe is told. `references`: part id → its forward pass, in whatever case."""
    parts = {}
    for part_id, checks in exercise.parts.items():
        tensors = list(references[part_id].tensors)
        largest = max((tensor.numel() for tensor in references[part_id].tensors.values()), default=0)
        gradients = [*map(gradient_of, tensors)]
        parts[part_id] = ProbePart(
            id=part_id,
            gradients=checks.gradients,
            upstream=checks.upstream,
            values=checks.values,
            also=[name for name in gradients if name not in (*checks.gradients, *checks.upstream)],
            forward=tensors,
            given=[name for name in references[part_id].constants if name not in (*checks.names, *checks.upstream)],
            lists=[*references[part_id].lists, *map(gradient_of, references[part_id].lists)],
            elements=min(MAX_ELEMENTS, max(_SMALL, _TIMES_LARGER * largest)),
        )
    return parts


def plan_steps(cells: Sequence[PlannedCell], parts: Mapping[str, ProbePart]) -> list[Step]:
    """The steps of one run: a part begins before its first cell that makes gradients and is exported after its last."""
    firsts: dict[str, int] = {}
    lasts: dict[str, int] = {}
    for index, cell in enumerate(cells):
        if cell.part is not None and cell.part in parts:
            lasts[cell.part] = index
            if cell.role in MAKES_GRADIENTS:
                firsts.setdefault(cell.part, index)
    steps: list[Step] = []
    for index, cell in enumerate(cells):
        steps += [Step(do="begin", part=parts[part]) for part, first in firsts.items() if first == index]
        steps.append(Step(do="cell", cell=index))
        if cell.role == "parameters":
            steps.append(Step(do="inject"))
        for part, last in lasts.items():
            if last == index and part in firsts:
                between = {other.part for other in cells[firsts[part] : last + 1]} <= {part, None}
                restores = between and not parts[part].values
                steps.append(Step(do="export", part=msgspec.structs.replace(parts[part], restores=restores)))
    return steps


def setup_length(cells: Sequence[PlannedCell]) -> int:
    """How many leading cells are the release's setup, with no student's cell among them: what a snapshot may run."""
    for index, cell in enumerate(cells):
        if cell.student or cell.role != "setup":
            return index
    return len(cells)


def begins_with(steps: Sequence[Step], cells: Sequence[PlannedCell], head: Sequence[Step],
                own: Sequence[PlannedCell]) -> bool:  # fmt: skip
    """Whether a submission's steps begin with the exercise's own: `head`, over its `own` cells."""

    def same(step: Step, other: Step) -> bool:
        if step.cell is None or other.cell is None:
            return step == other
        mine, released = cells[step.cell], own[other.cell]
        return not mine.student and mine.role == released.role and mine.source == released.source

    return len(steps) >= len(head) and all(map(same, steps, head))


def trailing_looks(cells: Sequence[PlannedCell]) -> set[int]:
    """The compare cells after the student's last cell: figures and samples, on which no verdict depends."""
    last = max((index for index, cell in enumerate(cells) if cell.student), default=-1)
    return {index for index, cell in enumerate(cells) if index > last and cell.role == "compare"}


HOLD = "__import__('grader_guard').hold()"
"""The code without which a student's cell could end its kernel, or take its streams; snapshots come with it run."""


def probe_source(step: Step, case: Case) -> str:
    """The code that carries out one of the grader's own steps in the kernel of the visible case."""
    if step.do == "inject":
        arguments = f"{json.dumps(case.parameters)!r}, {case.dtype!r}"
    else:
        arguments = repr(msgspec.json.encode(step.part).decode())
    return f"__import__('grader_probe').{step.do}({arguments})"


def begun_source(steps: Sequence[Step], cells: Sequence[PlannedCell], cases: Sequence[Case],
                 detached: Mapping[str, Mapping[str, DetachedCase]]) -> str:  # fmt: skip
    """The code that runs the first steps of hidden cases in a process of which their kernels will be forks.

    Args:
        steps: the exercise's own, above the first cell that is the student's; the setup has been run already.
        cells: the exercise's own.
        cases: the cases.
        detached: case → part → what is told of it, for the cases in which parts are run detached.
    """
    told = [part for parts in detached.values() for part in parts.values()]
    request = {
        "cases": [_told(case, kept=case.id in detached) for case in cases],
        "steps": _hidden_steps(steps, cells, {}),
        "numbers": [number for part in told for number in part.numbers],
    }
    return f"__import__('grader_probe').begin_cases({json.dumps(request)!r})"


def hidden_source(
    steps: Sequence[Step],
    cells: Sequence[PlannedCell],
    cases: Sequence[Case],
    seconds: float,
    stops: Mapping[int, int],
    *,
    alone: bool = False,
    careful: bool = False,
    detached: Mapping[str, Any] | None = None,
) -> str:
    """The code that runs the hidden cases in their kernel.

    Args:
        steps: the visible case's steps, less the setup that the kernel has run already.
        seconds: time limit of a case.
        stops: cell index → the line at which that cell never came to an end; only what stands before it is run.
            Line 0 leaves the whole cell out.
        alone: every case in a process of its own. Otherwise only those with autograd scaled are: code that kept its
            results from another case would belie them.
        careful: no case is run in the kernel's own process, which may not survive it.
        detached: what is to be run detached (`DetachedPlan.request`); it is published like a case, as `DETACHED`.
    """
    told = [
        {
            **_told(case, kept=detached is not None and case.id in detached["cases"]),
            "seconds": seconds,
            "alone": alone or case.autograd_factor != 1.0,
        }
        for case in cases
    ]
    if detached is not None:
        together = sum(not case["alone"] for case in told)
        run = {"id": DETACHED, "seconds": DETACHED_SECONDS, "detached": detached, "kept": False}
        told.insert(together, {**told[0], **run})
    request: dict[str, Any] = {
        "cases": told,
        "steps": _hidden_steps(steps, cells, stops),
        "careful": careful,
    }
    return f"__import__('grader_probe').hidden({json.dumps(request)!r})"


def _told(case: Case, *, kept: bool) -> dict[str, Any]:
    return {
        "id": case.id,
        "parameters": case.parameters,
        "dtype": case.dtype,
        "autograd_factor": case.autograd_factor,
        "kept": kept,
    }


def last_gradients(cells: Sequence[PlannedCell]) -> int:
    """The index of the last cell that is for gradients, -1 where there is none."""
    return max((index for index, cell in enumerate(cells) if cell.role == "gradients"), default=-1)


def runs_hidden(step: Step, cells: Sequence[PlannedCell], last: int) -> bool:
    """Whether a tensor can come of a step: not of what only shows something, nor below the last gradients."""
    if step.cell is None:
        return True
    cell = cells[step.cell]
    return not cell.only_shows and (
        step.cell <= last if cell.student and cell.role is None else cell.student or cell.role != "compare"
    )


def _hidden_steps(
    steps: Sequence[Step], cells: Sequence[PlannedCell], stops: Mapping[int, int]
) -> list[dict[str, Any]]:
    last = last_gradients(cells)
    return [_hidden_step(step, cells, stops) for step in steps if runs_hidden(step, cells, last)]


def _hidden_step(step: Step, cells: Sequence[PlannedCell], stops: Mapping[int, int]) -> dict[str, Any]:
    if step.cell is None:
        return {"do": step.do, "part": msgspec.to_builtins(step.part)}
    code = cells[step.cell].code
    code = code.up_to(stops[step.cell]) if step.cell in stops else code
    return {"do": "cell", "cell": step.cell, "source": code.source}
