"""Backward cells: ours, locked, and calling what the student wrote. Exercise 02 is made of them."""

from __future__ import annotations

from collections.abc import Collection

import pytest
import torch

from grader.diagnosis.formula.expression import evaluate, write
from grader.diagnosis.formula.node import parts
from grader.diagnosis.formula.program import Program
from grader.execution.time_limits import FACTOR
from grader.grading.pool import GraderPool
from grader.intake.take_in import PlannedCell, take_in
from grader.notebook.code import Code
from grader.records import Grading, Submission
from tests.slips import Slipped
from tests.submissions import COURSE, handed_in

LAYERS = "02_layers"


def grade(pool: GraderPool, *replacements: tuple[str, str]) -> Grading:
    return pool.grade(Submission(student="s", exercise=LAYERS, data=handed_in(LAYERS, *replacements)))


def of_part(grading: Grading, part: str) -> dict[str, str]:
    return {check.name: check.verdict.value for check in grading.grade.checks if check.part == part}


def line_of(grading: Grading, part: str, name: str) -> str:
    """The text of the line that the report points at."""
    found = next(item for item in grading.evidence if (item.part, item.name) == (part, name))
    assert found.cell is not None
    assert found.line is not None
    return grading.cells[found.cell].source.splitlines()[found.line - 1].strip()


def diagnosis(grading: Grading, part: str, name: str) -> str | None:
    check = next(item for item in grading.grade.checks if (item.part, item.name) == (part, name))
    return check.diagnosis.code if check.diagnosis else None


def test_what_a_backward_cell_binds_is_checked_and_what_it_starts_from_is_upstream():
    parts = COURSE.exercise(LAYERS).parts
    assert parts["linear"].gradients == ["dx", "dweight", "dbias"]
    assert parts["linear"].upstream == ["dout"]
    assert parts["network"].gradients[:3] == ["dlogits", "dh3", "dy3"]


def test_a_wrong_method_is_wrong_there_and_carried_above_it_everywhere_else(real_pool):
    grading = grade(real_pool, ("dx = (1 - self.out**2) * dout", "dx = 3 * (1 - self.out**2) * dout"))
    assert of_part(grading, "small-layers") == {"dflat": "wrong", "demb": "carried", "dtable": "carried"}
    assert diagnosis(grading, "small-layers", "dflat") == "constant-factor"
    assert line_of(grading, "small-layers", "dflat") == "dx = 3 * (1 - self.out**2) * dout"
    wrong = [name for name, verdict in of_part(grading, "network").items() if verdict == "wrong"]
    assert wrong == ["dy3", "dy2", "dy1"]
    assert line_of(grading, "network", "dy2") == "dx = 3 * (1 - self.out**2) * dout"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("- self.xhat * (grad_xhat", "+ self.xhat * (grad_xhat", "term-sign"),
        ("dx = self.inv_std * (\n", "dx = (\n", "factor-missing"),
        ("grad_xhat - grad_xhat.mean(0) -", "grad_xhat -", "path-missing"),
        (".sum(0) / (n - 1)", ".sum(0) / n", "wrong-constant"),
    ],
)
def test_the_formula_in_a_method_is_diagnosed(old, new, code):
    found = Slipped(LAYERS, ("batch-norm", old, new))
    assert found.wrong == {"batch-norm/dx": code}
    assert (found.line("batch-norm/dx") or "").startswith("dx = ")


def test_a_method_that_is_not_filled_in_costs_what_it_makes():
    found = Slipped(LAYERS, ("linear", "self.dbias = dout.sum(0)", "pass"))
    assert {name: check.verdict for name, check in found.checks.items()} == {
        "linear/dx": "exact", "linear/dweight": "exact", "linear/dbias": "missing",
    }  # fmt: skip


@pytest.mark.slow
def test_a_method_that_never_ends_says_nothing_about_the_student(real_pool, monkeypatch):
    monkeypatch.setenv(FACTOR, "0.3")  # nobody waits for it
    grading = grade(real_pool, ("dx = dout @ self.weight.T", "while True: pass"))
    assert set(of_part(grading, "linear").values()) == {"unchecked"}


def test_autograd_inside_a_method_is_flagged(real_pool):
    borrowed = (
        "with torch.enable_grad():\n"
        "            x = self.x.detach().requires_grad_()\n"
        "            dx, = torch.autograd.grad(x @ self.weight, x, dout)"
    )
    grading = grade(real_pool, ("dx = dout @ self.weight.T", borrowed))
    assert of_part(grading, "linear")["dx"] in ("exact", "approximate")
    assert ("autograd-used", "linear") in [(flag.code, flag.part) for flag in grading.grade.flags]


def test_a_class_is_known_by_its_name_when_an_editor_dropped_all_metadata():
    intake = take_in(
        handed_in(LAYERS, ("(1 - self.out**2)", "(1 - self.out * self.out)"), stripped=True), COURSE.exercise(LAYERS)
    )
    student = [cell for cell in intake.cells if cell.student]
    assert [cell.label for cell in student] == [
        "linear-class", "small-classes", "norm-class", "dlogits", "training-loop",
    ]  # fmt: skip
    assert not any("missing" in note for note in intake.notes)


