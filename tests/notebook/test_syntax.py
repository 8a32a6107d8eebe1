"""What is read from a cell's source without running it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.notebook.statements import dissect
from grader.notebook.syntax import (
    assigned_names,
    first_bindings,
    line_that_binds,
    loaded_names,
    names_bound,
    parse,
    statements,
    up_to_line,
)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("dW = 1", ["dW"]),
        ("dW: object = 1", ["dW"]),
        ("dW = db = 1", ["dW", "db"]),
        ("dh, (dW, *db), [dx] = f()", ["dh", "dW", "db", "dx"]),
        ("dW += 1", ["dW"]),
        ("dC[Xb] += demb", ["dC"]),
        ("dC[i][j] = 1", ["dC"]),
        ("dC.data[i] = 1", ["dC"]),
        ("dC.index_add_(0, i, demb)", ["dC"]),
        ("print(dW := 1)", ["dW"]),
        ("b = 1; a = 2; b = 3", ["b", "a"]),
        ("for i in range(3):\n    if i:\n        dC[i] = 1", ["i", "dC"]),
        ("def f():\n    dW = 1", ["dW"]),
        ("print(dW)\ndW.sum()\ndW == 1", []),
        ("dW.__init__()", []),
        ("# dW = 1\n'dW = 2'", []),
        ("", []),
        ("dW = (1", []),
        ("dW = '\x00'", []),
    ],
)
def test_assigned_names(source, names):
    assert assigned_names(source) == names


BINDS = [
    "dX = a",
    "dX: object = a",
    "dX += a",
    "print(dX := a)",
    "for dX in xs: pass",
    "with f() as dX: pass",
    "a, (*dX, b) = c",
    "import dX",
    "from m import a as dX",
    "def dX(): pass",
    "class dX: pass",
    "try: pass\nexcept ValueError as dX: pass",
    "match x:\n    case [1, *dX]: pass",
    "match x:\n    case {1: a, **dX}: pass",
    "del dX",
    "if a:\n    dX = 1",
    "def f():\n    global dX\n    dX = 1",
]
WRITES = ["dX[i] = a", "dX.grad = a", "dX.add_(a)", "b = dX.add_(a)", "print(dX.add_(a))", "torch.add(a, b, out=dX)"]
NEITHER = ["print(dX)", "dX.sum()", "dX: object", "dX == a", "b = [dX for dX in xs]", "f(a, dX=b)", "def f(dX): pass"]


@pytest.mark.parametrize("source", BINDS + WRITES + NEITHER)
def test_every_reader_has_the_same_idea_of_what_a_statement_binds(source):
    """The one place that says what a node binds is `_binds`; a cell's pieces, names and lines follow from it."""
    (*_, piece) = dissect(source).pieces
    assert ("dX" in piece.binds) == (source not in NEITHER)
    assert ("dX" in names_bound(parse(source))) == (source in BINDS)
    assert any(name == "dX" for _, name in first_bindings(source)) == (source in BINDS)
    kept_in_statements = ("import", "from", "def dX", "class", "try", "match")
    if not source.startswith(kept_in_statements):
        assert ("dX" in assigned_names(source)) == (source not in NEITHER)


@pytest.mark.parametrize("target", ["dX", "(a, dX)", "[a, *dX]"])
def test_a_target_by_itself_binds_its_names(target):
    (loop,) = parse(f"for {target} in xs: pass").body
    assert "dX" in names_bound(loop.target)
    assert names_bound(loop.iter) == frozenset()


@pytest.mark.parametrize(
    "line",
    ["%matplotlib inline", "%%time", "!wget https://example.com/names.txt", "?torch.max", "F.one_hot?", "dW??"],
)
def test_a_line_for_ipython_alone_hides_no_other_name(line):
    assert assigned_names(f"{line}\ndh = 1\nif dh:\n    {line.strip()}\n    dW = 2") == ["dh", "dW"]


@pytest.mark.parametrize("source", ["files = !ls", "a, files = %sx ls", "    files = !ls -la | wc"])
def test_what_a_shell_line_gives_is_assigned(source):
    assert assigned_names(f"if True:\n    {source.strip()}")[-1] == "files"


@pytest.mark.parametrize(
    "source", ["dW = h # why this?", "dW = f(h, # or logits?\n       1)", "dW = '''\n%a\n!b?\n'''"]
)
def test_a_question_in_a_comment_or_string_is_no_magic(source):
    assert assigned_names(source) == ["dW"]


def test_lines_are_counted_as_python_counts_them():
    source = "a = 'x\u2028y\x0c'\n\ndW = 1\n"
    assert line_that_binds(source, "dW") == 3
    assert up_to_line(source, 3) == "a = 'x\u2028y\x0c'"
    assert line_that_binds("a = 1\r\ndW = 2\r\n", "dW") == 2


def test_await_at_the_top_is_allowed():
    assert assigned_names("dW = await f()") == ["dW"]


def test_loaded_names():
    assert loaded_names("dW = h.T @ dlogits[i]\nx = 1") == {"h", "dlogits", "i"}
    assert loaded_names("dW = (") == set()


def test_statements_say_what_they_bind_read_and_where_they_stand():
    first, second, third = statements("dh = f(a)\n\ndC = (b +\n      c)\nif dh:\n    dC[d] += e")
    assert (first.names, first.reads, first.first, first.last) == (("dh",), {"f", "a"}, 1, 1)
    assert (second.names, second.reads, second.first, second.last) == (("dC",), {"b", "c"}, 3, 4)
    assert (third.names, third.first, third.last) == (("dC",), 6, 6)
    assert {"d", "e"} <= third.reads


def test_the_last_line_that_binds_a_name():
    source = "dC = 0\nfor i in x:\n    dC[i] = 1\nprint(dC)"
    assert line_that_binds(source, "dC") == 3
    assert line_that_binds(source, "dW") is None


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (1, ""),
        (2, "a = 1"),
        (3, "a = 1"),
        (4, "a = 1\nb = (2,\n     3)"),
        (6, "a = 1\nb = (2,\n     3)"),
        (7, "a = 1\nb = (2,\n     3)\nwhile a:\n    c = 3\n    d = 4"),
    ],
)
def test_only_whole_statements_before_a_line_are_kept(line, kept):
    assert up_to_line("a = 1\nb = (2,\n     3)\nwhile a:\n    c = 3\n    d = 4\ne = 5", line) == kept


def test_nothing_is_kept_of_a_cell_that_does_not_parse():
    assert up_to_line("a = 1\nb = (", 2) == ""


@given(st.text())
def test_any_text_has_names_or_none(source):
    assert (parse(source) is None) <= (assigned_names(source) == [])
    assert up_to_line(source, 2) in source


PIECES = ["a = 1", "!x", "%y", "b?", "if a:", "    c = 2", "(", "'''", "d[0] += 1"]


@given(st.lists(st.sampled_from(PIECES), max_size=8))
def test_pieces_of_cells_have_names_or_none(pieces):
    source = "\n".join(pieces)
    for name in assigned_names(source):
        assert line_that_binds(source, name) is not None
