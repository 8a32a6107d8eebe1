"""The `cmp` lines that a notebook came with: which gradient they speak of, and what is said where we disagree."""

from __future__ import annotations

import pytest

from grader.intake.saved_cmp import SavedCmp, with_saved
from grader.intake.take_in import take_in
from grader.records import Check, CmpLine, Verdict
from tests.conftest import check_named
from tests.lecture import STEPS, Lecture, cmp_line, stream

ALL, LOSS, NORM, TRAIN = "every-gradient", "cross-entropy", "batch-norm", "training"


@pytest.fixture
def saved(exercise):
    """The saved lines of a notebook, as `part/name` → what they say."""

    def read(lecture):
        return {f"{line.part}/{line.name}": line.approximate for line in take_in(lecture.data(), exercise).saved}

    return read


def test_every_line_belongs_to_the_gradient_of_its_cells_part(saved):
    lecture = Lecture()
    lecture.outputs["gradients"] = stream(*(cmp_line(name[1:], approximate=True) for name in STEPS))
    lecture.outputs["dlogits"] = stream(cmp_line("logits", approximate=False, maxdiff=6e-9))
    lecture.outputs["dhprebn"] = stream(cmp_line("hprebn", approximate=True))
    assert saved(lecture) == {**{f"{ALL}/{name}": True for name in STEPS}, f"{LOSS}/dlogits": False,
                              f"{NORM}/dhprebn": True}  # fmt: skip


def test_the_last_line_for_a_name_counts(saved):
    lecture = Lecture().insert("gradients", "again", "dh = dlogits @ W2.T\ncmp('h', dh, h)")
    lecture.outputs["gradients"] = stream(cmp_line("h", approximate=False), cmp_line("W2", approximate=True))
    lecture.outputs["again"] = stream(cmp_line("h", approximate=False), cmp_line("h", approximate=True))
    assert saved(lecture) == {f"{ALL}/dW2": True, f"{ALL}/dh": True}


def test_in_a_cell_of_several_parts_the_lines_follow_the_parts(saved):
    lecture = Lecture().merge("gradients", "fast-loss", "dlogits")
    lecture.outputs["gradients"] = stream(cmp_line("logits", approximate=True), cmp_line("logits", approximate=False))
    assert saved(lecture) == {f"{ALL}/dlogits": True, f"{LOSS}/dlogits": False}


def test_lines_in_colour_and_in_other_words_are_read(saved):
    lecture = Lecture()
    lecture.outputs["gradients"] = stream(
        "\x1b[92m✓ probs          | exact: True  | approximate: True  | maxdiff: 0.0\x1b[0m",
        "counts -> exact=False, approx=True, max diff=1e-9",
        "h is fine",
        "loss            | exact: True  | approximate: True  | maxdiff: 0.0",
    )
    assert saved(lecture) == {f"{ALL}/dprobs": True, f"{ALL}/dcounts": True}


def test_lines_headed_by_shapes_are_the_parameters_in_their_order(saved):
    lecture = Lecture().insert(
        "training", "check", "for p, g in zip(parameters, grads):\n  cmp(str(tuple(p.shape)), g, p)"
    )
    shapes = ["(27, 10)", "(30, 200)", "(200,)", "(200, 27)", "(27,)", "(1, 200)", "(1, 200)"]
    lecture.outputs["check"] = stream(*(cmp_line(shape, approximate=shape != "(200,)") for shape in shapes))
    found = saved(lecture)
    assert found.pop(f"{TRAIN}/db1") is False
    assert found == {f"{TRAIN}/d{name}": True for name in ("C", "W1", "W2", "b2", "bngain", "bnbias")}


def test_a_locked_compare_cells_output_is_its_parts(course, solved):
    def edit(notebook):
        for cell in notebook["cells"]:
            if cell["metadata"]["nbgrader"]["grade_id"] == "compare-top":
                cell["outputs"] = stream(cmp_line("h", approximate=False))

    (line,) = take_in(solved(edit=edit), course.exercise("mini")).saved
    assert (line.part, line.name, line.approximate) == ("steps", "dh", False)


# --- where we disagree


def check(verdict, case="visible", shape=(2, 3), expected=(2, 3), remark=None):
    sizes = list(shape) if shape else None
    return Check("p", "dh", verdict, 1.0, 1.0, case=case, shape=sizes, expected_shape=list(expected), remark=remark)


def line(approximate):
    return CmpLine(exact=False, approximate=approximate, maxdiff=0.5)


REASONS = {
    "older output": (check(Verdict.WRONG), True, line(False), "the output is older than the cell"),
    "mended since": (check(Verdict.EXACT), False, line(True), "the output is older than the cell"),
    "rounding": (check(Verdict.APPROXIMATE), False, line(False), "float32 rounding"),
    "broadcast": (check(Verdict.WRONG, shape=(5, 2, 3)), True, line(True), "cmp lets shapes broadcast"),
    "hard-coded": (check(Verdict.WRONG, case="another-batch-size"), True, line(True), "only one size and one seed"),
    "another shape there": (
        check(Verdict.WRONG, case="another-size", shape=(32, 27), expected=(19, 27)),
        True,
        line(True),
        "one size and",
    ),
    "not there": (check(Verdict.MISSING, shape=None), True, None, "doesn't get to this gradient"),
    "carried": (check(Verdict.CARRIED), True, line(False), "the output is older than the cell"),
}


@pytest.mark.parametrize("why", REASONS)
def test_a_verdict_that_contradicts_a_saved_line_says_why(why):
    found, said, now, words = REASONS[why]
    told = with_saved(found, [SavedCmp("p", "dh", said)], now)
    assert told.remark is not None
    assert told.remark.startswith(f"The saved cmp line says approximate: {said}.")
    assert words in told.remark


def test_a_remark_that_was_there_stays():
    told = with_saved(check(Verdict.EXACT, remark="It broadcasts."), [SavedCmp("p", "dh", False)], line(False))
    assert told.remark.startswith("It broadcasts. The saved cmp line")


@pytest.mark.parametrize(
    ("verdict", "said"),
    [(Verdict.EXACT, True), (Verdict.WRONG, False), (Verdict.CARRIED, False), (Verdict.UNCHECKED, True)],
)
def test_where_both_agree_nothing_is_said(verdict, said):
    assert with_saved(check(verdict), [SavedCmp("p", "dh", said)], line(said)) == check(verdict)


def test_only_the_line_of_the_same_part_and_name_counts():
    others = [SavedCmp("q", "dh", True), SavedCmp("p", "dx", True)]
    assert with_saved(check(Verdict.WRONG), others, line(False)) == check(Verdict.WRONG)


def test_the_report_of_a_real_run_says_it(solved, grade):
    def edit(notebook):
        for cell in notebook["cells"]:
            if cell["metadata"]["nbgrader"]["grade_id"] == "compare-top":
                cell["outputs"] = stream(cmp_line("h", approximate=True), cmp_line("hsum", approximate=True))

    grading = grade(solved(("dh = hsum * dscaled + dhsum", "dh = 2 * hsum * dscaled + dhsum"), edit=edit))
    told = check_named(grading, "steps", "dh")
    assert told.verdict is Verdict.WRONG
    assert "The saved cmp line says approximate: True." in told.remark
    assert "older than the cell" in told.remark
    assert check_named(grading, "steps", "dhsum").remark is None
