"""Lines whose true gradient is zero: slips that no value shows are found by detached runs, and nothing else is."""

from __future__ import annotations

import json

import pytest

from benchmarks.near_zero import LOGITS, MAXES, RIGHT, SLIPS
from benchmarks.programs import solution_cells, variants
from grader.execution.time_limits import FACTOR
from grader.marking.near_zero import Edge, zero_gradients
from grader.records import Submission, Verdict
from tests.conftest import ROOT, check_named
from tests.workbench import Workbench, checks_with

FIRST, TRAINING = "every-gradient", "training"
CODE = "right-by-symmetry"
DOUBT = "proves little"


@pytest.fixture(scope="module")
def right():
    return solution_cells()


@pytest.fixture(scope="module")
def bench(right):
    return Workbench(right)


@pytest.fixture(scope="module")
def steps(bench):
    """Part → the steps of the chain rule that are tried."""
    return bench.tried


@pytest.fixture
def checks(bench, right):
    """Checks of a part by name, with pieces of the solution replaced."""

    def run(*replacements, part=FIRST, sources=right):
        return checks_with(bench, sources, part, *replacements)

    return run


def test_the_steps_in_question_are_found_in_the_graph(steps):
    assert steps[FIRST] == [
        Edge("norm_logits", "logit_maxes", "logit_maxes"),
        Edge("logit_maxes", "logits", "logit_maxes"),
        Edge("hprebn", "b1", "b1"),
    ]
    assert steps[TRAINING] == [Edge("hprebn", "b1", "b1")]
    assert steps["cross-entropy"] == steps["batch-norm"] == []


def test_a_gradient_that_is_zero_in_one_case_only_is_no_such_gradient(bench):
    found = [bench.references[case.id][FIRST] for case in bench.exercise.cases[1:]]
    gradients = bench.exercise.parts[FIRST].gradients
    assert zero_gradients(gradients, found) == {"logit_maxes", "b1"}
    assert zero_gradients(gradients, []) == set()


@pytest.mark.parametrize(("old", "new"), SLIPS, ids=range(len(SLIPS)))
def test_a_slip_that_no_value_shows_is_wrong_there_and_nowhere_else(checks, old, new):
    found = checks((old, new))
    wrong = [name for name, check in found.items() if not check.verdict.is_right]
    assert wrong == ["db1" if "db1" in old else "dlogit_maxes" if old == MAXES else "dlogits"]
    check = found[wrong[0]]
    assert (check.verdict, check.diagnosis.code, check.points, check.case) == (Verdict.WRONG, CODE, 0.0, "twin")
    assert check.maxdiff is None


@pytest.mark.parametrize(("old", "new"), RIGHT, ids=range(len(RIGHT)))
def test_what_is_right_in_another_way_is_never_called_a_slip(checks, right, bench, old, new):
    for part in (FIRST, TRAINING):
        if any(old in right[cell] for cell in bench.cells(part)):
            assert all(check.verdict.is_right for check in checks((old, new), part=part).values())


def test_every_right_solution_is_right_and_its_lines_are_tried(checks, right):
    for cells in variants().values():
        found = checks(sources={**right, **cells})
        assert all(check.verdict.is_right for check in found.values())
        assert not any(DOUBT in (check.remark or "") for check in found.values())


def test_the_diagnosis_names_the_slip(checks):
    found = checks((MAXES, MAXES.replace("-", "")))["dlogit_maxes"]
    assert "`dnorm_logits`" in found.diagnosis.message
    assert "sign" in found.diagnosis.message


def test_a_zero_on_purpose_is_right_and_the_remark_says_that_it_proves_little(checks):
    found = checks((MAXES, "dlogit_maxes = torch.zeros_like(logit_maxes)"))
    assert found["dlogit_maxes"].verdict.is_right
    assert found["dlogit_maxes"].points == 1.0
    assert DOUBT in found["dlogit_maxes"].remark


def test_a_path_that_carries_nothing_may_be_left_out(checks):
    found = checks((LOGITS, "dlogits = dnorm_logits.clone()"))["dlogits"]
    assert found.verdict.is_right
    assert DOUBT in found.remark


def test_the_doubt_does_not_make_an_exact_value_an_approximate_one(checks):
    found = checks((LOGITS, LOGITS.replace("dlogit_maxes", "-dnorm_logits.sum(1, keepdim=True)")))
    assert DOUBT in found["dlogits"].remark
    assert found["dlogits"].verdict is Verdict.EXACT


def test_in_the_loop_the_upstream_is_known_by_its_value(checks):
    slip = checks(("db1 = grad_hprebn.sum(0)", "db1 = -grad_hprebn.sum(0)"), part=TRAINING)["db1"]
    assert (slip.verdict, slip.diagnosis.code) == (Verdict.WRONG, CODE)
    fine = checks(part=TRAINING)["db1"]
    assert fine.verdict.is_right
    assert DOUBT not in (fine.remark or "")


def test_a_wrong_value_is_judged_by_its_value(checks):
    found = checks(("dnorm_logits = counts * dcounts", "dnorm_logits = 2 * counts * dprobs"))
    assert found["dnorm_logits"].verdict is Verdict.WRONG
    assert found["dlogit_maxes"].verdict is Verdict.CARRIED


def test_a_forward_variable_that_was_changed_stops_the_trial(checks):
    found = checks((MAXES, MAXES.replace("-", "") + "\nlogit_maxes = logit_maxes + 1"))["dlogit_maxes"]
    assert found.verdict.is_right
    assert DOUBT in found.remark


# --- in a kernel


def solved(*replacements):
    notebook = json.loads((ROOT / "solutions" / "01_backprop_ninja.ipynb").read_text())
    for old, new in replacements:
        for cell in notebook["cells"]:
            if cell["metadata"]["grader"]["role"] == "gradients":
                cell["source"] = "".join(cell["source"]).replace(old, new)
    return Submission(student="s", exercise="01_backprop_ninja", data=json.dumps(notebook).encode())


def test_a_slip_is_found_in_a_kernel(real_pool):
    grading = real_pool.grade(solved((MAXES, MAXES.replace("-", ""))))
    assert [check.name for check in grading.grade.checks if not check.verdict.is_right] == ["dlogit_maxes"]
    check = check_named(grading, FIRST, "dlogit_maxes")
    assert check.diagnosis.code == CODE
    evidence = next(e for e in grading.evidence if (e.part, e.name) == (FIRST, "dlogit_maxes"))
    assert evidence.difference is None  # the visible case shows rounding and nothing else


def test_the_solution_is_full_marks_without_a_doubt(real_pool):
    grade = real_pool.grade(solved()).grade
    assert grade.score == grade.max_score
    assert not [check for check in grade.checks if DOUBT in (check.remark or "")]


@pytest.mark.parametrize("trick", ["import os; os._exit(1)", pytest.param("while True: pass", marks=pytest.mark.slow)])
def test_a_detached_run_that_ends_the_process_costs_nothing(real_pool, trick, monkeypatch):
    """The grader's own file tells the first run from the second: a student can, too."""
    monkeypatch.setenv(FACTOR, "0.2")  # nobody waits for the loop
    hook = f"import sys\nif sys.modules['grader_detached']._run is not None:\n    {trick}\n"
    grade = real_pool.grade(solved((MAXES, hook + MAXES))).grade
    doubted = [check.name for check in grade.checks if DOUBT in (check.remark or "")]
    assert grade.score == grade.max_score
    assert {"dlogit_maxes", "dlogits", "db1"} >= set(doubted) > set()
