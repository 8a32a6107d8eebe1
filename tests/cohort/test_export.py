"""`grader export`: from a gradebook to every format, as a user calls it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.conftest import HERE, MINI


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A graded class: one who is right, with a mark set by hand, and one who handed in junk."""
    folder = tmp_path_factory.mktemp("class")
    shutil.copytree(HERE / "courses" / "mini" / "exercises", folder / "exercises")
    (folder / "handed-in").mkdir()
    solution = HERE / "courses" / "mini" / "solutions" / f"{MINI}.ipynb"
    shutil.copy(solution, folder / "handed-in" / "ann@example.org.ipynb")
    (folder / "handed-in" / "ben.ipynb").write_text("junk")
    run(folder, "grade", "handed-in", "--out", "graded", "--workers", "1", status=3)
    run(folder, "override", "graded", "ann@example.org", "12.25", "--reason", "Late.")
    return folder


def run(folder, *arguments, status=0):
    command = [sys.executable, "-m", "grader", *arguments]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def test_every_format_has_the_mark_that_was_set_by_hand(graded):
    run(graded, "export", "gradescope", "graded", "--out", "results")
    scores = {
        "csv": next(csv.DictReader(run(graded, "export", "csv", "graded").stdout.splitlines()))["score"],
        "json": json.loads(run(graded, "export", "json", "graded").stdout)[0]["score"],
        "canvas": list(csv.DictReader(run(graded, "export", "canvas", "graded").stdout.splitlines()))[1][MINI],
        "moodle": next(csv.DictReader(run(graded, "export", "moodle", "graded").stdout.splitlines()))[MINI],
        "gradescope": json.loads((graded / "results/ann@example.org" / MINI / "results.json").read_text())["score"],
    }
    assert {float(score) for score in scores.values()} == {12.25}, scores
    run(graded, "export", "junit", "graded", "--out", "junit.xml")
    assert "testsuites" in (graded / "junit.xml").read_text()


@pytest.mark.parametrize(
    "arguments",
    [["export", "csv", "graded"], ["override", "graded", "ben", "1", "--reason", "Handed in on paper."]],
    ids=["export", "override"],
)
def test_what_needs_no_tensors_loads_nothing_slow(graded, tmp_path, arguments):
    """Neither torch nor the grammar of web addresses that jsonschema imports where JupyterLab is installed."""
    shutil.copytree(graded, tmp_path / "class")
    code = (
        "import sys\nfrom grader.cli.commands import app\n"
        "try: app(sys.argv[1:])\nexcept SystemExit as end: assert not end.code\n"
        "assert 'jsonschema' in sys.modules or 'export' in sys.argv, 'this test is out of date'\n"
        "assert not {'torch', 'rfc3987_syntax.syntax_helpers'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=tmp_path / "class", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_who_was_graded_later_is_exported_with_the_others(graded, tmp_path):
    folder = tmp_path / "class"
    shutil.copytree(graded, folder)
    late = folder / "late"
    late.mkdir()
    shutil.copy(folder / "exercises" / f"{MINI}.ipynb", late / "cy.ipynb")
    run(folder, "grade", "late", "--out", "graded", "--workers", "1", "--exercise", MINI)

    def exported(*options):
        rows = csv.DictReader(run(folder, "export", "csv", "graded", *options).stdout.splitlines())
        return {row["student"]: (row["status"], float(row["score"])) for row in rows}

    first = {"ann@example.org": ("graded", 12.25), "ben": ("ungradable", 0.0)}
    assert exported() == {**first, "cy": ("graded", 0.0)}
    assert exported("--run", "1") == first
    assert exported("--run", "2") == {"cy": ("graded", 0.0)}
    assert "no run 9" in run(folder, "export", "csv", "graded", "--run", "9", status=2).stderr
    assert exported() == {
        row["student"]: (row["status"], float(row["score"]))
        for row in csv.DictReader((folder / "graded" / "grades.csv").read_text().splitlines())
    }
    said = run(folder, "diff", "graded", status=1).stdout
    assert "cy" in said
    assert "ann@example.org" not in said  # she was not graded again, and keeps what she has
    run(folder, "override", "graded", "ann@example.org", "13", "--reason", "Looked again.")
    assert exported()["ann@example.org"] == ("graded", 13.0)


def test_who_is_not_in_the_roster_is_named_and_the_others_are_written(graded):
    (graded / "roster.csv").write_text("First name,Last name,ID number,Email address\nAnn,Ash,17,ann@example.org\n")
    done = run(graded, "export", "moodle", "graded", "--roster", "roster.csv", "--out", "import.csv", status=3)
    assert "'ben'" in done.stderr
    (row,) = csv.DictReader((graded / "import.csv").read_text().splitlines())
    assert (row["ID number"], row[MINI]) == ("17", "12.25")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("csv",), "Give the folder"),
        (("csv", "nowhere"), "There is no gradebook"),
        (("gradescope", "graded"), "--out"),
        (("json", "graded", "--roster", "x.csv"), "--roster is for canvas and moodle"),
        (("gradescope-autograder",), "--exercise ID --out FILE.zip"),
    ],
)
def test_a_wrong_command_line_says_what_to_do(graded, arguments, said):
    assert said in run(graded, "export", *arguments, status=2).stderr


def test_the_autograder_is_a_zip(graded):
    run(graded, "export", "gradescope-autograder", "--exercise", MINI, "--out", "auto.zip")
    assert "run_autograder" in zipfile.ZipFile(graded / "auto.zip").namelist()
