"""Each line is worth what it is worth on its own: one that is blank, broken or zero silences no other."""

from __future__ import annotations

import ast

import pytest

from grader.course.course import Course
from grader.records import Verdict
from tests.broken_lines import KINDS, broken
from tests.slips import bench
from tests.workbench import ROOT

SAMPLE = [
    ("00_chain_rule", "scalars", "dr"), ("01_backprop_ninja", "every-gradient", "dnorm_logits"),
    ("01_backprop_ninja", "every-gradient", "dbnvar"), ("01_backprop_ninja", "every-gradient", "dprobs"),
    ("01_backprop_ninja", "training", "dbngain"), ("05_convolution", "unfold", "drows"),
]  # fmt: skip
"""What the everyday tests break; the slow suite breaks every gradient of every exercise."""


def lost(exercise, part, name, kind):
    """The checks that lose points when a gradient's line is broken, by the verdict; None where it has no line alone."""
    where = bench(exercise)
    for cell in where.cells(part):
        is_list = name[1:] in where.references["twin"][part].lists
        source = broken(where.solution[cell], name, kind, is_list=is_list)
        if source is not None:
            marks, _, _ = where.mark(part, {**where.solution, cell: source})
            checks = [marks.check(name) for name in marks.part.checks.names]
            return {check.name: check.verdict for check in checks if check.points < check.max_points}
    return None


def assert_alone(exercise, part, name, kind):
    found = lost(exercise, part, name, kind)
    near_zero = any(f"d{edge.lower}" == name for edge in bench(exercise).tried[part])
    if found is None or (kind == "zero" and near_zero and not found):
        return  # its line isn't alone, or zero is what it should be
    never_there = {name[1:]} if kind in ("none", "deleted", "raises") else set()  # the parameter that it would train
    assert name in found
    assert set(found) <= {name} | never_there, f"{exercise} {part} {name} {kind}"
    assert set(found.values()) <= {Verdict.WRONG, Verdict.MISSING}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("exercise", "part", "name"), SAMPLE)
def test_a_broken_line_costs_itself_and_no_other(exercise, part, name, kind):
    assert_alone(exercise, part, name, kind)


@pytest.mark.slow
@pytest.mark.parametrize("exercise", Course(ROOT / "exercises").catalog.ids)
def test_no_gradient_of_any_exercise_silences_another(exercise):
    for part, checks in bench(exercise).exercise.parts.items():
        for name in checks.gradients:
            for kind in KINDS:
                assert_alone(exercise, part, name, kind)


@pytest.mark.parametrize("exercise", ["00_chain_rule", "01_backprop_ninja"])
@pytest.mark.parametrize("line", ["{name} = None", "{name} = torch.zeros_like({tensor})", "pass"])
def test_a_notebook_of_nothing_earns_nothing(exercise, line):
    where = bench(exercise)
    part, checks = next(iter(where.exercise.parts.items()))
    first, *rest = where.cells(part)
    text = "\n".join(line.format(name=name, tensor=name[1:]) for name in checks.gradients)
    marks, _, _ = where.mark(part, {**where.solution, first: text, **dict.fromkeys(rest, "pass")})
    near_zero = {f"d{edge.lower}" for edge in where.tried[part] if edge.zero == edge.lower}
    earned = {name for name in marks.part.checks.names if marks.check(name).points}
    assert earned <= (near_zero if "zeros" in line else set())


def mark(*replacements, exercise="01_backprop_ninja", part="every-gradient"):
    where = bench(exercise)
    sources = dict(where.solution)
    for old, new in replacements:
        hits = [cell for cell in where.cells(part) if old in sources[cell]]
        assert hits, f"no cell holds {old!r}"
        sources.update({cell: sources[cell].replace(old, new) for cell in hits})
    marks, _, _ = where.mark(part, sources)
    return {name: marks.check(name) for name in marks.part.checks.names}


