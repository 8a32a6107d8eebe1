"""Whether the students' kernels compute from the locked cells what the reference does.

Both run them on their own. Where they come to other numbers (something draws random numbers that nobody has seeded, or
a thread has drawn some in between), every right answer would be marked wrong.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping

import torch
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from torch import Tensor

from grader.course.exercise import Exercise
from grader.execution.cell_client import Client
from grader.execution.plan import ProbePart, Step, probe_source
from grader.execution.tensors import Export, read_export
from grader.execution.time_limits import own_cell_seconds
from grader.kernels import KernelSource

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


def computed_by_kernels(exercise: Exercise, names: list[str], source: KernelSource) -> Export:
    """What the exercise's own cells bind to `names` in a kernel, up to the first that is the student's.

    Nothing where the kernel does not come through them. The kernels come with the setup run.

    Raises:
        ExecutionError: the kernel could not be started.
    """
    found: Export = {}
    asyncio.run(_compute(exercise, names, source, found))
    return found


async def _compute(exercise: Exercise, names: list[str], source: KernelSource, found: Export) -> None:
    seconds, visible = own_cell_seconds(exercise.spec), exercise.cases[0]
    asked = ProbePart(id="", gradients=[], upstream=[], values=names, also=[], forward=[])
    try:
        async with Client.start(source) as client:
            for cell in itertools.takewhile(lambda cell: cell.role != "gradients", exercise.cells):
                if cell.role == "setup":  # which the kernel comes with
                    continue
                await client.run_cell(cell.source, seconds)
                if cell.role == "parameters":
                    await client.probe(probe_source(Step(do="inject"), visible), seconds)
            answer = await client.probe(probe_source(Step(do="export", part=asked), visible), seconds)
    except (DeadKernelError, CellTimeoutError):
        return
    found.update(read_export(answer) or {})
