"""Tensors as data: what a kernel exported, read as from a stranger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import safetensors.torch
import torch
from torch import Tensor

from grader.records import Record
from grader.safe_text import safe_text

MIME = "application/vnd.backprop-grader+json"
MAX_EXPORT_BYTES = 48 * 2**20
MAX_NAMES, MAX_DIMENSIONS, MAX_WORD = 2_000, 64, 200
"""More than any exercise has names, torch allows dimensions, or a type's name is worth showing characters of."""
MAX_ELEMENTS, MAX_HEADER_BYTES = 1 << 20, 1 << 20
"""Of a tensor, and of what says how the tensors are called."""
_CALCULABLE = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class TensorNote(Record, frozen=True):
    """What the kernel says that a name was bound to."""

    kind: Literal["tensor", "absent", "none", "other"]
    type: str = ""
    dtype: str = ""
    shape: Annotated[list[int], msgspec.Meta(max_length=MAX_DIMENSIONS)] = []
    shares: str | None = None
    lacks: Annotated[list[int], msgspec.Meta(max_length=MAX_NAMES)] = []
    """Of a list of tensors, the places at which something else stands; there the numbers are NaN."""


class _RawExport(Record, frozen=True):
    notes: Annotated[dict[str, TensorNote], msgspec.Meta(max_length=MAX_NAMES)]
    tensors: bytes


class StudentTensor(Record, frozen=True):
    """One exported name.

    `value` is the tensor as sent: strided, on the CPU, without history; None where there is none or none that can be
    compared. `note` says what it was. `shares` names an earlier exported name that used the same memory.

    A plain number is no tensor and no answer, but what a student computes from it follows from it: it is sent, too.
    """

    note: TensorNote
    value: Any = None

    @classmethod
    def absent(cls) -> StudentTensor:
        """What stands for a name that was not exported."""
        return cls(note=TensorNote(kind="absent"))

    @classmethod
    def of(cls, tensor: Tensor) -> StudentTensor:
        """What stands for a tensor that a locked cell has given the student."""
        note = TensorNote(kind="tensor", type="Tensor", dtype=str(tensor.dtype), shape=list(tensor.shape))
        return cls(note=note, value=tensor)

    @property
    def tensor(self) -> Tensor | None:
        """The tensor, or None."""
        return self.value if isinstance(self.value, Tensor) and self.note.kind == "tensor" else None

    @property
    def number(self) -> Tensor | None:
        """The plain number that stands in the tensor's place, as a tensor without dimensions; None where none does."""
        alone = isinstance(self.value, Tensor) and self.value.dim() == 0 and self.note.kind == "other"
        return self.value if alone else None

    @property
    def shape(self) -> list[int] | None:
        """The tensor's shape, or None where the name was bound to no tensor."""
        return list(self.note.shape) if self.note.kind == "tensor" else None


Export = dict[str, StudentTensor]


_Kind = TypeVar("_Kind")
Sent = bytes | memoryview | msgspec.Raw | None
"""A probe's answer, or a piece of it, as it came, if it did."""


def unpacked(answer: Sent, kind: type[_Kind]) -> _Kind | None:
    """A probe's answer, where it is of a kind; None where there is none, or it isn't.

    What is of no use is refused as soon as it is met, or skipped: nothing is made of it.
    """
    try:
        return None if answer is None else msgspec.msgpack.decode(answer, type=kind)
    except (msgspec.DecodeError, ValueError, TypeError, RecursionError):
        return None


def read_export(sent: Sent | Mapping[str, object], elements: int = MAX_ELEMENTS) -> Export | None:
    """The tensors of one part, from the probe's message; None where that is not what the probe sends.

    The sender is the student's own process: it may have sent anything, and anything may have been lost. Of a tensor
    with more than so many `elements`, and of all that come after ten times as many, only the shape is kept: a gradient
    that is so much larger than its tensor is wrong by that alone.
    """
    try:
        export = msgspec.convert(sent, _RawExport) if isinstance(sent, Mapping) else unpacked(sent, _RawExport)
        if export is None or len(export.tensors) > MAX_EXPORT_BYTES or _header_bytes(export.tensors) > MAX_HEADER_BYTES:
            return None
        tensors = safetensors.torch.load(export.tensors)
    except (msgspec.ValidationError, safetensors.SafetensorError, ValueError, KeyError, TypeError):
        return None
    read: Export = {}
    left = 10 * elements
    for name, note in export.notes.items():
        tensor = tensors.get(name)
        size = tensor.numel() if tensor is not None else 0
        read[name] = _student_tensor(note, tensor, kept=size <= min(elements, left))
        left -= size if read[name].value is not None else 0
    return read


def _header_bytes(tensors: bytes) -> int:
    return int.from_bytes(tensors[:8], "little")


def _student_tensor(note: TensorNote, sent: Tensor | None, *, kept: bool) -> StudentTensor:
    """A note that can be printed, and that does not contradict the tensor it comes with; the tensor if it is `kept`."""
    shape = note.shape if sent is None else list(sent.shape)
    note = TensorNote(
        kind=note.kind,
        type=_printable(note.type),
        dtype=_printable(note.dtype),
        shape=[size for size in shape if 0 <= size < 1 << 48][:MAX_DIMENSIONS],
        shares=_printable(note.shares) if note.shares is not None else None,
        lacks=[place for place in note.lacks if 0 <= place < MAX_ELEMENTS],
    )
    return StudentTensor(note=note, value=_usable(sent) if kept else None)


def _usable(tensor: Tensor | None) -> Tensor | None:
    """A tensor of numbers that can be compared with a gradient; what torch can't calculate with, as float64."""
    if tensor is None or tensor.is_complex():
        return None
    if tensor.dtype in _CALCULABLE:
        return tensor
    try:
        return tensor.to(torch.float64)
    except (RuntimeError, TypeError):  # packed formats, of which a gradient is none
        return None


def _printable(text: str) -> str:
    return safe_text(text[:MAX_WORD], "page")
