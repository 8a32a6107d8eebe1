"""Kernels of every kind: they behave as an ordinary kernel does, end when they should, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import re
import socket
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from grader.errors import ExecutionError
from grader.kernels import Limits, kernel_source, open_source, scratch_folders
from grader.kernels.inside import wire
from tests.conftest import ROOT
from tests.kernel_runs import Run, run, run_async, run_together
from tests.warm_python import python

SETUP = [
    "import random, sys\nimport numpy\nimport matplotlib.pyplot as plt\n%matplotlib inline\nprint('set up')",
    "import logging\nlogging.basicConfig(stream=sys.stdout)\nlogging.warning('early')",
    "random.seed(7); generator = numpy.random.default_rng(7)\nwords = open('names.txt').read().split()",
    "len(words)",
]
NAMES = ROOT / "names.txt"
LINUX = sys.platform == "linux"
KINDS = (
    [("snapshot", "bwrap"), ("snapshot", "none"), ("cold", "bwrap"), ("cold", "none")] if LINUX else [("cold", "none")]
)


def opened(kind, sandbox, setup=SETUP, modules=(), libraries=()):
    return open_source(kind, sandbox, setup, {"names.txt": NAMES}, modules, Limits(), libraries=libraries)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Kind and sandbox → a source whose kernels can import `given_module` and have `colorsys`; each opened once."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "given_module.py").write_text("answer = 42\n")
    with contextlib.ExitStack() as left_open:
        yield functools.cache(
            lambda *how: left_open.enter_context(opened(*how, modules=[folder], libraries=["colorsys"]))
        )


def every_day(kind):
    """A parameter: in a sandbox, new interpreters are for the slow suite, but for those that a test asks for itself."""
    return pytest.param(kind, marks=pytest.mark.slow) if kind == ("cold", "bwrap") else kind


@pytest.fixture(params=[*map(every_day, KINDS)], ids="-".join)
def source(request, sources):
    return sources(*request.param)


@pytest.fixture
def snapshot(sources):
    if not LINUX:
        pytest.skip("snapshots need Linux")
    return sources("snapshot", "bwrap")


def run_on(source, *cells, **options) -> Run:
    """Run cells after the setup cells, whoever runs those."""
    left = SETUP[source.setup_cells_run :]
    run_ = run(source, *left, *cells, **options)
    del run_.notebook.cells[: len(left)]
    return run_


# --- behaving as an ordinary kernel ----------------------------------------------------------------------------------

CELLS = [
    "print('one'); print('two', file=sys.stderr); print('three')",
    "numpy.array([[1.0, 2.0]])",
    "random.random(), generator.random(2)",
    "1 / 0",
    "def inner(x):\n    return x.missing\ninner(3)",
    "x = (",
    "input('name? ')",
    "!echo from the shell",
    "%time None",
    "await __import__('asyncio').sleep(0.01) or 'awaited'",
    "from IPython.display import HTML, display, clear_output\ndisplay(HTML('<b>bold</b>'), 'text'); clear_output(); 5",
    "handle = display('first', display_id='d'); handle.update('second')",
    "import os, time; _ = os.write(1, b'past Python\\n'); time.sleep(0.1)",
    "logging.warning('late')",
    "import subprocess; subprocess.run(['echo', 'child']); time.sleep(0.1)",
    "if os.fork() == 0:\n    print('forked'); sys.stdout.flush(); os._exit(0)\nos.wait()[1]",
    "len(words), os.listdir('.'), get_ipython().execution_count",
    "plt.plot([1, 2]);",
    "raise KeyError('cafe')",
    "_, Out[9], In[5]",
    "%whos str",
    "assert False, 'no'",
    "print('half a pair: \\udc80')",
    "print('long ' * 100_000)",
]


def plain(outputs: list[dict]) -> list[dict]:
    """Outputs without what differs from run to run: times, addresses, picture data, how a stream was cut up."""
    said: list[dict] = []
    for output in outputs:
        output = {key: value for key, value in output.items() if key != "metadata"}
        if "data" in output:
            output["data"] = {kind: text if kind != "image/png" else "…" for kind, text in output["data"].items()}
        if said and output["output_type"] == "stream" and said[-1].get("name") == output["name"]:
            said[-1]["text"] += output["text"]
        else:
            said.append(output)
    text = repr(sorted(said, key=lambda one: one.get("name", "")))
    text = re.sub(r"(0x[0-9a-f]+|\d[\d.e+]* (n|µ|μ|m)s|ipykernel_\d+/\d+)", "…", text)
    return re.sub(r"\d+: DeprecationWarning.*?fork\(\)[^']*", "", text)


@pytest.fixture(scope="module")
def ordinary():
    """What an ordinary kernel makes of `CELLS` after the setup cells, and of the setup cells."""
    with opened("cold", "none") as source:
        result = run(source, *SETUP, *CELLS)
    return [plain(outputs) for outputs in result.outputs]


@pytest.mark.parametrize("source", [*map(every_day, KINDS[:-1])], indirect=True, ids="-".join)
def test_what_cells_show_is_what_an_ordinary_kernel_shows(source, ordinary):
    result = run_on(source, *CELLS)
    for cell, outputs, expected in zip(CELLS, result.outputs, ordinary[len(SETUP) :], strict=True):
        assert (cell, plain(outputs)) == (cell, expected)


def test_half_a_character_in_what_a_cell_prints_or_raises_stops_nothing(snapshot):
    result = run_on(snapshot, "print('half: \\ud83e')", "raise ValueError('\\ud83e')", "print('goes on')")
    assert result.text == "half: ?\nValueError: ?\ngoes on\n"
    assert not result.hung


def test_setup_outputs_are_what_an_ordinary_kernel_shows(snapshot, ordinary):
    assert snapshot.setup_cells_run == len(SETUP)
    assert [plain(outputs) for outputs in snapshot.setup_outputs] == ordinary[: len(SETUP)]


def test_a_cold_kernel_has_run_nothing():
    with opened("cold", "none") as source:
        assert (source.setup_outputs, source.setup_cells_run) == ([], 0)


def test_kernels_of_one_source_have_its_modules_and_share_no_state(source):
    begin = "" if source.setup_cells_run else "words = open('names.txt').read().split()"
    begin += "\nimport given_module\nassert given_module.answer == 42"
    first = run(source, begin, "words.append('mine')\nfor name in ('names.txt', 'left'): open(name, 'a').write('x')")
    assert first.text == ""
    second = run(source, begin, "import os\nprint(len(words), os.path.getsize('names.txt'), os.path.exists('left'))")
    assert second.text == f"{len(NAMES.read_text().split())} {NAMES.stat().st_size} False\n"


@pytest.mark.parametrize("source", [kind for kind in KINDS if "snapshot" in kind], indirect=True, ids="-".join)
def test_a_snapshot_has_loaded_the_libraries_that_it_was_asked_for(source):
    look = "import sys; print([name in sys.modules for name in ('colorsys', 'chunk_not_asked_for')])"
    assert run(source, look).text == "[True, False]\n"


def test_several_kernels_run_side_by_side(source):
    cells = [["import time; time.sleep(0.3)", f"print({number})"] for number in range(2)]
    results = asyncio.run(run_together(source, *cells))
    assert [result.text for result in results] == ["0\n", "1\n"]


def test_output_past_python_belongs_to_its_cell(snapshot):
    """Without a pause after it: an ordinary kernel may publish it too late."""
    result = run(snapshot, *(f"import os; _ = os.write(1, b'{number} ' * 1000)" for number in range(40)))
    for number, outputs in enumerate(result.outputs):
        assert "".join(output["text"] for output in outputs) == f"{number} " * 1000


def test_nbclients_own_client_runs_on_our_kernels(source):
    result = Run(["1 + 1", "input()"])
    client = NotebookClient(result.notebook, km=source.manager(), allow_errors=True)
    asyncio.run(client.async_execute(cleanup_kc=True))
    assert result.outputs[0][0]["data"]["text/plain"] == "2"
    assert result.outputs[1][0]["ename"] == "StdinNotImplementedError"


# --- ending ----------------------------------------------------------------------------------------------------------


ENDS = {
    "exit": "import os; os._exit(3)",
    "kill": "import os; os.kill(os.getpid(), 9)",
    "segfault": "import ctypes; ctypes.string_at(0)",
    "abort": "import os; os.abort()",
}
OF_COLD = {("cold", "bwrap"): ["exit", "segfault"], ("cold", "none"): ["kill", "abort"]}
"""A new interpreter takes ten times as long as a fork does."""


@pytest.mark.parametrize(
    ("source", "end"),
    [(kind, end) for kind in KINDS for end in OF_COLD.get(kind, ENDS)],
    indirect=["source"],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value,
)
def test_a_dead_kernel_is_noticed_at_once(source, end):
    started = time.monotonic()
    result = run(source, f"started = 1\n{ENDS[end]}", "print('not reached')")
    assert result.died
    assert result.text == ""
    assert time.monotonic() - started < 5


def test_an_endless_loop_is_interrupted(source):
    cell = "while True: pass"
    patience = {"timeout_func": lambda each: 0.3 if each.source == cell else 20, "interrupt_on_timeout": True}
    result = run(source, "started = 1", cell, "print('next')", **patience)
    assert result.text == "KeyboardInterrupt: \nnext\n"


_STAYS = """
import os, signal, time
if os.fork() == 0:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
        while os.getppid() != 1: pass
    time.sleep(20)
    os._exit(0)
