"""The diagnoses: slips in the solution of exercise 01, each with what should be said of it, and of nothing else.

The cells are our own, so they run in this process; what they leave is exported as the kernel's probe does it.
"""

from __future__ import annotations

import ast
import random
import re
import time

import pytest
import torch

from benchmarks.programs import solution_cells, variants
from benchmarks.trials import Trials, misdiagnosed
from grader.course.course import Course
from grader.diagnosis.formula.expression import evaluate, write
from grader.diagnosis.formula.node import Unsupported
from grader.diagnosis.formula.operations import MAX_ELEMENTS
from grader.diagnosis.formula.program import Program
from grader.diagnosis.formula.reader import Reader
from grader.diagnosis.formula.statements import MAX_CALLS
from grader.diagnosis.wrong_tensor import MAX_HYPOTHESES, Budget
from grader.execution.tensors import StudentTensor, TensorNote
from grader.intake.take_in import PlannedCell
from grader.notebook.code import Code
from grader.records import Verdict
from grader.reports.verdict_text import explain
from tests.workbench import ROOT, Workbench, checks_of, checks_with

DOCS = ROOT / "docs" / "diagnoses.md"
FIRST = "every-gradient"


@pytest.fixture(scope="module")
def right():
    return solution_cells()


@pytest.fixture(scope="module")
def bench(right):
    return Workbench(right)


@pytest.fixture
def checks(bench, right):
    """Checks of a part by name, with pieces of the solution replaced."""

    def run(*replacements, part=FIRST):
        return checks_with(bench, right, part, *replacements)

    return run


def wrong(found):
    return {
        name: check.diagnosis and check.diagnosis.code
        for name, check in found.items()
        if check.verdict is Verdict.WRONG
    }


