"""docs/authoring.md, followed literally: every block of its walk is run, and its words are what comes out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.conftest import ROOT
from tests.warm_python import grader

pytestmark = pytest.mark.slow  # a dozen commands, each in a process of its own

PAGE = (ROOT / "docs" / "authoring.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.S | re.M)
FILE = re.compile(r"# (\w+\.py)\n")


def blocks(heading):
    """The kind and the text of every block in a section of the page."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M)
    return BLOCK.findall(section)


@pytest.fixture
def shell(tmp_path):
    """A shell of a reader's in an empty folder, as a function: it runs commands, and stays where they end."""
    programs, where = tmp_path / "programs", tmp_path / "where"
    programs.mkdir()
    for name, command in {"grader": "-m grader", "python": ""}.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {command} "$@"\n')
        (programs / name).chmod(0o755)
    (tmp_path / "empty").mkdir()
    where.write_text(str(tmp_path / "empty"))
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "160"}

    def folder():
        return Path(where.read_text().strip())

    def run_in_shell(commands):
        script = f"{commands}\npwd > {where}\n"
        done = subprocess.run(["bash", "-c", script], cwd=folder(), env=environment, capture_output=True, text=True)
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout + done.stderr

    run_in_shell.folder = folder
    return run_in_shell


def test_ten_minutes_from_nothing_to_a_graded_exercise(shell):
    printed, promised = "", []
    for kind, text in blocks("A first exercise in ten minutes"):
        if kind == "sh":
            printed = shell(text)
        elif kind == "python":
            (shell.folder() / FILE.match(text)[1]).write_text(text)
        else:
            assert kind == "text"
            for line in text.splitlines():
                assert line in printed, printed
                promised.append(line)
    assert len(promised) == 9
    assert (shell.folder() / "graded" / "ada" / "01_first.html").exists()
    assert "dsquares = None  # (8, 1)" in (shell.folder() / "exercises" / "02_squares.ipynb").read_text()


# --- from nbgrader ----------------------------------------------------------------------------------------------------

OLD = {
    "title": ("markdown", {"grade": False, "locked": True, "solution": False}, "# Backward\nFind the gradients."),
    "imports": ("code", {"grade": False, "locked": True, "solution": False}, "import torch"),
    "settings": ("code", {"grade": False, "locked": True, "solution": False}, "seed = 0\nn = 16"),
    "model": (
        "code",
        {"grade": False, "locked": True, "solution": False},
        """
torch.manual_seed(seed)
x = torch.randn(n, 5)
w = torch.randn(5, 3, requires_grad=True)
h = x @ w
h.retain_grad()
loss = h.exp().sum() / n
loss.backward()
""",
    ),
    "backward": (
        "code",
        {"grade": False, "locked": False, "solution": True},
        "### BEGIN SOLUTION\ndh = h.exp() / n\ndw = x.T @ dh\n### END SOLUTION",
    ),
    "test-backward": (
        "code",
        {"grade": True, "locked": True, "solution": False, "points": 4},
        """
assert torch.allclose(dh, h.grad), "dh is not right"
assert torch.allclose(dw, w.grad), "dw is not right"
### BEGIN HIDDEN TESTS
assert torch.allclose(dw, x.T @ dh)
### END HIDDEN TESTS
""",
    ),
}
"""An invented exercise for nbgrader, as the page describes it: grade_id → kind of cell, marks, source."""


def test_an_nbgrader_exercise_is_taken_over_as_the_page_says(tmp_path):
    grader("new", "--course", "course", cwd=tmp_path)
    course = tmp_path / "course"
    cells = []
    for name, (kind, marks, source) in OLD.items():
        cell = (new_markdown_cell if kind == "markdown" else new_code_cell)(source.strip())
        cell.metadata.nbgrader = {"schema_version": 3, "grade_id": name, **marks}
        cells.append(cell)
    nbformat.write(new_notebook(cells=cells), course / "old.ipynb")
    (script, entry) = (text for kind, text in blocks("Taking an exercise over from nbgrader"))
    (course / "take_over.py").write_text(script)
    subprocess.run([sys.executable, "take_over.py"], cwd=course, check=True)
    with (course / "exercises" / "catalog.toml").open("a") as catalog:
        catalog.write("\n" + entry)
    grader("release", cwd=course)
    assert "03_taken_over: the blank scores 0 and the solution 4 of 4" in grader("verify", cwd=course).stdout
    assert "HIDDEN" not in (course / "exercises" / "03_taken_over.ipynb").read_text()
