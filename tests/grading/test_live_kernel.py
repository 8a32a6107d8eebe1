"""`%check` and `%hint`: the verdicts on a running kernel, from a process beside it, which disturbs nothing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import grader
from grader.errors import UsageError
from grader.grading.live_kernel import Ran, read_history
from grader.reports.cell_output import as_text, narrowed
from grader.reports.html import render_cell_output
from grader.student import checker_process
from tests.conftest import HERE
from tests.report_samples import sample_grading
from tests.warm_python import popen

WRONG = ("dhsum = (h", "dhsum = 3 * (h")


class Kernel:
    """An IPython shell in a student's folder, as a kernel holds one."""

    def __init__(self, shell):
        self.shell = shell

    def run(self, source):
        with capture_output() as said:
            result = self.shell.run_cell(source, store_history=True)
        return result, said

    def open(self, data):
        for cell in json.loads(data)["cells"]:
            if cell["cell_type"] == "code":
                self.run("".join(cell["source"]))

    def ask(self, line):
        _, said = self.run(line)
        assert said.stderr == ""
        return said.outputs[-1].data


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    with _kernel("mini", tmp_path, monkeypatch) as kernel:
        yield kernel


@pytest.fixture
def kernel_with_lists(tmp_path, monkeypatch):
    with _kernel("steps", tmp_path, monkeypatch) as kernel:
        yield kernel


