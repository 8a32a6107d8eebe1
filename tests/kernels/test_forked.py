"""Kernels of a template that is a fork of the grader: nothing of the grader is in them, and the marks are the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from grader.kernels.forked import can_fork
from grader.records import Submission
from tests.conftest import HERE, verdicts
from tests.warm_python import python

LOOK = """
import gc, json, multiprocessing, os, signal, sys
import grader
def deep(n):
    return 0 if n == 0 else 1 + deep(n - 1)
def reached():
    for n in range(700, 2000, 10):
        try:
            deep(n)
        except RecursionError:
            return n
files = [(number, os.readlink(f'/proc/self/fd/{number}')) for number in sorted(os.listdir('/proc/self/fd'), key=int)
         if os.path.exists(f'/proc/self/fd/{number}')]
print(json.dumps({
    'grader': grader.__file__, 'package': [name for name in sys.modules if name.startswith('grader.')],
    'blocked': [name for name, module in sys.modules.items() if module is None],
    'files': [path for _, path in files if path.startswith('/') and path != '/dev/null'],
    'interrupt': signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    'main process': multiprocessing.parent_process() is None, 'collects': gc.isenabled(),
    'reached': reached(), 'argv': sys.argv, 'threads': os.environ['OMP_NUM_THREADS'], 'cwd': os.listdir(),
}))
"""

PROGRAM = """
import json, sys
from pathlib import Path
import grader.startup
from grader.kernels import Limits, open_source
def run():
    from tests.kernel_runs import run
    return run
open('{left_open}', 'w').close()
secret = open('{left_open}')  # a file of the grader's
probe = Path('grader/kernels/probe').absolute()
with open_source('snapshot', 'none', ['ready = True'], {{}}, [probe], Limits()) as source:
    kind = type(source._template._process).__name__
    text = run()(source, Path('{cell}').read_text()).text
print(json.dumps([kind, text]))
"""


def program(text: str) -> str:
    """What a new Python says that runs a program in the repository's folder."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=HERE.parent, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()[-1]


def in_warm(text: str) -> str:
    """What one says that has imported everything, so that only the fork itself is tried."""
    done = python("-c", text, cwd=HERE.parent)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.skipif(sys.platform != "linux", reason="forks are Linux's")
def test_a_kernel_finds_nothing_of_the_grader(tmp_path):
    (tmp_path / "cell").write_text(LOOK)
    kind, text = json.loads(program(PROGRAM.format(cell=tmp_path / "cell", left_open=tmp_path / "left-open")))
    assert kind == "Fork"
    seen = json.loads(text)
    assert Path(seen["grader"]).parts[-2:] == ("probe", "grader.py")
    assert seen["package"] == seen["blocked"] == seen["files"] == seen["cwd"] == []
    assert seen["interrupt"]
    assert seen["main process"]
    assert seen["collects"]
    assert seen["reached"] > 900, "calls can't be nested as deeply as in a process of one's own"
    assert seen["argv"] == ["ipykernel_launcher.py", "-f", "kernel.json"]
    assert seen["threads"] == "1"


GRADE = """
import json, sys
from pathlib import Path
import grader.startup
from grader.course.course import Course
from grader.records import Submission
from grader.student.check import student_pool
with student_pool(Course(Path({course!r}))) as pool:
    grading = pool.grade(Submission('s', 'mini', Path({notebook!r}).read_bytes()))
    kind = type(pool._graders['mini'].kernels.source._source._template._process).__name__
slow = [name for name in ('sympy', 'debugpy', 'distributed', 'sqlalchemy', 'arrow', 'yaml') if name in sys.modules]
found = {{f'{{check.part}}/{{check.name}}': check.verdict.value for check in grading.grade.checks}}
print(json.dumps([kind, slow, found]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks are Linux's")
def test_the_exercises_own_modules_are_found_where_python_is_told_to_look_nowhere_near(course, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    notebook = course.exercises.parent / "solutions" / "mini.ipynb"
    _, _, found = json.loads(program(GRADE.format(course=str(course.exercises), notebook=str(notebook))))
    assert set(found.values()) <= {"exact", "approximate"}


@pytest.mark.skipif(sys.platform != "linux", reason="forks are Linux's")
@pytest.mark.parametrize(
    "changed", [pytest.param([], marks=pytest.mark.slow), [("dhpre = (1 - h**2) * dh\ndW", "dhpre = dh\ndW")]]
)
def test_the_verdicts_are_those_of_the_sandbox(course, solved, pool, tmp_path, changed):
    notebook = tmp_path / "mini.ipynb"
    notebook.write_bytes(solved(*changed))
    kind, slow, found = json.loads(
        (program if changed else in_warm)(GRADE.format(course=str(course.exercises), notebook=str(notebook)))
    )
    assert kind == "Fork"
    assert slow == [] or not changed, "imported, and of no use, not even for a notebook that is wrong"
    assert found == verdicts(pool.grade(Submission("s", "mini", notebook.read_bytes())))


def test_a_process_that_has_used_torch_is_not_forked():
    assert "torch" in sys.modules
    assert not can_fork()


@pytest.mark.skipif(sys.platform != "linux", reason="forks are Linux's")
def test_a_fork_that_fails_says_why(tmp_path):
    text = f"""
from grader.kernels.forked import Fork
with open({str(tmp_path / "said")!r}, 'wb') as said:
    fork = Fork('raise OSError("no room")', 0, said.fileno())
print(fork.wait(20), fork.poll())
"""
    assert in_warm(text) == "1 1"
    assert "OSError: no room" in (tmp_path / "said").read_text()
