"""Limits that the machine and the run stretch; an exercise's own cell that is out of time says nothing of a student."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys

import msgspec
import pytest

from grader.course.course import Course
from grader.errors import UsageError
from grader.execution import time_limits
from grader.execution.cell_client import Client
from grader.execution.time_limits import FACTOR, cell_seconds, notebook_seconds, own_cell_seconds
from grader.grading.kernel_starts import KernelStarts
from grader.grading.pool import PROBE_FOLDER
from grader.kernels import open_source
from grader.kernels.provisioner import TemplateProvisioner
from grader.kernels.sandbox import Limits
from grader.records import Submission
from tests.conftest import HERE
from tests.kernel_runs import run as kernel_run


def test_every_limit_is_stretched_by_the_factor(course, monkeypatch):
    spec = course.spec("mini")
    monkeypatch.delenv(FACTOR)
    monkeypatch.setattr(time_limits, "machine_factor", lambda: 1.0)
    before = cell_seconds(spec), own_cell_seconds(spec), notebook_seconds(spec)
    assert before == (5, 120, 30)
    monkeypatch.setenv(FACTOR, "2.5")
    assert (cell_seconds(spec), own_cell_seconds(spec), notebook_seconds(spec)) == (12.5, 300, 75)
    for text in ("0", "-1", "nan", "inf", "fast"):
        monkeypatch.setenv(FACTOR, text)
        with pytest.raises(UsageError, match="give a number above 0"):
            cell_seconds(spec)


@pytest.mark.parametrize(
    ("seconds", "factor"), [(0.0, 1), (1, 1), (1.9, 1), (4, 2), (9, 4.5), (1000, 10)], ids=lambda value: f"{value:g}"
)
def test_a_slow_machine_stretches_limits_by_itself(course, monkeypatch, seconds, factor):
    """`seconds` are of CPU time, in those that the machine takes for which the limits were made."""
    took = [seconds * time_limits.ROOM_SECONDS / 2] * 4
    steps = [step for each in (1e6, *took) for step in (0, each)]  # the first time something else was in the way
    clock = iter(itertools.accumulate(steps))
    monkeypatch.setattr(time_limits.time, "process_time", lambda: next(clock))
    assert time_limits.machine_factor.__wrapped__() == factor
    monkeypatch.delenv(FACTOR)
    monkeypatch.setattr(time_limits, "machine_factor", lambda: factor)
    assert cell_seconds(course.spec("mini")) == 5 * factor


@pytest.fixture
def slow_forward(fresh_pool, monkeypatch):
    """A pool for the mini course whose forward cell takes a third of a second longer in a kernel."""
    course = Course(HERE / "courses" / "mini" / "exercises")
    exercise = course.exercise("mini")
    wait = "import sys, time\nif 'ipykernel' in sys.modules: time.sleep(0.3)\n"
    cells = [
        msgspec.structs.replace(cell, source=wait + cell.source) if cell.grade_id == "forward" else cell
        for cell in exercise.cells
    ]
    monkeypatch.setattr(exercise, "cells", cells)
    monkeypatch.setattr("grader.grading.grade.Grader.agree", lambda self: None)
    monkeypatch.setattr(KernelStarts, "_begin", lambda *_: None)  # nothing is run ahead, as where kernels are no forks
    return fresh_pool(course), exercise


@pytest.mark.parametrize(("own_seconds", "found"), [(0.2, {"unchecked", "carried"}), (120, {"exact", "approximate"})])
def test_its_own_cell_out_of_time_is_never_missing(slow_forward, solved, monkeypatch, own_seconds, found):
    pool, exercise = slow_forward
    monkeypatch.setattr(time_limits, "OWN_CELL_SECONDS", own_seconds)
    if own_seconds < 1:
        monkeypatch.setattr(exercise, "spec", msgspec.structs.replace(exercise.spec, cell_seconds=own_seconds))
    grading = pool.grade(Submission("s", "mini", solved()))
    of_the_part = {check.verdict.value for check in grading.grade.checks if check.part == "steps"}
    assert of_the_part <= found
    if own_seconds < 1:
        remarks = [check.remark for check in grading.grade.checks if check.verdict == "unchecked"]
        assert any("The exercise's own cell forward was out of time" in remark for remark in remarks)


@contextlib.contextmanager
def on_one_core():
    """Keep to one core, with all that is started."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@pytest.fixture(scope="module")
