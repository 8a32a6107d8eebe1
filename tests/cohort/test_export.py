"""`grader export`: from a gradebook to every format, as a user calls it."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.conftest import HERE, MINI
from tests.warm_python import grader


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A graded class: one who is right, with a mark set by hand, and one who handed in junk."""
    folder = tmp_path_factory.mktemp("class")
    shutil.copytree(HERE / "courses" / "mini" / "exercises", folder / "exercises")
    (folder / "handed-in").mkdir()
    solution = HERE / "courses" / "mini" / "solutions" / f"{MINI}.ipynb"
    shutil.copy(solution, folder / "handed-in" / "ann@example.org.ipynb")
    (folder / "handed-in" / "ben.ipynb").write_text("junk")
    grader("grade", "handed-in", "--out", "graded", "--sandbox", "none", status=3, cwd=folder)
    grader("override", "graded", "ann@example.org", "12.25", "--reason", "Late.", cwd=folder)
    return folder


def test_every_format_has_the_mark_that_was_set_by_hand(graded):
    grader("export", "gradescope", "graded", "--out", "results", cwd=graded)
    scores = {
        "csv": next(csv.DictReader(grader("export", "csv", "graded", cwd=graded).stdout.splitlines()))["score"],
        "json": json.loads(grader("export", "json", "graded", cwd=graded).stdout)[0]["score"],
        "canvas": list(csv.DictReader(grader("export", "canvas", "graded", cwd=graded).stdout.splitlines()))[1][MINI],
        "moodle": next(csv.DictReader(grader("export", "moodle", "graded", cwd=graded).stdout.splitlines()))[MINI],
        "gradescope": json.loads((graded / "results/ann@example.org" / MINI / "results.json").read_text())["score"],
    }
    assert {float(score) for score in scores.values()} == {12.25}, scores
    grader("export", "junit", "graded", "--out", "junit.xml", cwd=graded)
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
    grader("grade", "late", "--out", "graded", "--sandbox", "none", "--exercise", MINI, cwd=folder)

    def exported(*options):
        rows = csv.DictReader(grader("export", "csv", "graded", *options, cwd=folder).stdout.splitlines())
        return {row["student"]: (row["status"], float(row["score"])) for row in rows}

    first = {"ann@example.org": ("graded", 12.25), "ben": ("ungradable", 0.0)}
    assert exported() == {**first, "cy": ("graded", 0.0)}
    assert exported("--run", "1") == first
    assert exported("--run", "2") == {"cy": ("graded", 0.0)}
    assert "no run 9" in grader("export", "csv", "graded", "--run", "9", status=2, cwd=folder).stderr
    assert exported() == {
        row["student"]: (row["status"], float(row["score"]))
        for row in csv.DictReader((folder / "graded" / "grades.csv").read_text().splitlines())
    }
    said = grader("diff", "graded", status=1, cwd=folder).stdout
    assert "cy" in said
    assert "ann@example.org" not in said  # she was not graded again, and keeps what she has
    grader("override", "graded", "ann@example.org", "13", "--reason", "Looked again.", cwd=folder)
    assert exported()["ann@example.org"] == ("graded", 13.0)


def test_who_is_not_in_the_roster_is_named_and_the_others_are_written(graded):
    (graded / "roster.csv").write_text("First name,Last name,ID number,Email address\nAnn,Ash,17,ann@example.org\n")
    done = grader("export", "moodle", "graded", "--roster", "roster.csv", "--out", "import.csv", status=3, cwd=graded)
    assert "'ben'" in done.stderr
    (row,) = csv.DictReader((graded / "import.csv").read_text().splitlines())
    assert (row["ID number"], row[MINI]) == ("17", "12.25")


def test_who_is_excused_and_handed_in_nothing_is_exported_as_that(graded, tmp_path):
    folder = tmp_path / "class"
    shutil.copytree(graded, folder)
    excuse = ["--excuse", "--reason", "She was ill."]
    said = grader("extend", "graded", "eve", *excuse, cwd=folder).stderr
    assert "The gradebook has nothing of 'eve' yet" in said
    assert grader("extend", "graded", "ben", *excuse, cwd=folder).stderr == ""
    _, ann, ben, eve = csv.DictReader(grader("export", "canvas", "graded", cwd=folder).stdout.splitlines())
    assert [row[MINI] for row in (ann, ben, eve)] == ["12.25", "", "EX"]  # what ben handed in is to be looked at
    assert "eve,excused," in grader("export", "totals", "graded", cwd=folder).stdout


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
    assert said in grader("export", *arguments, status=2, cwd=graded).stderr


def test_the_autograder_is_a_zip(graded):
    grader("export", "gradescope-autograder", "--exercise", MINI, "--out", "auto.zip", cwd=graded)
    assert "run_autograder" in zipfile.ZipFile(graded / "auto.zip").namelist()
