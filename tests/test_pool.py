"""One submission never costs another its marks."""

from __future__ import annotations

import ctypes
import os
import platform
from contextlib import nullcontext
from pathlib import Path

import pytest

from grader.batch import grade_batch
from grader.cluster import InProcess
from grader.cohort import grade_cohort
from grader.collect import Found
from grader.errors import UsageError
from grader.grade import Grader
from grader.gradebook import Gradebook
from grader.hints import next_hint
from grader.progress import STATE
from grader.records import Submission


def test_a_mistake_of_the_graders_own_is_one_ungradable_submission(pool, solved, monkeypatch):
    original = Grader._graded

    def broken(self, submission, *rest):
        if submission.student == "unlucky":
            raise ZeroDivisionError("ours")
        return original(self, submission, *rest)

    monkeypatch.setattr(Grader, "_graded", broken)
    unlucky = pool.grade(Submission(student="unlucky", exercise="mini", data=solved()))
    assert unlucky.grade.status == "ungradable"
    assert "ZeroDivisionError: ours" in unlucky.grade.reason
    assert pool.grade(Submission(student="lucky", exercise="mini", data=solved())).grade.score == 16


def test_a_known_problem_is_the_reason(pool):
    grading = pool.grade(Submission(student="s", exercise="mini", problem="It is a folder."))
    assert (grading.grade.status, grading.grade.reason, grading.grade.max_score) == (
        "ungradable",
        "It is a folder.",
        16,
    )


def test_a_disk_that_is_full_stops_the_run_with_a_sentence(pool, course, solved, tmp_path):
    path = tmp_path / "ann.ipynb"
    path.write_bytes(solved())
    (tmp_path / "out").write_text("in the way")
    found = [Found(student="ann", exercise="mini", path=str(path))]
    with Gradebook(tmp_path / "gradebook.sqlite") as book, pytest.raises(UsageError, match="can't be written"):
        grade_cohort(found, course, book, tmp_path / "out", lambda _: nullcontext(InProcess(pool)))


def test_hints_open_one_after_the_other_and_are_remembered(pool, course, tmp_path):
    grade = pool.grade(Submission(student="s", exercise="mini", data=course.notebook_path("mini").read_bytes())).grade
    spec = course.spec("mini")
    assert next_hint(spec, grade, tmp_path) == "Hint 1 of 1 for dscaled: A mean shares its gradient."
    assert (tmp_path / STATE).exists()
    assert "Hint 1 of 1" in next_hint(spec, grade, tmp_path)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's own way to give memory back")
def test_after_a_batch_freed_memory_is_given_back(pool):
    """Small pieces, of which some stay, keep the rest of the heap from being given back on its own."""

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    pieces = [libc.malloc(50_000) for _ in range(2_000)]
    for piece in pieces:
        ctypes.memset(piece, 1, 50_000)
    kept = pieces[::20]
    for piece in set(pieces) - set(kept):
        libc.free(piece)
    before = resident()
    grade_batch([Submission(student="ann", exercise="mini", problem="It is a problem.")], pool, lambda _: None)
    after = resident()
    for piece in kept:
        libc.free(piece)
    assert before - after > 50_000_000
