"""What the snapshot's kernels do faster than ipykernel must come to the same."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import warnings
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ipykernel.compiler import murmur2_x86
from IPython.core.inputtransformer2 import MagicAssign, TransformerManager
from IPython.core.interactiveshell import InteractiveShell

from grader.kernels.inside import message_fragments
from grader.kernels.inside.iopub import LateSession
from grader.kernels.inside.kernelapp import AcceptedOnce, OncePerCell, PlainPython, murmur2
from grader.notebook.file import read_notebook
from tests.conftest import ROOT


def plain_python(manager: TransformerManager) -> PlainPython:
    shell = SimpleNamespace(
        input_transformer_manager=manager,
        compile=SimpleNamespace(ast_parse=ast.parse),
        run_ast_nodes=None,
        run_code=None,
        should_run_async=lambda cell, **_: True,
    )
    return PlainPython(shell)


def shortened() -> TransformerManager:
    manager = TransformerManager()
    manager.do_token_transforms = plain_python(manager).tokens
    return manager


@given(st.text(max_size=50), st.integers(0, 2**32 - 1))
def test_a_cell_has_the_file_name_that_ipykernel_gives_it(text, seed):
    assert murmur2(text, seed) == murmur2_x86(text, seed)


def test_a_cell_is_transformed_once_and_the_same_cell_run_again_anew():
    seen = []
    transform = OncePerCell(lambda cell: seen.append(cell) or cell.upper())
    assert [transform("a"), transform("a")] == ["A", "A"]
    assert seen == ["a"]
    assert [transform("a"), transform("b"), transform("a")] == ["A", "B", "A"]
    assert seen == ["a", "a", "b", "a"]


@given(st.lists(st.binary(max_size=300_000), max_size=3), st.randoms(use_true_random=False))
def test_messages_come_through_whole_however_their_fragments_are_mixed(messages, chance):
    queues = [list(map(b"".join, message_fragments.split([message]))) for message in messages]
    assembler, arrived = message_fragments.Assembler(), []
    while any(queues):
        record = chance.choice([queue for queue in queues if queue]).pop(0)
        assert len(record) <= message_fragments.RECORD_BYTES
        arrived.append(assembler.add(record))
    assert sorted(message for message in arrived if message is not None) == sorted(messages)


def test_records_that_are_no_fragments_and_messages_that_nobody_ends_leave_nothing_behind():
    assembler = message_fragments.Assembler()
    assert assembler.add(b"") is None
    assert assembler.add(b"short") is None
    for _ in range(10_000):
        assert assembler.add(b"".join(next(message_fragments.split([bytes(100_000)])))) is None
    assert sum(len(begun) for begun in assembler._begun.values()) < 100
    assert [assembler.add(b"".join(record)) for record in message_fragments.split([b"who", b"", b"le"])] == [b"whole"]


def test_every_cell_of_the_course_is_transformed_as_the_shell_does_it():
    cells = [
        cell.source
        for path in [*ROOT.glob("solutions/*.ipynb"), *ROOT.glob("exercises/*.ipynb")]
        for cell in read_notebook(path.read_bytes()).cells
    ]
    assert len(cells) > 100
    plain, quick = TransformerManager(), shortened()
    for cell in cells:
        assert quick.transform_cell(cell) == plain.transform_cell(cell)


LINES = [
    "x = 1", "%time x", "x = %time 1", "!ls", "y = !ls", "x?", "?x", "%%time", "(a", "% b)", "'''", "% c", "if x:",
    "    %time y", "    y", "# x?", "'?'", "", ">>> x", "...", "In [1]: x", ", f a", "/f a", "a\\", "; f a", "await x",
    "# a\u2028%time x", "# \u2028x?", "\x0c%time", "d = '''\r%time", "x =\\", "1if x else 2", r"'\d'",
]  # fmt: skip


@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=5).map("\n".join))
def test_what_only_the_shell_understands_is_found(cell):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of IPython's tokenizer
        assert shortened().transform_cell(cell) == TransformerManager().transform_cell(cell)


@pytest.mark.parametrize("cell", ["'\\d'\n", "x = 1if x else 2\n"])
def test_the_parser_warns_nobody_twice(cell):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        shortened().do_token_transforms(cell.splitlines(keepends=True))
    assert not warned


NUMBERS = ["1", "1.", ".5", "1e5", "1E-5", "0x1", "0xaF", "0b1", "0o7", "1j", "1.5e3j", "1_0", "00"]
KEYWORDS = ["and", "else", "for", "if", "in", "is", "not", "or"]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_parser_warns_of_a_number_before_a_keyword_only_once(number):
    forms = ["x = {} y", "x = {} y else z", "x = y if {} z", "x = [{} i in y]", "x = {} not y", "x = -{}(y)"]
    cells = [form.format(number + keyword) + "\n" for form in forms for keyword in KEYWORDS]
    plain = plain_python(TransformerManager()).tokens
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for cell in cells:
            plain([cell])
    assert not warned
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for cell in cells:
            with contextlib.suppress(SyntaxError):
                ast.parse(cell)
    assert warned


@pytest.mark.parametrize("cell", ["x = 1\n", "dbngain = (bnraw * dhpreact).sum(0)\n", "begin = x2if = main\n"])
def test_plain_python_is_not_tokenized(cell):
    def tokenize(lines):
        raise AssertionError(lines)

    manager = TransformerManager()
    manager.do_token_transforms = tokenize
    assert plain_python(manager).tokens([cell]) == [cell]


def test_a_cells_tree_is_that_of_its_own_text():
    plain = plain_python(TransformerManager())
    plain.tokens(["x = 1\n"])
    assert ast.unparse(plain.tree("y = 2\n")) == "y = 2"  # something else was parsed in between
    plain.tokens(["x = 1\n"])
    assert ast.unparse(plain.tree("x = 1\n")) == "x = 1"


@pytest.mark.parametrize(("cell", "is_async"), [("x = 1", False), ("await x", True), ("[x async for x in y]", True)])
def test_only_a_cell_that_may_wait_is_looked_at_for_it(cell, is_async):
    assert plain_python(TransformerManager()).is_async(cell, transformed_cell=cell) is is_async


@pytest.fixture(scope="module")
def shell():
    shell = InteractiveShell()
    yield shell
    shell.history_manager.end_session()


CELLS = [
    "a = 1\nb = a + 1\nb", "a = 1\nb\nc = 2", "a = 1\n1 / 0\nc = 2", "a = 1\nreturn\nc = 2",
    "import asyncio\na = 3\nawait asyncio.sleep(0)", "a = 1\n(lambda: 1)()", "def f():\n    a = 1\n    return a\nf()",
    "a = 1\nfrom __future__ import annotations", "", "a", "a = 4",
]  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
def test_a_cells_statements_come_to_the_same_together(shell, cell):
    def run(runs) -> tuple[object, ...]:
        shell.user_ns.update(dict.fromkeys("abc"))
        shown = []
        result = SimpleNamespace(error_before_exec=None, error_in_exec=None)
        shell.showtraceback = lambda *_, **__: shown.append("traceback")
        shell.display_trap.hook = shown.append
        with shell.display_trap:
            failed = asyncio.run(runs(list(ast.parse(cell).body), "<cell>", compiler=shell.compile, result=result))
        errors = [repr(error) for error in (result.error_before_exec, result.error_in_exec)]
        return bool(failed), errors, shown, [shell.user_ns[name] for name in "abc"]

    assert run(PlainPython(shell).run) == run(shell.run_ast_nodes)


def test_a_students_own_transformer_is_asked():
    class Mine(MagicAssign):
        @classmethod
        def find(cls, tokens_by_line):
            return cls((1, 0)) if tokens_by_line[0][0].string == "x" else None

        def transform(self, lines):
            return ["mine\n"]

    manager = shortened()
    manager.token_transformers = [*manager.token_transformers, Mine]
    assert manager.transform_cell("x = 1\n") == "mine\n"


def test_what_a_method_accepts_is_looked_up_once():
    class Kernel:
        def execute(self):
            """A method."""

        def complete(self):
            """Another."""

    looks = []
    accepted = AcceptedOnce(lambda method, names: looks.append(method.__name__) or dict.fromkeys(names, True))
    for kernel in (Kernel(), Kernel()):
        assert accepted(kernel.execute, ["a"]) == {"a": True}
        assert accepted(kernel.execute, ["b"]) == {"b": True}
        assert accepted(kernel.complete, ["b"]) == {"b": True}
    assert looks == ["execute", "execute", "complete"]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=9))
def test_a_message_comes_with_its_buffers(parts):
    assert message_fragments.parted(memoryview(b"".join(message_fragments.pieces(parts)))) == parts


@pytest.mark.parametrize("message", [b"", b"\0", b"\0\0\0\5four", b"\xff\xff\xff\xff", bytes(4_000_000)])
def test_what_is_no_message_has_no_parts(message):
    assert message_fragments.parted(memoryview(message)) == []


class Text(str):
    """A string whose class JSON doesn't know."""

    __slots__ = ()

    def __str__(self) -> str:
        raise AssertionError("a student's own code")


@pytest.mark.parametrize(
    "value",
    ["a", Text("a"), {Text("a"): 1}, 1, 0.1, None, True, [1, "é"], {"a": {"b": [None]}}, {1: 2}, b"bytes", (1, 2),
     datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "half a pair: \udc80"],
)  # fmt: skip
def test_a_message_is_packed_as_jupyter_client_packs_it(value):
    session = LateSession()
    told = {"content": {"value": value}}
    packed, expected = (one.decode("utf-8", "replace") for one in (session._packed(told), session.pack(told)))
    assert json.loads(packed) == json.loads(expected)
