"""What one more kernel takes of the memory."""

from __future__ import annotations

import asyncio
import contextlib
import os

from benchmarks.speed.measure import family, proportional
from grader.client import Client
from grader.exercise import Exercise
from grader.intake import take_in
from grader.kernels import Limits, open_source
from grader.pool import PROBE_FOLDER

FURTHER = 8


def memory_of_further_kernel(exercise: Exercise, notebook: bytes) -> int:
    """Bytes of proportional set size that each kernel after the first adds, with the notebook's cells run in it."""
    cells = [cell.source for cell in take_in(notebook, exercise).cells]
    with open_source(
        kind="snapshot",
        sandbox="bwrap",
        setup_cells=exercise.setup_sources,
        files=exercise.files,
        modules_path=[PROBE_FOLDER],
        limits=Limits(),
    ) as source:

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


def _below() -> int:
    """The memory of everything that this process has started."""
    return sum(proportional(pid) for pid in family(os.getpid())[1:])
