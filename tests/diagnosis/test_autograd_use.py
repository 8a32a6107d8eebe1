"""Who took gradients from autograd, and who didn't: the source alone, the scaled run, the flags and the policy."""

from __future__ import annotations

import json
import time

import msgspec
import pytest
import torch

from grader.course.exercise import PartChecks
from grader.diagnosis.autograd_use.autograd_names import may_use_autograd
from grader.diagnosis.autograd_use.flags import (
    apply_policy,
    moved_by_scaling,
    names_autograd,
)
from grader.diagnosis.autograd_use.lines import Lines
from grader.execution.execute import HiddenRun
from grader.execution.tensors import StudentTensor, TensorNote
from grader.intake.take_in import PlannedCell
from grader.notebook.code import Code
from grader.records import Check, Flag, Verdict
from tests.autograd_snippets import DISHONEST, DISHONEST_TRAINING, HONEST, HONEST_TRAINING
from tests.conftest import ROOT

HONEST_ALL = [("steps", name, code) for name, code in HONEST.items()] + [
    ("training", name, code) for name, code in HONEST_TRAINING.items()
]
DISHONEST_ALL = [("steps", name, *entry) for name, entry in DISHONEST.items()] + [
    ("training", name, *entry) for name, entry in DISHONEST_TRAINING.items()
]
QUICK = {
    "`.grad` through NumPy or a list", "`getattr` by a name that is computed", "`exec` of text that is decoded",
    "`torch.autograd.functional.vjp`", "forward mode, `make_dual`", "own gradients for show, `p.grad` for the step",
    "`torch.ops.aten.…_backward`", "complex steps", "finite differences", "a child interpreter",
    "an engine of one's own", "`.grad` in full-width letters",
    "`.grad`, with its scale divided out, and rounded", "`register_hook` and a list",
}  # fmt: skip
"""The ways that the everyday tests grade in real kernels; the slow suite grades all.

None of `torch.func`, which imports torch's compiler in each kernel.
"""


@pytest.fixture
def filled(solved):
    """The mini notebook with a part's first gradients cell replaced by a snippet."""

    def fill(part, code):
        def edit(notebook):
            cells = notebook["cells"]
            meta = [cell["metadata"]["grader"] for cell in cells]
            index = next(i for i, m in enumerate(meta) if m.get("part") == part and m["role"] == "gradients")
            cells[index]["source"] = code
            if "borrowed" in code:
                own = {"cell_type": "code", "id": "own", "metadata": {}, "outputs": [], "execution_count": None}
                cells.insert(index, {**own, "source": "borrowed = h.grad.clone()"})

        return solved(edit=edit)

    return fill


def codes(grading):
    return [(flag.code, flag.part) for flag in grading.grade.flags]


# --- the source


WORDY = [(name, code) for _, name, caught, code in DISHONEST_ALL if caught in ("both", "run", "source")]


@pytest.mark.parametrize(("name", "code"), WORDY, ids=[name for name, _ in WORDY])
def test_what_takes_autograds_numbers_has_a_word_of_it(name, code):
    assert names_autograd([planned("borrowed = h.grad" if "borrowed" in code else code)])


@pytest.mark.parametrize("path", sorted((ROOT / "solutions").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_solution_gives_no_reason_for_a_second_run(path):
    cells = json.loads(path.read_text())["cells"]
    own = [cell for cell in cells if cell["metadata"]["grader"]["role"] == "gradients"]
    assert own
    if path.stem in ("02_layers", "05_convolution", "08_through_time", "09_own_autograd"):
        pytest.skip("its classes have a method `backward` of the student's own: worth a second look, and no flag")
    assert not any(may_use_autograd("".join(cell["source"])) for cell in own)


def planned(source, *, student=True, part="p", role="gradients"):
    return PlannedCell(code=Code(source), role=role, part=part, student=student, label="the-cell")


def behind(source, name="dX", **cell):
    """What the lines behind a tensor call, besides arithmetic: kind and text of each."""
    found = Lines([planned(source, **cell)]).behind("p", name)
    return None if found is None else {(origin.kind, origin.text) for origin in found}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("dX = 2 * dY @ W.T", set()),
        ("dX = torch.zeros_like(X.grad) + dY.type_as(X.grad)", set()),
        ("dX = X.grad", {("engine", "X.grad")}),
        ("dX = X.grad\ndX = 2 * dY", set()),
        ("dX = X.grad\ndX[0] = 2 * dY[0]", {("engine", "X.grad")}),
        ("tmp = X.grad\nother = tmp\ndX = other.clone()", {("engine", "X.grad")}),
        ("def f(t):\n    return t.grad\ndX = f(X)", {("engine", "t.grad")}),
        ("for t in [X]:\n    dX = t.grad if ok else dY", {("engine", "t.grad")}),
        ("from torch.func import vjp as v\ndX = v(f, X)[1]", {("engine", "v(f, X)")}),
        ("dX = s.grad_fn(one)", {("formula", "s.grad_fn"), ("odd", "s.grad_fn(one)")}),
        ("dX = torch.ops.aten.tanh_backward(dY, Y)", {("formula", "torch.ops.aten.tanh_backward(dY, Y)")}),
        ("dX = eval(text)", {("hidden", "eval(text)")}),
        ("import sympy\ndX = sympy.diff(f)", {("odd", "sympy.diff(f)")}),
        ("class A: pass\ndX = A(X)", {("odd", "A(X)")}),
        ("dX = (X + 1e-30j)", {("odd", "1e-30j")}),
        ("exec('dX = X.grad')", None),
        ("dX = dX if ok else X.grad\nprint(X.grad)", {("engine", "X.grad")}),
    ],
)
def test_the_lines_behind_a_tensor_are_told(source, expected):
    assert behind(source) == expected


