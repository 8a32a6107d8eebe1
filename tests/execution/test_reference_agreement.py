"""The reference and the students' kernels must compute from the same numbers, or nothing is judged."""

from __future__ import annotations

import math

import pytest
import torch

from grader.course.course import Course
from grader.course.reference import Reference
from grader.execution.reference_agreement import computed_by_kernels, disagreements
from grader.execution.tensors import StudentTensor, TensorNote
from grader.records import Submission


def disturbed(monkeypatch, times: int) -> None:
    """Let something change the data of the first `times` references."""
    compute = Reference.setup.func
    left = iter(range(times))
    kept = {}

    def setup(self):
        if self not in kept:
            kept[self] = compute(self)
            if next(left, None) is not None:
                kept[self]["data"] = kept[self]["data"].roll(1, 0)
        return kept[self]

    monkeypatch.setattr(Reference, "setup", property(setup))


def test_a_reference_with_other_data_is_computed_anew(fresh_pool, course, solved, monkeypatch):
    disturbed(monkeypatch, 1)
    submission = Submission(student="s", exercise="mini", data=solved())
    assert fresh_pool(course).grade(submission).grade.score == 16


def test_where_they_never_agree_nothing_is_judged_and_nobody_gets_a_zero_for_it(
    fresh_pool, course, solved, monkeypatch
):
    disturbed(monkeypatch, 1000)
    submission = Submission(student="s", exercise="mini", data=solved())
    pool = fresh_pool(course)
    grade = pool.grade(submission).grade
    assert grade.status == "ungradable"
    assert "mini give different numbers in each run (`data`, `x`, `hpre`, `h` and " in grade.reason
    monkeypatch.undo()
    assert pool.grade(submission).grade.score == 16


def test_an_exercise_that_draws_without_a_seed_says_what_it_is(fresh_pool, mini, solved):
    path = mini / "exercises" / "mini.ipynb"
    text = path.read_text()
    assert "torch.Generator().manual_seed(seed)" in text
    path.write_text(text.replace("torch.Generator().manual_seed(seed)", "torch.Generator(); g.seed()"))
    pool = fresh_pool(Course(mini / "exercises"))
    grade = pool.grade(Submission(student="s", exercise="mini", data=solved())).grade
    assert grade.status == "ungradable"
    assert "(`W`, `b`, `hpre`, `h` and " in grade.reason
    assert "seed every random number" in grade.reason


def test_a_kernel_finds_all_that_is_given(pool, course):
    grader = pool._grader("mini")
    reference = Reference(course.exercise("mini"))
    reference.case(course.exercise("mini").cases[0])
    assert {"x", "hpre", "h", "loss", "W", "b"} < set(reference.given)
    computed = computed_by_kernels(*grader.kernels.locked(), grader.exercise.spec, list(reference.given))
    assert all(torch.equal(computed[name].tensor.double(), own.double()) for name, own in reference.given.items())


@pytest.mark.parametrize(
    ("own", "sent", "agree"),
    [
        ([1.0, 2.0], [1.0, 2.0001], True),
        ([1.0, 2.0], [1.0, 2.1], False),
        ([1.0, 2.0], [1.0], False),
        ([1.0, math.inf], [1.0, math.inf], True),
        ([1.0, -math.inf], [1.0, 5.0], False),
        ([math.nan], [math.nan], True),
        ([3, 4], [3.0, 4.0], True),
        ([300, 4000], [300.0, 4001.0], False),
        ([], [], True),
    ],
)
def test_agreement_leaves_room_for_rounding_alone(own, sent, agree):
    note = TensorNote(kind="tensor", shape=[len(sent)])
    found = disagreements({"t": torch.tensor(own)}, {"t": StudentTensor(note=note, value=torch.tensor(sent))})
    assert found == ([] if agree else ["t"])


def test_a_name_that_one_of_them_lacks_is_no_disagreement():
    assert disagreements({"t": torch.ones(2), "u": torch.ones(2)}, {"u": StudentTensor.absent()}) == []
