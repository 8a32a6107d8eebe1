"""What the snapshot's kernels do faster than ipykernel must come to the same."""

from __future__ import annotations

import ast
import contextlib
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ipykernel.compiler import murmur2_x86
from IPython.core.inputtransformer2 import MagicAssign, TransformerManager

from grader.kernels.inside import fragments
from grader.kernels.inside.kernelapp import AcceptedOnce, OncePerCell, TokensOnlyWhereNeeded, murmur2
from grader.notebook.file import read_notebook
from tests.conftest import ROOT


def shortened() -> TransformerManager:
    manager = TransformerManager()
    manager.do_token_transforms = TokensOnlyWhereNeeded(manager)
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
    queues = [list(fragments.split(message)) for message in messages]
    assembler, arrived = fragments.Assembler(), []
    while any(queues):
        record = chance.choice([queue for queue in queues if queue]).pop(0)
        assert len(record) <= fragments.RECORD_BYTES
        arrived.append(assembler.add(record))
    assert sorted(message for message in arrived if message is not None) == sorted(messages)


def test_records_that_are_no_fragments_and_messages_that_nobody_ends_leave_nothing_behind():
    assembler = fragments.Assembler()
    assert assembler.add(b"") is None
    assert assembler.add(b"short") is None
    for _ in range(10_000):
        assert assembler.add(next(fragments.split(bytes(100_000)))) is None
    assert sum(len(begun) for begun in assembler._begun.values()) < 100
    assert [assembler.add(record) for record in fragments.split(b"whole")] == [b"whole"]


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
    plain = TokensOnlyWhereNeeded(TransformerManager())
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
    assert TokensOnlyWhereNeeded(manager)([cell]) == [cell]


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
    assert fragments.parted(fragments.joined(parts)) == parts


@pytest.mark.parametrize("message", [b"", b"\0", b"\0\0\0\5four", b"\xff\xff\xff\xff", bytes(4_000_000)])
def test_what_is_no_message_has_no_parts(message):
    assert fragments.parted(message) == []