def test_what_locked_cells_do_is_nobodys_line():
    assert behind("dX = X.grad", student=False, role="forward") is None


ODD = [
    "dX = (", "match x:\n  case {'a': [b, *_]}: pass", "x: int", "lambda *a, k=1, **b: 0", "del x, y[0]", "not -x",
    "async def f():\n    async for i in x: await i\n    async with y as z: yield z", "f'{x!r:>{w}}'", "global q",
    "try:\n  x\nexcept* ValueError as e:\n  raise\nfinally:\n  pass", "a[1:2, ...] = b[::2]", "type(x)(**y)",
    "for x.grad in y: break\nelse: pass", "(x := [*y, *z])", "{**a, 'b': 1}[c]", "x if y else z", "import a.b as c",
    "def f(a, /, b=X.grad, *, c=1): return f(a)\ndX = f(1)\ndX = 0", "class A(B): x = 1\nA().x.y = 2",
    "from . import x", "while x: continue", "assert x, y", "@d\ndef f(): return\nf(*x, **y)", "().__class__", "\x00",
    "zip(); map(); join()",
    "getattr(); setattr(x); exec(); globals(1)[2]; enumerate(); ''.split(''); ''.join(); x.replace(); partial()",
]  # fmt: skip


@pytest.mark.parametrize("source", [*ODD, "dX = " + "+".join(["h"] * 3000), "\n".join(["dX = a\na = dX"] * 3000)])
def test_any_source_can_be_read(source):
    started = time.process_time()
    behind(source)
    assert time.process_time() - started < 5


def tensors(**values):
    return {
        name: StudentTensor(note=TensorNote(kind="tensor", shape=list(value.shape)), value=value)
        for name, value in values.items()
    }


def moved(before, after, factor=1.5, **checks):
    part = PartChecks(**{"gradients": [], **checks})
    runs = [HiddenRun(parts={"p": tensors(**values)}) for values in (before, after)]
    return moved_by_scaling("p", part, *runs, factor)


def test_scaled_means_every_element_as_it_was_or_multiplied():
    x = torch.tensor([1.0, -2.0, 0.0])
    say = lambda after: moved({"dX": x}, {"dX": after}, gradients=["dX"])  # noqa: E731
    assert say(x) == {"dX": False}
    assert say(1.5 * x) == {"dX": True}
    assert say(torch.tensor([1.5, -2.0, 0.0])) == {"dX": True}
    assert say(1.4 * x) == {}, "another attempt, because an assertion failed"
    assert say(torch.tensor([7.0, -3.0, 0.0])) == {}
    assert say(torch.ones(2)) == {}
    assert moved({"dX": 0 * x}, {"dX": 0 * x}, gradients=["dX"]) == {}
    assert moved({"dX": x / 0}, {"dX": x / 0}, gradients=["dX"]) == {}
    assert moved({"dX": x}, {}, gradients=["dX"]) == {}


def test_a_borrowed_upstream_explains_a_scaled_gradient():
    x = torch.ones(3)
    before, after = {"dY": x, "dX": 2 * x}, {"dY": 1.5 * x, "dX": 3 * x}
    assert moved(before, after, gradients=["dX"], upstream=["dY"]) == {}
    assert moved(before, {**after, "dY": x}, gradients=["dX"], upstream=["dY"]) == {"dX": True}


def test_a_parameter_that_steps_further_was_trained_by_autograd():
    w, g = torch.tensor([1.0, 2.0]), torch.tensor([0.1, -0.3])
    before = {"W": w - g, "dW": g}
    say = lambda after: moved(before, {"W": after, "dW": g}, values=["W"])  # noqa: E731
    assert say(w - 1.5 * g) == {"W": True}
    assert say(w - g) == {}
    assert say(w) == {}, "its loop stopped at a comparison"


