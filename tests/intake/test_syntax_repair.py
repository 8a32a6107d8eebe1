"""Cells with a syntax error: what is left out, what is kept, and what a left-out line would have bound."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.intake.syntax_repair import MAX_PARSED, Allowance, repair
from grader.notebook.statements import dissect
from tests.lecture import STEPS

CASES = {
    "a slip in a line": ("a = 1\ndh = b * * c\nd = 2", "a = 1\npass\nd = 2", [2]),
    "a slip in a line whose name is used": ("dh = b * * c\ndx = dh + 1", "dh = None\ndx = dh + 1", [1]),
    "a slip in a second attempt": ("dh = 1\ndh = b c", "dh = 1\ndh = None", [2]),
    "a statement over lines": ("a = 1\ndh = (b +\n  c d\n  + e)\nf = 2", "a = 1\npass\n\n\nf = 2", [2]),
    "a bracket left open": ("dC = f(C\nfor k in K:\n  dC[k] += 1", "dC = None\nfor k in K:\n  dC[k] += 1", [1]),
    "a loop's head": ("dC = C * 0\nfor k in K\n  dC[k] += 1\nx = 1", "dC = C * 0\ndC = None\n\nx = 1", [2]),
    "a loop without a body": ("dC = 1\nfor k in K:\ndC += k\nx = 1", "dC = 1\ndC = None\n\nx = 1", [2]),
    "a line in a function": ("def f():\n  dh = 1 1\n  return dh", "def f():\n  dh = None\n  return dh", [2]),
    "several targets": ("dh, dW = 1 2\nx = dh, dW", "dh = dW = None\nx = dh, dW", [1]),
    "prose": ("The gradient of h\ndh = 1\nand so on.", "pass\ndh = 1\npass", [1, 3]),
    "a printed table": ("dh = 1\nprobs   | exact: True  | maxdiff: 0.0", "dh = 1\npass", [2]),
    "a traceback": ("dh = 1\nTraceback (most\n  File x.py\nNo: a b", "dh = 1\npass\npass\npass", [2, 3, 4]),
    "a shell line beside": ("!ls\ndh = 1\nx y", "\ndh = 1\npass", [3]),
    "an open string": ("dh = 1\ns = '''a\nb", "dh = 1\npass\nb", [2]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_only_what_is_no_python_is_left_out(name):
    source, left, lost = CASES[name]
    found = repair(source, Allowance())
    kept = "\n".join(found.dissected.lines)
    assert [line.rstrip() for line in kept.split("\n")] == [line.rstrip() for line in left.split("\n")]
    assert [*found.lost] == lost
    assert found.dissected.pieces is not None


def test_python_says_what_is_wrong_with_each_line_that_is_left_out():
    found = repair("dh = 1 $ 2\nx = dh\ndW = 3 4\ny = dW", Allowance())
    assert found.lost == {1: "invalid syntax", 3: "invalid syntax"}
    assert "U+201C" in repair("dh = 1\ndW = \u201c3", Allowance()).lost[2]


def test_what_is_all_python_needs_no_mending():
    assert repair("dh = 1", Allowance()) is None


def test_between_conflict_markers_nobody_knows_which_version_is_meant():
    assert repair("<<<<<<< HEAD\ndh = 1\n=======\ndh = 2\n>>>>>>> theirs", Allowance()) is None


def test_a_cell_of_nothing_but_errors_is_left_as_it_is():
    assert repair("no python\n" * 200, Allowance()) is None


def test_what_is_parsed_for_a_notebook_has_an_end():
    allowance = Allowance()
    broken = "dh = (1\nother = 2\n" * 40
    assert repair("dh = (1\nother = 2", allowance) is not None
    for _ in range(MAX_PARSED // len(broken)):
        repair(broken, allowance)
    assert repair("dh = (1\nother = 2", allowance) is None


TEXT = "\n".join(STEPS.values())


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, len(TEXT) - 1), st.sampled_from("()[]'\"=:\n *x")), min_size=1, max_size=3))
def test_whatever_is_typed_into_a_cell_it_is_mended_line_for_line(slips):
    source = TEXT
    for place, letter in slips:
        source = source[:place] + letter + source[place:]
    found = repair(source, Allowance())
    if found is None:
        assert dissect(source).pieces is not None
        return
    lines = source.split("\n")
    assert len(found.dissected.lines) == len(lines)
    kept = [line for line in found.dissected.lines if line.strip() and line.strip() != "pass"]
    assert all(line in lines or line.endswith("= None") for line in kept)


def test_half_a_product_on_a_line_of_its_own_is_no_decorator():
    found = repair("dW2 = h.T\n@ dlogits\ndb2 = dlogits.sum(0)\ndh = dlogits", Allowance())
    assert found is not None
    assert [*found.lost] == [2]
    assert {"db2", "dh"} <= found.bound