SLIPS = [
    ("dlogprobs[range(n), Yb] = -1.0 / n", "dlogprobs[range(n), Yb] = -1.0 / n / probs[range(n), Yb]", "dlogprobs", "another-gradient", "a step too far"),
    ("dlogprobs[range(n), Yb] = -1.0 / n", "dlogprobs = -F.one_hot(Yb, vocab_size) / (n * probs)", "dlogprobs", "another-gradient", "a step too far"),
    ("dlogprobs[range(n), Yb] = -1.0 / n", "dlogprobs[range(n), Yb] = -1.0 / n * logprobs[range(n), Yb]", "dlogprobs", "factor-too-many", "`logprobs` does not"),
    ("dlogprobs[range(n), Yb] = -1.0 / n", "for i in range(n): dlogprobs[i, Yb[i]] = -1.0 / n / logprobs[i, Yb[i]]", "dlogprobs", "factor-too-many", "`logprobs` does not"),
    ("dprobs = dlogprobs / probs", "dprobs = -dlogprobs / probs", "dprobs", "sign-flipped", "sign"),
    ("= -1.0 / n", "= -1.0", "dlogprobs", "constant-factor", "`n`"),
    ("2.0 * bndiff * dbndiff2", "bndiff * dbndiff2", "dbndiff", "path-factor", "`1/2`"),
    ("/ (n - 1) * dbnvar", "/ n * dbnvar", "dbndiff2", "constant-factor", "`(n - 1)/n`"),
    ("db2 = dlogits.sum(0)", "db2 = dlogits", "db2", "sum-missing", "(32, 27)"),
    ("db2 = dlogits.sum(0)", "db2 = dlogits.sum(1)", "db2", "sum-wrong-dimension", "columns"),
    ("db2 = dlogits.sum(0)", "db2 = dlogits.mean(0)", "db2", "constant-factor", "`1/n`"),
    ("= dlogits @ W2.T\n", "= dlogits @ W2.T * n**0.5\n", "dh", "constant-factor", "`n**0.5`"),
    ("(bndiff * dbnraw).sum(0, keepdim=True)", "bndiff * dbnraw.sum(0, keepdim=True)", "dbnvar_inv", "sum-too-early", "tighter"),
    ("dhpreact = (1.0 - h**2) * dh", "dhpreact = ((1.0 - h**2) * dh).sum(0, keepdim=True)", "dhpreact", "sum-too-many", "full"),
    ("dhpreact = (1.0 - h**2) * dh", "dhpreact = dh", "dhpreact", "local-derivative-missing", "`dh`"),
    ("dhpreact = (1.0 - h**2) * dh", "dhpreact = 1.0 - h**2", "dhpreact", "upstream-missing", "`dh`"),
    ("dhpreact = (1.0 - h**2) * dh", "dhpreact = 1.0 - h**2 * dh", "dhpreact", "brackets", "brackets"),
    ("dhpreact = (1.0 - h**2) * dh", "dhpreact = (1.0 + h**2) * dh", "dhpreact", "term-sign", "sign"),
    ("dhpreact = (1.0 - h**2) * dh", "dhpreact = (1.0 - h) * dh", "dhpreact", "wrong-power", "power"),
    ("dhpreact = (1.0 - h**2) * dh", "dhpreact = (1.0 - hpreact**2) * dh", "dhpreact", "wrong-neighbour", "`hpreact`"),
    ("dbnraw = bngain * dhpreact", "dbnraw = bngain * hpreact", "dbnraw", "wrong-neighbour", "`dhpreact`"),
    ("dcounts = counts_sum_inv * dprobs + dcounts_sum", "dcounts = counts_sum_inv * dprobs", "dcounts", "path-missing", "`counts_sum`"),
    ("dcounts = counts_sum_inv * dprobs + dcounts_sum", "dcounts = counts_sum_inv * dprobs\ndcounts = torch.ones_like(counts) * dcounts_sum", "dcounts", "overwritten", "twice"),
    ("dhprebn = dbndiff + dbnmeani / n", "dhprebn = dbndiff + 2 * dbnmeani / n", "dhprebn", "path-factor", "`2`"),
    ("dhprebn = dbndiff + dbnmeani / n", "dhprebn = dbndiff + dbnmeani / n\ndhprebn += dbnmeani / n", "dhprebn", "path-factor", "`2`"),
    ("-counts_sum**-2 * dcounts_sum_inv", "-dcounts_sum_inv", "dcounts_sum", "factor-missing", "`counts_sum`"),
    ("dhpreact = (1.0 - h**2) * dh", "dhpreact = (h**2 - 1.0) * dh", "dhpreact", "sign-flipped", "sign"),
    ("dcounts_sum = -counts_sum**-2 * dcounts_sum_inv", "dcounts_sum = -dcounts_sum_inv * counts_sum**2", "dcounts_sum", "wrong-power", "`counts_sum"),
    ("dbnraw = bngain * dhpreact", "dbnraw = dhpreact / bngain", "dbnraw", "wrong-operation", "divides"),
    ("dprobs = dlogprobs / probs", "dprobs = probs / dlogprobs", "dprobs", "operands-swapped", "`probs / dlogprobs`"),
    ("dprobs = dlogprobs / probs", "dprobs = dlogprobs / (probs - probs)", "dprobs", "not-finite", "zero"),
    ("dbnraw = bngain * dhpreact", "dbnraw = bngain * dhpreact * bnraw", "dbnraw", "factor-too-many", "`bnraw`"),
    ("dbnraw = bngain * dhpreact", "dbnraw = dbndiff_ = dhpreact * bngain * 0 + dh", "dbnraw", "another-gradient", "`dh`"),
    ("dhpreact = (1.0 - h**2) * dh", "dhpreact = h.detach()", "dhpreact", "not-a-gradient", "`h`"),
    ("dhpreact = (1.0 - h**2) * dh", "dhpreact = -(h**2) * dh", "dhpreact", "constant-missing", "`-h**2`"),
    ("dhpreact = (1.0 - h**2) * dh", "dhpreact = -h * dh * h", "dhpreact", "term-missing", "`dh`"),
    ("dhpreact = (1.0 - h**2) * dh", "dhpreact = (1.0 - h**2) * dh - dh", "dhpreact", "term-too-many", "`dh`"),
    ("dbnvar = -0.5 * (bnvar + 1e-5)**-1.5", "dbnvar = -0.5 * (bnvar + 1e-3)**-1.5", "dbnvar", "wrong-constant", "0.001"),
    ("dhprebn = dbndiff + dbnmeani / n", "dhprebn = dbndiff - dbnmeani / n", "dhprebn", "path-sign", "`bnmeani`"),
    ("-counts_sum**-2 * dcounts_sum_inv", "-counts_sum**-1 * dcounts_sum_inv", "dcounts_sum", "wrong-power", "`counts_sum**-1`"),
    ("bnvar_inv * dbnraw + 2.0", "dbnraw + 2.0", "dbndiff", "local-derivative-missing", "`bnraw`"),
    ("2.0 * bndiff * dbndiff2", "2.0 * dbndiff2", "dbndiff", "factor-missing", "`bndiff`"),
    ("(bnvar + 1e-5)**-1.5 * dbnvar_inv", "dbnvar_inv", "dbnvar", "factor-missing", "`bnvar_inv`"),
    ("(bnvar + 1e-5)**-1.5", "bnvar**-1.5", "dbnvar", "eps-missing", "small constant"),
    ("demb = dembcat.view(emb.shape)", "demb = dembcat", "demb", "shape-not-restored", "(32, 3, 10)"),
    ("torch.zeros_like(C).index_add_(0, Xb.flatten(), demb.reshape(-1, n_embd))", "torch.zeros_like(C)\ndC[Xb] += demb", "dC", "index-not-accumulated", "add up"),
    ("torch.zeros_like(C).index_add_(0, Xb.flatten(), demb.reshape(-1, n_embd))", "torch.zeros_like(C)\nfor j in range(3): dC[Xb[:, j]] += demb[:, j]", "dC", "index-not-accumulated", "add up"),
    ("torch.zeros_like(C).index_add_(0, Xb.flatten(), demb.reshape(-1, n_embd))", "torch.zeros_like(C).index_add_(0, Xb[:, 0], demb[:, 0])", "dC", "places-missing", "position 0"),
    ("dlogprobs[range(n), Yb] = -1.0 / n", "pass", "dlogprobs", "all-zero", "zeros"),
    ("dlogprobs[range(n), Yb] = -1.0 / n", "dlogprobs[range(32), Yb] = -1.0 / 32", "dlogprobs", "hard-coded-size", "`n`"),
    ("dlogprobs[range(n), Yb] = -1.0 / n", "for row in range(32):\n    dlogprobs[row, Yb[row]] = -1.0 / n", "dlogprobs", "hard-coded-size", "The number 32 in the loop around this line"),
    ("dprobs = dlogprobs / probs", "dprobs = dlogprobs / dlogprobs", "dprobs", "wrong-neighbour", "except `dlogprobs`: a value of the forward pass"),
    ("dprobs = dlogprobs / probs", "dprobs = (dlogprobs / probs).long()", "dprobs", "wrong-dtype", "int64"),
    ("dprobs = dlogprobs / probs", "dprobs = (dlogprobs / probs).half()", "dprobs", "wrong-dtype", "float16"),
    ("dhprebn = dbndiff + dbnmeani / n", "dhprebn = dbndiff\ndhprebn += dbnmeani / n", "dbndiff", "two-names", "`dhprebn`"),
    ("dh = dlogits @ W2.T\n", "dh = (W2 @ dlogits.T)\n", "dh", "transposed", "rows"),
    ("db1 = dhprebn.sum(0)", "db1 = dembcat.sum(0)", "db1", None, ""),
    ("dlogit_maxes = -dnorm_logits.sum(1, keepdim=True)", "dlogit_maxes = -dnorm_logits.sum(1)", "dlogit_maxes", "keepdim", "(32,)"),
    ("dlogit_maxes = -dnorm_logits.sum(1, keepdim=True)", "dlogit_maxes = -dnorm_logits.sum(1, keepdim=True).T", "dlogit_maxes", "transposed", "rows"),
    ("dbnmeani / n", "n / dbnmeani", "dhprebn", "operands-swapped", "`n / dbnmeani`"),
    ("dbnmeani / n", "dbnmeani * n", "dhprebn", "path-factor", "`n**2`"),
    ("dhpreact = (1.0 - h**2) * dh", "slope = -torch.tanh(hpreact)**2\ndhpreact = slope * dh", "dhpreact", "constant-missing", "constant"),
    ("dhpreact = (1.0 - h**2) * dh", "slope = 2 - torch.tanh(hpreact)**2\ndhpreact = slope * dh", "dhpreact", "wrong-constant", "2"),
    ("(bnvar + 1e-5)**-1.5 * dbnvar_inv", "(bnvar + 1e-5)**-0.5 * dbnvar_inv * -2", "dbnvar", "wrong-power", "the exponent comes down"),
    ("-0.5 * (bnvar + 1e-5)**-1.5 * dbnvar_inv", "(bnvar + 1e-5)**-0.5 * dbnvar_inv", "dbnvar", "wrong-power", "the power itself"),
    ("dlogprobs[range(n), Yb] = -1.0 / n", "B = 32\ndlogprobs[range(B), Yb] = -1.0 / B", "dlogprobs", "hard-coded-size", "`B` = 32 is `n` written out"),
    ("demb = dembcat.view(emb.shape)", "demb = dembcat.view(32, 3, 10)", "demb", "hard-coded-size", "`n` written out"),
    ("dC = torch.zeros_like(C)", "dC = torch.ones_like(C)", "dC", "term-too-many", "begins with ones"),
    ("dlogprobs = torch.zeros_like(logprobs)", "dlogprobs = torch.ones_like(logprobs)", "dlogprobs", "term-too-many", "put among them"),
    ("F.one_hot(logits.max(1).indices", "F.one_hot(logit_maxes.max(1).indices", "dlogits", "right-by-symmetry", "looked for in `logit_maxes`: `logits` belongs"),
    ("dlogits = dnorm_logits + F.one_hot(logits.max(1).indices, vocab_size) *", "mask = torch.zeros_like(logits)\nmask[range(n), logits.max(1, keepdim=True).indices] = 1\ndlogits = dnorm_logits + mask *", "dlogits", "right-by-symmetry", "without that dimension"),
    ("db1 = dhprebn.sum(0)", "db1 = dhpreact.sum(0)", "db1", "wrong-neighbour", "`dhprebn` belongs"),
    ("dhpreact = (1.0 - h**2) * dh", "rows = slice(None)\ndhpreact = (1.0 + h**2)[rows] * dh", "dhpreact", "term-sign", "sign"),
    ("dlogprobs[range(n), Yb] =", "dlogprobs[range(n), Yb[:, None]] =", "dlogprobs", "index-crossed", "(n, 1)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "name", "code", "word"), SLIPS, ids=[f"{s[2]}-{s[3]}-{i}" for i, s in enumerate(SLIPS)]
)
def test_a_slip_has_its_diagnosis(checks, old, new, name, code, word):
    found = checks((old, new))
    assert wrong(found)[name] == code
    if code is not None:
        assert word in found[name].diagnosis.message


@pytest.mark.parametrize(
    ("part", "old", "new", "name", "code", "word"),
    [
        ("batch-norm", "n / (n - 1) * bnraw", "n/n-1 * bnraw", "dhprebn", "brackets", "`n / n - 1` is a fraction minus a number"),
        ("batch-norm", "(dhpreact * bnraw).sum(0)", "dhpreact.sum(0) * bnraw", "dhprebn", "sum-too-early", "the sum covers one factor only"),
        ("cross-entropy", "(F.softmax(logits, 1) -", "(F.softmax(logits, 1) * F.one_hot(Yb, vocab_size) -", "dlogits", "factor-too-many", "does not belong"),
    ],
)  # fmt: skip
def test_a_slip_in_one_expression_has_its_diagnosis(checks, part, old, new, name, code, word):
    found = checks((old, new), part=part)
    assert wrong(found) == {name: code}
    assert word in found[name].diagnosis.message


def test_a_gradient_whose_d_was_lost_is_asked_for(checks):
    found = checks(("dbndiff2 = ", "bndiff2 = "))["dbndiff2"]
    assert found.remark.endswith("Line 7 assigns bndiff2, a tensor of the forward pass. Did you mean dbndiff2?")


def test_so_is_one_that_is_added_to_under_its_name_without_the_d(checks):
    lines = (
        "dbndiff = bnvar_inv * dbnraw + 2.0 * bndiff * dbndiff2",
        "dbndiff = bnvar_inv * dbnraw\nbndiff += 2.0 * bndiff * bndiff2",
    )
    found = checks(("dbndiff2 = ", "bndiff2 = "), lines)
    assert found["dbndiff"].diagnosis.code == "forward-changed"
    assert "A line adds to `bndiff`" in found["dbndiff"].diagnosis.message


def test_a_line_that_adds_to_a_misspelled_name_is_told_for_the_gradient_that_it_leaves_incomplete(checks):
    old = "dbndiff = bnvar_inv * dbnraw + 2.0 * bndiff * dbndiff2"
    found = checks((old, "dbndiff = bnvar_inv * dbnraw\ndbndif += 2.0 * bndiff * dbndiff2"))
    assert wrong(found) == {"dbndiff": "unknown-name"}
    assert "`dbndif`, which isn't defined. Did you mean `dbndiff`?" in found["dbndiff"].diagnosis.message


def test_two_names_for_one_tensor_are_said_though_a_cmp_before_the_change_said_true(checks):
    lines = "dhprebn = dbndiff\nassert torch.allclose(dbndiff, bndiff.grad)\ndhprebn += dbnmeani / n"
    found = checks(("dhprebn = dbndiff + dbnmeani / n", lines))
    assert wrong(found) == {"dbndiff": "two-names"}
    assert "may have said True" in found["dbndiff"].diagnosis.message
    found = checks(("dhprebn = dbndiff + dbnmeani / n", "dhprebn = dbndiff\ndhprebn *= 2"))
    assert wrong(found)["dbndiff"] == "two-names"  # and not the factor that it is off by
    hidden = ("dbndiff = bnvar_inv", "dbndiff = torch.ones_like(h).cumprod(0) * bnvar_inv")  # a formula that isn't read
    assert wrong(checks(("dhprebn = dbndiff + dbnmeani / n", lines), hidden))["dbndiff"] == "two-names"


@pytest.mark.parametrize("change", ["demb *= 2", "demb += 1", "demb[0] = 0"])
def test_a_view_that_was_changed_in_place(checks, change):
    found = checks(("demb = dembcat.view(emb.shape)", f"demb = dembcat.view(emb.shape)\n{change}"))
    assert wrong(found) == {"dembcat": "view-changed"}
    assert "`demb`" in found["dembcat"].diagnosis.message


def test_a_contribution_added_to_the_forward_tensor_instead_of_its_gradient(checks):
    found = checks(
        ("dbndiff = bnvar_inv * dbnraw + 2.0 * bndiff * dbndiff2",
         "dbndiff = bnvar_inv * dbnraw\nbndiff += 2.0 * bndiff * dbndiff2")
    )  # fmt: skip
    assert wrong(found) == {"dbndiff": "forward-changed"}
    assert "`dbndiff`" in found["dbndiff"].diagnosis.message


def test_a_forward_tensor_that_an_earlier_part_changed_is_said(bench, right, monkeypatch):
    before = bench._before

    def changed(part, case):
        namespace = before(part, case)
        namespace["bnraw"] = 3 * namespace["bnraw"]
        return namespace

    monkeypatch.setattr(bench, "_before", changed)
    marks, namespaces, _ = bench.mark("batch-norm", right)
    assert checks_of(marks)["dhprebn"].diagnosis is None
    for case_id, run in marks.part.execution.hidden.items():
        note = TensorNote(kind="tensor", dtype="torch.float64")
        run.parts[FIRST] = {"bnraw": StudentTensor(note=note, value=namespaces[case_id]["bnraw"].detach())}
    found = checks_of(marks)["dhprebn"].diagnosis
    assert found.code == "forward-changed"
    assert "`bnraw`" in found.message


def test_right_in_float32_only(checks):
    found = checks(("dhpreact = (1.0 - h**2) * dh", "dhpreact = (1.0 - h**2) * dh * torch.cos(h / 1000)"))
    assert wrong(found) == {"dhpreact": "right-in-float32-only"}
    assert "cmp says True" in found["dhpreact"].remark


def test_a_right_answer_in_float32_is_right(checks):
    found = checks(("dprobs = dlogprobs / probs", "dprobs = (dlogprobs / probs).float()"))
    assert {check.verdict for check in found.values()} <= {Verdict.EXACT, Verdict.APPROXIMATE}
    assert [name for name, check in found.items() if check.remark] == ["dprobs"]


ODD = ["torch.zeros(0)", "torch.tensor(3.0)", "torch.full((32, 27), float('inf'))", "torch.ones(2, 3, 4, 5, 1)", "torch.ones(32, 0)",
       "torch.ones(1000, 1000)", "torch.ones(32, 27, dtype=torch.bool)", "torch.ones(27, 32)[:, :5]", "torch.tensor([2**62])",
       "torch.ones(32, 27, dtype=torch.float8_e4m3fn)", "torch.full((32, 27), 1e38)"]  # fmt: skip


GIVEN_ODD = ["dprobs", "dcounts", "dW2", "dbnvar", "dC"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(name, value, marks=[] if name == GIVEN_ODD[number % len(GIVEN_ODD)] else [pytest.mark.slow])
        for number, value in enumerate(ODD)
        for name in GIVEN_ODD
    ],
)
def test_no_tensor_is_too_odd(checks, name, value):
    found = checks((f"\n{name} = ", f"\n{name} = {value}\nunused = "))
    assert found[name].verdict is Verdict.WRONG


