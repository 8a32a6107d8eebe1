"""A tensor that one line uses several times: exercise 09's loop that hands gradients on, without a kernel."""

from __future__ import annotations

import pytest
import torch

from tests.slips import bench
from tests.workbench import checks_of

OWN = "09_own_autograd"
RIGHT = "parent.grad = gradient if parent.grad is None else parent.grad + gradient"


def diagnoses(line):
    source = bench(OWN).solution["propagate"]
    assert RIGHT in source
    marks, _, _ = bench(OWN).mark("accumulate", {**bench(OWN).solution, "propagate": source.replace(RIGHT, line)})
    return {name: check.diagnosis for name, check in checks_of(marks).items() if check.verdict == "wrong"}


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("parent.grad = gradient", "path-missing", "the one of the first `c` in the line of `s_same` is missing"),
        (f"if parent.grad is None: {RIGHT}", "path-missing", "the second `c` in the line of `s_same` is missing"),
        ("parent.grad = -gradient if parent.grad is None else parent.grad + gradient", "path-sign", "wrong sign"),
        (
            "parent.grad = gradient if parent.grad is None else parent.grad + 2 * gradient",
            "path-factor",
            "is `2` times",
        ),
    ],
)
def test_each_use_of_a_tensor_within_one_line_is_told_apart(line, code, said):
    found = diagnoses(line)["dc"]
    assert found.code == code
    assert said in found.message


def test_what_is_no_factor_of_any_use_has_no_diagnosis():
    assert diagnoses("parent.grad = gradient if parent.grad is None else parent.grad + gradient**2")["dc"] is None


def test_uses_that_are_more_in_a_larger_case_are_not_told_apart():
    taps = bench("05_convolution")
    changed = taps.solution["taps-gradients"].replace(
        "(x[:, tap:tap + m] * dy).sum()", "torch.cos(x[:, tap:tap + m] * dy).sum()"
    )
    marks, _, _ = taps.mark("taps", {**taps.solution, "taps-gradients": changed})
    assert checks_of(marks)["dw"].verdict == "wrong"
    assert checks_of(marks)["dw"].diagnosis is None


def test_a_slip_that_the_shape_shows_is_told_beside_a_constant():
    source = bench(OWN).solution["unbroadcast"]
    changed = source.replace("dx = dx.sum(dim, keepdim=True)", "pass").replace("dx = gradient", "dx = 2 * gradient")
    marks, _, _ = bench(OWN).mark("broadcasting", {**bench(OWN).solution, "unbroadcast": changed})
    diagnosis = checks_of(marks)["dcolumn"].diagnosis
    assert diagnosis.code == "sum-missing"
    assert "the whole is `2` times what it should be" in diagnosis.message


def test_the_uses_add_up_and_the_graph_is_left_as_it_was():
    reference = bench(OWN).references["twin"]["accumulate"]
    edges = reference.edges("c", "s_same")
    assert len(edges) == 2
    cotangent = torch.randn(reference.forward["s_same"].shape, dtype=reference.forward["s_same"].dtype)
    whole = reference.local("s_same", cotangent)["c"]
    parts = []
    for edge in edges:
        with reference.without([edge]):
            parts.append(reference.local("s_same", cotangent)["c"])
    assert torch.allclose(sum(parts), whole)
    assert not torch.allclose(parts[0], whole)
    assert torch.equal(reference.local("s_same", cotangent)["c"], whole)
    assert len(reference.edges("a", "s_chain")) == 1
