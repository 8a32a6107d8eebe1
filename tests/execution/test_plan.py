"""From a submission's cells to what the kernels run."""

from __future__ import annotations

import ast
import json
from types import SimpleNamespace

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grader.course.catalog import Case, in_float32
from grader.execution.plan import ProbePart, Step, hidden_source, plan_steps, probe_parts, probe_source, setup_length
from grader.intake.take_in import PlannedCell
from grader.notebook.code import Code

STEPS = ProbePart(id="steps", gradients=["dh", "dW"], upstream=[], values=[], also=[], forward=["h", "W"])
TRAINING = ProbePart(id="training", gradients=["dW"], upstream=[], values=["W"], also=["dh"], forward=[])
PARTS = {"steps": STEPS, "training": TRAINING}


def cell(role, part=None, source="", student=None):
    student = role in ("gradients", None) if student is None else student
    return PlannedCell(code=Code(source), role=role, part=part, student=student, label="")


CELLS = [
    cell("setup"),
    cell("parameters"),
    cell("forward", "steps"),
    cell(None, "steps", "helper = 1"),
    cell("gradients", "steps", "dh = 1"),
    cell("compare", "steps", "cmp('h', dh, h)"),
    cell("gradients", "steps", "while True:\n    pass"),
    cell("compare", "steps", "cmp('W', dW, W)"),
    cell("forward", "training"),
    cell("gradients", "training", "dW = 2\ndb = '''\\n\"'''"),
    cell("compare", "training"),
    cell(None, "training", "print('done')"),
]


def told(steps):
    """Steps in short: a cell's index, or what is done and to which part."""
    named = [f"{step.do} {step.part.id}" if step.part else step.do for step in steps]
    return [step.cell if step.do == "cell" else name for step, name in zip(steps, named, strict=True)]


def request_of(source):
    """What the probe is asked for, read as Python reads the code that is sent to the kernel."""
    call = ast.parse(source).body[0].value
    assert call.func.attr == "hidden"
    return json.loads(call.args[0].value)


def test_a_part_begins_before_its_first_gradients_and_is_exported_after_its_last_cell():
    assert told(plan_steps(CELLS, PARTS)) == [
        0, 1, "inject", 2, 3, "begin steps", 4, 5, 6, 7, "export steps",
        8, "begin training", 9, 10, 11, "export training",
    ]  # fmt: skip


def test_a_part_without_gradients_cells_is_neither_begun_nor_exported():
    cells = [planned for planned in CELLS if (planned.role, planned.part) != ("gradients", "training")]
    assert "training" not in " ".join(map(str, told(plan_steps(cells, PARTS))))


def test_a_part_that_the_exercise_does_not_have_is_only_run():
    assert told(plan_steps([cell("gradients", "other")], PARTS)) == [0]


def test_a_part_that_goes_on_after_another_is_exported_at_its_very_end():
    cells = [cell("gradients", "steps"), cell("gradients", "training"), cell(None, "steps")]
    steps = told(plan_steps(cells, PARTS))
    assert steps == ["begin steps", 0, "begin training", 1, "export training", 2, "export steps"]


@pytest.mark.parametrize(
    ("cells", "length"),
    [
        ([], 0),
        (CELLS, 1),
        ([cell("setup"), cell("setup")], 2),
        ([cell(None), cell("setup")], 0),
        ([cell("setup"), cell(None), cell("setup")], 1),
        ([cell("setup", student=True), cell("setup")], 0),
    ],
)
def test_only_the_releases_own_leading_setup_may_be_run_before(cells, length):
    assert setup_length(cells) == length


def test_what_the_probe_is_told_of_a_part(course):
    tensors = {"steps": ["hpre", "h", "hsum"], "training": ["h", "W", "b"]}
    forward = {
        part: SimpleNamespace(lists=(), tensors=dict.fromkeys(names, torch.zeros(30)), constants={"n": 4})
        for part, names in tensors.items()
    }
    parts = probe_parts(course.exercise("mini"), forward)
    assert list(parts) == ["steps", "training"]
    assert parts["steps"].gradients == ["dscaled", "dhsum", "dh", "dhpre", "dW", "db"]
    assert parts["steps"].also == []
    assert parts["training"].also == ["dh"]
    assert parts["training"].values == ["W", "b"]
    assert parts["training"].forward == ["h", "W", "b"]


def test_nothing_but_names_and_the_cases_parameters_is_sent():
    case = Case(id="a", parameters={"seed": 7})
    inject = ast.parse(probe_source(Step(do="inject"), case)).body[0].value
    assert [json.loads(inject.args[0].value), inject.args[1].value] == [{"seed": 7}, "float64"]
    export = ast.parse(probe_source(Step(do="export", part=STEPS), case)).body[0].value
    assert export.func.attr == "export"
    assert json.loads(export.args[0].value) == msgspec.to_builtins(STEPS)


CASES = [Case(id="one", parameters={"seed": 1}), in_float32(Case(id="two", parameters={"n": 2}))]


def test_the_hidden_run_has_every_case_and_leaves_out_the_compare_cells():
    request = request_of(hidden_source(plan_steps(CELLS, PARTS), CELLS, CASES, 3.0, {}))
    asked = [(case["id"], case["parameters"], case["dtype"], case["seconds"]) for case in request["cases"]]
    assert asked == [("one", {"seed": 1}, "float64", 3.0), ("two", {"n": 2}, "float32", 3.0)]
    assert [step["cell"] for step in request["steps"] if step["do"] == "cell"] == [0, 1, 2, 3, 4, 6, 8, 9]
    assert [step["source"] for step in request["steps"] if step.get("cell") == 9] == [CELLS[9].source]
    assert [step["part"]["id"] for step in request["steps"] if step["do"] == "export"] == ["steps", "training"]


def test_the_hidden_run_leaves_out_what_only_shows_something():
    cells = [
        cell(None, "steps", "plt.plot(x)"),
        cell(None, "steps", "helper = 1"),
        cell("gradients", "steps", "dh = 1"),
    ]
    cells[0] = msgspec.structs.replace(cells[0], only_shows=True)
    request = request_of(hidden_source(plan_steps(cells, PARTS), cells, CASES, 1, {}))
    assert [step["cell"] for step in request["steps"] if step["do"] == "cell"] == [1, 2]


def test_a_compare_cell_of_the_students_own_is_run():
    cells = [cell("compare", "steps", "dh = 1", student=True)]
    request = request_of(hidden_source(plan_steps(cells, PARTS), cells, CASES, 1, {}))
    assert [step["cell"] for step in request["steps"]] == [0]


def test_a_cell_that_never_came_to_an_end_is_cut_there():
    cells = [cell("gradients", "steps", "dh = 1\nwhile True:\n    pass\ndW = 2")]
    for stop, kept in ((3, "dh = 1"), (0, "")):
        request = request_of(hidden_source(plan_steps(cells, PARTS), cells, CASES, 1, {0: stop}))
        assert [step["source"] for step in request["steps"] if step["do"] == "cell"] == [kept]


@given(st.text())
def test_any_source_arrives_as_it_was(source):
    cells = [cell("gradients", "steps", source)]
    code = hidden_source(plan_steps(cells, PARTS), cells, CASES, 1, {})
    assert "\n" not in code
    assert [step["source"] for step in request_of(code)["steps"] if step["do"] == "cell"] == [source]