@pytest.mark.parametrize(
    "text",
    [
        "dh = dlogits @ W2.T + " + "+".join(["h"] * 400), "dh = " + "-" * 90 + "h", "dh = (h := dlogits @ W2.T) * 2", "dh = [dlogits @ W2.T][0] * 2",
        "dh, *rest = dlogits @ W2.T * 2, 1", "dh = dlogits @ W2.T\nfor dh in [dh * 2]: pass", "dh: object = dlogits @ W2.T * 3",
        "exec('dh = 2 * dlogits @ W2.T')", "dh = type(h)(2 * (dlogits @ W2.T))", "dh = (lambda dh: 2 * dh)(dlogits @ W2.T)",
        "dh = dlogits @ W2.T; dh = dh if dh is None else dh * 2", "dh = 1e400 * 0 * (dlogits @ W2.T)",
        "mask = h > 0\ndh = torch.sin(dlogits @ W2.T) * mask", "dh = h > 0", "places = Xb[:, :1] * 1\ndh = torch.sin(h) * places",
    ],
)  # fmt: skip
def test_no_source_is_too_odd(checks, text):
    found = checks(("dh = dlogits @ W2.T", text))
    assert found["dh"].verdict is Verdict.WRONG


def test_a_tensor_used_before_it_was_complete(checks):
    found = checks(
        ("dcounts = counts_sum_inv * dprobs + dcounts_sum", "dcounts = counts_sum_inv * dprobs"),
        ("dnorm_logits = counts * dcounts", "dnorm_logits = counts * dcounts\ndcounts = dcounts + dcounts_sum"),
    )
    assert wrong(found) == {"dnorm_logits": "used-too-early"}