GRADED = [entry for entry in DISHONEST_ALL if entry[1] in QUICK]
SLOW = [entry for entry in DISHONEST_ALL if entry[1] not in QUICK]


FLAGS = {"unusual": ["unusual-code"], "doubted": ["unusual-code"], "line": ["unexplained-value"], "-": []}


def check_graded(grade, filled, part, caught, code):
    grading = grade(filled(part, code))
    assert codes(grading) == [(flag, part) for flag in FLAGS.get(caught, ["autograd-used"])]
    assert not [output for cell in grading.cells for output in cell.outputs if output.kind == "error"]


@pytest.mark.parametrize(("part", "name", "caught", "code"), GRADED, ids=[name for _, name, _, _ in GRADED])
def test_taking_gradients_from_autograd_is_flagged(grade, filled, part, name, caught, code):
    check_graded(grade, filled, part, caught, code)


@pytest.mark.slow
@pytest.mark.parametrize(("part", "name", "caught", "code"), SLOW, ids=[name for _, name, _, _ in SLOW])
def test_every_way_that_was_tried(grade, filled, part, name, caught, code):
    check_graded(grade, filled, part, caught, code)


@pytest.mark.parametrize(
    "name", ["asserts on allclose", "cmp by exec", "own .grad fields", "a first attempt from .grad, overwritten"]
)
def test_an_honest_notebook_is_not_flagged(grade, filled, name):
    grading = grade(filled("steps", HONEST[name]))
    assert codes(grading) == []
    assert grading.grade.score == grading.grade.max_score


@pytest.mark.slow
@pytest.mark.parametrize(("part", "name", "code"), HONEST_ALL, ids=[name for _, name, _ in HONEST_ALL])
def test_no_honest_notebook_is_flagged(grade, filled, part, name, code):
    assert codes(grade(filled(part, code))) == []


def test_a_branch_that_is_not_taken_is_no_use_of_autograd(grade, solved):
    code = "if dh is None:\n    dh = h.grad"
    grading = grade(solved(("dh = hsum * dscaled + dhsum", f"dh = hsum * dscaled + dhsum\n{code}")))
    assert codes(grading) == []


def test_a_value_that_takes_up_nothing_of_what_is_above_it_is_remarked_on(grade, solved):
    grading = grade(solved(("(h * dscaled).sum(1, keepdim=True)", "(h / h.numel()).sum(1, keepdim=True)")))
    check = next(check for check in grading.grade.checks if check.name == "dhsum")
    assert check.verdict.is_right
    assert check.remark == "It is computed in a different way, not from `dscaled`."
    assert codes(grading) == []  # a formula of one's own


# --- flags and policy


def test_a_flag_says_where_and_what(grade, solved):
    grading = grade(solved(("dh = hsum * dscaled + dhsum", "n = 3\ndh = h.grad")))
    (flag,) = grading.grade.flags
    assert (flag.code, flag.part) == ("autograd-used", "steps")
    assert "Cell 6, line 5: dh gets its numbers from h.grad" in flag.message


def test_the_policy_takes_the_flagged_parts_points(course):
    spec = course.exercise("mini").spec
    checks = [
        Check(part=part, name="dX", verdict=Verdict.EXACT, points=2.0, max_points=2.0, remark=remark)
        for part, remark in (("steps", None), ("steps", "It broadcasts."), ("training", None))
    ]
    flags = [
        Flag(code="autograd-used", message="…", part="steps"),
        Flag(code="unchecked", message="…", part="training"),
    ]
    assert apply_policy(checks, flags, spec) == checks
    zeroed = apply_policy(checks, flags, msgspec.structs.replace(spec, autograd="zero-part"))
    assert [check.points for check in zeroed] == [0.0, 0.0, 2.0]
    assert zeroed[1].remark == "It broadcasts. No points: numbers of this part come from autograd."
    assert [check.verdict for check in zeroed] == [Verdict.EXACT] * 3


def test_the_policy_reaches_the_score(course, monkeypatch, grade, solved):
    exercise = course.exercise("mini")
    monkeypatch.setattr(exercise, "spec", msgspec.structs.replace(exercise.spec, autograd="zero-part"))
    grading = grade(solved(("dh = hsum * dscaled + dhsum", "dh = h.grad")))
    assert grading.grade.score == 4.0
    assert codes(grading) == [("autograd-used", "steps")]


def test_the_docs_list_every_way_that_was_tried():
    text = (ROOT / "docs" / "autograd-use.md").read_text()
    for _, name, caught, _ in DISHONEST_ALL:
        flag = "".join(f"`{code}`" for code in FLAGS.get(caught, ["autograd-used"])) or "none"
        assert f"| {name} | {flag} |" in text
    assert len(DISHONEST_ALL) >= 30
    assert len(HONEST_ALL) >= 25
