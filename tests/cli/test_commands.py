"""The commands, as a shell calls them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from rich.console import Console

from grader.cli.app import course_here
from grader.cli.progress import working
from tests.warm_python import grader, python

COMMANDS = [
    "list",
    "init",
    "reset",
    "check",
    "grade",
    "runs",
    "diff",
    "override",
    "rename",
    "remove",
    "extend",
    "overrides",
    "export",
    "new",
    "release",
    "verify",
    "doctor",
]


UNCONFINED = ["--sandbox", "none"]
"""For what is not about the sandbox: the kernels' process is a fork, too."""


def test_help_answers_without_torch(tmp_path):
    code = (
        "import sys, grader.cli.commands\ntry: grader.cli.commands.app(['--help'])\n"
        "except SystemExit: pass\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


def test_every_commands_help_shows_an_example(tmp_path):
    code = f"""
from contextlib import suppress
from grader.cli.commands import app
for command in {COMMANDS}:
    with suppress(SystemExit):
        app([command, "--help"])
"""
    said = python("-c", code, cwd=tmp_path).stdout
    assert [command for command in COMMANDS if f"Example:  grader {command}" not in said] == []


def test_list_shows_the_catalogue(mini):
    out = grader("list", cwd=mini).stdout
    assert "A mini course" in out
    assert "12 points" in out
    assert "\n  training " in out


def test_list_outside_a_course_shows_the_packages_own(tmp_path):
    assert "01_backprop_ninja" in grader("list", cwd=tmp_path).stdout


def test_a_notebook_is_of_the_course_that_it_lies_in_or_else_of_the_one_one_stands_in(
    mini, tmp_path_factory, monkeypatch
):
    elsewhere = tmp_path_factory.mktemp("downloads")
    monkeypatch.chdir(mini / "handed-in")
    assert course_here(elsewhere / "ann.ipynb").catalog.ids == ["mini"]
    monkeypatch.chdir(elsewhere)
    assert course_here(mini / "handed-in" / "ann.ipynb").catalog.ids == ["mini"]
    assert "01_backprop_ninja" in course_here(elsewhere / "ann.ipynb").catalog.ids


def test_init_makes_a_workspace_and_never_overwrites(mini):
    said = grader("init", "desk", cwd=mini).stdout
    assert "Next: work on desk/mini.ipynb, save it, then `grader check desk/mini.ipynb`." in said
    notebook = mini / "desk" / "mini.ipynb"
    assert json.loads(notebook.read_text())["cells"]
    assert (mini / "desk" / "mini_data.py").exists()
    notebook.write_text("my work")
    assert "kept" in grader("init", "desk", cwd=mini).stdout
    assert notebook.read_text() == "my work"


def test_check_says_what_is_right_and_exits_by_it(mini, solved):
    (mini / "mine.ipynb").write_bytes(solved())
    out = grader("check", "mine.ipynb", cwd=mini).stdout
    assert "16 / 16 points" in out
    (mini / "mine.ipynb").write_bytes(solved(("dhsum = (h", "dhsum = 3 * (h")))
    out = grader("check", "mine.ipynb", cwd=mini, status=1).stdout
    assert "dhsum is wrong" in out
    assert "14 / 16 points" in out


@pytest.mark.slow
def test_check_opens_hints_one_at_a_time(mini):
    shutil.copy(mini / "exercises" / "mini.ipynb", mini / "mini.ipynb")
    assert "Hint 1 of 1 for dscaled" in grader("check", "mini.ipynb", "--hint", cwd=mini, status=1).stdout


def test_grade_writes_what_the_design_promises(mini, solved):
    (mini / "handed-in" / "ann.ipynb").write_bytes(solved())
    (mini / "handed-in" / "bob b.ipynb").write_bytes(solved(("dhsum = (h", "dhsum = 3 * (h")))
    grader("grade", "handed-in", "--out", "out", cwd=mini)
    out = mini / "out"
    grade = json.loads((out / "ann" / "mini.json").read_text())
    assert grade["schema_version"] == 1
    assert (grade["student"], grade["exercise"], grade["status"]) == ("ann", "mini", "graded")
    assert grade["score"] == grade["max_score"] == 16
    assert (out / "index.html").exists()
    assert (out / "bob b" / "mini.html").exists()
    rows = list(csv.DictReader((out / "grades.csv").read_text().splitlines()))
    assert [(row["student"], row["score"]) for row in rows] == [("ann", "16"), ("bob b", "14")]
    suites = ET.parse(out / "junit.xml").getroot()
    assert [(suite.get("tests"), suite.get("failures"), suite.get("errors")) for suite in suites] == [
        ("10", "0", "0"),
        ("10", "1", "0"),
    ]


@pytest.mark.slow
def test_a_regrade_can_be_compared_and_a_mark_set_by_hand(mini, solved):
    (mini / "handed-in" / "bob.ipynb").write_bytes(solved(("dhsum = (h", "dhsum = 3 * (h")))
    grader("grade", "handed-in", "--out", "out", cwd=mini)
    (mini / "handed-in" / "bob.ipynb").write_bytes(solved())
    grader("grade", "handed-in", "--out", "out", cwd=mini)
    out = grader("diff", "out", cwd=mini, status=1).stdout
    assert "bob mini: 14 → 16; another notebook was handed in" in out
    assert "dhsum (steps): 0 → 2, wrong → " in out
    reason = ["--reason", "Copied from ann."]
    assert "15 / 16" in grader("override", "out", "bob", "1", "--check", "steps/dhsum", *reason, cwd=mini).stdout
    listed = grader("overrides", "out", cwd=mini).stdout
    assert "bob, mini: 15 / 16 points" in listed
    assert "dhsum (steps): 2 → 1" in listed
    assert "Copied from ann." in listed
    number = re.search(r"(\d+)\. dhsum", listed)[1]
    assert "16 / 16" in grader("overrides", "out", "--undo", number, cwd=mini).stdout
    assert json.loads((mini / "out" / "bob" / "mini.json").read_text())["score"] == 16
    assert "No mark was set by hand." in grader("overrides", "out", cwd=mini).stdout
    assert "There is no mark" in grader("overrides", "out", "--undo", number, cwd=mini, status=2).stderr
    assert "15 / 16" in grader("override", "out", "bob", "1", "--check", "steps/dhsum", *reason, cwd=mini).stdout
    grader("grade", "handed-in", "--out", "out", cwd=mini)
    assert json.loads((mini / "out" / "bob" / "mini.json").read_text())["score"] == 15
    assert grader("runs", "out", cwd=mini).stdout.count("1 results") == 3
    assert "There is no gradebook" in grader("runs", "handed-in", cwd=mini, status=2).stderr


def test_one_that_can_not_be_graded_never_stops_the_others(mini, solved):
    (mini / "handed-in" / "ann.ipynb").write_bytes(solved())
    (mini / "handed-in" / "bad.ipynb").write_bytes(b"\x00\x01 not json")
    (mini / "handed-in" / "zoe.ipynb").write_bytes(solved())
    (mini / "handed-in" / "eve.pdf").write_bytes(b"%PDF")
    done = grader("grade", "handed-in", "--exercise", "mini", "--out", "out", *UNCONFINED, cwd=mini, status=3)
    assert "2 graded, 2 could not be graded." in done.stdout
    assert "'eve.pdf' is not a notebook" in done.stdout
    bad = json.loads((mini / "out" / "bad" / "mini.json").read_text())
    assert bad["status"] == "ungradable"
    assert "isn't text" in bad["reason"] or "isn't JSON" in bad["reason"]
    assert bad["score"] == 0
    assert bad["checks"] == []
    error = ET.parse(mini / "out" / "junit.xml").getroot().find("testsuite[@name='bad/mini']/testcase/error")
    assert error is not None


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_output_in_another_encoding_is_no_traceback(mini, solved, encoding):
    here = {"cwd": mini, "PYTHONIOENCODING": encoding}
    assert grader("list", **here).stdout
    assert "\\u674e" in grader("init", "désk–李", **here).stdout
    if encoding == "ascii":  # which lacks every sign that the other does: what takes longer is tried in it
        (mini / "handed-in" / "Zoë 李雷.ipynb").write_bytes(solved(("dhsum = (h", "dhsum = 3 * (h")))
        assert "\\u674e\\u96f7" in grader("grade", "handed-in", "--out", "out", *UNCONFINED, **here).stdout
        assert "x dhsum is wrong" in grader("check", "handed-in/Zoë 李雷.ipynb", status=1, **here).stdout
        # What another program reads is UTF-8 whatever the terminal is.
        assert "Zoë 李雷" in grader("export", "csv", "out", **here).stdout
        assert "\\u674e" in grader("rename", "out", "Zoë 李雷", "Łu–李", **here).stdout
    command = [sys.executable, "-m", "grader", "grade", "é–李", "--out", "o"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(command, cwd=mini, env=environment, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"no file or folder" in done.stderr


def test_what_turns_while_one_waits_can_be_shown_anywhere(monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr("grader.cli.progress.error_console", console)
    with working("trying"):
        console.print("é")
    assert {char for char in console.file.getvalue() if not char.isascii()} == {"é"}


@pytest.mark.slow
def test_fail_under(mini, solved):
    (mini / "handed-in" / "bob.ipynb").write_bytes(solved(("dhsum = (h", "dhsum = 3 * (h")))
    grader("grade", "handed-in", "--out", "out", "--fail-under", "80", *UNCONFINED, cwd=mini)
    grader("grade", "handed-in", "--out", "out", "--fail-under", "90", *UNCONFINED, cwd=mini, status=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["grade", "nowhere", "--out", "out"], "There is no file or folder 'nowhere'."),
        (["grade", "handed-in", "--out", "out"], "holds no notebook"),
        (["grade", "exercises", "--out", "out", "--exercise", "nope"], "There is no exercise 'nope'"),
        (["check", "exercises"], "is a folder"),
    ],
)
def test_a_wrong_command_line_is_a_sentence_and_status_2(mini, arguments, message):
    assert message in grader(*arguments, cwd=mini, status=2).stderr


def test_release_writes_the_blanks(mini):
    before = (mini / "exercises" / "mini.ipynb").read_text()
    (mini / "exercises" / "mini.ipynb").unlink()
    assert "wrote" in grader("release", cwd=mini).stdout
    assert (mini / "exercises" / "mini.ipynb").read_text() == before
    assert "unchanged" in grader("release", cwd=mini).stdout


@pytest.mark.slow
def test_verify_finds_what_an_author_forgot(mini):
    done = grader("verify", cwd=mini, status=1)
    assert "part steps has no hint for dh; write one in the catalogue." in done.stdout
    (mini / "exercises" / "stray.txt").write_text("?")
    solution = mini / "solutions" / "mini.ipynb"
    solution.write_text(solution.read_text().replace("dhsum = (h * dscaled)", "dhsum = 3 * (h * dscaled)"))
    done = grader("verify", cwd=mini, status=1)
    assert "exercises/stray.txt belongs to no exercise" in done.stdout
    assert "the solution's dhsum (steps) is wrong in the visible case; correct the answer" in done.stdout


def test_an_output_folder_that_can_not_be_written_is_said(mini, solved):
    (mini / "handed-in" / "ann.ipynb").write_bytes(solved())
    (mini / "out").write_text("a file, not a folder")
    assert "can't be written" in grader("grade", "handed-in", "--out", "out", cwd=mini, status=2).stderr


@pytest.mark.parametrize(("arguments", "status", "says"), [
    (["check", "--help"], 0, b"--watch"),
    (["check", "nowhere.ipynb"], 2, b"nowhere"),
    (["no-such-command"], 2, b"no-such-command"),
])  # fmt: skip
def test_a_command_ends_at_once_with_its_status_and_loses_nothing(tmp_path, arguments, status, says):
    code = """
import atexit, os, sys
from grader.cli import commands
sys.argv[0] = "grader"
class Last:
    def __del__(self, write=os.write): write(1, b"taken down")
last = Last()
app = commands.app
commands.app = lambda: (atexit.register(print, "others had their turn"), app())
commands.main()
"""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == status
    assert says in (done.stderr if status else done.stdout)
    assert done.stdout.endswith(b"others had their turn\n")
