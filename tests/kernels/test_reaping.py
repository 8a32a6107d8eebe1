"""Nothing is left of a grading: not after many of them, and not after a grader that was killed in the middle of one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader.records import Submission
from tests.conftest import HERE, MINI, ROOT
from tests.hostile.arena import SCREAM
from tests.hostile.judge import left, processes_below, what_stays

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="it looks at what Linux holds of a process"),
]

MANY = 300
"""Gradings in one go: each takes the same way, and 1,000 would take CI minutes longer."""
PATIENCE_SECONDS = 90.0

LINGERING = f"""
import os, subprocess, sys, time
daemon = "open('/proc/self/comm', 'w').write('{SCREAM}'); import time; time.sleep(600)"
subprocess.Popen([sys.executable, "-c", daemon], start_new_session=True)
time.sleep(600)
"""


def test_nothing_is_left_after_many_gradings(pool, solved):
    data = solved()
    grade = lambda: pool.grade(Submission(student="student", exercise=MINI, data=data)).grade.score  # noqa: E731
    assert grade() == 16  # what the first one opens is the pool's own
    before = left()
    assert {grade() for _ in range(MANY)} == {16}
    assert not what_stays(before)


@pytest.fixture
def runtime_folder() -> Iterator[Path]:
    """A folder with a short path: a socket's may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="reap-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def started(runtime_folder: Path, code: str, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime_folder), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment)


GRADE = """
import sys
from pathlib import Path
import msgspec
from grader.course.course import Course
from grader.records import Submission
from grader.grading.pool import GraderPool
course = Course(Path(sys.argv[1]))
exercise = course.exercise("mini")
exercise.spec = msgspec.structs.replace(exercise.spec, cell_seconds=300.0, notebook_seconds=300.0)
with GraderPool(course, sys.argv[3], "bwrap") as pool:
    pool.grade(Submission(student="student", exercise="mini", data=Path(sys.argv[2]).read_bytes()))
"""
NEXT = "from grader.kernels import scratch_folders; scratch_folders.folder('n')"


@pytest.mark.parametrize("kind", ["snapshot", "cold"])
def test_nothing_is_left_of_a_grader_that_is_killed_in_the_middle_of_a_grading(kind, runtime_folder, solved, tmp_path):
    notebook = tmp_path / "notebook.ipynb"
    notebook.write_bytes(solved(("dscaled = torch", f"{LINGERING}\ndscaled = torch")))
    grader = started(runtime_folder, GRADE, str(HERE / "courses" / "mini" / "exercises"), str(notebook), kind)
    try:
        wait_until(lambda: any(name == SCREAM for _, name in processes_below(grader.pid)))
        below = {pid for pid, _ in processes_below(grader.pid)}
        assert len(below) >= 4  # bubblewrap, the template, a guardian, the kernel, what the kernel started
    finally:
        os.kill(grader.pid, signal.SIGKILL)
        grader.wait()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below))
    assert str(runtime_folder) not in Path("/proc/self/mounts").read_text()
    assert str(runtime_folder) not in Path("/proc/net/unix").read_text()
    # What lies on the disk is removed by the next grader that starts, once it is sure that nobody uses it.
    wait_until(lambda: started(runtime_folder, NEXT).wait() == 0 and not list(runtime_folder.iterdir()))


def wait_until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