def program(student: str, ours: str, tensors: Collection[str] = (), constants: Collection[str] = ()) -> Program:
    cells = [
        PlannedCell(code=Code(student), role="gradients", part="p", student=True, label="class"),
        PlannedCell(code=Code(ours), role="backward", part="p", student=False, label="call"),
    ]
    return Program(cells, "p", {*tensors, *constants, "dy"}, tensors, constants)


SCALE = """class Scale(Base):
    def __call__(self, x):
        self.seen = x
        return super().__call__(x)

    def backward(self, dout):
        twice = 2 * dout
        if self.training:
            dx = twice * self.gain
        else:
            dx = twice
        self.dgain = (self.seen * twice).sum()
        return dx
"""


def test_methods_are_gone_into_in_the_names_of_our_cell():
    ours = "scale = Scale(3)\nscale.gain = gain\nwith torch.no_grad():\n    scale(h)\n    dh = scale.backward(dy)\n"
    ours += "dgain = scale.dgain"
    found = program(SCALE, ours, {"h", "gain", "y"})
    assert {name: write(node) for name, node in found.formulas.items()} == {
        "scale__backward__twice": "2 * dy",
        "scale__backward__dx": "twice * gain",
        "scale__dgain": "(h * twice).sum(…)",
        "dh": "dx",
        "dgain": "dgain",
    }
    assert evaluate(found.formulas["dh"], {"dy": 5, "gain": 3}, {}) == 30


def test_the_line_in_a_function_is_the_one_that_makes_what_it_returns():
    student = "def clip(g):\n    norm = (g * g).sum()\n    g = g / norm\n    return norm, [g]"
    made = program(student, "dn, (dg,) = clip(dy)\ndz = apply(clip, dy)\ndw = dz[0]").made
    assert {name: found.line for name, found in made.items()} == {"dn": 2, "dg": 4, "dz": 1, "dw": 1}
    assert {found.code for found in made.values()} == {"clip"}


def test_a_method_that_calls_another_one_is_followed_there():
    student = SCALE.replace("twice = 2 * dout", "twice = self.times(dout, 2)") + (
        "    def times(self, x, k):\n        return k * x + self.gain\n"
    )
    found = program(student, "scale = Scale(3)\nscale.gain = gain\ndh = scale.backward(dy)", {"h", "gain", "y"})
    assert evaluate(found.formulas["dh"], {"dy": 5, "gain": 3}, {}) == 39


@pytest.mark.parametrize(
    ("tensors", "constants", "meant"),
    [((), ("seen", "seen_eval"), "seen_eval"), (("seen",), (), "seen"), ((), ("seen",), None)],
)
def test_what_the_forward_method_computes_is_the_tensor_of_that_name_for_the_layer(tensors, constants, meant):
    student = SCALE.replace("self.seen = x", "self.seen = odd(x)")
    ours = "scale_eval = Scale(3)\nscale_eval(h)\nscale_eval.backward(dy)\ndgain = scale_eval.dgain"
    node = program(student, ours, {"h", *tensors}, constants).formulas.get("dgain")
    assert meant in ({part.value for part in parts(node)} if node is not None else {None})


def test_a_branch_that_is_not_taken_changes_nothing():
    student = SCALE.replace("        else:\n            dx = twice\n", "").replace(
        "twice = 2 * dout", "twice = dx = 2 * dout"
    )
    found = program(student, "scale = Scale(3)\nscale.training = False\ndh = scale.backward(dy)", {"h", "y"})
    assert evaluate(found.formulas["dh"], {"dy": 5}, {}) == 10


@pytest.mark.parametrize(("mode", "line"), [("", 9), ("scale.training = False\n", 11)])
def test_the_line_is_that_of_the_branch_which_our_cell_asks_for(mode, line):
    found = program(SCALE, f"scale = Scale(3)\n{mode}dh = back(scale, dy)\ndgain = scale.dgain")
    assert found.made["dh"] == ("Scale.backward", 0, line)
    assert found.made["dgain"] == ("Scale.backward", 0, 12)
    assert "dother" not in found.made


@pytest.mark.parametrize("student", ["", "class Scale: pass", "def Scale(n): pass", "class Scale(:", "Scale = None"])
def test_what_is_no_layer_points_nowhere_and_stops_nothing(student):
    found = program(student, "scale = Scale(3)\ndh = scale.backward(dy)", {"h"})
    assert "dh" not in found.formulas
    assert found.made.get("dh", (None, 0, 1))[1:] == (0, 1)


def test_what_the_forward_method_makes_is_written_out_where_backward_reads_it():
    student = """class Window:
    def __init__(self, size):
        self.size = size

    def __call__(self, x):
        L, unused = x.shape[1], x.sum()
        self.places = torch.arange(L - self.size)
        return x[:, self.places]

    def backward(self, dout):
        return dout[:, self.places]
"""
    found = program(student, "window = Window(2)\nwindow(h)\ndh = window.backward(dy)", {"h", "y"})
    h, dy = torch.ones(1, 4), torch.tensor([[5.0, 6.0, 7.0]])
    assert evaluate(found.formulas["dh"], {"h": h, "dy": dy}, {}).tolist() == [[5, 6]]
    assert list(found.formulas) == ["dh"]
