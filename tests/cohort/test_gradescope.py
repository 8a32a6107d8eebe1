"""The Gradescope autograder: its zip, and its script run in a scratch root laid out as Gradescope's container is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from grader.cohort.gradescope import Settings, autograder_zip
from grader.course.course import Course
from grader.errors import UsageError
from grader.intake.collect import collect_one
from grader.kernels.sandbox import find_bwrap
from tests.conftest import HERE, MINI

FULL_MARKS = 16


def in_a_scratch_root(test):
    """Slow, and only root can make a root in which sandboxes can be made again."""
    return pytest.mark.slow(pytest.mark.skipif(os.geteuid() != 0, reason="only root can make the scratch root")(test))


def name_of(requirement):
    return canonicalize_name(Requirement(requirement).name)


@pytest.fixture(scope="module")
def course():
    return Course(HERE / "courses" / "mini" / "exercises")


@pytest.fixture(scope="module")
def archive(course) -> bytes:
    return autograder_zip(course, Settings(exercise=MINI, sandbox="bwrap"))


@pytest.fixture
def autograder(archive, tmp_path) -> Path:
    """`/autograder` as Gradescope lays it, with this environment in place of the one that `setup.sh` makes."""
    root = tmp_path / "autograder"
    for folder in ("submission", "results", "venv/bin"):
        (root / folder).mkdir(parents=True)
    python = root / "venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with zipfile.ZipFile(BytesIO(archive)) as file:
        for info in file.infolist():
            target = Path(file.extract(info, root / "source"))
            target.chmod(info.external_attr >> 16)
    shutil.copy(root / "source" / "run_autograder", root)
    metadata = {
        "id": 1,
        "users": [{"name": "Ann Ash", "email": "ann@example.org", "id": 7}],
        "previous_submissions": [],
    }
    (root / "submission_metadata.json").write_text(json.dumps(metadata))
    return root


def run(autograder: Path) -> dict:
    """Its script, in a root that has this machine's folders and `/autograder`."""
    folders = [path for path in Path("/").iterdir() if path.is_dir() and not path.is_symlink()]
    root = [word for path in folders for word in ("--dev-bind", str(path), str(path))]
    root += [word for path in Path("/").iterdir() if path.is_symlink()
             for word in ("--symlink", str(path.readlink()), str(path))]  # fmt: skip
    command = [find_bwrap(), *root, "--bind", str(autograder), "/autograder", "/autograder/run_autograder"]
    environment = {"PATH": os.environ["PATH"], "HOME": "/root"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((autograder / "results" / "results.json").read_text())


def test_the_zip_holds_the_blank_and_no_solution_and_is_made_the_same_again(archive, course):
    names = zipfile.ZipFile(BytesIO(archive)).namelist()
    assert {"setup.sh", "run_autograder", "requirements.txt", f"exercises/{MINI}.ipynb"} <= set(names)
    assert "package/grader/_data/templates/report.html.jinja" in names
    assert not [name for name in names if "solution" in name or "__pycache__" in name]
    assert archive == autograder_zip(course, Settings(exercise=MINI, sandbox="bwrap"))


def test_what_setup_installs_is_what_the_package_needs(archive):
    with zipfile.ZipFile(BytesIO(archive)) as file:
        lines = file.read("requirements.txt").decode().splitlines()
        assert b"requirements.txt" in file.read("setup.sh")
    assert lines[0].startswith("torch==")
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["class"]
    assert sorted(map(name_of, lines)) == sorted(map(name_of, needed))
    assert not [line for line in lines if "extra" in line]
    assert sum(line.startswith("torch") for line in lines) == 1


def test_an_unknown_exercise_is_said(course):
    with pytest.raises(UsageError, match="no exercise"):
        autograder_zip(course, Settings(exercise="99_none", sandbox="bwrap"))


@in_a_scratch_root
def test_its_script_grades_a_submission(autograder, course):
    shutil.copy(course.solution_path(MINI), autograder / "submission" / "hw 1.ipynb")
    results = run(autograder)
    assert results["score"] == sum(test["score"] for test in results["tests"]) == FULL_MARKS
    assert results["extra_data"]["grade"]["student"] == "Ann Ash"
    assert {test["status"] for test in results["tests"]} == {"passed"}


@in_a_scratch_root
@pytest.mark.parametrize(
    ("files", "said"),
    [([], "no notebook"), (["a.ipynb", "b.ipynb"], "There are 2 files"), (["junk.ipynb"], "isn't JSON")],
)
def test_whatever_is_handed_in_gets_a_result(autograder, files, said):
    for name in files:
        (autograder / "submission" / name).write_text(f"junk, {name}")
    results = run(autograder)
    assert said in results["output"]
    assert "could not be graded" in results["output"]


def test_what_systems_leave_behind_is_no_submission(tmp_path, course):
    for name in ("__MACOSX/._a.ipynb", ".ipynb_checkpoints/a-checkpoint.ipynb", "._a.ipynb", ".DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("junk")
    assert "no notebook" in collect_one(tmp_path, "ann", course, MINI).submission().problem
    assert "no notebook" in collect_one(tmp_path / "nowhere", "ann", course, MINI).submission().problem
    shutil.copy(course.solution_path(MINI), tmp_path / "hw 1.ipynb")
    (tmp_path / "scratch.ipynb").write_text('{"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": []}')
    found = collect_one(tmp_path, "ann", course, MINI)
    assert (found.problem, Path(found.path).name) == (None, "hw 1.ipynb")


@in_a_scratch_root
def test_broken_metadata_costs_nobody_a_mark(autograder, course):
    (autograder / "submission_metadata.json").write_text("[]")
    shutil.copy(course.solution_path(MINI), autograder / "submission" / f"{MINI}.ipynb")
    (autograder / "submission" / "scratch.ipynb").write_text("junk")
    results = run(autograder)
    assert (results["score"], results["extra_data"]["grade"]["student"]) == (FULL_MARKS, "student")
