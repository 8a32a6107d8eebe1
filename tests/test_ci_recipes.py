"""The GitHub action and the GitLab job, tried by running their own steps with the variables that those services set."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from tests.conftest import HERE, MINI, ROOT

pytestmark = pytest.mark.slow

SLIP = ("dhsum = (h * dscaled)", "dhsum = -(h * dscaled)")


@pytest.fixture
def machine(tmp_path) -> dict[str, str]:
    """A runner: its folders, and programs on the path that stand in for what installs things."""
    programs = tmp_path / "bin"
    programs.mkdir()
    grader = Path(sys.executable).parent / "grader"
    make = f'mkdir -p "$3/bin"; ln -s {grader} "$3/bin/grader"; ln -s "$(type -P true)" "$3/bin/pip"'
    for name, body in {"python3": make, "sudo": "true", "pip": "true", "git": "true"}.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    (tmp_path / "repository").mkdir()
    path = f"{programs}{os.pathsep}{grader.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "CI": "true"}


def course_with(folder: Path, *, slip: bool) -> Path:
    """The mini course with a submission beside it, as a repository has them."""
    shutil.copytree(HERE / "courses" / "mini" / "exercises", folder / "exercises")
    text = (HERE / "courses" / "mini" / "solutions" / f"{MINI}.ipynb").read_text()
    assert SLIP[0] in text
    notebook = folder / f"{MINI}.ipynb"
    notebook.write_text(text.replace(*SLIP) if slip else text)
    return notebook


def run_action(tmp_path: Path, machine: dict[str, str], **inputs: str) -> subprocess.CompletedProcess[str]:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    values = {name: spec.get("default", "") for name, spec in action["inputs"].items()} | inputs
    assert set(inputs) <= set(action["inputs"])
    github = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_ACTION_PATH": str(ROOT),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
        "GITHUB_WORKSPACE": str(tmp_path / "repository"),
        "RUNNER_TEMP": str(tmp_path / "temp"),
    }
    done = None
    for step in action["runs"]["steps"]:
        environment = {
            name: text.replace("${{ inputs.", "").replace(" }}", "") for name, text in step.get("env", {}).items()
        }
        environment = {name: values[key] for name, key in environment.items()}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(command, cwd=tmp_path / "repository", env=machine | github | environment,
                              capture_output=True, text=True, check=False)  # fmt: skip
        if step["name"] != "Grade":
            assert done.returncode == 0, done.stderr
    assert done is not None
    return done


def test_the_action_annotates_the_students_own_line_and_fails_below_the_limit(tmp_path, machine):
    notebook = course_with(tmp_path / "repository", slip=True)
    done = run_action(tmp_path, machine, paths=notebook.name, **{"fail-under": "100"})
    assert done.returncode == 1, done.stdout + done.stderr
    errors = [line for line in done.stdout.splitlines() if line.startswith("::error ")]
    (error,) = errors
    properties = dict(part.split("=", 1) for part in error.split("::")[1].removeprefix("error ").split(","))
    assert properties["file"] == f"{MINI}.ipynb"
    assert SLIP[1] in notebook.read_text().splitlines()[int(properties["line"]) - 1]
    assert "dhsum" in (tmp_path / "summary.md").read_text()
    assert (tmp_path / "repository" / "graded" / "junit.xml").exists()


def test_the_action_passes_what_is_right(tmp_path, machine):
    course_with(tmp_path / "repository", slip=False)
    done = run_action(tmp_path, machine, paths=f"{MINI}.ipynb", exercise=MINI, **{"fail-under": "100"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "::error" not in done.stdout


def test_the_actions_paths_may_stand_on_several_lines(tmp_path, machine):
    notebook = course_with(tmp_path / "repository", slip=False)
    for name in ("ann", "ben", "cy"):
        shutil.copy(notebook, notebook.with_name(f"{name}.ipynb"))
    done = run_action(tmp_path, machine, paths="ann.ipynb\nben.ipynb cy.ipynb\n")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 graded" in done.stdout


def test_the_gitlab_job_leaves_the_report_that_it_names(tmp_path, machine):
    repository = tmp_path / "repository"
    notebook = course_with(repository, slip=True)
    job = yaml.safe_load((ROOT / "docs" / "ci" / "gitlab.yml").read_text())["grade"]
    script = "\n".join(job["script"]).replace("/opt/", f"{repository}/opt/").replace("01_backprop_ninja", MINI)
    (repository / "opt").mkdir()
    gitlab = {"CI_PROJECT_DIR": str(repository), "CI_PROJECT_NAME": "ann", **job["variables"]}
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=repository, env=machine | gitlab,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert notebook.exists()
    assert done.returncode in (0, 1), done.stdout + done.stderr
    suites = ET.parse(repository / job["artifacts"]["reports"]["junit"]).getroot()
    assert [suite.get("name") for suite in suites] == [f"ann/{MINI}"]
    assert suites[0].get("failures") == "1"
    assert (repository / job["artifacts"]["paths"][0]).is_dir()


def test_the_workflow_for_students_uses_the_action_as_it_is():
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    workflow = yaml.safe_load((ROOT / "docs" / "ci" / "github.yml").read_text())
    (step,) = [step for step in workflow["jobs"]["grade"]["steps"] if "backprop-course" in step.get("uses", "")]
    assert set(step["with"]) <= set(action["inputs"])