def kernels_on_one_core():
    with contextlib.ExitStack() as left_open:
        with on_one_core():
            source = left_open.enter_context(open_source("snapshot", "bwrap", [], {}, [PROBE_FOLDER], Limits()))
        yield source


@pytest.fixture
def crowded_kernels(kernels_on_one_core):
    """A source of kernels that share one core with two processes which never rest."""
    with on_one_core():
        rest_with_us = "import os; us = os.getppid()\nwhile os.getppid() == us: pass"  # also where we are killed
        busy = [subprocess.Popen([sys.executable, "-c", rest_with_us]) for _ in range(2)]
        try:
            yield kernels_on_one_core
        finally:
            for process in busy:
                process.kill()
                process.wait()


_WORK = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"


@pytest.mark.parametrize(
    ("cell", "timed_out"),
    [
        pytest.param(_WORK.format(seconds=0.3), False, id="waits-for-a-core"),
        pytest.param(_WORK.format(seconds=60), True, id="computes-too-long"),
        pytest.param("import time; time.sleep(2)", True, id="sleeps"),
    ],
)
def test_what_a_kernel_waits_for_a_core_is_not_its_cells_time(crowded_kernels, cell, timed_out):
    async def run():
        async with Client.start(crowded_kernels) as client:
            await client.run_cell(cell, 0.5)
            return client.timed_out

    assert asyncio.run(run()) is timed_out


def test_an_interrupt_that_is_late_does_not_hit_the_next_cell(kernels_on_one_core, monkeypatch):
    send, late = TemplateProvisioner.send_signal, []

    async def send_late(self, signum):
        if signum == signal.SIGINT:
            late.append(asyncio.get_running_loop().call_later(0.3, self._lifeline.signal, signum))
        else:
            await send(self, signum)

    async def in_turn(self):
        await asyncio.sleep(0.4 if late else 0)
        return 0.0

    monkeypatch.setattr(TemplateProvisioner, "send_signal", send_late)
    monkeypatch.setattr(TemplateProvisioner, "waited", in_turn)

    async def run():
        async with Client.start(kernels_on_one_core) as client:
            await client.run_cell("import time; time.sleep(0.6)", 0.5)
            assert client.timed_out
            return (await client.run_cell("time.sleep(0.5); print('whole')", 20)).outputs

    assert [output["text"] for output in asyncio.run(run())] == ["whole\n"]


def test_what_has_ended_while_it_was_asked_how_long_it_waited_is_in_time():
    async def run():
        reply = asyncio.ensure_future(asyncio.sleep(0.1, "done"))

        async def waited():
            return await asyncio.sleep(0.2, 0.0)

        return await time_limits.Clock(waited).in_time(reply, 0.05)

    assert asyncio.run(run()) == "done"


_HIDDEN_CASE = """
import grader_probe, os
readable, writable = os.pipe()
child = os.fork()
if child == 0:
    {work}
    os.write(writable, grader_probe._LENGTH.pack(2) + b"ok")
    os._exit(0)
os.close(writable)
print(grader_probe._read_results(readable, [0.5], child))
os.kill(child, 9)
os.waitpid(child, 0)
"""


@pytest.mark.parametrize(("work", "found"), [(0.3, "([b'ok'], None)"), (60, "([], 'timeout')")])
def test_nor_is_it_a_hidden_cases_time(crowded_kernels, work, found):
    cell = _HIDDEN_CASE.format(work=_WORK.format(seconds=work).replace("\n", "\n    "))
    assert found in kernel_run(crowded_kernels, cell).text