def test_numbers_pasted_in(checks, bench):
    numbers = bench.references["visible"][FIRST].gradients["h"].tolist()
    found = checks(("dh = dlogits @ W2.T", f"dh = torch.tensor({numbers})"))
    assert wrong(found)["dh"] == "fixed-numbers"


def test_a_line_that_is_right_and_was_changed_afterwards(checks):
    found = checks(("dh = dlogits @ W2.T", "dh = dlogits @ W2.T\nother = dh\nother += 1.0"))
    assert wrong(found) == {"dh": "changed-later"}


def test_a_forward_tensor_changed_in_place_is_said(checks):
    found = checks(
        (
            "dhpreact = (1.0 - h**2) * dh",
            "with torch.no_grad():\n    h = h.clone()\n    h += 1\ndhpreact = (1.0 - h**2) * dh",
        )
    )
    assert wrong(found)["dhpreact"] == "forward-changed"
    assert "`h`" in found["dhpreact"].diagnosis.message


def test_a_mistake_in_an_unasked_gradient_is_found_in_the_training_loop(checks, bench, right):
    source = variants()["accumulating"]["training-loop"]
    marks, _, _ = bench.mark(
        "training", {**right, "training-loop": source.replace("(1.0 - h**2) * dh", "(1.0 + h**2) * dh")}
    )
    found = checks_of(marks)
    assert wrong(found) == {"dbngain": "term-sign"}
    assert {name for name, check in found.items() if check.verdict is Verdict.CARRIED} >= {"dW1", "dC", "dbnbias"}
    assert "further up" in found["dbngain"].diagnosis.message


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("dh = dlogits @ W2.T", "dh = torch.sin(dlogits @ W2.T)"),
        ("dhpreact = (1.0 - h**2) * dh", "dhpreact = torch.where(h > 0, dh, h * dh * 3)"),
        ("dC = torch.zeros_like(C).index_add_", "dC = torch.cos(bnvar.sum()) * torch.zeros_like(C).index_add_"),
    ],
)
def test_no_diagnosis_is_better_than_a_wrong_one(checks, old, new):
    found = checks((old, new))
    assert list(wrong(found).values()) == [None]