time.sleep(20)
"""
_LIVING = """
from pathlib import Path
print(sum(b") Z" not in path.read_bytes() for path in Path("/proc").glob("[0-9]*/stat")))
"""


def test_what_an_interrupted_cell_has_started_ends_with_it(snapshot):
    before, _, after = run(snapshot, _LIVING, _STAYS, _LIVING, timeout=1, interrupt_on_timeout=True).outputs
    assert after[0]["text"] == before[0]["text"]


def test_a_kernel_that_ignores_interrupts_is_killed(source):
    cell = "import signal\nfor number in (2, 15): signal.signal(number, signal.SIG_IGN)\nwhile True: pass"
    started = time.monotonic()
    result = run(source, "import signal", cell, timeout_func=lambda each: 0.3 if each.source == cell else 20)
    assert result.hung
    assert time.monotonic() - started < 5


def test_what_a_kernel_used_is_known_afterwards(snapshot):
    result = run(snapshot, "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass")
    assert 0.3 < result.usage["cpu_seconds"] < 1
    assert result.usage["reason"] is None


def test_processes_left_behind_count_as_used(snapshot):
    burn = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    while True: pass\ntime.sleep(0.5)"
    assert run(snapshot, burn).usage["cpu_seconds"] > 0.1


@pytest.mark.skipif(not LINUX, reason="snapshots need Linux")
def test_a_setup_cell_that_raises_is_named(tmp_path):
    code = "from tests.kernels.test_kernels import opened\nopened('snapshot', 'none', ['1', '1 / 0']).__enter__()"
    said = python("-c", code, cwd=tmp_path).stderr
    assert "ExecutionError: The kernels can't be prepared: setup cell 2 raised ZeroDivisionError" in said


def test_a_template_that_is_gone_is_named():
    with opened("cold", "bwrap", []) as source:
        source._template._process.kill()
        source._template._process.wait()
        with pytest.raises(ExecutionError, match="is gone"):
            run(source, "1")


FORGED = """
import json, os, zmq
from ipykernel.kernelapp import IPKernelApp
app = IPKernelApp.instance(); session, iopub = app.session, app.iopub_socket
parent = get_ipython().parent_header
for header in ({}, {"msg_type": "stream"}, {"msg_type": 5}, {"msg_type": "status", "msg_id": "x"}):
    for content in ({}, [], None, {"execution_state": 1}, {"name": 3, "text": []}, {"data": "x"}):
        for above in (parent["header"], [], {}):
            parts = [session.pack(one) for one in (header, above, {}, content)]
            iopub.send_multipart([b"<IDS|MSG>", session.sign(parts), *parts])
