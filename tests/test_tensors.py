"""What a kernel sends, read as from a stranger."""

from __future__ import annotations

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
    export = read_export(unpacked(SENT))
    assert torch.equal(export["dW"].tensor, torch.arange(6.0, dtype=torch.float64).reshape(2, 3))
    assert export["db"].tensor is None


@given(st.lists(st.tuples(st.integers(0, len(SENT) - 1), st.integers(0, 255)), min_size=1), st.integers(0, len(SENT)))
def test_an_answer_with_wrong_bytes_is_read_or_refused(changes, end):
    answer = bytearray(SENT)
    for place, byte in changes:
        answer[place] = byte
    read_export(unpacked(bytes(answer)))
    assert read_export(unpacked(bytes(answer[:end]))) is None or end == len(SENT)


@pytest.mark.parametrize("answer", [None, b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x91" * 100_000, b"\x81\x80\x00"])
def test_what_is_no_answer_says_nothing(answer):
    assert unpacked(answer) is None
    assert read_export(unpacked(answer)) is None
