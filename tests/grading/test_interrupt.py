"""Ctrl-C in the middle of a submission: the grader stops, and takes it for nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import HERE


@pytest.mark.skipif(sys.platform == "win32", reason="signals, as POSIX has them")
@pytest.mark.slow
def test_an_interrupt_stops_grading_with_a_sentence_and_what_was_graded_is_written(solved, tmp_path):
    submissions, out = tmp_path / "submissions", tmp_path / "out"
    submissions.mkdir()
    (submissions / "ada.ipynb").write_bytes(solved())
    (submissions / "ben.ipynb").write_bytes(
        solved(("dscaled = torch", "import time; time.sleep(4.5)\ndscaled = torch"))
    )
    (submissions / "cleo.ipynb").write_bytes(solved())
    command = [sys.executable, "-m", "grader", "grade", str(submissions), "--out", str(out), "--exercise", "mini"]
    grader = subprocess.Popen(
        [*command, "--workers", "1"],
        cwd=HERE / "courses" / "mini",
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 90
        while not (out / "ada" / "mini.json").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1.0)  # into the sleeping cell
        grader.send_signal(signal.SIGINT)
        _, said = grader.communicate(timeout=60)
    finally:
        grader.kill()
    assert grader.returncode == 130
    assert "stopped" in said
    assert "Traceback" not in said
    assert (out / "index.html").exists()
    assert not (out / "ben" / "mini.json").exists()  # a stopped cell is no mark
    assert not (out / "cleo").exists()
