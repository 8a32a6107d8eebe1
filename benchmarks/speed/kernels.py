"""What one more kernel takes of the memory, and kernels in which nothing is computed of the CPU."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from contextlib import AbstractContextManager
from typing import NamedTuple

from benchmarks.speed.measure import family, median, proportional
from grader.course.exercise import Exercise
from grader.execution.cell_client import Client
from grader.grading.pool import PROBE_FOLDER
from grader.intake.take_in import take_in
from grader.kernels import KernelSource, Limits, open_source

FURTHER = 8
WARM, TIMED = 20, 20
KERNELS = 2
"""How many a grading takes, mostly: the visible case's, and that of the hidden ones."""


class Bare(NamedTuple):
    """CPU seconds of a grading's kernels, in which nothing is computed, and of nbclient beside them.

    `empty`: no cell is run. `passes`: the first runs as many cells as a submission has, each of them `pass`.
    """

    empty: float
    passes: float


def memory_of_further_kernel(exercise: Exercise, notebook: bytes) -> int:
    """Bytes of proportional set size that each kernel after the first adds, with the notebook's cells run in it."""
    cells = [cell.source for cell in take_in(notebook, exercise).cells]
    with _kernels(exercise) as source:

        async def sizes() -> tuple[int, int]:
            async with contextlib.AsyncExitStack() as stack:
                first = 0
                for number in range(1 + FURTHER):
                    client = await stack.enter_async_context(Client.start(source))
                    for cell in cells[source.setup_cells_run :]:
                        await client.run_cell(cell, exercise.spec.cell_seconds)
                    first = first if number else _below()
                return first, _below()

        first, all_of_them = asyncio.run(sizes())
    return (all_of_them - first) // FURTHER


def cpu_of_bare_kernels(exercise: Exercise, notebook: bytes) -> Bare:
    """What is paid before anything is computed: a sandboxed kernel for the visible case, one for the hidden ones."""
    with _kernels(exercise) as source:
        cells = len(take_in(notebook, exercise).cells) - source.setup_cells_run

        async def spent(passes: int) -> float:
            started, kernels = time.process_time(), 0.0
            for count in (passes, *[0] * (KERNELS - 1)):
                async with Client.start(source) as client:
                    for _ in range(count):
                        await client.run_cell("pass", exercise.spec.cell_seconds)
                kernels += client.cpu_seconds
            return time.process_time() - started + kernels

        async def both() -> Bare:
            for _ in range(WARM):
                await spent(cells)
            found = [Bare(await spent(0), await spent(cells)) for _ in range(TIMED)]
            return Bare(median(one.empty for one in found), median(one.passes for one in found))

        return asyncio.run(both())


def _kernels(exercise: Exercise) -> AbstractContextManager[KernelSource]:
    return open_source(
        kind="snapshot",
        sandbox="bwrap",
        setup_cells=exercise.setup_sources,
        files=exercise.files,
        modules_path=[PROBE_FOLDER],
        limits=Limits(),
    )


def _below() -> int:
    """The memory of everything that this process has started."""
    return sum(proportional(pid) for pid in family(os.getpid())[1:])
