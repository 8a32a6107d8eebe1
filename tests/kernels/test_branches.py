"""Branches: kernels that come with more run than the setup."""

from __future__ import annotations

import asyncio
import sys
import time

import psutil
import pytest

from grader.errors import ExecutionError
from grader.kernels import Limits, kernel_source, open_source
from tests.kernel_runs import run, run_async

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="snapshots need Linux")

FILES = """import os
os.makedirs('made/deep')
with open('made/deep/run.sh', 'w') as file:
    file.write('written')
os.chmod('made/deep/run.sh', 0o750)
open('made/empty', 'w').close()
os.symlink('deep/run.sh', 'made/link')
"""
SETUP = [f"{FILES}import random\nrandom.seed(7)\nnames = ['setup']", "print('set up')"]
STEPS = [
    ("cell", "names.append('branch')\nprint('branched'); drawn = random.random()"),
    ("probe", "hidden = 1"),
    ("cell", "names"),
]


def opened(sandbox):
    return open_source("snapshot", sandbox, SETUP, {}, [], Limits())


@pytest.fixture(scope="module", params=["bwrap", "none"])
def source_with_one(request):
    """A source that all tests share, and how many processes it has with one branch."""
    with opened(request.param) as source:
        source.branch([]).wait()
        yield source, len(_below(source._template._process.pid))


@pytest.fixture
def source(source_with_one):
    return source_with_one[0]


def test_its_kernels_have_run_its_steps_and_no_others_have(source):
    branch = source.branch(STEPS)
    branch.wait()
    assert branch.held
    assert [output.get("text") or output["data"]["text/plain"] for [output] in branch.setup_outputs] == [
        "branched\n", "['setup', 'branch']",
    ]  # fmt: skip
    look = "print(names, 'hidden' in globals(), len(In))"
    assert run(branch, look, "names.append('kernel')").text == "['setup', 'branch'] True 6\n"
    assert run(branch, look).text == "['setup', 'branch'] True 6\n"
    assert run(source, look).text == "['setup'] False 4\n"


def test_each_kernel_has_a_copy_of_the_files_of_the_setup(source):
    look = "print(oct(os.stat('made/deep/run.sh').st_mode)[-3:], open('made/link').read(), sorted(os.listdir('made')))"
    spoil = "with open('made/deep/run.sh', 'w') as file: file.write('spoilt')\nos.remove('made/empty')"
    for _ in range(2):
        done = run(source, "import os", look, spoil, "print(open('made/link').read(), os.path.exists('made/empty'))")
        assert done.text == "750 written ['deep', 'empty', 'link']\nspoilt False\n"


def test_its_kernels_hold_no_socket_that_a_template_uses(source):
    look = (
        "import os, stat\n"
        "kinds = [stat.S_ISSOCK(os.fstat(int(n)).st_mode) for n in os.listdir('/proc/self/fd') if n.isdigit() "
        "and os.path.exists(f'/proc/self/fd/{n}')]\nprint(sum(kinds))"
    )
    for steps in ([], STEPS):
        source.branch(steps).wait()
    assert {run(source.branch(steps), look).text for steps in ([], STEPS)} == {"3\n"}  # its own, and its loop's pair


def test_a_seed_of_the_setup_holds_in_it(source):
    branch = source.branch(STEPS)
    branch.wait()
    expected = run(source, "drawn = random.random(); print(drawn, random.random())").text
    assert run(branch, "print(drawn, random.random())").text == expected


def test_the_same_steps_are_run_once(source):
    assert source.branch(STEPS) is source.branch(list(STEPS))


def test_a_step_that_fails_costs_its_branch_alone(source):
    branch = source.branch([("cell", "1 / 0")])
    with pytest.raises(ExecutionError, match="ZeroDivisionError"):
        branch.wait()
    assert run(source, "print(names)").text == "['setup']\n"


def test_however_many_are_asked_for_there_are_so_many(source_with_one):
    source, with_one = source_with_one
    for number in [*range(kernel_source.BRANCHES + 2), 0]:
        branch = source.branch([("probe", f"number = {number}")])
        branch.wait()
        assert run(branch, "print(number)").text == f"{number}\n"
    assert run(source, "print(names)").text == "['setup']\n"
    most, deadline = with_one + kernel_source.BRANCHES - 1, time.monotonic() + 5
    while (left := len(_below(source._template._process.pid))) > most and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == most


def test_renewed_ones_are_the_same_and_the_kernels_of_the_old_run_to_their_end(source, monkeypatch):
    monkeypatch.setattr(kernel_source, "MANY", source._asked + 4)
    branch = source.branch(STEPS)
    branch.wait()

    async def across():
        early = asyncio.create_task(run_async(branch, "import time; time.sleep(1); print(names)"))
        await asyncio.sleep(0.5)
        while source._asked < kernel_source.MANY:
            assert source.branch(STEPS) is branch
        branch.wait()
        late = await run_async(branch, "print(names)")
        return (await early).text, late.text

    assert asyncio.run(across()) == ("['setup', 'branch']\n",) * 2


def test_all_end_with_their_template():
    with opened("none") as source:
        source.branch(STEPS).wait()
        processes = _below(source._template._process.pid)
    deadline = time.monotonic() + 5
    while any(map(_runs, processes)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes
    assert not any(map(_runs, processes))


def _below(pid: int) -> list[psutil.Process]:
    """A process and all that it has started, and so on."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
