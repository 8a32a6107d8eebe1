"""One part in one case: the student's tensors beside the reference, nothing judged yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from grader.course.catalog import Case
from grader.course.part_reference import PartReference
from grader.execution.tensors import Export, StudentTensor
from grader.marking.tolerance import Tolerance, conformed
from grader.notebook.gradient_names import tensor_of

ROUNDINGS = 64
"""How many times autograd's own float32 rounding error a differently ordered computation may be off."""


@dataclass(eq=False)
class CaseValues:
    """The student's tensors in one case, beside the reference.

    Attributes:
        exported: name → the student's tensor.
        reference: autograd's side.
        rounding: tensor name → how far float32 alone moves its gradient, where that decides.
        left: the gradients that the part starts from, as its own cells have left them.
        upstream: tensor name → the student's usable gradient for it, as the chain rule is given it.
        changed: tensor name → what the part's own cells have made of a gradient that it starts from, which `exported`
            has as it was before; only those that differ.
    """

    case: Case
    gradients: Sequence[str]
    upstream_names: Sequence[str]
    values: Sequence[str]
    exported: Export
    reference: PartReference
    tolerance: Tolerance
    rounding: Mapping[str, float] | None = None
    left: Export | None = None

    def __post_init__(self) -> None:
        self._usable: dict[str, Tensor | None] = {}
        self.upstream = {
            tensor_of(name): tensor
            for name in (*self.gradients, *self.upstream_names)
            if (tensor := self.usable(name)) is not None
        }
        self.changed = {
            tensor_of(name): tensor for name, found in (self.left or {}).items()
            if (tensor := self._conformed(name, found)) is not None and not self._as_before(name, tensor)
        }  # fmt: skip

    def usable(self, name: str) -> Tensor | None:
        """The student's gradient in its tensor's own shape and the reference's dtype, or None.

        A number in its place is what the student's next lines go on from, so the chain rule is given it, too.
        """
        if name not in self._usable:
            self._usable[name] = self._conformed(name, self.exported.get(name, StudentTensor.absent()))
        return self._usable[name]

    def _conformed(self, name: str, found: StudentTensor) -> Tensor | None:
        tensor = found.number if found.tensor is None else found.tensor
        wanted = self.expected(name)
        expanded = None if tensor is None or wanted is None else conformed(tensor, wanted.shape)
        return None if expanded is None or wanted is None else expanded.to(wanted.dtype)

    def _as_before(self, name: str, left: Tensor) -> bool:
        before = self.usable(name)
        return before is not None and torch.equal(before, left)

    def holds(self, name: str, student: Tensor, expected: Tensor) -> bool:
        """Whether a value is the expected one: within the case's tolerance, or within the rounding measured for it."""
        if self.rounding is None:
            return self.tolerance.holds(student, expected)
        largest = float(expected.abs().max()) if expected.numel() else 0.0
        rounding = max(self.rounding.get(tensor_of(name), 0.0), torch.finfo(torch.float32).eps * largest)
        return Tolerance(0.0, ROUNDINGS * rounding / max(1.0, largest)).holds(student, expected)

    def expected(self, name: str) -> Tensor | None:
        """The right value of a check: autograd's gradient, or the trained parameter."""
        return self.reference.values.get(name) if name in self.values else self.reference.gradients.get(tensor_of(name))

    @cached_property
    def chained(self) -> dict[str, Tensor]:
        """Tensor name → what the chain rule gives from the student's own upstream."""
        return self.reference.chained(self.upstream)

    def precision(self, name: str) -> float:
        """The relative precision of the dtype in which a tensor was sent."""
        found = self.exported.get(name)
        return 0.0 if found is None or found.tensor is None else torch.finfo(found.tensor.dtype).eps
