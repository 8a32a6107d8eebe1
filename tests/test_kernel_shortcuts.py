"""What the snapshot's kernels do faster than ipykernel must come to the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from ipykernel.compiler import murmur2_x86

from grader.kernels.inside import fragments
from grader.kernels.inside.kernelapp import OncePerCell, murmur2


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