iopub.send_multipart([b"no delimiter"])
iopub.send_multipart([b"<IDS|MSG>", b"bad signature", b"{}", b"{}", b"{}", b"{}"])
deep = [b"[" * 100000 + b"]" * 100000] * 4
iopub.send_multipart([b"<IDS|MSG>", session.sign(deep), *deep])
print("sent")
"""


def test_forged_messages_are_passed_over(snapshot):
    result = run(snapshot, FORGED, "print('next')")
    assert not result.died
    nbformat.validate(nbformat.from_dict(result.notebook))
    assert result.text.endswith("next\n")


# --- leaving nothing behind ------------------------------------------------------------------------------------------


def holdings() -> dict[str, int]:
    """What this process and its children hold."""
    gc.collect()
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    return {
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "children": len(children.read_text().split()) if children.exists() else 0,
        "folders": len(list(scratch_folders._process_folder().iterdir())),
        "processes": sum(descends(int(path.name)) for path in Path("/proc").iterdir() if path.name.isdigit()),
    }


def descends(pid: int) -> bool:
    """Whether a process descends from this one."""
    while pid > 1:
        if pid == os.getpid():
            return True
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False


@pytest.mark.skipif(not LINUX, reason="looks into /proc")
@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_kernels_leave_nothing_behind(snapshot, count, monkeypatch):
    monkeypatch.setattr(kernel_source, "MANY", 3)  # the branch is renewed before, if ever, and the old one's end waits

    async def grade(number: int) -> None:
        ends = ["1", "import os; os._exit(1)", "import subprocess; subprocess.Popen(['sleep', '60'])", "1 / 0"]
        await run_async(snapshot, ends[number % len(ends)])

    async def grade_all() -> tuple[dict[str, int], dict[str, int]]:
        for number in range(4):
            await grade(number)
        await asyncio.sleep(1)
        await grade(0)
        before = holdings()
        for number in range(count):
            await grade(number)
        return before, holdings()

    before, after = asyncio.run(grade_all())
    assert after == before


@pytest.mark.skipif(not LINUX, reason="looks into /proc")
def test_a_closed_source_leaves_nothing_behind():
    with opened("cold", "bwrap", []) as source:
        run(source, "1")
    before = holdings()
    for kind, sandbox in KINDS:
        with opened(kind, sandbox, []) as source:
            run(source, "1")
    assert holdings() == before


def test_a_kernel_costs_little_memory(snapshot):
    """Proportional set size of a further kernel that has computed something."""
    cell = """
