"""What is read from a cell's source without running it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grader.notebook.code import Code
from grader.notebook.statements import dissect
from grader.notebook.syntax import names_bound


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
    assert Code(source).binds == names


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
    """The one place that says what a node binds is `bound_and_written`; all that cells say follows from it."""
    (*_, piece) = dissect(source).pieces
    assert ("dX" in piece.binds) == (source not in NEITHER)
    assert ("dX" in names_bound(Code(source).tree)) == (source in BINDS)
    assert any(name == "dX" for _, name in Code(source).first_bindings) == (source in BINDS)
    kept_in_statements = ("import", "from", "def dX", "class", "try", "match")
    if not source.startswith(kept_in_statements):
        assert ("dX" in Code(source).binds) == (source not in NEITHER)


@pytest.mark.parametrize("target", ["dX", "(a, dX)", "[a, *dX]"])
def test_a_target_by_itself_binds_its_names(target):
    (loop,) = Code(f"for {target} in xs: pass").tree.body
    assert "dX" in names_bound(loop.target)
    assert names_bound(loop.iter) == frozenset()


@pytest.mark.parametrize(
    "line",
    ["%matplotlib inline", "%%time", "!wget https://example.com/names.txt", "?torch.max", "F.one_hot?", "dW??"],
)
def test_a_line_for_ipython_alone_hides_no_other_name(line):
    assert Code(f"{line}\ndh = 1\nif dh:\n    {line.strip()}\n    dW = 2").binds == ["dh", "dW"]


@pytest.mark.parametrize("source", ["files = !ls", "a, files = %sx ls", "    files = !ls -la | wc"])
def test_what_a_shell_line_gives_is_assigned(source):
    assert Code(f"if True:\n    {source.strip()}").binds[-1] == "files"


@pytest.mark.parametrize(
    "source", ["dW = h # why this?", "dW = f(h, # or logits?\n       1)", "dW = '''\n%a\n!b?\n'''"]
)
def test_a_question_in_a_comment_or_string_is_no_magic(source):
    assert Code(source).binds == ["dW"]


def test_lines_are_counted_as_python_counts_them():
    source = "a = 'x\u2028y\x0c'\n\ndW = 1\n"
    assert Code(source).line_that_binds("dW") == 3
    assert Code(source).up_to(3).source == "a = 'x\u2028y\x0c'"
    assert Code("a = 1\r\ndW = 2\r\n").line_that_binds("dW") == 2


def test_await_at_the_top_is_allowed():
    assert Code("dW = await f()").binds == ["dW"]


def test_loaded_names():
    assert Code("dW = h.T @ dlogits[i]\nx = 1").reads == {"h", "dlogits", "i"}
    assert Code("dW = (").reads == set()


def test_statements_say_what_they_bind_read_and_where_they_stand():
    first, second, third = Code("dh = f(a)\n\ndC = (b +\n      c)\nif dh:\n    dC[d] += e").statements
    assert (first.binds, first.reads, first.first, first.last) == (("dh",), {"f", "a"}, 1, 1)
    assert (second.binds, second.reads, second.first, second.last) == (("dC",), {"b", "c"}, 3, 4)
    assert (third.binds, third.first, third.last) == (("dC",), 6, 6)
    assert {"d", "e"} <= third.reads


def test_the_last_line_that_binds_a_name():
    source = "dC = 0\nfor i in x:\n    dC[i] = 1\nprint(dC)"
    assert Code(source).line_that_binds("dC") == 3
    assert Code(source).line_that_binds("dW") is None


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
    assert Code("a = 1\nb = (2,\n     3)\nwhile a:\n    c = 3\n    d = 4\ne = 5").up_to(line).source == kept


def test_nothing_is_kept_of_a_cell_that_does_not_parse():
    assert Code("a = 1\nb = (").up_to(2).source == ""


@given(st.text())
def test_any_text_has_names_or_none(source):
    assert Code(source).is_python or Code(source).binds == []
    assert Code(source).up_to(2).source in source


PIECES = ["a = 1", "!x", "%y", "b?", "if a:", "    c = 2", "(", "'''", "d[0] += 1"]


@given(st.lists(st.sampled_from(PIECES), max_size=8))
def test_pieces_of_cells_have_names_or_none(pieces):
    source = "\n".join(pieces)
    for name in Code(source).binds:
        assert Code(source).line_that_binds(name) is not None
