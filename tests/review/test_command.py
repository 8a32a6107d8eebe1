"""The commands `grader review` and `grader feedback` at the terminal."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.review.serving import ROOT, fill
from tests.warm_python import grader


def test_the_server_needs_no_torch():
    code = "import sys, grader.startup, grader.review.server; print('torch' in sys.modules, 'IPython' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "False"], done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give the folder"),
        (["missing"], "There is no gradebook"),
        (["--add-user", "tom"], "--users FILE --add-user NAME"),
        ([".", "--host", "10.1.2.3"], "say who they are"),
        ([".", "--users", "u", "--proxy-header", "X-User"], "has no users yet"),
    ],
)
def test_what_does_not_fit_is_a_sentence_and_status_2(tmp_path, arguments, message):
    fill(tmp_path / "gradebook.sqlite", tmp_path, ["alice"], hostile=False)
    assert message in grader("review", *arguments, cwd=tmp_path, status=2).stderr


def test_feedback_says_what_it_wrote_and_whom_a_zip_lacks(tmp_path):
    paths = {"alice": "/in/Alice A_11_assignsubmission_file_/01.ipynb"}
    fill(tmp_path / "gradebook.sqlite", tmp_path, ["alice", "bob"], hostile=False, paths=paths)
    done = grader("feedback", tmp_path, "--out", tmp_path / "fb", cwd=tmp_path)
    assert "wrote 3 reports" in done.stdout
    assert "wrote moodle.zip: 1 reports, without 'bob', 'carol'" in done.stdout
    assert sorted(path.name for path in (tmp_path / "fb").iterdir()) == [
        "alice", "bob", "carol", "comments.csv", "moodle.zip",
    ]  # fmt: skip
