"""The verdicts, each on a real run of the mini exercise."""

from __future__ import annotations

import re

import pytest

from tests.conftest import check_named, verdicts

STEPS = ["dscaled", "dhsum", "dh", "dhpre", "dW", "db"]


def differing(grading):
    return {key: verdict for key, verdict in verdicts(grading).items() if verdict not in ("exact", "approximate")}


def test_a_right_notebook_has_all_points(solved, grade):
    grading = grade(solved())
    assert differing(grading) == {}
    assert grading.grade.score == grading.grade.max_score == 16
    assert verdicts(grading)["steps/dscaled"] == "exact"


def test_a_blank_notebook_has_none_and_everything_is_missing(course, grade):
    grading = grade(course.notebook_path("mini").read_bytes())
    assert set(verdicts(grading).values()) == {"missing"}
    assert grading.grade.score == 0


def test_a_wrong_sign_is_wrong_once_and_carried_from_there_on(solved, grade):
    grading = grade(solved(("dhsum = (h", "dhsum = 3 * (h")))
    assert differing(grading) == {
        "steps/dhsum": "wrong",
        "steps/dh": "carried",
        "steps/dhpre": "carried",
        "steps/dW": "carried",
        "steps/db": "carried",
    }
    assert grading.grade.score == 14
    wrong = check_named(grading, "steps", "dhsum")
    assert wrong.maxdiff == pytest.approx(0.17, abs=0.1)
    assert wrong.case == "visible"


@pytest.mark.parametrize("number", ["2", "-0.5"])
def test_a_number_in_a_tensors_place_is_missing_and_what_is_computed_from_it_is_carried(solved, grade, number):
    grading = grade(solved(("dhsum = (h * dscaled).sum(1, keepdim=True)", f"dhsum = {number}")))
    carried = dict.fromkeys(["steps/dh", "steps/dhpre", "steps/dW", "steps/db"], "carried")
    assert differing(grading) == {"steps/dhsum": "missing", **carried}
    missing = check_named(grading, "steps", "dhsum")
    assert "isn't a tensor but" in missing.remark
    assert missing.shape is None
    assert missing.maxdiff is None


def test_two_mistakes_are_two_wrongs(solved, grade):
    grading = grade(solved(("dhsum = (h", "dhsum = 3 * (h"), ("dW = x.T @ dhpre\ndb", "dW = 2 * x.T @ dhpre\ndb")))
    assert [key for key, verdict in differing(grading).items() if verdict == "wrong"] == ["steps/dhsum", "steps/dW"]


def test_the_instructor_sets_the_share_of_a_carried_tensor(solved, grade, course, monkeypatch):
    import msgspec

    exercise = course.exercise("mini")
    monkeypatch.setattr(exercise, "spec", msgspec.structs.replace(exercise.spec, carried=0.25))
    grading = grade(solved(("dhsum = (h", "dhsum = 3 * (h")))
    assert check_named(grading, "steps", "dh").points == 0.5


def test_a_missing_tensor_does_not_spoil_the_others(solved, grade):
    grading = grade(solved(("dhsum = (h * dscaled).sum(1, keepdim=True)\n", ""), ("dscaled + dhsum", "dscaled")))
    assert differing(grading)["steps/dhsum"] == "missing"
    assert differing(grading)["steps/dh"] == "wrong"
    assert differing(grading)["steps/dW"] == "carried"


def test_gradients_used_before_they_are_bound_are_missing(solved, grade):
    grading = grade(
        solved(("dhsum = (h * dscaled)", "dhsum = (dh * dscaled)"), ("dhpre = (1 - h**2) * dh\n", "dhpre = dW * dh\n"))
    )
    assert {name: verdict for name, verdict in verdicts(grading).items() if name.startswith("steps/")} == {
        "steps/dscaled": "exact", "steps/dhsum": "missing", "steps/dh": "carried", "steps/dhpre": "missing",
        "steps/dW": "carried", "steps/db": "carried",
    }  # fmt: skip


def test_a_gradient_that_an_error_left_half_done_is_missing(solved, grade):
    grading = grade(solved(("dh = hsum * dscaled + dhsum", "dh = hsum * dscaled\ndh += dhsum + undefined")))
    check = check_named(grading, "steps", "dh")
    assert check.verdict == "missing"
    assert "before dh was complete" in check.remark


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("(h @ dscaled)", "RuntimeError (mat1 and mat2 shapes cannot be multiplied (6x4 and 6x4))"),
        ("(h * dscaled).summ(1)", "AttributeError ('Tensor' object has no attribute 'summ')"),
        ("dscaled.view(7)", "RuntimeError (shape '[7]' is invalid for input of size 24)"),
        ("exec('raise ValueError(\"<b>[x](y)\")')", "ValueError"),
        ("exec('class E(Exception): pass\\nraise E(5)')", "an error (5)"),
    ],
)  # fmt: skip
def test_the_error_that_stopped_a_cell_is_said_of_the_first_gradient_that_it_cost(solved, grade, raised, said):
    grading = grade(solved(("dhsum = (h * dscaled)", f"dhsum = {raised}")))
    check = check_named(grading, "steps", "dhsum")
    assert (check.verdict, check.diagnosis.code, check.remark) == ("missing", "stopped-by-error", None)
    assert f"raises {said}, so neither `dhsum` nor" in check.diagnosis.message
    others = [check.name for check in grading.grade.checks if check.diagnosis is not None]
    assert others == ["dhsum"]


