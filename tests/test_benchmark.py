"""The speed benchmark's own parts: the assignment is built, and the cells of its floor compute what they should."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.speed import floor, kernels
from benchmarks.speed.assignment import EXERCISE, PART, TOP, read_assignment
from benchmarks.speed.tools import STUDENTS, Ours, in_turn
from grader.course.course import Course
from grader.intake.take_in import take_in


@pytest.mark.slow
def test_our_course_has_the_part_and_each_student_hands_in_an_answer(tmp_path, monkeypatch):
    for module, warm, timed in ((floor, 0, 1), (kernels, 1, 3)):  # enough to see that they measure
        monkeypatch.setattr(module, "WARM", warm)
        monkeypatch.setattr(module, "TIMED", timed)
    assignment = read_assignment()
    ours = Ours(assignment, tmp_path)
    exercise = Course(tmp_path / "exercises").exercise(EXERCISE)
    assert list(exercise.parts) == [PART]
    assert len(exercise.parts[PART].names) == 26
    assert {case.id for case in exercise.cases} > {"visible", "twin", "another-seed", "another-size"}
    taken = [take_in(ours.notebook(student), exercise) for student in STUDENTS]
    assert not any(intake.notes for intake in taken)
    assert len({"".join(cell.source for cell in intake.cells) for intake in taken}) == len(STUDENTS)
    command, out = ours.command(in_turn(4))
    assert len(list((tmp_path / "run-1").glob("*.ipynb"))) == 4
    assert str(out) in command
    cells = floor.measure_floor(assignment, exercise)
    assert 0 < cells.own < cells.cells
    bare = kernels.cpu_of_bare_kernels(exercise, ours.notebook("right"))
    assert 0 < bare.empty < bare.passes


def test_a_command_is_not_charged_with_what_was_left_to_wait_for_before_it(tmp_path):
    measured = """
import os, time
from pathlib import Path
from benchmarks.speed.measure import run

if os.fork() == 0:
    while time.process_time() < 1.0:
        pass
    os._exit(0)
print(run(["true"], Path.cwd()).cpu)
"""
    done = subprocess.run(
        [sys.executable, "-c", measured], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(TOP)},
    )  # fmt: skip
    assert float(done.stdout) < 0.5
