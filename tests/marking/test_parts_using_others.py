"""Exercise 09: operations and an engine of the student's, and expressions that are made with them."""

from __future__ import annotations

import pytest

from grader.course.catalog import read_catalog
from grader.course.reference import Reference
from grader.errors import CourseError
from grader.records import Check, Submission
from tests.submissions import COURSE, handed_in

OWN = "09_own_autograd"
WRITTEN = ("broadcasting", "arithmetic", "matmul", "functions", "shapes", "accumulate", "order")
"""The parts in which students write something."""
TANH = "dx = (1 - self.out**2) * dout"
RELU = "dx = (self.x > 0) * dout"
ACCUMULATED = "parent.grad = gradient if parent.grad is None else parent.grad + gradient"


@pytest.fixture
def graded(real_pool):
    def grade(*replacements: tuple[str, str]) -> dict[str, Check]:
        data = handed_in(OWN, *replacements)
        checks = real_pool.grade(Submission(student="s", exercise=OWN, data=data)).grade.checks
        return {f"{check.part}/{check.name}": check for check in checks}

    return grade


def charged(checks: dict[str, Check]) -> set[str]:
    """What costs points."""
    return {name for name, check in checks.items() if check.points < check.max_points}


def carried(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.verdict == "carried"}


def test_a_wrong_operation_is_charged_once_and_named_where_it_is_used(graded):
    checks = graded((TANH, "dx = (1 - self.out) * dout"))
    assert charged(checks) == {"functions/dx_tanh"}
    used = {"expressions/dr", "expressions/dm", "expressions/dz", "network/dC", "network/dW1", "network/db1"}
    assert carried(checks) == used
    assert checks["network/dC"].remark == "Needed here and not right yet: `Tanh.backward` (`dx_tanh`)."


def test_an_operation_that_raises_is_named_and_charged_once(graded):
    checks = graded((RELU, "dx = self.x.nothing"))
    assert charged(checks) == {"functions/dx_relu"}
    relu = checks["functions/dx_relu"]
    assert relu.diagnosis is not None
    assert relu.diagnosis.code == "stopped-by-error"
    assert relu.diagnosis.message.startswith("`Relu.backward` raises AttributeError")
    # `b` of the layer is behind `+` alone, but the expression has stopped
    assert "`Relu.backward`" in (checks["expressions/db"].remark or "")


def test_a_list_that_is_not_reversed_is_charged_once(graded):
    checks = graded(("    order.reverse()\n", ""))
    assert charged(checks) == {"order/da", "order/db", "order/dc", "order/dd"}
    assert all("`topological_order`" in (checks[name].remark or "") for name in carried(checks))
    assert {name.split("/")[0] for name in carried(checks)} == {"expressions", "network"}


def test_shares_that_are_overwritten_are_charged_where_the_loop_is(graded):
    checks = graded((ACCUMULATED, "parent.grad = gradient"))
    assert charged(checks) == {"accumulate/db", "accumulate/dc", "accumulate/dd"}


def test_shares_that_are_added_in_place_show_where_someone_else_holds_the_tensor(graded):
    in_place = "parent.grad = gradient if parent.grad is None else parent.grad.add_(gradient)"
    assert charged(graded((ACCUMULATED, in_place))) == {"accumulate/de"}


def test_an_operation_that_writes_into_what_it_is_given_is_found_in_its_own_part(graded):
    checks = graded((RELU, "dout[self.x <= 0] = 0\n        dx = dout"))
    assert charged(checks) == {"functions/dother"}
    other = checks["functions/dother"]
    assert other.diagnosis is not None
    assert other.diagnosis.code == "upstream-changed"
    assert "`dy_relu`" in other.diagnosis.message


def test_an_engine_that_is_not_there_carries_nothing(graded):
    checks = graded((ACCUMULATED, "pass"))
    assert {name for name in charged(checks) if name.split("/")[0] in WRITTEN} == {
        f"accumulate/d{name}" for name in "abcde"
    }
    assert not carried(checks)
    assert sum(check.points for name, check in checks.items() if name.split("/")[0] not in WRITTEN) == 0


def test_expressions_of_which_most_is_not_there_are_not_carried(graded):
    checks = graded((TANH, ""), (RELU, ""), ("dx = self.out * dout", ""), ("dx = dout / self.x", ""),
                    ("da = dout @ self.b.T", ""), ("db = self.a.T @ dout", ""))  # fmt: skip
    assert checks["expressions/dx"].verdict == "missing"
    assert checks["network/dC"].verdict == "missing"
    assert "`MatMul.backward` (`dleft`, `dright`)" in (checks["network/dC"].remark or "")


def test_the_graph_says_which_operand_of_which_operation_leads_to_a_tensor():
    parts = Reference(COURSE.exercise(OWN)).case(COURSE.exercise(OWN).cases[0])
    reference = parts["expressions"]
    assert reference.operations("w", ["y_w"]) == {("ReluBackward0", 0), ("AddBackward0", 0), ("MmBackward0", 1)}
    assert reference.operations("b", ["y_w"]) == {("ReluBackward0", 0), ("AddBackward0", 1)}
    assert reference.operations("b", ["y_s"]) == frozenset()


def test_a_part_uses_earlier_parts_only(tmp_path):
    path = tmp_path / "catalog.toml"
    part = '[[exercises.parts]]\nid = "{}"\ntitle = "t"\npoints = 1\nuses = {}\n'
    head = '[[exercises]]\nid = "x"\ntitle = "t"\nminutes = 1\n'
    path.write_text(head + part.format("a", "[]") + part.format("b", '["a"]'))
    assert read_catalog(path).exercises[0].parts[1].uses == ["a"]
    path.write_text(head + part.format("a", '["b"]') + part.format("b", "[]"))
    with pytest.raises(CourseError, match="part a uses b, which is not an earlier part"):
        read_catalog(path)
