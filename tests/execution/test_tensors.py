"""What a kernel sends, read as from a stranger."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch._subclasses.fake_tensor import FakeTensorMode

from grader.execution.tensors import read_export, unpacked
from tests.workbench import load_probe

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


NUMBERS = torch.tensor([[1.0, -2.0, 0.5], [0.0, 4.0, -0.25]])


def exported(**namespace: object) -> dict[str, torch.Tensor | None]:
    sent = msgspec.msgpack.encode(load_probe()._export_named(namespace, namespace))
    return {name: one.tensor for name, one in read_export(sent).items()}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_kernels_tensors_keep_their_dtype(dtype):
    made = NUMBERS.to(dtype)
    parts = torch.complex(NUMBERS, NUMBERS)
    found = exported(
        plain=made, learned=torch.nn.Parameter(made), turned=made.t(), picked=made[:, ::2],
        spread=made[:1].expand(4, 3), alone=made[0, 0], empty=made[:0],
        conjugate=parts.conj().imag.to(dtype), sparse=made.to_sparse(),
    )  # fmt: skip
    wanted = {
        "plain": made, "learned": made, "turned": made.t(), "picked": made[:, ::2], "spread": made[:1].expand(4, 3),
        "alone": made[0, 0], "empty": made[:0], "conjugate": -made, "sparse": made,
    }  # fmt: skip
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name
        assert found[name].dtype == dtype, name


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.int64, torch.float8_e4m3fn])
def test_what_cannot_be_calculated_with_arrives_as_numbers(dtype):
    found = exported(made=NUMBERS.to(dtype))["made"]
    assert torch.equal(found.to(torch.float64), NUMBERS.to(dtype).to(torch.float64))


def freed() -> torch.Tensor:
    tensor = torch.ones(3)
    tensor.untyped_storage().resize_(0)
    return tensor


def uneven() -> torch.Tensor:
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged)


def fake() -> torch.Tensor:
    with FakeTensorMode():
        return torch.ones(3)


@pytest.mark.parametrize("made", [freed, fake, uneven, lambda: torch.empty(3, dtype=torch.uint4),
                                  lambda: torch.ones(3, device="meta")])  # fmt: skip
def test_a_tensor_that_cannot_be_read_costs_itself_alone(made):
    found = exported(before=NUMBERS, odd=made(), after=NUMBERS)
    assert found["odd"] is None
    assert torch.equal(found["before"], NUMBERS)
    assert torch.equal(found["after"], NUMBERS)


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
