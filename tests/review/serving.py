"""A gradebook of invented gradings, and `grader review` serving it in a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys

import msgspec

from grader.gradebook.gradebook import Gradebook
from grader.records import CellOutput, CellView
from tests.conftest import ROOT
from tests.hostile.arena import all_scenarios
from tests.report_samples import HOSTILE_NAMES, SCRIPT, sample_grading, ungradable_grading
from tests.warm_python import popen

EXERCISE = "01_backprop_ninja"
PLAIN = ["alice", "bob", "cy", "dana"]


def invented(student, submission=None):
    """The sample's grading as this student's; each student's content is their own."""
    grading = sample_grading(student)
    digest = submission or hashlib.sha256(student.encode("utf-8", "replace")).hexdigest()
    return msgspec.structs.replace(grading, submission=digest)


def hostile_grading(student):
    """Cells and outputs of `tests/hostile`, as text that must stay text; each of these students has some of them."""
    number = HOSTILE_NAMES.index(student)
    cells = [
        CellView(source=scenario.source, part="every-gradient", outputs=[CellOutput("text", SCRIPT)])
        for scenario in all_scenarios()[number :: len(HOSTILE_NAMES)]
    ]
    name = student.encode("utf-8", "backslashreplace").decode()
    return msgspec.structs.replace(invented(name), cells=cells)


def fill(url, folder, students=PLAIN, *, hostile=True, paths=None):
    """A gradebook of these students, one who can't be graded, and every hostile name."""
    with Gradebook(url) as book:
        run = book.start(folder)
        for student in students:
            book.add(run, invented(student), path=(paths or {}).get(student))
        book.add(run, msgspec.structs.replace(ungradable_grading(), submission="0" * 64))
        for name in HOSTILE_NAMES if hostile else []:
            book.add(run, hostile_grading(name))
        book.finish(run)


@contextlib.contextmanager
def reviewing(*arguments, cwd=ROOT, env=None):
    """`grader review …`: its address and its process."""
    command = [sys.executable, "-m", "grader", "review", *map(str, arguments), "--no-browser"]
    environment = {
        **os.environ,
        **(env or {}),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    with popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("Review: "), line
            yield line.removeprefix("Review: ").strip(), process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
