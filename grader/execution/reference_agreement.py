"""Whether the students' kernels compute from the locked cells what the reference does.

Both run them on their own. Where they come to other numbers (something draws random numbers that nobody has seeded, or
a thread has drawn some in between), every right answer would be marked wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import torch
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from torch import Tensor

from grader.course.catalog import ExerciseSpec
from grader.execution.cell_client import Client
from grader.execution.execute import Start
from grader.execution.plan import ProbePart, Step, probe_source
from grader.execution.tensors import Export, read_export
from grader.execution.time_limits import own_cell_seconds
from grader.intake.take_in import PlannedCell

APART = 1e-2
"""A difference, by the tensor's largest number, that is none of rounding."""


def disagreements(given: Mapping[str, Tensor], computed: Export) -> list[str]:
    """The names that stand for other numbers in the kernels than in the reference. What only one of them has is none.

    Args:
        given: `Reference.given`.
        computed: what `computed_by_kernels` found under these names.
    """
    return [
        name
        for name, own in given.items()
        if name in computed and (sent := computed[name].tensor) is not None and not _same(sent, own)
    ]


def _same(sent: Tensor, own: Tensor) -> bool:
    if sent.shape != own.shape:
        return False
    finite = own[own.isfinite()].double().abs()  # a mask may hold what isn't
    apart = APART * float(finite.max()) if own.is_floating_point() and finite.numel() else 0.0
    return torch.allclose(sent.double(), own.double(), rtol=0.0, atol=apart, equal_nan=True)


def computed_by_kernels(
    cells: Sequence[PlannedCell], steps: Sequence[Step], start: Start, spec: ExerciseSpec, names: list[str]
) -> Export:
    """What the exercise's own cells bind to `names` in a kernel, up to the first that is the student's.

    Nothing where the kernel does not come through them.

    Args:
        cells: the exercise's own.
        steps: how they are run in the visible case.
        start: where the kernel begins.
        spec: the catalogue's entry.
        names: the names.

    Raises:
        ExecutionError: the kernel could not be started.
    """
    found: Export = {}
    asyncio.run(_compute(cells, steps, start, spec, names, found))
    return found


async def _compute(cells: Sequence[PlannedCell], steps: Sequence[Step], start: Start, spec: ExerciseSpec,
                   names: list[str], found: Export) -> None:  # fmt: skip
    seconds, visible = own_cell_seconds(spec), spec.all_cases[0]
    asked = ProbePart(id="", gradients=[], upstream=[], values=names, also=[], forward=[])
    try:
        async with Client.start(start.source) as client:
            for step in steps[start.steps :]:
                if step.cell is not None:
                    await client.run_cell(cells[step.cell].source, seconds)
                else:
                    await client.probe(probe_source(step, visible), seconds)
            answer = await client.probe(probe_source(Step(do="export", part=asked), visible), seconds)
    except (DeadKernelError, CellTimeoutError):
        return
    found.update(read_export(answer[0] if answer else None) or {})
