"""What one case shows of one wrong tensor: the student's value beside what it should be, and what formulas give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from grader.diagnosis.chain_rule import ChainRule
from grader.diagnosis.formula.expression import Values, evaluate
from grader.diagnosis.formula.node import Node, Unsupported, Value
from grader.execution.tensors import Export
from grader.marking.tolerance import FLOAT64, Tolerance, conformed
from grader.notebook.gradient_names import gradient_of

COARSE = Tolerance(1e-4, 1e-6)
"""For a tensor that the student's code keeps in float32 even where everything else is float64."""
NOTHING = 1e-10
"""Values smaller than this are what rounding leaves of zero."""
CLEARLY = 1e-9
"""A difference smaller than this, relative to the tensor, is nothing to build a diagnosis on."""


@dataclass(eq=False)
class Scene(ChainRule):
    """One wrong tensor in one case.

    Attributes:
        student: the student's value for its gradient, in float64 and in any shape.
        exported: everything of the part that left the kernel.
        changed: `CaseValues.changed`.
    """

    student: Tensor
    exported: Export
    changed: Mapping[str, Tensor] = field(default_factory=dict)

    # --- formulas

    @cached_property
    def names(self) -> dict[str, Value]:
        """What names stand for: numbers, tensors of the forward pass, the student's gradients."""
        sent = self._sent({*map(gradient_of, self.forward)})
        read = {gradient_of(self.name): self.own[self.name]} if self.name in self.own else {}
        return {**self.reference.sequences, **self.reference.constants, **self.forward, **sent, **read}

    @cached_property
    def rebound(self) -> dict[str, Tensor]:
        """What the exercise has given that the student's cells bound or wrote anew, with the new values."""
        return self._sent({*self.forward, *self.reference.constants})

    def _sent(self, names: set[str]) -> dict[str, Tensor]:
        found = {name: self.exported[name] for name in self.exported if name in names}
        values = {name: one.number if one.tensor is None else one.tensor for name, one in found.items()}
        return {name: value.to(self.student.dtype) for name, value in values.items() if value is not None}

    def with_random_upstream(self) -> Scene:
        """The same case with random gradients from above, the same numbers every time."""
        generator = torch.Generator().manual_seed(len(self.name))
        own = {
            name: torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
            for name, tensor in self.own.items()
            if name in self.descendants or name == self.name
        }
        other = replace(self, upstream=own)
        other.names = {**self.names, **{gradient_of(name): tensor for name, tensor in own.items()}}
        return other

    def value(self, node: Node, otherwise: Mapping[str, Value] | None = None, *, keep: bool = False) -> Tensor | None:
        """What a formula gives here, or None.

        `otherwise`: names that stand for something else. `keep`: the parts' values, for formulas that share them.
        """
        names, known = (self.names, self._known) if otherwise is None else ({**self.names, **otherwise}, {})
        try:
            found = evaluate(node, names, known, keep)
        except Unsupported:
            return None
        if isinstance(found, int | float):
            return torch.tensor(float(found), dtype=torch.float64)
        return found if isinstance(found, Tensor) else None  # a slice is no value

    @cached_property
    def _known(self) -> Values:
        return {}

    def stretched(self, node: Node) -> Tensor | None:
        """What a formula gives, in the shape of what is expected, or None; a mask gives ones and zeros."""
        found = self.value(node)
        return None if found is None else conformed(found.to(self.student.dtype), self.shape)

    def is_right(self, found: Tensor | None) -> bool:
        """Whether a value in the expected shape is the right one."""
        return found is not None and self.tolerance.holds(found, self.expected)

    def scale_of(self, found: Tensor | None) -> float | None:
        """The one number by which a value in the expected shape must be multiplied to be right; None for none."""
        scale = nearest(self.expected, found) if found is not None and bool(self.expected.any()) else None
        return scale if found is not None and scale is not None and self.is_right(found * scale) else None

    # --- comparing

    @cached_property
    def in_shape(self) -> Tensor | None:
        """The student's value in the shape that it should have; None where it doesn't broadcast to it."""
        return conformed(self.student, self.shape)

    def fits(self, predicted: Tensor | None) -> bool:
        """Whether a slip that gives `predicted` explains the student's value, its shape included."""
        student = conformed(self.student, predicted.shape) if predicted is not None else None
        if predicted is None or student is None:
            return False
        predicted = predicted.to(student.dtype)  # a formula may give a mask
        told = bool(predicted.any()) and self.in_shape is not None
        if told and float(predicted.abs().max()) < NOTHING:
            return False  # zeros but for rounding: any formula that cancels would fit
        return self.tolerance.holds(student, predicted)

    @property
    def is_faint(self) -> bool:
        """Whether the expected value is zero up to rounding, so that a wrong formula may give it, too."""
        return float(self.expected.abs().max()) < NOTHING

    def ratio(self, rest: Tensor, direction: Tensor) -> float | None:
        """The number `k` for which `rest + k * direction` comes nearest to the student's value, where there is one."""
        same = self.student.numel() == rest.numel()
        return nearest(self.student.reshape(rest.shape) - rest, direction) if same else None

    @cached_property
    def clear(self) -> bool:
        """Whether the student's value is off by more than rounding could make of it."""
        if self.in_shape is None:
            return True
        scale = max(float(self.expected.abs().max()), float(self.in_shape.abs().max()))
        return float((self.in_shape - self.expected).abs().max()) > max(CLEARLY * scale, 100 * FLOAT64.atol)


def nearest(goal: Tensor, direction: Tensor) -> float | None:
    """The one number by which `direction` comes nearest to `goal`; None where every one does, or none."""
    square = float((direction * direction).sum())
    return float((goal * direction).sum()) / square if 0 < square < math.inf else None
