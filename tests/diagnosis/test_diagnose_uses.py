"""Diagnoses for which exercise 01 has no place: a tensor that is used three times, and a square matrix."""

from __future__ import annotations

import json

import pytest

from grader.authoring.release import released_text
from grader.course.course import Course
from grader.records import Verdict
from tests.workbench import Workbench, checks_of

PART = "steps"
FORWARD = [
    ("b.requires_grad_()", "b.requires_grad_()\nmix = torch.randn((4, 4), generator=g)"),
    ("scaled = h * hsum", "cubed = h**3\nmixed = cubed @ mix\nscaled = h * hsum + mixed"),
    ("[hpre, h, hsum, scaled]", "[hpre, h, hsum, cubed, mixed, scaled]"),
]
LINE = "dh = hsum * dscaled + dhsum"
SOLUTION = "dmixed = dscaled.clone()\ndcubed = dmixed @ mix.T\ndh = hsum * dscaled + dhsum + 3 * h**2 * dcubed"


@pytest.fixture(scope="module")
def bench(course, tmp_path_factory):
    """The mini course with two more lines in its forward pass."""
    top = tmp_path_factory.mktemp("uses")
    (top / "exercises").mkdir()
    (top / "solutions").mkdir()
    for path in course.exercises.iterdir():
        if path.is_file():
            (top / "exercises" / path.name).write_bytes(path.read_bytes())
    notebook = json.loads(course.solution_path("mini").read_text())
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        for old, new in [*FORWARD, (LINE, SOLUTION)]:
            source = source.replace(old, new)
        cell["source"] = source
    own = Course(top / "exercises")
    own.solution_path("mini").write_text(json.dumps(notebook))
    own.notebook_path("mini").write_text(released_text(own, own.spec("mini")))
    return Workbench(answers(notebook), "mini", own)


def answers(notebook):
    return {
        cell["metadata"]["nbgrader"]["grade_id"]: cell["source"]
        for cell in notebook["cells"]
        if cell["metadata"].get("grader", {}).get("role") == "gradients"
    }


@pytest.fixture
def codes(bench):
    """The code of each wrong gradient, with a piece of the solution replaced."""

    def run(old, new):
        sources = {cell: source.replace(old, new) for cell, source in bench.solution.items()}
        assert sources != bench.solution
        marks, _, _ = bench.mark(PART, sources)
        found = checks_of(marks).values()
        return {one.name: one.diagnosis and one.diagnosis.code for one in found if one.verdict is Verdict.WRONG}

    return run


def test_the_solution_is_right(bench):
    marks, _, errors = bench.mark(PART, bench.solution)
    assert errors == []
    assert all(marks.check(name).verdict.is_right for name in marks.part.checks.names)


def test_only_one_of_three_contributions(codes):
    assert codes("hsum * dscaled + dhsum + 3 * h**2 * dcubed", "3 * h**2 * dcubed") == {"dh": "only-one-path"}


def test_one_of_three_contributions_missing_is_no_only_path(codes):
    assert codes("hsum * dscaled + dhsum + 3 * h**2 * dcubed", "dhsum + 3 * h**2 * dcubed") == {"dh": "path-missing"}


def test_a_square_matrix_that_lies_the_wrong_way(codes):
    assert codes("dmixed @ mix.T", "dmixed @ mix") == {"dcubed": "operand-transposed"}


def test_a_result_that_lies_the_wrong_way_is_no_operand(codes):
    assert codes("dW = x.T @ dhpre", "dW = (x.T @ dhpre).T") == {"dW": "transposed"}