def test_a_notebook_of_zeros_earns_nothing_for_what_follows(checks, bench):
    zeros = [(f"\n{name} = ", f"\n{name} = torch.zeros_like({name[1:]})\nunused = ")
             for name in bench.exercise.parts[FIRST].gradients]  # fmt: skip
    found = checks(*zeros, ("dlogprobs[range(n), Yb] = ", "unused = "))
    assert found["dlogprobs"].verdict is Verdict.WRONG
    assert {check.verdict for name, check in found.items() if name not in ("dlogit_maxes", "db1")} == {Verdict.WRONG}


def test_what_follows_from_a_missing_sum_is_carried(checks):
    found = checks(("dbnvar_inv = (bndiff * dbnraw).sum(0, keepdim=True)", "dbnvar_inv = bndiff * dbnraw"))
    assert wrong(found) == {"dbnvar_inv": "sum-missing"}
    assert found["dbnvar"].verdict is Verdict.CARRIED
    assert found["dbnvar"].shape == [32, 64]
    assert found["dbndiff"].verdict is Verdict.CARRIED


def test_what_follows_from_a_missing_sum_with_a_dimension_of_its_own_is_carried(checks):
    """(32, 1, 27) for (32, 1) makes (32, 32, 27) of what follows: too many slices to go through one by one."""
    found = checks(("dcounts_sum_inv = (counts * dprobs).sum(1, keepdim=True)",
                    "dcounts_sum_inv = (counts * dprobs).unsqueeze(1)"))  # fmt: skip
    assert wrong(found) == {"dcounts_sum_inv": "sum-missing"}
    assert found["dcounts_sum"].verdict is Verdict.CARRIED
    assert found["dcounts_sum"].shape == [32, 32, 27]