import torch
x = torch.randn(100, 100, requires_grad=True); (x @ x).sum().backward()
lines = open('/proc/self/smaps_rollup').read().splitlines()
print(sum(int(line.split()[1]) for line in lines if line.startswith(('Private_Dirty', 'Private_Clean'))))
"""
    assert int(run(snapshot, cell).text) < 80 * 1024


# --- folders ---------------------------------------------------------------------------------------------------------


def test_folders_are_short_enough_for_sockets(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("deep" * 20)))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert len(str(scratch_folders._parent())) < 40


def test_a_folder_in_use_or_new_or_of_another_kind_is_not_swept(tmp_path):
    used, left = tmp_path / "grader-process-used", tmp_path / "grader-process-left"
    for folder in (used, left):
        folder.mkdir()
    with scratch_folders._claim(used):
        (left / "lock").touch()
        (tmp_path / "grader-process-new").mkdir()
        (tmp_path / "grader-reference-x").mkdir()
        for folder in (used, left, tmp_path / "grader-reference-x"):
            os.utime(folder, (0, 0))
        scratch_folders._sweep(tmp_path)
        kept = ["grader-process-new", "grader-process-used", "grader-reference-x"]
        assert sorted(path.name for path in tmp_path.iterdir()) == kept


def test_messages_of_any_size_arrive_whole():
    ours, theirs = socket.socketpair()
    message = {"text": "ä" * 3_000_000}
    sender = threading.Thread(target=wire.send, args=(ours, message, [ours.fileno()]))
    sender.start()
    received, descriptors = wire.receive(theirs)
    sender.join()
    assert received == message
    assert len(descriptors) == 1
    os.close(descriptors[0])
    ours.close()
    assert wire.receive(theirs) == (None, [])
    theirs.close()
