"""What goes wrong in the exercises on attention and convolution: the slip is found where it is, and named.

`None` stands for no diagnosis: better than a wrong one.
"""

from __future__ import annotations

import pytest

from grader.records import Submission
from tests.slips import Slipped
from tests.submissions import handed_in

ATTENTION, CONVOLUTION = "04_attention", "05_convolution"

SLIPS = [
    (ATTENTION, "softmax", "dp - (dp * p).sum(1, keepdim=True)", "dp", "dz", "row-missing", "a sum over it is missing"),
    (ATTENTION, "softmax", "dp - (dp * p).sum(1, keepdim=True)", "dp * (1 - p)", "dz", "row-missing", "own place"),
    (ATTENTION, "softmax", "(dp * p).sum(1, keepdim=True)", "(dp * p).sum(0, keepdim=True)", "dz", "sum-wrong-dimension", ""),
    (ATTENTION, "softmax", "-(x * dz).sum()", "-(x * dz)", "dtau", "sum-missing", "(3, 7)"),
    (ATTENTION, "softmax", "dz).sum() / tau**2", "dz).sum() / tau", "dtau", "wrong-power", "`tau` stands here with the wrong power"),
    (ATTENTION, "attention", "dv = p.transpose(1, 2)", "dv = p", "dv", "operand-transposed", "`p`"),
    (ATTENTION, "attention", "(dp * p).sum(2,", "(dp * p).sum(1,", "dmasked", "sum-wrong-dimension", "`(dp * p).sum(…)`"),
    (ATTENTION, "attention", "dmasked = p *", "dmasked = F.softmax(scaled, 2) *", "dmasked", "wrong-neighbour", "`scaled`"),
    (ATTENTION, "attention", "masked_fill(future, 0)", "masked_fill(~future, 0)", "dscaled", "all-zero", ""),
    (ATTENTION, "attention", "dscaled * K**-0.5", "dscaled", "draw", "constant-factor", "`K**0.5`"),
    (ATTENTION, "attention", "dscaled * K**-0.5", "dscaled / K", "draw", "constant-factor", "`K**-0.5`"),
    (ATTENTION, "attention", "dscaled * K**-0.5", "dscaled * V**-0.5", "draw", "wrong-constant", "`V`"),
    (ATTENTION, "attention", "dscaled * K**-0.5", "dscaled * 5**-0.5", "draw", "hard-coded-size", "`K`"),
    (ATTENTION, "heads", "y.reshape(-1, H * V).T @ dout.reshape(-1, C)", "y.transpose(1, 2) @ dout", "dWo", "sum-missing", "All of them use"),
    (ATTENTION, "heads", "dy.view(n, T, H, V).transpose(1, 2)", "dy.view(n, H, T, V)", "dyh", "memory-order", "`dy`"),
    (ATTENTION, "heads", "dqh.transpose(1, 2).reshape", "dqh.reshape", "dq", "memory-order", "`dqh`"),
    (ATTENTION, "heads", "@ qh * K**-0.5", "@ qh", "dkh", "constant-factor", "`K**0.5`"),
    (ATTENTION, "heads", " + dv @ Wv.T", "", "dx", "path-missing", "`v`"),
    (ATTENTION, "heads", "dk @ Wk.T", "dk @ Wq.T", "dx", "wrong-neighbour", "`Wq`"),
    (CONVOLUTION, "taps", "dx[:, tap:tap + m] += w[tap] * dy", "dx[:, tap:tap + m] = w[tap] * dy", "dx", "index-not-accumulated", "add up: use +="),
    (CONVOLUTION, "taps", "w[tap] * dy", "dy", "dx", "factor-missing", "`w[tap]`"),
    (CONVOLUTION, "strided", "w[:, :, tap].T @ dy", "x[0, 0, 0] * w[:, :, tap].T @ dy", "dx", "factor-too-many", ""),
    (CONVOLUTION, "taps", "dx[:, tap:tap + m] +=", "dx[:, tap:tap + m] -=", "dx", "sign-flipped", ""),
    (CONVOLUTION, "strided", "dy.sum((0, 2))", "dy.sum(2)", "db", "sum-missing", "All of them use"),
    (CONVOLUTION, "strided", "dy.sum((0, 2))", "dy.sum((0, 1))", "db", "sum-wrong-dimension", ""),
    (CONVOLUTION, "strided", "    dx[:, :, places] +=", "    dx[:, :, tap:tap + m] +=", "dx", None, ""),
    (CONVOLUTION, "dilated", "dxp[:, :, pad:]", "dxp", "dx", "local-derivative-missing", "`dxp`"),
    (CONVOLUTION, "dilated", "dxp[:, :, pad:]", "dxp[:, :, :-pad]", "dx", None, ""),
    (CONVOLUTION, "unfold", "dout.sum(0)", "dout.mean(0)", "db", "constant-factor", "mean"),
    (CONVOLUTION, "unfold", "dy.transpose(1, 2).reshape", "dy.reshape", "dout", "operand-transposed", "`dy`"),
    (CONVOLUTION, "unfold", "drows.view(n, m, n_in, K).transpose(1, 2)", "drows.view(n, n_in, m, K)", "dwindows", "memory-order", "`drows`"),
    (CONVOLUTION, "unfold", "stride] += dwindows", "stride] = dwindows", "dx", "index-not-accumulated", "`windows`"),
    (CONVOLUTION, "wavenet", "grad_y.sum((0, 2))", "grad_y.sum(2)", "db3 db2 db1", "sum-missing", "All of them use"),
    (CONVOLUTION, "wavenet", "grad_xp[:, :, self.pad:]", "grad_xp[:, :, :-self.pad]", "dx dout2 dout1", None, ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("exercise_id", "part", "old", "new", "names", "code", "word"),
    # Of the last one all is tried there is to try, for seconds; others before it have no diagnosis either.
    [*SLIPS[:-1], pytest.param(*SLIPS[-1], marks=pytest.mark.slow)], ids=[f"{slip[1]}-{slip[4].split()[0]}-{slip[5]}-{number}" for number, slip in enumerate(SLIPS)],
)  # fmt: skip
def test_a_slip_is_wrong_where_it_is_and_has_its_diagnosis(exercise_id, part, old, new, names, code, word):
    found = Slipped(exercise_id, (part, old, new))
    wrong = {name: check for name, check in found.checks.items() if check.verdict == "wrong"}
    assert set(wrong) == {f"{part}/{name}" for name in names.split()}
    assert {check.diagnosis and check.diagnosis.code for check in wrong.values()} == {code}
    assert all(word in check.diagnosis.message for check in wrong.values() if check.diagnosis)


@pytest.mark.slow
@pytest.mark.parametrize("slip", [SLIPS[5], SLIPS[19]], ids=[ATTENTION, CONVOLUTION])
def test_a_slip_costs_nothing_in_other_parts(real_pool, slip):
    exercise_id, part, old, new, names, code, _ = slip
    checks = real_pool.grade(
        Submission(student="s", exercise=exercise_id, data=handed_in(exercise_id, (old, new), part=part))
    ).grade.checks
    wrong = {(check.part, check.name): check.diagnosis for check in checks if not check.verdict.is_right}
    assert {where: found and found.code for where, found in wrong.items() if found} == {(part, names): code}
    assert {check.verdict.value for check in checks if check.part != part} <= {"exact", "approximate"}


def test_a_mask_that_the_softmax_has_applied_already_may_be_left_out():
    found = Slipped(ATTENTION, ("attention", "dmasked.masked_fill(future, 0)", "dmasked"))
    assert {check.verdict.value for check in found.checks.values()} <= {"exact", "approximate"}
