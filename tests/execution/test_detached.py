"""How a part's cells are rewritten for the detached run, and how its answer is read."""

from __future__ import annotations

import ast
import base64
import marshal

import msgspec
import pytest
import torch

from grader.course.part_reference import PartReference
from grader.execution.detached import DetachedCase, DetachedPart, DetachedPlan, Lines, read_detached
from grader.execution.detached_cells import Rewriter, bound_in
from grader.kernels.probe import grader_detached


@pytest.fixture
def reference():
    """loss = (a * b).sum(), a = x + y"""
    x, y, b = (torch.tensor([float(i), 2.0], requires_grad=True) for i in range(3))
    a = x + y
    c = a * b
    root = c.sum()
    found = PartReference(root, {"x": x, "y": y, "b": b, "a": a, "c": c}, {}, {})
    found.gradients = dict(zip("xybac", torch.autograd.grad(root, [x, y, b, a, c], retain_graph=True), strict=True))
    return found


def rewritten(reference, source, names=("dx", "dy", "db", "da", "dc")):
    rewriter = Rewriter({name: name for name in names}, reference, walrus=":=" in source)
    bound = bound_in(ast.parse(source).body, walrus=":=" in source) & set(names)
    tree = rewriter.rewritten(ast.parse(source), bound)
    return ast.unparse(tree).replace("__import__('grader_detached').", "~"), rewriter.places


TRY = "try:\n    {}\nexcept:\n    ~failed()\n"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("dc = 1\nda = dc", [TRY.format("dc = 1"), "~after('dc')\n", TRY.format("da = dc"), "~after('da')"]),
        ("da = 1\nda += 2", [TRY.format("da = 1"), TRY.format("da += 2"), "~after('da')"]),
        ("da, db = f()", [TRY.format("da, db = f()"), "~after('da', 'db')"]),
        ("print((da := 1))", [TRY.format("print((da := 1))"), "~after('da')"]),
        ("while z:\n    da[i] = 1", [TRY.format("while z:\n        da[i] = 1"), "~after('da')"]),
    ],
)
def test_each_statement_is_tried_and_its_gradients_are_kept_after_the_last(reference, source, lines):
    assert rewritten(reference, source)[0] == "".join(lines)


def test_each_line_of_a_loop_is_tried_and_the_gradient_is_kept_after_the_loop(reference):
    text, _ = rewritten(reference, "for i in z:\n    da[i] = 1\n    dc[i] = da[i]")
    assert text.count("try:") == 3
    assert text.endswith("~after('da', 'dc')")
    assert text.count("after") == 1


def test_what_a_function_binds_is_its_own(reference):
    assert "after" not in rewritten(reference, "def f():\n    da = 1")[0]


def test_a_block_that_runs_once_is_gone_into(reference):
    text, places = rewritten(reference, "with no_grad:\n    dc = 1\n    da = dc")
    assert text.index("~after('dc')") < text.index("da = dc")
    assert places["dc"] != places["da"]


def test_a_training_loop_is_run_for_one_step_and_its_update_starts_from_numbers(reference):
    text, _ = rewritten(reference, "for step in range(9):\n    c = a * b\n    dc = 1\n    db = dc\n    b -= db")
    assert text.index("~after('db')") < text.index("~update('db')") < text.index("b -= db") < text.index("break")


def test_a_loop_over_rows_is_no_training_loop(reference):
    text, _ = rewritten(reference, "for i in range(9):\n    dc[i] = 1\n    da[i] = dc[i]")
    assert "break" not in text
    assert text.endswith("~after('da', 'dc')")


def run(cells, namespace, *, bound=(), inner=("da", "dc"), shapes=None):
    told = {
        "cells": [("source", cell) for cell in cells], "shapes": shapes or {"da": [2], "dc": [2], "db": [2]},
        "bound": list(bound), "inner": list(inner), "variables": {}, "lists": [], "own": [],
        "values": [], "forward": ["a"],
        "known": ["a"], "runs": [[]], "seed": 1,
    }  # fmt: skip
    grader_detached.keep(namespace, "case", "part")
    (found,) = grader_detached.run(
        namespace, ("case", "part"), told, lambda _, text: exec(text, namespace),
        lambda names, wanted: {name: names[name] for name in wanted}, float("inf"),
    )  # fmt: skip
    return found