def test_a_line_that_is_no_python_is_said_to_be_left_out(solved, grade):
    grading = grade(solved(("dhsum = (h * dscaled)", "dhsum = (h * dscaled))")))
    check = check_named(grading, "steps", "dhsum")
    assert (check.verdict, check.diagnosis.code, check.remark) == ("missing", "syntax-error", None)
    assert re.match(r"Cell \d+, line 3 isn't valid Python", check.diagnosis.message)
    assert "and was left out" in check.diagnosis.message


def test_a_name_that_only_an_older_kernel_knew_is_said(solved, grade):
    grading = grade(solved(("dhsum = (h * dscaled)", "dhsum = (h * dscaled1)")))
    check = check_named(grading, "steps", "dhsum")
    assert (check.verdict, check.diagnosis.code) == ("missing", "unknown-name")
    assert "`dscaled1`" in check.diagnosis.message
    assert "no line defines it" in check.diagnosis.message
    assert check_named(grading, "steps", "dh").diagnosis is None


@pytest.mark.parametrize(
    ("value", "remark"),
    [
        ("None", "db is still None."),
        ("[1.0, 2.0]", "db isn't a tensor but list."),
        ("dhpre.sum(0).detach().numpy()", "db isn't a tensor but ndarray."),
        pytest.param("torch.empty(4, device='meta')", "meta device", marks=pytest.mark.slow),
    ],
)
def test_what_is_no_tensor_is_missing_and_named(solved, grade, value, remark):
    """Of `db`, which nothing follows: torch imports its compiler to say that a meta tensor can't be multiplied."""
    grading = grade(solved(("dW = x.T @ dhpre\ndb = dhpre.sum(0)", f"dW = x.T @ dhpre\ndb = {value}")))
    check = check_named(grading, "steps", "db")
    assert check.verdict == "missing"
    assert remark in check.remark


@pytest.mark.parametrize(
    "value",
    ["torch.full_like(dhsum, float('nan'))", "torch.full_like(dhsum, float('inf'))", "dhsum.to(torch.complex64)"],
)
def test_nan_infinity_and_complex_are_never_right(solved, grade, value):
    grading = grade(solved(("dh = hsum * dscaled + dhsum", f"dh = hsum * dscaled + dhsum\ndhsum = {value}")))
    check = check_named(grading, "steps", "dhsum")
    assert check.verdict == "wrong"
    assert check.maxdiff is None


@pytest.mark.parametrize(
    "value",
    [
        "dhsum.clone().requires_grad_()",
        "dhsum.to_sparse()",
        "torch.nn.Parameter(dhsum)",
        "type('Mine', (torch.Tensor,), {})(dhsum)",
    ],
)
def test_the_same_numbers_in_another_guise_are_right(solved, grade, value):
    grading = grade(solved(("dh = hsum * dscaled + dhsum", f"dh = hsum * dscaled + dhsum\ndhsum = {value}")))
    assert check_named(grading, "steps", "dhsum").verdict in ("exact", "approximate")


def test_a_shape_that_broadcasts_is_right_with_a_remark(solved, grade):
    grading = grade(solved(("db = dhpre.sum(0)\n### END", "db = dhpre.sum(0, keepdim=True)[0]\n### END")))
    assert differing(grading) == {}
    grading = grade(
        solved(("dscaled = torch.ones_like(scaled) / scaled.numel()", "dscaled = torch.tensor([1 / scaled.numel()])"))
    )
    check = check_named(grading, "steps", "dscaled")
    assert check.verdict == "approximate"
    assert check.remark == "dscaled has shape (1,), its tensor (6, 4): it broadcasts, so the value counts."


def test_a_larger_shape_is_wrong_and_both_shapes_are_said(solved, grade):
    grading = grade(solved(("db = dhpre.sum(0)\n### END", "db = dhpre\n### END")))
    check = check_named(grading, "steps", "db")
    assert check.verdict == "wrong"
    assert check.points == 0
    assert (check.shape, check.expected_shape) == ([6, 4], [4])
    assert "(6, 4)" in check.remark
    assert "(4,)" in check.remark


def test_a_hard_coded_size_earns_the_visible_share(solved, grade):
    grading = grade(solved(("torch.ones_like(scaled) / scaled.numel()", "torch.ones(6, 4) / 24")))
    assert differing(grading) == {"steps/dscaled": "wrong"}
    check = check_named(grading, "steps", "dscaled")
    assert check.points == 1.0
    assert check.case == "another-batch-size"
    assert "not for others" in check.remark


def test_a_size_that_raises_elsewhere_costs_only_its_own_tensor(solved, grade):
    grading = grade(solved(("dhsum = (h", "h[5]\ndhsum = (torch.ones(6, 1) * h")))
    assert differing(grading) == {"steps/dhsum": "wrong"}
    assert grading.grade.score == 15


