"""The reference against an oracle of its own: finite differences in float64."""

from __future__ import annotations

import random
import threading

import pytest
import torch

from grader.course.catalog import Case
from grader.course.course import Course
from grader.course.exercise import Cell, Exercise
from grader.course.isolation import run_own_cell
from grader.course.reference import Reference
from grader.errors import CourseError

TWIN = Case(id="twin", parameters={"max_steps": 1})


@pytest.fixture(scope="module")
def steps(course: Course):
    return Reference(course.exercise("mini")).case(TWIN)["steps"]


def loss_with(name: str, value: torch.Tensor, reference) -> float:
    """The mini exercise's loss when a tensor of its forward pass has another value; written out by hand."""
    tensors = {key: tensor.detach() for key, tensor in reference.tensors.items()} | {name: value}
    order = ["hpre", "h", "hsum", "scaled"]
    after = order[order.index(name) + 1 :] if name in order else order
    x = torch.arange(60).view(20, 3)[:6] % 7 / 7.0
    rules = {
        "hpre": lambda: x.to(torch.float64) @ tensors["W"] + tensors["b"],
        "h": lambda: torch.tanh(tensors["hpre"]),
        "hsum": lambda: tensors["h"].sum(1, keepdim=True),
        "scaled": lambda: tensors["h"] * tensors["hsum"],
    }
    for key in after:
        tensors[key] = rules[key]()
    return tensors["scaled"].mean().item()


@pytest.mark.parametrize("name", ["W", "b", "hpre", "h", "hsum", "scaled"])
def test_the_gradients_are_those_of_finite_differences(steps, name):
    value = steps.tensors[name].detach()
    measured = torch.zeros_like(value)
    for index in range(value.numel()):
        step = torch.zeros_like(value).view(-1)
        step[index] = 1e-6
        step = step.view(value.shape)
        difference = loss_with(name, value + step, steps) - loss_with(name, value - step, steps)
        measured.view(-1)[index] = difference / 2e-6
    torch.testing.assert_close(steps.gradients[name], measured, rtol=1e-6, atol=1e-9)


def test_hidden_cases_are_float64_and_the_visible_one_float32(course):
    reference = Reference(course.exercise("mini"))
    for case in course.exercise("mini").cases:
        wanted = torch.float32 if case.id == "visible" else torch.float64
        assert {t.dtype for part in reference.case(case).values() for t in part.gradients.values()} == {wanted}
    assert torch.get_default_dtype() is torch.float32


def test_the_chain_rule_is_followed_from_the_given_upstream(steps):
    upstream = {"hpre": torch.full_like(steps.gradients["hpre"], 2.0)}
    chained = steps.chained(upstream)
    x = torch.arange(60).view(20, 3)[:6] % 7 / 7.0
    torch.testing.assert_close(chained["W"], x.to(torch.float64).T @ upstream["hpre"])
    torch.testing.assert_close(chained["hpre"], steps.gradients["hpre"])  # what comes in, not what is handed on


def test_no_hook_of_one_student_answers_for_the_next(steps):
    before = steps.chained({})
    steps.chained({"h": torch.full_like(steps.gradients["h"], 7.0)})
    after = steps.chained({})
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_consumers_are_read_from_the_graph(steps):
    assert sorted(steps.consumers["h"]) == ["hsum", "scaled"]
    assert steps.consumers["hpre"] == ["h"]
    assert steps.consumers["W"] == ["hpre"]
    assert steps.consumers["scaled"] == ["loss"]


def test_training_ends_where_autograd_ends(course):
    reference = Reference(course.exercise("mini"))
    one = reference.case(Case(id="one", parameters={"max_steps": 1}))["training"]
    torch.testing.assert_close(one.values["W"], one.initial["W"] - 0.5 * one.gradients["W"])
    three = reference.case(Case(id="three", parameters={"max_steps": 3}))["training"]
    assert not torch.allclose(one.values["W"], three.values["W"])


def test_one_name_a_tensor_even_where_a_loop_variable_is_another(steps):
    assert set(steps.tensors) == {"W", "b", "hpre", "h", "hsum", "scaled"}  # `t` is scaled again


def test_float32_rounding_is_measured_on_the_same_numbers(course):
    reference = Reference(course.exercise("mini"))
    rounding = reference.rounding(course.exercise("mini").cases[0])["steps"]
    assert all(0 <= error < 1e-6 for error in rounding.values())
    assert max(rounding.values()) > 0


def test_a_cell_that_fails_is_the_courses_mistake_and_named(course):
    exercise = course.exercise("mini")
    cell = next(cell for cell in exercise.cells if cell.role == "forward")
    with pytest.raises(CourseError, match=f"mini: cell {cell.grade_id} fails with NameError"):
        run_own_cell(cell, {}, "mini")


def test_an_exercise_that_was_not_released_says_so(course):
    from grader.course.exercise import read_own_notebook

    with pytest.raises(CourseError, match="was not made by `grader release`"):
        Exercise(course.spec("mini"), read_own_notebook(course.solution_path("mini")), {})


def test_a_thread_that_draws_random_numbers_meanwhile_changes_nothing(course, monkeypatch):
    """As a dask worker's event loop does while its first submission is graded."""
    exercise = course.exercise("mini")
    shuffled = "import random\nrandom.seed(42)\norder = list(range(100_000))\nrandom.shuffle(order)"
    monkeypatch.setattr(
        exercise, "cells", [Cell(grade_id="data", role="setup", part=None, source=shuffled), *exercise.cells]
    )
    wanted = list(range(100_000))
    random.Random(42).shuffle(wanted)
    ended = threading.Event()

    def draw():
        while not ended.is_set():
            random.random()

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        found = [Reference(exercise).setup["order"] for _ in range(3)]
    finally:
        ended.set()
        thread.join()
    assert found == [wanted] * 3


def test_what_a_loop_leaves_in_its_variable_is_no_constant_of_the_exercise(course, monkeypatch):
    exercise = course.exercise("mini")
    loop = "kept = 7\nfor turn in range(3):\n    pass\nfor last in range(3):\n    pass\nlast = 2"
    monkeypatch.setattr(
        exercise, "cells", [Cell(grade_id="loop", role="setup", part=None, source=loop), *exercise.cells]
    )
    constants = Reference(exercise).case(TWIN)["steps"].constants
    assert {"kept", "last"} <= constants.keys()
    assert "turn" not in constants
