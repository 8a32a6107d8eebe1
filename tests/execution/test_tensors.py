"""What a kernel sends, read as from a stranger."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

from grader.execution.tensors import read_export, unpacked

SENT = msgspec.msgpack.encode({
    "notes": {"dW": {"kind": "tensor", "dtype": "torch.float64", "shape": [2, 3]}, "db": {"kind": "absent"}},
    "tensors": save({"dW": torch.arange(6.0, dtype=torch.float64).reshape(2, 3)}),
})  # fmt: skip


def test_tensors_arrive_as_they_were_sent():
    export = read_export(SENT)
    assert torch.equal(export["dW"].tensor, torch.arange(6.0, dtype=torch.float64).reshape(2, 3))
    assert export["db"].tensor is None


@given(st.lists(st.tuples(st.integers(0, len(SENT) - 1), st.integers(0, 255)), min_size=1), st.integers(0, len(SENT)))
def test_an_answer_with_wrong_bytes_is_read_or_refused(changes, end):
    answer = bytearray(SENT)
    for place, byte in changes:
        answer[place] = byte
    read_export(bytes(answer))
    assert read_export(bytes(answer[:end])) is None or end == len(SENT)


@pytest.mark.parametrize("answer", [None, b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x91" * 100_000, b"\x81\x80\x00"])
def test_what_is_no_answer_says_nothing(answer):
    assert unpacked(answer, dict) is None
    assert read_export(answer) is None


def packed(notes: dict[str, object], tensors: dict[str, torch.Tensor]) -> bytes:
    return msgspec.msgpack.encode({"notes": notes, "tensors": save(tensors)})


def test_of_a_tensor_that_is_far_too_large_only_the_shape_is_kept():
    tensors = {"dW": torch.ones(50, 2), "db": torch.ones(4)}
    export = read_export(packed({name: {"kind": "tensor"} for name in tensors}, tensors), elements=10)
    assert (export["dW"].tensor, export["dW"].shape) == (None, [50, 2])
    assert torch.equal(export["db"].tensor, torch.ones(4))


def test_many_tensors_are_kept_up_to_ten_times_as_many_elements():
    tensors = {str(number): torch.ones(10) for number in range(12)}
    export = read_export(packed({name: {"kind": "tensor"} for name in tensors}, tensors), elements=10)
    assert [name for name, one in export.items() if one.tensor is None] == ["10", "11"]


NOTES = b"".join(b"\xa3%03x\x81\xa4kind\xa4none" % number for number in range(1 << 12))


@pytest.mark.parametrize(
    "answer",
    [
        b"\xdd\x01\x00\x00\x00" + b"\x90" * (1 << 24),
        b"\x82\xa7tensors\xc4\x00\xa5notes\xdf\x00\x00\x10\x00" + NOTES,
        msgspec.msgpack.encode({"tensors": b"", "notes": {"a": {"kind": "tensor", "shape": [1] * (1 << 22)}}}),
        msgspec.msgpack.encode({"notes": {}, "tensors": (1 << 25).to_bytes(8, "little") + b"[" * (1 << 25)}),
    ],
    ids=["lists", "notes", "dimensions", "header"],
)
def test_an_answer_that_takes_more_memory_than_bytes_is_refused_before_it_does(answer):
    tracemalloc.start()
    try:
        assert read_export(answer) is None
        assert tracemalloc.get_traced_memory()[1] < 1.5 * len(answer) + (1 << 20)
    finally:
        tracemalloc.stop()
