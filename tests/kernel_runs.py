"""Running cells in kernels, for the tests of kernels and of the sandbox."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import nbformat.v4
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from grader.kernels import KernelSource
from grader.kernels.client import KernelNotebookClient
from grader.kernels.manager import KernelManager


class Run:
    """What came of running cells in one kernel: their outputs, whether it died or hung, and its `usage`."""

    def __init__(self, cells: Sequence[str]) -> None:
        self.notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        self.died = self.hung = False
        self.usage: dict[str, Any] = {}

    @property
    def outputs(self) -> list[list[dict[str, Any]]]:
        return [cell.outputs for cell in self.notebook.cells]

    @property
    def text(self) -> str:
        """All that was written to stdout or stderr, and each error's name and message."""
        parts = []
        for output in (output for outputs in self.outputs for output in outputs):
            if output["output_type"] == "stream":
                parts.append(output["text"])
            elif output["output_type"] == "error":
                parts.append(f"{output['ename']}: {output['evalue']}\n")
        return "".join(parts)


async def run_async(source: KernelSource, *cells: str, timeout: int = 20, **options: Any) -> Run:
    run = Run(cells)
    manager = source.manager()
    assert isinstance(manager, KernelManager)
    client = KernelNotebookClient(run.notebook, km=manager, timeout=timeout, allow_errors=True, **options)
    client.log.setLevel("CRITICAL")
    try:
        await client.async_execute()
    except DeadKernelError:
        run.died = True
    except CellTimeoutError:
        run.hung = True
    run.usage = manager.usage
    return run


def run(source: KernelSource, *cells: str, **options: Any) -> Run:
    return asyncio.run(run_async(source, *cells, **options))


async def run_together(source: KernelSource, *notebooks: Sequence[str]) -> list[Run]:
    return await asyncio.gather(*(run_async(source, *cells) for cells in notebooks))
