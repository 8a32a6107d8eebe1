"""Tensors as data: what a kernel exported, read as from a stranger."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal

import msgspec
import safetensors.torch
import torch
from torch import Tensor

from grader.records import Record

MIME = "application/vnd.backprop-grader+json"
MAX_EXPORT_BYTES = 96 * 2**20


class TensorNote(Record, frozen=True):
    """What the kernel says that a name was bound to."""

    kind: Literal["tensor", "absent", "none", "other"]
    type: str = ""
    dtype: str = ""
    shape: list[int] = []
    shares: str | None = None


class _RawExport(Record, frozen=True):
    notes: dict[str, TensorNote]
    tensors: str


class StudentTensor(Record, frozen=True):
    """One exported name.

    `value` is the tensor as sent: strided, on the CPU, without history; None where there is none or none that can be
    compared. `note` says what it was. `shares` names an earlier exported name that used the same memory.
    """

    note: TensorNote
    value: Any = None

    @classmethod
    def absent(cls) -> StudentTensor:
        """What stands for a name that was not exported."""
        return cls(note=TensorNote(kind="absent"))

    @property
    def tensor(self) -> Tensor | None:
        """The tensor, or None."""
        return self.value if isinstance(self.value, Tensor) else None

    @property
    def shape(self) -> list[int] | None:
        """The tensor's shape, or None where the name was bound to no tensor."""
        return list(self.note.shape) if self.note.kind == "tensor" else None


Export = dict[str, StudentTensor]


def read_export(raw: object) -> Export:
    """The tensors of one part, from the probe's message.

    Whatever is malformed counts as not exported: the sender is the student's own process.
    """
    try:
        export = msgspec.convert(raw, _RawExport)
        if len(export.tensors) > MAX_EXPORT_BYTES:
            return {}
        tensors = safetensors.torch.load(base64.b64decode(export.tensors, validate=True))
    except (msgspec.ValidationError, binascii.Error, safetensors.SafetensorError, ValueError, KeyError, TypeError):
        return {}
    return {name: StudentTensor(note=note, value=_usable(tensors.get(name))) for name, note in export.notes.items()}


def _usable(tensor: Tensor | None) -> Tensor | None:
    """A tensor of numbers that can be compared with a gradient; integers and booleans as float64."""
    if tensor is None or tensor.is_complex():
        return None
    return tensor if tensor.is_floating_point() else tensor.to(torch.float64)
