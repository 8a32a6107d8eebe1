"""What is said of a trained parameter that is no number any more."""

from __future__ import annotations

from grader.records import Verdict
from tests.slips import bench
from tests.workbench import checks_of


def test_an_optimizer_whose_steps_are_never_counted_divides_by_zero():
    where = bench("06_optimisers")
    (cell,) = [cell for cell in where.cells("adam") if "def adam_step" in where.solution[cell]]
    source = where.solution[cell]
    assert "    t = t + 1\n" in source
    marks, _, _ = where.mark("adam", {**where.solution, cell: source.replace("    t = t + 1\n", "")})
    check = checks_of(marks)["w_adam"]
    assert check.verdict is Verdict.WRONG
    assert check.diagnosis.code == "not-finite"
    assert "never increases" in check.diagnosis.message
    marks, _, _ = where.mark("adam", {**where.solution, cell: source.replace("beta1**t", "beta1")})
    assert checks_of(marks)["w_adam"].diagnosis is None
