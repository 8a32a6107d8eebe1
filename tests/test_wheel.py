"""The wheel holds what the commands need, and works from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(unpacked, cwd, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    command = [sys.executable, "-m", "grader", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_it_holds_exercises_templates_and_names_but_no_solution(unpacked):
    data = unpacked / "grader" / "_data"
    assert (data / "exercises" / "catalog.toml").exists()
    assert (data / "exercises" / "00_chain_rule.ipynb").exists()
    assert (data / "exercises" / "01_backprop_ninja.ipynb").exists()
    assert list((data / "templates").glob("*.jinja"))
    assert (data / "names.txt").exists()
    assert not list(unpacked.rglob("*solution*"))


def test_it_works_from_an_empty_folder(unpacked, tmp_path):
    code = "import grader; print(grader.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
    )
    assert str(unpacked) in where.stdout
    assert run(unpacked, tmp_path, "init", "desk").returncode == 0
    done = run(unpacked, tmp_path / "desk", "check", "01_backprop_ninja.ipynb")
    assert done.returncode == 1, done.stderr
    assert "0 / 50 points" in done.stdout
    done = run(unpacked, tmp_path, "grade", "desk/01_backprop_ninja.ipynb", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "desk" / "01_backprop_ninja.html").exists()
