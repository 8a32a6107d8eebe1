"""Slips in exercises 06 and 07 that students are likely to make: what is wrong of it, what is not, and what is said."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from grader.course.course import Course
from grader.course.exercise import code_cells, read_own_notebook
from grader.course.isolation import default_dtype, quiet_place
from grader.course.reference import Reference
from grader.grading.pool import GraderPool
from grader.records import Check, Grading, Submission
from grader.reports.verdict_text import explain
from tests.conftest import ROOT
from tests.slips import Slip, Slipped

COURSE = Course(ROOT / "exercises")
OPTIMISERS, GPT = "06_optimisers", "07_gpt_block"


def graded(pool: GraderPool, exercise: str, *slips: Slip) -> Grading:
    """The solution with slips in it, graded."""
    notebook = json.loads(COURSE.solution_path(exercise).read_text(encoding="utf-8"))
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["metadata"]["grader"]["role"] != "reference"]
    for part, old, new in slips:
        cells = [cell for cell in notebook["cells"] if cell["metadata"]["grader"].get("part") == part]
        cells = [cell for cell in cells if cell["metadata"]["grader"]["role"] == "gradients"]
        assert sum("".join(cell["source"]).count(old) for cell in cells) == 1, old
        for cell in cells:
            cell["source"] = "".join(cell["source"]).replace(old, new)
    return pool.grade(Submission(student="s", exercise=exercise, data=json.dumps(notebook).encode()))


def wrong(grading: Grading) -> dict[str, str | None]:
    """`part/name` → the diagnosis of what is neither right nor carried."""
    return {
        f"{check.part}/{check.name}": check.diagnosis.code if check.diagnosis else None
        for check in grading.grade.checks
        if not (check.verdict.is_right or check.verdict == "carried")
    }


def check(grading: Grading, part: str, name: str) -> Check:
    return next(one for one in grading.grade.checks if (one.part, one.name) == (part, name))


NO_MOMENTUM = "new_velocity = momentum * velocity + dw\n    new_w = w - learning_rate * new_velocity"


def test_slips_with_activations_and_optimisers():
    found = Slipped(
        OPTIMISERS,
        ("gelu", "dx = phi * dy + dr / 2**0.5", "dx = phi * dy"),
        ("gelu-tanh", "da = (1 - t**2) * dt", "da = (1 - t)**2 * dt"),
        ("silu", "s * (1 - s) * ds", "(1 - s**2) * ds"),
        ("dropout", "dh = mask * dkept", "dh = (mask > 0) * dkept"),
        ("momentum", NO_MOMENTUM, NO_MOMENTUM.replace("momentum * velocity + dw", "dw")),
        ("running-means", "m_hat = m / (1 - beta1**len(stream))", "m_hat = m / (1 - beta1)"),
        ("adam", "    m_hat = m / (1 - beta1**t)\n    v_hat = v / (1 - beta2**t)\n", "    m_hat, v_hat = m, v\n"),
    )  # fmt: skip
    assert found.wrong == {
        "gelu/dx": "path-missing",
        "gelu-tanh/da": "brackets",
        "silu/dx": "another-function",
        "dropout/dh": "constant-factor",
        "momentum/w_momentum": None,
        "running-means/m_hat": None,
        "adam/w_adam": None,
    }
    assert "`1 - p_drop`" in explain(found.checks["dropout/dh"])
    assert "tanh" in explain(found.checks["silu/dx"])
    # what is forgotten from step to step does not show in the first one; a bias that is not corrected does
    assert "It is right in the hidden case a-single-step." in explain(found.checks["momentum/w_momentum"])
    assert "It is right in the hidden case a-single-step." in explain(found.checks["running-means/m_hat"])
    assert found.checks["adam/w_adam"].remark is None
    assert found.line("momentum/w_momentum") == "def momentum_step(w, dw, velocity):"
    assert found.line("adam/w_adam") == "def adam_step(w, dw, state):"


@pytest.mark.slow
def test_a_part_of_which_only_values_are_checked_shows_no_graph(real_pool):
    parts = graded(real_pool, OPTIMISERS).parts
    assert [part.id for part in parts if not part.graph] == ["momentum", "running-means", "adam", "adamw"]


def test_more_slips_with_optimisers():
    found = Slipped(
        OPTIMISERS,
        ("dropout", "dz = (gate + z * gate * (1 - gate)) * dh", "dz = (gate + gate * (1 - gate)) * dh"),
        ("momentum", "(dw + momentum * new_velocity)", "(dw + momentum * velocity)"),
        ("running-means", "(1 - beta2) * dw**2", "(1 - beta2) * dw"),
        ("adam", "(v_hat.sqrt() + adam_eps)", "(v_hat + adam_eps).sqrt()"),
        ("adamw", "torch_adam_step(w * (1 - adam_rate * weight_decay), dw, state)",
         "torch_adam_step(w, dw + weight_decay * w, state)"),
    )  # fmt: skip
    assert found.wrong == {
        "dropout/dz": "factor-missing",
        "momentum/w_nesterov": None,
        "running-means/v_hat": None,
        "adam/w_adam": None,
        "adamw/w_adamw": None,
    }


def test_a_step_that_returns_nothing_is_missing_and_the_others_are_judged():
    found = Slipped(OPTIMISERS, ("adam", "new_w = w - adam_rate", "w = w - adam_rate"))
    assert found.wrong == {"adam/w_adam": None}
    assert found.checks["adam/w_adam"].verdict == "missing"


def test_slips_with_a_gpt():
    found = Slipped(
        GPT,
        ("output", "/ (n * T)", "/ n"),
        ("mlp", "dx1 = dx2 + norm_backward", "dx1 = norm_backward"),
        ("mlp", "dW2 = h.flatten(0, 1).T @ dr2.flatten(0, 1)", "dW2 = h.transpose(-2, -1) @ dr2"),
        ("attention", " + dv @ Wv.T", ""),
        ("attention", "dx0 = dx1 + norm_backward", "dx0 = norm_backward"),
        ("embeddings", "dwte += dlogits.flatten(0, 1).T @ n3.flatten(0, 1)", ""),
    )  # fmt: skip
    assert found.wrong == {
        "output/dlogits": "constant-factor",
        "mlp/dW2": "sum-missing",
        "mlp/dx1": "path-missing",
        "attention/dn1": "path-missing",
        "attention/dx0": "path-missing",
        "embeddings/dwte": "path-missing",
    }
    assert "`T` times" in explain(found.checks["output/dlogits"])
    assert "through `x2`" in explain(found.checks["mlp/dx1"])
    assert "through `v`" in explain(found.checks["attention/dn1"])
    assert "through `logits`" in explain(found.checks["embeddings/dwte"])


def test_a_norms_missing_term_and_a_table_whose_first_contribution_is_overwritten():
    found = Slipped(
        GPT,
        ("output", "grad_xhat - grad_xhat.mean(-1, keepdim=True) - xhat", "grad_xhat - xhat"),
        ("mlp", "norm_backward(gain2 * dn2, xhat2, rstd2)",
         "rstd2 * (gain2 * dn2 - (gain2 * dn2).mean(-1, keepdim=True) - xhat2 * (gain2 * dn2 * xhat2).mean(-1, True))"),
        ("attention", "dx0 = dx1 + norm_backward(gain1 * dn1, xhat1, rstd1)", "dx0 = dx1"),
        ("embeddings", "dwte +=", "dwte ="),
    )  # fmt: skip
    assert found.wrong == {
        "output/dx2": "path-missing",
        "attention/dx0": "only-one-path",
        "embeddings/dwte": "overwritten",
    }
    assert "`mu3`" in explain(found.checks["output/dx2"])


def test_a_tied_table_whose_look_up_counts_repeated_characters_once():
    found = Slipped(
        GPT,
        ("embeddings", "torch.zeros_like(wte).index_add_(0, Xb.flatten(), dtok.flatten(0, 1))",
         "torch.zeros_like(wte)\ndwte[Xb] += dtok"),
        ("embeddings", "dwpe = dx0.sum(0)", "dwpe = dx0.sum(1)"),
    )  # fmt: skip
    assert found.wrong == {"embeddings/dwpe": "sum-wrong-dimension", "embeddings/dwte": "index-not-accumulated"}


def test_in_the_loop_the_mistake_is_told_from_what_follows_it():
    found = Slipped(
        GPT,
        ("training", "dscores = att * (datt - (att * datt).sum(-1, keepdim=True))", "dscores = datt / 7"),
    )
    assert set(found.wrong) == {"training/dWq"}  # the first that follows; one slip is charged once
    text = explain(found.checks["training/dWq"])
    assert "The mistake is further up. `dscores`" in text
    assert "this very step" not in text
    for name in ("Wk", "gain1", "bias1", "wpe", "wte"):
        assert found.checks[f"training/d{name}"].verdict == "carried"
        assert found.checks[f"training/{name}"].verdict == "carried"


def test_a_forgotten_residual_in_the_loop_costs_one_check_and_two_slips_cost_two():
    residual = ("training", "dx1 = dx2 + norm_backward", "dx1 = norm_backward")
    assert Slipped(GPT, residual).wrong == {"training/dWo": "path-missing"}
    found = Slipped(GPT, residual, ("training", "dz = (0.5 * (1 + u)", "dz = (0.5 * (1 - u)"))
    assert set(found.wrong) == {"training/dWo", "training/dW1"}


def test_a_gradient_on_the_way_that_is_zero_costs_one_check_and_silences_none():
    found = Slipped(GPT, ("training", "dx1 = dx2 + norm_backward(gain2 * dn2, xhat2, rstd2)", "dx1 = 0 * dx2"))
    assert set(found.wrong) == {"training/dWo"}
    for name in ("bo", "Wq", "Wk", "Wv", "gain1", "bias1", "wpe", "wte"):
        assert found.checks[f"training/d{name}"].verdict == "carried"


def test_the_loss_of_the_gpt_falls_as_autograds_does():
    exercise = COURSE.exercise(GPT)
    cells = code_cells(read_own_notebook(COURSE.solution_path(GPT)))
    steps = 60
    losses: dict[str, Any] = {}
    with quiet_place(exercise.files, random), default_dtype("float64"):
        setup = Reference(exercise).setup
        for role in ("gradients", "reference"):
            namespace = dict(setup)
            for cell in cells:
                if cell.role in ("parameters", "forward") and cell.part in (None, "output", "training"):
                    exec(cell.source, namespace)
                    namespace["max_steps"] = steps
                elif cell.part == "training" and cell.role == role:
                    exec(_helper(cells) + cell.source, namespace)
            losses[role] = namespace["losses"] if role == "gradients" else namespace["loss"].item()
    assert losses["gradients"][-1] == pytest.approx(losses["reference"], rel=1e-9)
    first, last = (sum(some) / len(some) for some in (losses["gradients"][:10], losses["gradients"][-10:]))
    assert last < first - 0.3


def _helper(cells: Any) -> str:
    """The function that the solution writes in its first part and uses in its loop."""
    source = next(cell.source for cell in cells if (cell.part, cell.role) == ("output", "gradients"))
    return source[source.index("def ") : source.index("dlogits =")] + "\n"


@pytest.mark.parametrize(
    ("exercise", "slip", "where", "costs"),
    [
        (GPT, ("attention", "dr1 = dx1", "dr1 = dx1.mul_(2)"), "attention/dr1", 1),
        (GPT, ("embeddings", "dtok = dx0", "dx0 = dx0 / n\ndtok = dx0"), "embeddings/dtok", 2),
    ],
)
def test_a_part_that_changes_what_it_starts_from_has_made_the_mistake_itself_once(
    real_pool, exercise, slip, where, costs
):
    grading = graded(real_pool, exercise, slip)
    assert wrong(grading) == {where: "upstream-changed"}
    assert grading.grade.max_score - grading.grade.score == costs


def test_so_has_a_part_that_rebinds_it():
    found = Slipped(OPTIMISERS, ("gelu", "dphi = ", "dy = dy * 2\ndphi = "))
    assert found.wrong == {"gelu/dphi": "upstream-changed"}
    assert found.cost == 1


def test_a_mistake_in_the_part_before_is_still_carried_into_the_next(real_pool):
    grading = graded(real_pool, GPT, ("mlp", "dr2 = dx2", "dr2 = 2 * dx2"))
    assert wrong(grading) == {"mlp/dr2": "constant-factor"}
    assert check(grading, "attention", "dr1").verdict == "carried"