def test_a_name_of_the_exercise_is_not_called_a_stray_one(checks):
    line = "dcounts = counts_sum_inv * dprobs + dcounts_sum"
    assert checks((line, "pass"))["dcounts"].remark == "dcounts isn't defined."
    remark = checks((line, line.replace("dcounts =", "dcount =")))["dcounts"].remark
    assert "This exercise has no dcount. Did you mean dcounts?" in remark


CROSS_ENTROPY = "dlogits = (F.softmax(logits, 1) - F.one_hot(Yb, vocab_size)) / n"
NORM = "grad_hprebn = bngain * bnvar_inv / n * (n * grad_hpreact - dbnbias - n / (n - 1) * bnraw * dbngain)"


@pytest.mark.parametrize(
    ("new", "code", "words"),
    [
        ("p = -F.softmax(logits, 1)\ndlogits = 2 * (p - F.one_hot(Yb, vocab_size)) / n", "term-sign", ["Two slips", "`2` times"]),
        ("dlogits = 2 * F.softmax(logits, 1) / n - F.one_hot(Yb, vocab_size) / n / n", "term-factor", ["Two slips", "`2` times", "`1/n` times"]),
        ("dlogits = F.softmax(logits, 1) / n - 3 * F.one_hot(Yb, vocab_size) / n", "wrong-constant", ["3"]),
        ("dlogits = (F.softmax(logits, 1) - torch.ones_like(logits)) / n", None, []),
        ("p = logits.exp()\ndlogits = (p - F.one_hot(Yb, vocab_size)) / n", "wrong-intermediate", ["`p`"]),
        ("dlogits = F.softmax(logits, 1) / n + 0 * logits", "path-missing", ["`probs`"]),
        ("y = torch.zeros(n, vocab_size)\nfor i in range(n):\n    y[i, Yb[i]] = 2\ndlogits = (F.softmax(logits, 1) - y) / n", "wrong-constant", ["2"]),
    ],
)  # fmt: skip
def test_slips_in_one_formula(checks, new, code, words):
    found = checks((CROSS_ENTROPY, new), part="cross-entropy")["dlogits"]
    assert (found.diagnosis and found.diagnosis.code) == code
    assert all(word in found.diagnosis.message for word in words)


@pytest.mark.parametrize(
    ("old", "new", "code", "name"),
    [
        ("(1.0 - h**2) * (grad_logits @ W2.T)", "grad_logits @ W2.T", "local-derivative-missing", "`grad_hpreact`"),
        ("grad_logits = (F.softmax(logits, 1) - F.one_hot(Yb, vocab_size)) / n", "grad_logits = F.softmax(logits, 1) / n", "term-missing", "`grad_logits`"),
    ],
)  # fmt: skip
def test_a_mistake_under_a_name_of_the_students_own_is_found_in_what_follows(checks, old, new, code, name):
    found = checks((old, new), part="training")
    ((first, said),) = wrong(found).items()
    assert said == code
    assert f"further up, in {name}" in found[first].diagnosis.message
    assert f"{name.strip('`')}, further up, is wrong" in found["dW1"].remark
    assert found["dC"].verdict is Verdict.CARRIED


def test_that_it_is_further_up_is_said_once(checks, right):
    source = (
        right["training-loop"]
        .replace("(1.0 - h**2)", "(1.0 - h)")
        .replace("grad_hpreact", "dr")
        .replace("grad_h", "dh")
    )
    source = source.replace("dr - dbnbias", "dr - dr.sum(0)").replace(
        "bnraw * dbngain)", "bnraw * (bnraw * dr).sum(0))"
    )
    found = checks((right["training-loop"], source), part="training")
    assert found["dW1"].diagnosis.message.startswith("The mistake is further up. It is in `dr`. `h` stands here")
    assert "the mistake is in this line" not in explain(found["dbngain"])


