"""`grader check` and `--watch` on a student's machine: with forks, and as on macOS and Windows, without."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from grader.course.course import Course
from grader.execution.time_limits import FACTOR
from grader.records import Submission
from grader.reports.verdict_text import changes
from grader.student.check import check_notebook, student_pool, watch_notebook
from grader.student.progress import read_progress
from tests.conftest import HERE, ROOT, verdicts
from tests.warm_python import popen

WRONG = ("dhsum = (h", "dhsum = 3 * (h")
SCENARIOS = {
    "right": (),
    "wrong": (WRONG,),
    "stopped": (("dhsum = (h", "import time\nwhile True: time.sleep(0.01)\ndhsum = (h"),),
    "size": (("/ scaled.numel()", "/ 24"),),
    "raises": (("dhpre = (1", "dhpre = nothing + (1"),),
}


@pytest.fixture
def no_fork(monkeypatch, grade, solved):
    """As where there is no safe fork: what decides is the system's name."""
    grade(solved())  # the kernels that are compared with are those of a system that has forks: they are opened first
    monkeypatch.setattr("grader.kernels.sys.platform", "darwin")


def told(grading):
    return [(check.part, check.name, check.verdict, check.points, check.remark) for check in grading.grade.checks]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_hurried_check_gives_the_verdicts_that_grading_gives(course, solved, grade, student, name, monkeypatch):
    monkeypatch.setenv(FACTOR, "0.15")  # nobody waits for the one that is stopped
    data = solved(*SCENARIOS[name])
    assert told(student.grade(Submission("you", "mini", data))) == told(grade(data))


@pytest.fixture(scope="module")
def student(course):
    with student_pool(course) as pool:
        yield pool


@pytest.mark.slow
def test_without_fork_the_verdicts_are_the_same(course, solved, grade, no_fork):
    with student_pool(course) as pool:
        assert pool.kernel == "cold"
        pool.prepare("mini")
        for changed in SCENARIOS.values():
            data = solved(*changed)
            assert told(pool.grade(Submission("you", "mini", data))) == told(grade(data))


@pytest.mark.slow
def test_without_fork_the_examples_get_the_marks_of_a_fork(no_fork, monkeypatch):
    course = Course(ROOT / "exercises")
    texts = [(ROOT / "examples" / f"{name}.ipynb").read_bytes() for name in ("dmitri", "nils", "wanjiru")]
    with student_pool(course) as cold:
        assert cold.kernel == "cold"
        monkeypatch.setattr("grader.kernels.sys.platform", "linux")
        with student_pool(course) as forked:
            for text in texts:
                mine = Submission("you", "01_backprop_ninja", text)
                assert told(cold.grade(mine)) == told(forked.grade(mine))


def test_a_check_is_remembered_and_the_notebook_only_read(course, solved, tmp_path):
    notebook = tmp_path / "mine.ipynb"
    notebook.write_bytes(solved(WRONG))
    check_notebook(course, notebook, None)
    assert notebook.read_bytes() == solved(WRONG)
    remembered = read_progress(tmp_path).checks["mine.ipynb"]
    assert remembered.exercise == "mini"
    assert remembered.verdicts["steps"]["dhsum"] == "wrong"


def test_what_the_visible_case_shows_is_told_where_the_hidden_ones_take_longer(course, solved, tmp_path):
    notebook, told = tmp_path / "mini.ipynb", []
    slow = ("dhsum = (h", "import time; time.sleep(0.2 * (W.dtype is torch.float64)); dhsum = 3 * (h")
    notebook.write_bytes(solved(slow))
    grading = check_notebook(course, notebook, None, told.append)
    (so_far,) = [step for step in told if step.startswith("so far")]
    assert told.index(so_far) == len(told) - 1
    total = len(grading.grade.checks)
    assert re.fullmatch(
        rf"so far \d+ of {total} agree with autograd in the visible case; trying the hidden ones", so_far
    )
    assert 0 < int(so_far.split()[2]) < total


def test_watch_grades_every_save_and_outlives_a_broken_one(course, solved, tmp_path, monkeypatch):
    monkeypatch.setattr("grader.student.watch.PATIENCE_SECONDS", 0.2)
    notebook = tmp_path / "mini.ipynb"
    notebook.write_bytes(solved(WRONG))
    stop = threading.Event()
    watching = watch_notebook(course, notebook, None, stop)
    first, _ = next(watching)
    assert verdicts(first)["steps/dhsum"] == "wrong"
    for broken in (b"", b"{", b"[]"):
        notebook.write_bytes(broken)
        assert next(watching)[0].grade.status == "ungradable"
    notebook.write_bytes(solved())
    last, _ = next(watching)
    right, wrong = changes(first.grade, last.grade)
    assert {"dhsum", "dW (steps)"} <= set(right)  # part two's dW was right before
    assert "dW (training)" not in right
    assert wrong == []
    assert changes(last.grade, first.grade) == ([], right)
    stop.set()
    assert next(watching, None) is None


def test_watch_shows_what_changed_and_ctrl_c_ends_it(solved, tmp_path):
    shutil.copytree(HERE / "courses" / "mini", tmp_path, dirs_exist_ok=True)
    notebook = tmp_path / "mini.ipynb"
    notebook.write_bytes(solved(WRONG))
    command = [sys.executable, "-m", "grader", "check", "mini.ipynb", "--watch"]
    with popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("14 / 16"):
                notebook.write_bytes(solved())
            if line.startswith("now right: dhsum"):
                process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