@contextlib.contextmanager
def _kernel(course, tmp_path, monkeypatch):
    """In a copy of a course, whose folder the extension must find its course by; a helper on our Python is warm."""
    shutil.copytree(HERE / "courses" / course, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "exercises")
    monkeypatch.syspath_prepend(str(tmp_path / "exercises"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JPY_SESSION_NAME", f"somewhere/{course}.ipynb")
    monkeypatch.setattr(checker_process, "subprocess", SimpleNamespace(Popen=popen, PIPE=subprocess.PIPE))
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False
    shell.run_cell("%load_ext grader", store_history=True)
    yield Kernel(shell)
    grader.unload_ipython_extension(shell)
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()


def test_the_kernels_tensors_are_judged_and_left_alone(kernel, solved):
    kernel.open(solved(WRONG))
    torch.manual_seed(5)
    random.seed(5)
    before = torch.get_rng_state(), random.getstate(), torch.get_default_dtype(), torch.is_grad_enabled()
    names, threads, folder = dict(kernel.shell.user_ns), torch.get_num_threads(), Path.cwd()
    shown = kernel.ask("%check")
    assert "dhsum is wrong" in shown["text/plain"]
    assert "carried" in shown["text/plain"]
    assert "14 / 16 points" in shown["text/plain"]
    assert shown["text/html"].count("data:image/png") == 3
    after = torch.get_rng_state(), random.getstate(), torch.get_default_dtype(), torch.is_grad_enabled()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert (torch.get_num_threads(), Path.cwd()) == (threads, folder)
    changed = {name for name in kernel.shell.user_ns if kernel.shell.user_ns[name] is not names.get(name)}
    assert not {name for name in changed if not name.startswith("_")}

    # Mended in the same kernel, out of order, in a cell of its own: the value that is there now counts.
    kernel.run("dhsum = (h_before * dscaled).sum(1, keepdim=True)")
    kernel.open(solved())
    assert "16 / 16 points" in kernel.ask("%check")["text/plain"]
    one = kernel.ask("%check dhsum")["text/plain"]
    assert "dhsum" in one
    assert "dscaled" not in one
    several = kernel.ask("%check dhsum, dh # now?")["text/plain"]
    assert "right: dhsum dh" in several or "right: dh dhsum" in several

    # A size that only fits what is seen is found by the cells as they were run.
    kernel.run("dscaled = torch.ones_like(scaled) / 24")
    kernel.run("dhsum = (scaled / hsum * dscaled).sum(1, keepdim=True)\ndh = hsum * dscaled + dhsum")
    assert "another-batch-size" in kernel.ask("%check dscaled")["text/plain"]


def test_a_value_that_no_cell_gives_is_told_from_a_right_one(kernel, solved):
    kernel.open(solved())
    kernel.shell.user_ns["db"] = kernel.shell.user_ns["db"] * 2
    kernel.shell.user_ns["dhsum"] = kernel.shell.user_ns["dhsum"] * 2
    text = " ".join(kernel.ask("%check dhsum")["text/plain"].split())
    assert "dhsum is wrong" in text
    assert "the value in your kernel alone" in text


def test_hints_open_one_at_a_time_and_what_is_asked_wrongly_is_a_sentence(kernel):
    kernel.open((HERE / "courses" / "mini" / "exercises" / "mini.ipynb").read_bytes())
    assert "Hint 1 of 1 for dscaled" in kernel.ask("%hint")["text/plain"]
    assert Path(".grader-progress.json").exists()
    assert "Hint 1 of 1 for dhsum" in kernel.ask("%hint dhsum")["text/plain"]
    assert "did you mean 'dhsum'" in kernel.run("%check dhsun")[1].stderr
    assert "There is no exercise" in kernel.run("%check --exercise nope")[1].stderr


@pytest.mark.slow
def test_the_helper_that_was_killed_is_started_again(kernel, solved):
    kernel.open(solved())
    kernel.shell.magics_manager.registry["GraderMagics"].close()
    assert "16 / 16 points" in kernel.ask("%check")["text/plain"]


def test_lists_are_judged_in_a_kernel_whatever_is_in_them(kernel_with_lists):
    solution = (HERE / "courses" / "steps" / "solutions" / "steps.ipynb").read_bytes()
    backward = next("".join(cell["source"]) for cell in json.loads(solution)["cells"] if cell["id"] == "backward")
    kernel_with_lists.open(solution)

    def told(change):
        kernel_with_lists.run(backward)
        kernel_with_lists.run(change)
        return " ".join(kernel_with_lists.ask("%check dh")["text/plain"].split())

    assert "right: dh" in told("pass")
    assert "right: dh" in told("dh = tuple(dh)")
    assert "right: dh" in told("dh = torch.stack(dh)")
    assert "missing: dh (There is no tensor at dh[1])" in told("dh[1] = None")
    assert "missing: dh (There is no tensor at dh[0])" in told(
        backward.replace("reversed(range(T))", "range(2, 0, -1)")
    )
    assert "dh is wrong" in (short := told("dh = dh[:-1]"))
    assert "dh has 2 elements, h has 3" in short
    assert "different shapes" in told("dh[1] = dh[1][:2]")
    assert "dh is wrong" in (doubled := told("dh[1] = 2 * dh[1]"))
    assert "The number 0" not in doubled
    assert "Each state is used twice" in kernel_with_lists.ask("%hint dh")["text/plain"]


def test_what_is_not_a_number_is_compared_with_what_the_cells_give(kernel, solved):
    kernel.open(solved(("dhsum = (h", "dhsum = float('nan') * (h")))
    assert "dhsum is wrong" in kernel.ask("%check dhsum")["text/plain"]


def test_history_becomes_the_notebook_that_it_came_from(course, solved):
    exercise = course.exercise("mini")
    cells = ["".join(cell["source"]) for cell in json.loads(solved())["cells"] if cell["cell_type"] == "code"]
    ran = [Ran("!pip install x\n%load_ext grader"), *(Ran(source) for source in cells), Ran("%check")]
    ran += [Ran(cells[4].replace("dhsum = (h", "dhsum = 2 * (h")), Ran("dW = 3\n%check dW", id="train")]
    history = read_history(ran, exercise)
    sources = [cell["source"] for cell in json.loads(history.notebook)["cells"]]
    assert not any("pip" in source or "%check" in source for source in sources)
    assert sum("dhsum = " in source for source in sources) == 1
    assert "dhsum = 2" in next(source for source in sources if "dhsum = " in source)
    assert history.owners["dhsum"] == "steps"
    assert history.owners["dW"] == "training"


def test_narrowed_to_a_name_nobody_knows(course):
    with pytest.raises(UsageError, match="No check is called 'x'"):
        narrowed(sample_grading(), ["x"])


def test_the_html_needs_nothing_that_a_front_end_strips():
    html = render_cell_output(sample_grading())
    assert not re.search(r"<(script|style|svg|link|iframe|object|form)\b|\son\w+=|javascript:|href=", html)
    sources = re.findall(r'src="([^"]*)"', html)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert "<script" in "".join(map(str, [sample_grading()]))  # the sample tries to slip one in
    assert as_text(sample_grading())


def test_a_handed_in_notebook_may_hold_the_magics(solved, grade):
    magic = "%load_ext grader\n%check\n%hint dhsum\ndhsum = (h"
    assert grade(solved(("dhsum = (h", magic))).grade.score == 16


# --- the process that checks


def test_a_process_that_ends_at_once_is_told_with_its_reason(kernel, solved, monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'torch'\" >&2\nexit 1\n")
    python.chmod(0o755)
    kernel.open(solved())
    kernel.shell.magics_manager.registry["GraderMagics"].close()
    monkeypatch.setenv("GRADER_PYTHON", str(python))
    said = kernel.run("%check")[1].stderr
    assert "it ended with “ModuleNotFoundError: No module named 'torch'”" in said
    assert f"on {python}, which GRADER_PYTHON names" in said


def test_a_python_that_is_not_there_is_told(kernel, solved, monkeypatch, tmp_path):
    kernel.open(solved())
    kernel.shell.magics_manager.registry["GraderMagics"].close()
    monkeypatch.setenv("GRADER_PYTHON", str(tmp_path / "nowhere"))
    assert "nowhere can't be started (No such file or directory): correct the path in GRADER_PYTHON." in (
        kernel.run("%check")[1].stderr
    )


@pytest.mark.slow
def test_another_python_can_be_named_and_the_first_answer_says_what_is_being_done(
    kernel, solved, monkeypatch, tmp_path
):
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    kernel.open(solved())
    kernel.shell.magics_manager.registry["GraderMagics"].close()
    monkeypatch.setenv("GRADER_PYTHON", str(python))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    _, said = kernel.run("%check")
    texts = [shown.data["text/plain"] for shown in said.outputs]
    assert texts[:-1] == [
        "Starting the checker: it loads PyTorch once …",
        "Computing the gradients to compare with …",
        "Running your cells …",
    ]
    assert "<progress" in said.outputs[1].data["text/html"]
    assert "16 / 16 points" in texts[-1]
    assert len(kernel.run("%check")[1].outputs) == 1


def test_each_cell_that_was_run_has_the_notebooks_id_of_it(kernel):
    for source, id_ in (("a = 1", "first"), ("b = 2", "second"), ("a = 1", "third")):
        kernel.shell.run_cell(source, store_history=True, cell_id=id_)
    history = kernel.shell.magics_manager.registry["GraderMagics"]._history()
    told = [(cell["id"], cell["source"]) for cell in history[-3:]]
    assert told == [("first", "a = 1"), ("second", "b = 2"), ("third", "a = 1")]


def test_the_cell_that_loads_the_magics_can_be_run_again(kernel):
    _, said = kernel.run("%load_ext grader")
    assert said.stdout == said.stderr == ""
