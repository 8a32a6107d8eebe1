"""Who took gradients from autograd, and who didn't: the source alone, the scaled run, the flags and the policy."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest
import torch

from grader.course.catalog import ExerciseSpec
from grader.course.exercise import PartChecks
from grader.diagnosis.autograd_use.autograd_names import may_use_autograd
from grader.diagnosis.autograd_use.flags import (
    apply_policy,
    autograd_flags,
    moved_by_scaling,
    read_sources,
    scaled_cases,
)
from grader.execution.execute import Execution, HiddenRun
from grader.execution.tensors import StudentTensor, TensorNote
from grader.intake.take_in import PlannedCell, take_in
from grader.records import Check, Flag, Verdict
from tests.autograd_snippets import DISHONEST, DISHONEST_TRAINING, HONEST, HONEST_TRAINING

ROOT = Path(__file__).parent.parent
HONEST_ALL = [("steps", name, code) for name, code in HONEST.items()] + [
    ("training", name, code) for name, code in HONEST_TRAINING.items()
]
DISHONEST_ALL = [("steps", name, *entry) for name, entry in DISHONEST.items()] + [
    ("training", name, *entry) for name, entry in DISHONEST_TRAINING.items()
]
QUICK = {
    "`.grad` through NumPy or a list", "`getattr` by a name that is computed", "`exec` of text that is decoded",
    "`torch.func.grad`", "forward mode, `make_dual`", "own gradients for show, `p.grad` for the step",
    "`torch.ops.aten.…_backward`", "`.grad`, with its scale divided out, and rounded", "`register_hook` and a list",
}  # fmt: skip
"""The ways that the everyday tests grade in real kernels; the slow suite grades all."""


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


def sources_of(course, data):
    """What the source says: part → name → origins, less what is only unreadable; and the unreadable."""
    exercise = course.exercise("mini")
    found, unreadable = read_sources(take_in(data, exercise).cells, exercise.parts)
    known = {
        part: {name for name, origins in names.items() if any(origin.kind != "unreadable" for origin in origins)}
        for part, names in found.items()
    }
    soft = {part for part, names in found.items() if names} | {part for part, origins in unreadable.items() if origins}
    return {part: names for part, names in known.items() if names}, soft


def codes(grading):
    return [(flag.code, flag.part) for flag in grading.grade.flags]


# --- the source


@pytest.mark.parametrize(("part", "name", "code"), HONEST_ALL, ids=[name for _, name, _ in HONEST_ALL])
def test_no_number_of_autograds_is_seen_in_an_honest_source(course, filled, part, name, code):
    assert sources_of(course, filled(part, code))[0] == {}


@pytest.mark.parametrize(
    ("part", "name", "caught", "code"), DISHONEST_ALL, ids=[name for _, name, _, _ in DISHONEST_ALL]
)
def test_the_source_shows_what_it_can(course, filled, part, name, caught, code):
    data = filled(part, code)
    known, soft = sources_of(course, data)
    assert set(known) == ({part} if caught in ("both", "source", "doubted") else set())
    assert soft == {part}
    assert any(cell.student and may_use_autograd(cell.source) for cell in take_in(data, course.exercise("mini")).cells)


@pytest.mark.parametrize("path", sorted((ROOT / "solutions").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_solution_gives_no_reason_for_a_second_run(path):
    cells = json.loads(path.read_text())["cells"]
    own = [cell for cell in cells if cell["metadata"]["grader"]["role"] == "gradients"]
    assert own
    if path.stem in ("02_layers", "05_convolution"):
        pytest.skip("its layers have a method `backward` of the student's own: worth a second look, and no flag")
    assert not any(may_use_autograd("".join(cell["source"])) for cell in own)


def planned(source, *, student=True, part="p", role="gradients"):
    return PlannedCell(source=source, role=role, part=part, student=student, label="the-cell")


def test_locked_cells_may_use_autograd(course):
    cells = [planned("dX = X.grad\ndef f(t): return t.grad", student=False, role="forward"), planned("dY = f(Y)")]
    assert read_sources(cells, {"p": PartChecks(gradients=["dX", "dY"])})[0] == {"p": {}}


def test_upstream_may_be_borrowed_but_not_the_answer():
    cells = [planned("dY = Y.grad\ndX = 2 * dY\ndZ = Z.grad")]
    found, _ = read_sources(cells, {"p": PartChecks(gradients=["dX", "dZ"], upstream=["dY"])})
    assert set(found["p"]) == {"dZ"}


def test_each_part_is_judged_at_its_end():
    cells = [
        planned("dX = X.grad", part="one"),
        planned("dX = 2 * Y", part="one"),
        planned("dX = X.grad", part="two"),
    ]
    checks = PartChecks(gradients=["dX"])
    found, _ = read_sources(cells, {"one": checks, "two": checks})
    assert {part: set(names) for part, names in found.items()} == {"one": set(), "two": {"dX"}}


def test_reading_ends_also_where_the_source_never_does():
    wide = "x = 0" + " + x" * 5000
    deep = "x = " + "(" * 150 + "1" + ")" * 150
    twice = "def f(n):\n" + "".join(f"    f(n); f(n + {i})\n" for i in range(30)) + "f(0)\n"
    tower = "".join(f"def g{i + 1}(): g{i}(); g{i}(); g{i}(); g{i}(); g{i}()\n" for i in range(30))
    loops = "".join("    " * i + f"for a{i} in range(3):\n" for i in range(18)) + "    " * 18 + "y = X.grad\n"
    started = time.process_time()
    for source in (wide, deep, twice, "def g0(): pass\n" + tower + "g30()\n", loops):
        read_sources([planned(source + "\ndX = X.grad")], {"p": PartChecks(gradients=["dX"])})
    assert time.process_time() - started < 5


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


@pytest.mark.parametrize("source", ODD)
def test_any_source_can_be_read(source):
    assert read_sources([planned(source)], {"p": PartChecks(gradients=["dX"])})[0] == {"p": {}}


# --- the scaled run


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


def check_graded(grade, filled, part, caught, code):
    grading = grade(filled(part, code))
    softer = [("unusual-code", part)]
    expected = {"unusual": softer, "doubted": softer, "-": []}.get(caught, [("autograd-used", part)])
    assert codes(grading) == expected
    assert not [output for cell in grading.cells for output in cell.outputs if output.kind == "error"]


@pytest.mark.parametrize(("part", "name", "caught", "code"), GRADED, ids=[name for _, name, _, _ in GRADED])
def test_taking_gradients_from_autograd_is_flagged(grade, filled, part, name, caught, code):
    check_graded(grade, filled, part, caught, code)


@pytest.mark.slow
@pytest.mark.parametrize(("part", "name", "caught", "code"), SLOW, ids=[name for _, name, _, _ in SLOW])
def test_every_way_that_was_tried(grade, filled, part, name, caught, code):
    check_graded(grade, filled, part, caught, code)


def run_shows(course, grade, filled, monkeypatch, part, code):
    """Whether the scaled run alone raises the flag."""
    monkeypatch.setattr(
        "grader.diagnosis.autograd_use.flags.read_sources", lambda cells, parts: ({p: {} for p in parts},) * 2
    )
    return ("autograd-used", part) in codes(grade(filled(part, code)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "name", "caught", "code"), DISHONEST_ALL, ids=[name for _, name, _, _ in DISHONEST_ALL]
)
def test_the_run_shows_what_it_can(course, grade, filled, monkeypatch, part, name, caught, code):
    if name != "Adam, which knows no scale":  # what it shows there is chance
        assert run_shows(course, grade, filled, monkeypatch, part, code) is (caught in ("both", "run"))


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


def test_the_run_makes_a_branch_that_is_not_taken_a_softer_flag(grade, solved):
    code = "if dh is None:\n    dh = h.grad"
    grading = grade(solved(("dh = hsum * dscaled + dhsum", f"dh = hsum * dscaled + dhsum\n{code}")))
    assert codes(grading) == [("unusual-code", "steps")]
    assert "dh may get its numbers from h.grad" in grading.grade.flags[0].message


# --- flags and policy


def flags_of(source, **checks):
    cells = [planned(source)]
    nothing = Execution(cells=[], visible={}, hidden={})
    spec = ExerciseSpec(id="e", title="E", minutes=1, parts=[])
    return autograd_flags(cells, {"p": PartChecks(**{"gradients": ["dX", "dY"], **checks})}, spec, nothing, [])


def test_a_flag_says_where_and_what():
    (flag,) = flags_of("n = 3\ndX = X.grad\ndY = dX * n")
    assert flag.code == "autograd-used"
    assert flag.part == "p"
    assert (
        flag.message == "Line 2 of the cell the-cell: dX gets its numbers from X.grad (and 1 more tensor of this part)."
    )


def test_unreadable_code_is_the_softer_flag():
    (flag,) = flags_of("exec(open('x').read())")
    assert (flag.code, flag.part) == ("unusual-code", "p")
    assert "Line 1 of the cell the-cell" in flag.message


def test_without_a_word_of_autograd_nothing_is_read_or_run(course, monkeypatch):
    monkeypatch.setattr("grader.diagnosis.autograd_use.flags.read_sources", lambda *_: pytest.fail("read"))
    assert flags_of("dX = 2 * dY  # autograd says so too, backward") == []
    assert scaled_cases([planned("dX = 2 * dY")], course.exercise("mini").spec) == []


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
    marks = {
        "both": "yes | yes | `autograd-used`",
        "source": "yes | no | `autograd-used`",
        "run": "no | yes | `autograd-used`",
        "doubted": "yes | no | `unusual-code`",
        "unusual": "unreadable | no | `unusual-code`",
        "-": "no | no | none",
    }
    for _, name, caught, _ in DISHONEST_ALL:
        assert f"| {name} | {marks[caught]} |" in text
    assert len(DISHONEST_ALL) >= 30
    assert len(HONEST_ALL) >= 25
