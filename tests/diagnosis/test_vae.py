"""A course of somebody else's, a variational autoencoder: slips in it are located and named as in ours."""

from __future__ import annotations

import functools
import json

import pytest

from grader.authoring.verify import exercise_problems
from grader.course.course import Course
from grader.diagnosis.diagnose import explained
from grader.diagnosis.gradient_lines import GradientLines
from grader.records import Verdict
from tests.conftest import HERE
from tests.workbench import Workbench

COURSE = HERE / "courses" / "vae"

SLIPS = [
    ("step", "(torch.sigmoid(logits) - x) / n", "(logits - x) / n", "dlogits", "function-missing"),
    ("step", "(torch.sigmoid(logits) - x) / n", "torch.sigmoid(logits) - x", "dlogits", "constant-factor"),
    ("step", "(torch.sigmoid(logits) - x) / n", "(x - torch.sigmoid(logits)) / n", "dlogits", "sign-flipped"),
    ("step", "(torch.sigmoid(logits) - x) / n", "(torch.sigmoid(logits) - x) / 12 / n", "dlogits", "constant-factor"),
    ("step", "dW3 = y.T @ dlogits", "dW3 = ypre.T @ dlogits", "dW3", "wrong-neighbour"),
    ("step", "db3 = dlogits.sum(0)", "db3 = dlogits.mean(0)", "db3", "constant-factor"),
    ("step", "dy = dlogits @ W3.T", "dy = -dlogits @ W3.T", "dy", "sign-flipped"),
    ("step", "dy * (ypre > 0)", "dy", "dypre", "local-derivative-missing"),
    ("step", "dy * (ypre > 0)", "dy * y", "dypre", "another-function"),
    ("step", "dW2 = z.T @ dypre", "dW2 = mu.T @ dypre", "dW2", "wrong-neighbour"),
    ("step", "dz = dypre @ W2.T", "dz = dy @ W2.T", "dz", "wrong-neighbour"),
    ("step", "dstd = eps * dz", "dstd = dz", "dstd", "local-derivative-missing"),
    ("step", "dmu = dz + beta * mu / n", "dmu = dz", "dmu", "path-missing"),
    ("step", "dmu = dz + beta * mu / n", "dmu = dz + mu / n", "dmu", "factor-missing"),
    ("step", "dmu = dz + beta * mu / n", "dmu = dz + beta * mu", "dmu", "factor-missing"),
    ("step", "dmu = dz + beta * mu / n", "dmu = dz + 0.7 * mu / n", "dmu", "wrong-constant"),
    ("step", "dmu = dz + beta * mu / n", "dmu = dz - beta * mu / n", "dmu", "term-sign"),
    ("step", "0.5 * std * dstd", "std * dstd", "dlogvar", "path-factor"),
    ("step", "beta * 0.5 * (logvar.exp() - 1) / n", "0.5 * (logvar.exp() - 1) / n", "dlogvar", "factor-missing"),
    ("step", "beta * 0.5 * (logvar.exp() - 1) / n", "beta * (logvar.exp() - 1) / n", "dlogvar", "wrong-constant"),
    ("step", "beta * 0.5 * (logvar.exp() - 1) / n", "beta * 0.5 * logvar.exp() / n", "dlogvar", "constant-missing"),
    ("step", "dmu @ Wmu.T + dlogvar @ Wvar.T", "dmu @ Wmu.T", "dh", "path-missing"),
    ("step", "(1 - h**2) * dh", "(1 - h) * dh", "dhpre", "wrong-power"),
    ("layer", "torch.sigmoid(self.code) * dout", "torch.tanh(self.code) * dout", "dcode", "another-function"),
    ("layer", "0.5 * self.width * self.draw * dout", "self.width * self.draw * dout", "ds", "constant-factor"),
    ("layer", "0.5 * self.width * self.draw * dout", "0.5 * self.width * dout", "ds", "factor-missing"),
    ("layer", "0.5 * self.width * self.draw * dout", "0.5 * self.draw * dout", "ds", None),
    ("train", "dout = 2 * (out - t) / n", "dout = (out - t) / n", "dV2", "constant-factor"),
    ("train", "dp2 = out * (1 - out) * dout", "dp2 = out * dout", "dV2", "another-function"),
    ("train", "dp1 = (1 - q**2) * dq", "dp1 = (1 + q**2) * dq", "dV1", "term-sign"),
]  # fmt: skip


@functools.cache
def bench():
    notebook = json.loads((COURSE / "solutions" / "vae.ipynb").read_text())
    sources = {cell["metadata"]["nbgrader"]["grade_id"]: "".join(cell["source"]) for cell in notebook["cells"]}
    return Workbench(sources, "vae", Course(COURSE / "exercises"))


def marked(part, old, new):
    where = bench()
    cells = [cell for cell in where.cells(part) if old in where.solution[cell]]
    assert cells, f"no cell holds {old!r}"
    changed = {cell: where.solution[cell].replace(old, new, 1) for cell in cells}
    marks, _, _ = where.mark(part, {**where.solution, **changed})
    return [explained(marks.check(name), marks, GradientLines(marks.part)) for name in marks.part.checks.names]


@pytest.mark.parametrize(("part", "old", "new", "name", "code"), SLIPS)
def test_a_slip_is_located_and_named(part, old, new, name, code):
    checks = marked(part, old, new)
    wrong = {check.name: check.diagnosis.code if check.diagnosis else None for check in checks if not check.points}
    assert wrong == {name: code}
    assert {check.verdict for check in checks if check.name in wrong} == {Verdict.WRONG}


def test_the_exercise_is_one_that_verify_takes_but_for_its_hints():
    problems = exercise_problems(Course(COURSE / "exercises"), "vae", None)
    assert [problem for problem in problems if "has no hint" not in problem] == []
    for part in bench().parts:
        marks, _, _ = bench().mark(part, bench().solution)
        assert all(marks.check(name).verdict.is_right for name in marks.part.checks.names)