def test_the_remark_says_what_holds_a_line_up():
    found = mark(("dnorm_logits = counts * dcounts", "dnorm_logits = None"))
    assert found["dnorm_logits"].verdict is Verdict.MISSING
    assert found["dC"].verdict is Verdict.CARRIED
    assert found["dC"].remark == "Right on its own; dnorm_logits, further up, has no value."
    found = mark(("dh = dlogits @ W2.T", "dh = dlogits @ W2.T * float('nan')"))
    assert found["dhpreact"].remark == "Right on its own; dh, further up, holds NaN or infinity."
    found = mark(("dprobs = dlogprobs / probs", "dprobs = 0 * dlogprobs"))
    assert found["dcounts"].remark == "Right on its own; dprobs, further up, is zero."


def test_a_line_that_raises_in_a_loop_costs_itself_and_not_its_neighbours():
    line = ("dx = torch.zeros_like(x)", "dx = torch.zeros_like(dx)")
    found = mark(line, exercise="05_convolution", part="taps")
    assert found["dx"].verdict is Verdict.MISSING
    assert found["dw"].verdict is Verdict.CARRIED
    assert found["dw"].remark == "Right on its own; the cell stopped in line 7, before this one."


def test_a_second_slip_below_a_missing_line_is_found():
    found = mark(("dnorm_logits = counts * dcounts", "pass"), ("dW2 = h.T @ dlogits", "dW2 = -h.T @ dlogits"))
    assert [name for name, check in found.items() if not check.points] == ["dnorm_logits", "dW2"]
    assert found["dW2"].verdict is Verdict.WRONG


def test_a_wrong_formula_that_follows_from_a_one_hot_gradient_earns_nothing():
    """The upstream gradient is zero but for one column, so a sum left out costs nothing there."""
    found = mark(
        ("dlogits = dnorm_logits", "dlogits = 0 * dnorm_logits\ndlogits[0, 0] = 1.0\nunused = dnorm_logits"),
        ("db2 = dlogits.sum(0)", "db2 = dlogits[0]"),
    )
    assert found["dlogits"].verdict is Verdict.WRONG
    assert found["db2"].verdict is Verdict.WRONG


def test_a_line_that_reads_itself_or_what_comes_later_is_not_right_on_its_own():
    found = mark(("demb = dembcat.view(emb.shape)", "demb = dembcat.view(demb.shape)"))
    assert found["demb"].verdict is Verdict.MISSING
    found = mark(("torch.ones_like(bndiff2)", "torch.ones_like(dhprebn)"))
    assert found["dbndiff2"].verdict is Verdict.MISSING
    assert found["dbndiff"].verdict is Verdict.CARRIED


@pytest.mark.parametrize("line", ["{} = None; unused = ", "{} = undefined * ", "{} = 2 * ", "{} = float('nan') * "])
@pytest.mark.parametrize(("name", "below"), [("grad_hprebn", "W1"), ("grad_emb", "C"), ("grad_hpreact", "bngain")])
def test_a_slip_on_the_way_is_charged_once_whatever_it_is(name, below, line):
    found = mark((f"{name} = ", line.format(name)), part="training")
    lost = {name for name, check in found.items() if not check.points}
    assert f"d{below}" in lost
    assert lost <= {f"d{below}", below}


def test_pasted_numbers_are_right_nowhere_else():
    found = mark(("dlogprobs = torch.zeros_like(logprobs)", "dlogprobs = torch.zeros(32, 27)"))
    assert found["dlogprobs"].points == 0.5  # the visible share
    assert all(check.points for check in found.values())


@pytest.mark.parametrize("factor", ["2 * ", "-"])
def test_an_update_that_is_no_step_along_the_gradient_is_wrong(factor):
    old = "p -= lr * gradient"
    found = mark((old, f"p -= {factor}lr * gradient"), part="training")
    assert {name for name, check in found.items() if check.verdict is Verdict.WRONG} == {
        "C", "W1", "W2", "b2", "bngain", "bnbias", "b1",
    } - ({"b1"} if found["b1"].verdict is not Verdict.WRONG else set())  # fmt: skip
    assert found["dW1"].verdict.is_right


@pytest.mark.parametrize("exercise", ["01_backprop_ninja", "05_convolution"])
def test_the_trees_that_the_stages_share_are_left_as_they_are(exercise):
    where = bench(exercise)
    for part in where.exercise.parts:
        marks, *_ = where.mark(part, where.solution)
        for cell in marks.part.student_cells:
            assert ast.dump(cell.code.tree) == ast.dump(ast.parse(cell.source))
