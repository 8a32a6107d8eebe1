"""A parameter of the exercise that is written out as a number is right for that number only, and earns half."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from grader.authoring.coverage import unvaried_parameters
from grader.records import Verdict
from tests.slips import bench
from tests.workbench import checks_of

OPTIMISERS, NORM, NINJA = "06_optimisers", "03_normalisation", "01_backprop_ninja"


@pytest.mark.parametrize(
    ("exercise", "part", "old", "new", "names"),
    [
        (OPTIMISERS, "dropout", "mask * dkept", "(mask > 0) / 0.7 * dkept", {"dh"}),
        (OPTIMISERS, "momentum", "momentum * velocity", "0.8 * velocity", {"w_momentum", "w_nesterov"}),
        (OPTIMISERS, "running-means", "beta1 * m + (1 - beta1)", "0.9 * m + 0.1", {"m_hat"}),
        (OPTIMISERS, "running-means", "beta2", "0.98", {"v_hat"}),
        (OPTIMISERS, "adam", "adam_rate", "0.2", {"w_adam"}),
        (OPTIMISERS, "adam", "adam_eps", "1e-3", {"w_adam"}),
        (OPTIMISERS, "adamw", "weight_decay", "0.3", {"w_adamw"}),
        (NORM, "layer-norm", "(var + eps)", "(var + 1e-5)", {"dvar"}),
        (NINJA, "every-gradient", "-1, n_embd)", "-1, 10)", {"dC"}),
    ],
)
def test_a_parameter_that_is_written_out_earns_half(exercise, part, old, new, names):
    where = bench(exercise)
    cells = {cell: where.solution[cell] for cell in where.cells(part)}
    assert any(old in source for source in cells.values())
    marks, _, _ = where.mark(
        part, {**where.solution, **{cell: source.replace(old, new) for cell, source in cells.items()}}
    )
    wrong = {name: check for name, check in checks_of(marks).items() if check.verdict is Verdict.WRONG}
    assert wrong.keys() == names
    assert {check.points / check.max_points for check in wrong.values()} == {0.5}
    assert all("not for others" in check.remark for check in wrong.values())


def test_a_constant_of_the_exercise_is_named_for_its_number():
    where = bench(NORM)
    cell = "layer-norm-gradients"
    source = where.solution[cell].replace("(var + eps)", "(var + 1e-5)")
    marks, _, _ = where.mark("layer-norm", {**where.solution, cell: source})
    said = checks_of(marks)["dvar"].diagnosis
    assert (said.code, "`eps` written out" in said.message) == ("hard-coded-size", True)


def test_verify_names_the_parameters_that_no_case_changes(course):
    exercise = course.exercise("mini")
    assert not list(unvaried_parameters(exercise, {}))
    cases = [case for case in exercise.cases if case.id != "another-seed"]
    (said,) = unvaried_parameters(SimpleNamespace(cells=exercise.cells, cases=cases), {})
    assert said.startswith("no hidden case changes seed, so its value, written out, earns full marks")