def test_pasted_numbers_are_wrong_and_earn_nothing(solved, grade, course):
    from grader.course.reference import Reference

    numbers = Reference(course.exercise("mini")).case(course.exercise("mini").cases[0])["steps"].gradients["hsum"]
    grading = grade(solved(("(h * dscaled).sum(1, keepdim=True)", f"torch.tensor({numbers.tolist()})")))
    check = check_named(grading, "steps", "dhsum")
    assert check.verdict == "wrong"
    assert check.points == 0
    assert verdicts(grading)["steps/dW"] == "carried"


def test_code_that_works_in_float32_only_is_judged_by_its_rounding(solved, grade):
    grading = grade(
        solved(("dW = x.T @ dhpre\ndb = dhpre.sum(0)\n###", "dW = x.T @ dhpre.float()\ndb = dhpre.float().sum(0)\n###"))
    )
    assert differing(grading) == {}
    assert "float32 only" in check_named(grading, "steps", "dW").remark


@pytest.mark.parametrize("cast", [".float()", ".float().to(scaled.dtype)", ".to(torch.float32)"])
def test_what_follows_from_a_right_float32_tensor_is_right_and_not_carried(solved, grade, cast):
    grading = grade(solved(("(h * dscaled).sum(1, keepdim=True)", f"(h * dscaled).sum(1, keepdim=True){cast}")))
    assert differing(grading) == {}
    remarks = {check.name: check.remark for check in grading.grade.checks if "float32" in (check.remark or "")}
    assert list(remarks) == ["dhsum"]  # said where it comes in, and not of all that follows


def test_a_mistake_below_a_float32_tensor_is_still_wrong_and_what_follows_carried(solved, grade):
    grading = grade(
        solved(("(h * dscaled).sum(1, keepdim=True)", "(h * dscaled).sum(1, keepdim=True).float()"),
               ("dh = hsum * dscaled + dhsum", "dh = hsum * dscaled + 3 * dhsum"))
    )  # fmt: skip
    assert differing(grading) == {
        "steps/dh": "wrong", "steps/dhpre": "carried", "steps/dW": "carried", "steps/db": "carried",
    }  # fmt: skip


def test_what_follows_from_a_wrong_float32_tensor_is_carried_though_it_is_rounded(solved, grade):
    grading = grade(solved(("dhpre = (1 - h**2) * dh\n", "dhpre = (2 * (1 - h**2) * dh).float()\n")))
    assert differing(grading)["steps/dhpre"] == "wrong"
    assert differing(grading)["steps/db"] == "carried"


def test_float32_hides_no_mistake(solved, grade):
    grading = grade(
        solved(
            ("dW = x.T @ dhpre\ndb = dhpre.sum(0)\n###", "dW = 1.0001 * x.T @ dhpre.float()\ndb = dhpre.sum(0)\n###")
        )
    )
    assert differing(grading) == {"steps/dW": "wrong"}


def test_failing_on_purpose_outside_the_visible_case_earns_nothing(solved, grade):
    grading = grade(
        solved(
            ("dscaled = torch", "if seed != 3 or torch.get_default_dtype() != torch.float32: 1 / 0\ndscaled = torch")
        )
    )
    assert verdicts(grading)["steps/dscaled"] not in ("exact", "approximate")
    grading = grade(
        solved(
            (
                "dscaled = torch",
                "if torch.get_default_dtype() != torch.float32: import os; os._exit(1)\ndscaled = torch",
            )
        )
    )
    assert {verdict for key, verdict in verdicts(grading).items()} == {"unchecked"}
    assert grading.grade.score == 0


def test_training_with_a_wrong_gradient_is_wrong_once_and_the_parameter_carried(solved, grade):
    grading = grade(solved(("        db = dhpre.sum(0)", "        db = 2 * dhpre.sum(0)")))
    assert differing(grading) == {"training/db": "wrong", "training/b": "carried"}


def test_a_wrong_update_is_wrong_though_the_gradients_are_right(solved, grade):
    grading = grade(solved(("p -= 0.5 * grad", "p -= 0.4 * grad")))
    assert differing(grading) == {"training/W": "wrong", "training/b": "wrong"}


def test_gradients_that_pile_up_over_the_steps_are_found(solved, grade):
    grading = grade(
        solved(
            ("with torch.no_grad():\n", "total = 0\nwith torch.no_grad():\n"),
            ("        db = dhpre.sum(0)", "        total = total + dhpre.sum(0)\n        db = total"),
        )
    )
    assert differing(grading)["training/db"] == "wrong"
    assert check_named(grading, "training", "db").case == "several-steps"


def test_a_gradient_left_over_from_an_earlier_part_does_not_count_again(solved, grade):
    body = (
        "        dh = torch.ones_like(h) / h.numel()\n        dhpre = (1 - h**2) * dh\n"
        "        dW = x.T @ dhpre\n        db = dhpre.sum(0)\n"
    )
    grading = grade(solved((body, ""), ("if dW is None or db is None", "if True")))
    assert verdicts(grading)["training/dW"] == "missing"
    assert verdicts(grading)["steps/dW"] == "approximate"