def test_a_formula_of_two_to_the_power_of_forty_parts_is_read_in_no_time(checks):
    doubling = "\n".join(["a = dlogits @ W2.T", *["a = a + a - a"] * 40, "dh = a * 3"])
    started = time.process_time()
    found = checks(("dh = dlogits @ W2.T", doubling))
    assert wrong(found) == {"dh": "constant-factor"}
    found = checks(("dh = dlogits @ W2.T", doubling.replace("dh = a * 3", "dh = a + a * h * h")))
    assert wrong(found)["dh"] in (None, "term-too-many")
    assert time.process_time() - started < 20


def test_what_is_tried_for_a_tensor_is_counted_and_ends(checks, monkeypatch):
    tried = []
    spend = Budget.spend
    monkeypatch.setattr(Budget, "spend", lambda self: tried.append(self) or spend(self))
    line = "dhpreact = (1.0 - h**2) * dh"
    terms = " + ".join(f"{k} * hpreact * bnraw * h * dh" for k in range(2, 9))
    assert wrong(checks((line, f"dhpreact = {terms} + torch.sin(h)"))) == {"dhpreact": None}
    assert wrong(checks((line, f"dhpreact = {terms} + h**4"))) == {"dhpreact": None}
    assert (
        max(map(tried.count, set(tried))) <= MAX_HYPOTHESES + 20
    )  # each search asks once more, to hear that it is over


TESTED_ELSEWHERE = {
    "right-by-symmetry", "used-too-early", "fixed-numbers", "changed-later", "forward-changed", "view-changed", "right-in-float32-only", "unknown-name",
    "operand-transposed", "only-one-path", "term-factor", "wrong-intermediate", "row-missing", "memory-order",
    "another-function", "further-up", "upstream-changed", "stopped-by-error", "syntax-error", "function-missing", "import-failed",
}  # fmt: skip
"""By tests of their own: here, in test_marking, in test_diagnose_uses, in test_slips and in test_optimisers_and_gpt."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of `.T` torch warns once in a process, which would stop one mutant in one case
@pytest.mark.parametrize("exercise", Course(ROOT / "exercises").catalog.ids)
def test_a_sample_of_mutants_is_marked_exactly_and_none_has_a_wrong_diagnosis(exercise):
    trials = Trials(Workbench(solution_cells(exercise), exercise), pair_count=10)
    planned = list(trials.planned())
    tried = [trials.run(*one) for one in random.Random(5).sample(planned, min(60, len(planned)))]
    assert [one.title for one in tried if not one.exact] == []
    assert [(one.title, misdiagnosed(one)) for one in tried if misdiagnosed(one)] == []


def test_every_code_has_its_section():
    folder = ROOT / "grader" / "diagnosis"
    paths = [path for path in folder.rglob("*.py") if path.parent.name != "autograd_use"]  # flags, and no diagnoses
    tree = [node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    texts = {node.value for node in tree if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    headings = re.findall(r"^### (.*)$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    sections = {code for heading in headings for code in re.findall(r"`([a-z0-9-]+)`", heading)}
    assert sections <= texts
    assert {text for text in texts if re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", text)} <= sections
    assert {code for _, _, _, code, _ in SLIPS if code} | TESTED_ELSEWHERE == sections


# --- the formulas


def program(source, leaves=()):
    return Program([PlannedCell(code=Code(source), role="gradients", part="p", student=True, label="p")], "p", leaves)


def formulas(source, leaves):
    return program(source, leaves).formulas


def formula(text):
    return Reader().read(ast.parse(text, mode="eval").body)


def value(text, **names):
    return evaluate(formula(text), names, {})


def test_a_formula_gives_what_torch_gives():
    a, b = torch.rand(4, 3, dtype=torch.float64), torch.rand(3, 4, dtype=torch.float64)
    assert torch.equal(
        value("(a @ b - 2.0).T.sum(0, keepdim=True) / (a.shape[0] - 1)", a=a, b=b),
        (a @ b - 2.0).T.sum(0, keepdim=True) / 3,
    )
    assert torch.equal(value("-torch.sum(a**2, dim=1).unsqueeze(1)", a=a), -torch.sum(a**2, dim=1).unsqueeze(1))
    assert torch.equal(value("a.exp().view(-1, 2)", a=a), a.exp().view(-1, 2))
    c, late = torch.rand(2, 4, 3, dtype=torch.float64), torch.ones(4, 4, dtype=torch.bool).triu(1)
    assert torch.equal(value("a.mT @ c.transpose(1, 2).permute(0, 2, 1)", a=a, c=c), a.mT @ c)
    assert torch.equal(value("(c @ b).masked_fill(late, 0)", b=b, c=c, late=late), (c @ b).masked_fill(late, 0))


@pytest.mark.parametrize(
    "text", ["a / (b * c) - d", "a - (b - c) - d", "(a**b)**c", "a**b**c", "a @ (b * c)", "(a + b) * -c"]
)
def test_a_formula_is_quoted_with_the_brackets_that_it_needs(text):
    assert write(formula(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')", "a.__class__", "eval('1')", "a.numpy()", "(lambda: a)()", "[x for x in a if x]", "a if a else a",
        "a.map_(a, print)", "torch.load(a)", "a.sum(0, out=a)", "open('x')", "f'{a}'", "a.apply_(print)", "torch.ops.x", "'x' * 3",
        "a.register_hook(print)", "a and a", "a.sum(99)", "not a", "+".join(["a"] * 200),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_left_alone(text):
    with pytest.raises(Unsupported):
        value(text, a=torch.ones(2, 2))


@pytest.mark.parametrize(
    "text",
    [
        "9.0**9**9**9", "9**9**9", "2**(2**62)", "(a.unsqueeze(1) * a).sum()", "torch.zeros(99999, 99999)", "a.expand(99999, 600)",
        "1 / 0", "(-8)**0.5", "a.view(7)", "10 * 1e308 * 10", "missing", "torch.full((9999, 999), 1.0)", "2 @ 3",
        "a.view(600, 1, 1) @ a.view(1, 600)", "a.permute(0, 0)", "a.transpose(0, 5)",
    ],
)  # fmt: skip
def test_what_is_too_large_or_impossible_is_not_computed(text):
    with pytest.raises(Unsupported):
        value(text, a=torch.ones(600))
    assert MAX_ELEMENTS < 600 * 600


LOOPED = """
dx = torch.zeros_like(x)
for k in range(3):
    places = slice(k, k + 4)
    dx[:, places] += w[k] * dy