HEAD = "from grader.kernels.probe import grader_detached as g\n"


def test_the_next_line_starts_from_numbers_and_not_from_what_the_last_one_made():
    numbers = grader_detached.drawn("dc", (2,), 1)
    cells = [HEAD + "dc = torch.zeros(2); g.after('dc'); da = 3 * dc; g.after('da'); db = dc.sum(); g.after('db')"]
    found = run(cells, {"torch": torch, "a": torch.ones(2)}, bound=["dc", "da", "db"])
    assert torch.equal(found["recorded"]["dc"], torch.zeros(2))
    assert torch.equal(found["recorded"]["da"], 3 * numbers)
    assert found["changed"] == {}


def test_what_is_written_to_later_is_told():
    cells = [HEAD + "dc = torch.zeros(2); g.after('dc'); other = dc; other *= 2; a += 1"]
    found = run(cells, {"torch": torch, "a": torch.ones(2)}, bound=["dc"])
    assert list(found["changed"]) == ["dc"]
    assert list(found["after"]) == ["a"]


def test_what_a_list_holds_is_put_back_too():
    words, weights, generators = ["a", "b"], [torch.ones(2)], [torch.Generator().manual_seed(1)]
    namespace = {"words": words, "weights": weights, "generators": generators}
    kept = grader_detached._Kept(namespace)
    words.append("c")
    weights[0].data -= 1
    drawn = torch.rand(2, generator=generators[0])
    kept.restore(namespace)
    assert words == ["a", "b"]
    assert torch.equal(weights[0], torch.ones(2))
    assert torch.equal(torch.rand(2, generator=generators[0]), drawn)


def test_a_long_list_is_put_back_where_it_holds_tensors_and_is_not_looked_through_where_it_is_data():
    words, states = ["a"] * 2000, [torch.ones(1)] * 2000
    kept = grader_detached._Kept({"words": words, "states": states})
    states[1999] = None
    kept.restore({})
    assert states[1999] is not None
    assert not any(value is words for value, _ in kept.lists)


def test_everything_is_as_it_was_before_each_run():
    namespace = {"torch": torch, "a": torch.ones(2), "g_": torch.Generator().manual_seed(1)}
    draw = HEAD + "a += torch.rand(2, generator=g_); dc = a.clone(); g.after('dc')"
    first, second = run([draw], namespace, bound=["dc"]), run([draw], dict(namespace), bound=["dc"])
    assert not torch.equal(first["recorded"]["dc"], second["recorded"]["dc"])  # kept anew, and so begun further on
    again = grader_detached._kept["case", "part"]
    again.restore(namespace)
    assert torch.equal(namespace["a"], again.names["a"])


def test_code_arrives_as_it_was_compiled():
    code = compile("x = 1", "<detached>", "exec")
    assert grader_detached.code(base64.b64encode(marshal.dumps(code)).decode()) == code


PART = DetachedPart(cells=[], bound=[], inner=[], variables={}, own=[], values=[], forward=[], known=[], elements=9)
PLAN = DetachedPlan(parts={"p": PART}, cases={"twin": {"p": DetachedCase(shapes={}, seed=1, runs=[[]])}},
                    lines={"p": Lines(places={}, reads={}, variables={})})  # fmt: skip


@pytest.mark.parametrize("raw", [None, "", [], {"twin": 3}, {"twin": {"p": [{"recorded": 1}]}}, {"other": {}}])
def test_what_the_kernel_says_is_read_warily(raw):
    assert read_detached(msgspec.msgpack.encode(raw), PLAN)["twin"]["p"].runs == []


def test_a_namespace_with_an_expanded_tensor_can_be_put_back():
    # `dx = dout.expand(…)` is a good answer, and must not cost the parts below it their detached runs
    namespace = {"row": torch.zeros(3), "rows": torch.ones(3).expand(4, 3)}
    kept = grader_detached._Kept(namespace)
    namespace["row"].data += 1
    kept.restore(namespace)
    assert namespace["row"].tolist() == [0.0, 0.0, 0.0]
    assert namespace["rows"].shape == (4, 3)
