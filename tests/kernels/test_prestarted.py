"""Kernels that are started before they are asked for, as students have them where the system doesn't fork safely."""

from __future__ import annotations

import asyncio

import pytest

from grader.errors import ExecutionError
from grader.execution.cell_client import Client
from grader.kernels import Limits, open_source
from grader.kernels.prestarted import AheadSource


def ahead(*setup):
    return AheadSource(open_source("cold", "none", [], {}, [], Limits()), setup)


def test_one_that_was_started_has_run_the_setup_and_so_has_one_that_was_not():
    async def printed(source):
        async with Client.start(source) as client:
            return (await client.run_cell("print(names)", 20)).outputs[0]["text"]

    with ahead("names = ['setup']", "names.append('too')") as source:
        assert source.setup_cells_run == 2
        source.prepare(1)
        (early,) = source._ready
        kernel = early.result()
        assert kernel.has_kernel, "none was started"
        assert [asyncio.run(printed(source)) for _ in range(2)] == ["['setup', 'too']\n"] * 2
        assert not kernel.has_kernel, "it was not the one that was taken"


def test_one_that_has_died_meanwhile_is_not_taken():
    with ahead("names = ['setup']") as source:
        source.prepare(1)
        kernel = source._ready[0].result()
        kernel.provisioner.process.kill()
        kernel.provisioner.process.wait()
        taken = source.manager()
        assert taken is not kernel
        assert taken.has_kernel
        asyncio.run(taken.shutdown_kernel(now=True))


def test_a_setup_that_raises_is_said():
    with ahead("1 / 0") as source, pytest.raises(ExecutionError, match="can't be prepared: ZeroDivisionError"):
        source.manager()