"""


def test_a_loop_is_computed_round_by_round_and_no_longer_than_it_may():
    x, w, dy = (torch.rand(shape, dtype=torch.float64) for shape in [(2, 6), (3,), (2, 4)])
    wanted = torch.zeros_like(x)
    for k in range(3):
        wanted[:, k : k + 4] += w[k] * dy
    names = {"x": x, "w": w, "dy": dy}
    node = formulas(LOOPED, names)["dx"]
    assert torch.equal(evaluate(node, names, {}), wanted)
    assigned = formulas(LOOPED.replace("+=", "="), names)["dx"]
    assert not torch.allclose(evaluate(assigned, names, {}), wanted)
    long = formulas(LOOPED.replace("range(3)", "range(10**9)"), names)["dx"]
    with pytest.raises(Unsupported):
        evaluate(long, names, {})


def test_places_windows_and_einsum_are_what_torch_makes_of_them():
    a, b = torch.rand(2, 3, 5, dtype=torch.float64), torch.rand(4, 3, dtype=torch.float64)
    assert torch.equal(value("torch.einsum('oi,nit->not', b, a)", a=a, b=b), torch.einsum("oi,nit->not", b, a))
    assert torch.equal(value("F.pad(a, (2, 0))[:, :, 1:-1:2]", a=a), torch.nn.functional.pad(a, (2, 0))[:, :, 1:-1:2])
    places = torch.arange(3)[:, None] + torch.arange(2)
    text = "a[:, :, torch.arange(3)[:, None] + torch.arange(2)].flatten(1, 2)"
    assert torch.equal(value(text, a=a), a[:, :, places].flatten(1, 2))


@pytest.mark.parametrize(
    "text",
    [
        "torch.arange(10**9)", "F.pad(a, (10**9, 0))", "a[torch.arange(9000), torch.arange(9000)]", "a[a]", "a[True]",
        "a[torch.arange(600)[:, None] * torch.arange(600)]", "torch.einsum('i,j->ij', a, a)", "torch.einsum('i,i', a, a)",
        "torch.einsum(a, a)", "torch.einsum('ii,jj->', a, a)",
    ],
)  # fmt: skip
def test_places_that_are_too_many_or_none_are_not_computed(text):
    with pytest.raises(Unsupported):
        value(text, a=torch.ones(600))


def test_the_students_functions_are_gone_into_and_no_more_often_than_they_may():
    found = program("def scaled(x, s):\n    y = x * s\n    return y + x\n\nda = scaled(db, s=gain) + 1")
    assert write(found.formulas["da"]) == "y + x + 1"
    assert evaluate(found.formulas["da"], {"db": 3.0, "gain": 2.0}, {}) == 10
    assert {"da", "scaled1__x", "scaled1__s", "scaled1__y"} == set(found.formulas)
    assert found.lines[-1].reads >= {"db", "gain", "scaled1__x", "scaled1__y"}
    for own in ("y = f(x) + f(x)", "y, z = f(x), f(x)", "y, z = f(x)", "for k in range(9):\n        y = f(k)"):
        again = program(f"def f(x):\n    {own}\n    return y\n\nda = f(db)")
        assert len(again.lines) <= MAX_CALLS + 3
        assert "da" not in again.formulas
    looped = "def add(xs):\n    total = 0\n    for x in xs:\n        total += x\n    return total\n\nda = add(dys)"
    assert evaluate(program(looped).formulas["da"], {"dys": torch.tensor([1.0, 2.0, 4.0])}, {}) == 7
    other = program("def f(x, *rest):\n    return x\n\ndef g(x):\n    if x:\n        return x\n\nda = f(db) + g(db)")
    assert "da" not in other.formulas
