"""What one case shows of one wrong tensor: the student's value, what it should be, and how the chain rule gets there.

Everything here is tensor algebra on data and on the instructor's own graph; nothing of a student's is executed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from grader.course.graph import PartReference
from grader.diagnosis.formula.expression import Values, evaluate
from grader.diagnosis.formula.node import Node, Unsupported, Value
from grader.diagnosis.formula.operations import broadcast_shape
from grader.execution.tensors import Export
from grader.marking.tolerance import FLOAT64, Tolerance, conformed
from grader.notebook.gradient_names import gradient_of

COARSE = Tolerance(1e-4, 1e-6)
"""For a tensor that the student's code keeps in float32 even where everything else is float64."""
NOTHING = 1e-10
"""Values smaller than this are what rounding leaves of zero."""
MAX_USES = 4
"""So many contributions of a tensor's uses are told apart by the numbers alone."""
CLEARLY = 1e-9
"""A difference smaller than this, relative to the tensor, is nothing to build a diagnosis on."""


class Elementwise(NamedTuple):
    """A step of the chain rule in which each element of the result meets one factor, and sums undo broadcasting.

    Attributes:
        cotangent: the gradient that arrives from the consumer, stretched to the shape that both tensors share.
        local: the local derivative, in that same shape.
    """

    cotangent: Tensor
    local: Tensor

    @property
    def product(self) -> Tensor:
        """The contributions before any sum over broadcast dimensions."""
        return self.cotangent * self.local


class Scene:
    """One wrong tensor in one case.

    Args:
        name: the tensor of the forward pass whose gradient is wrong (`X`, not `dX`).
        student: the student's value for it, in float64 and in any shape.
        reference: autograd's side of the case.
        upstream: tensor name → the student's usable gradient for it, in the tensor's shape.
        exported: everything of the part that left the kernel.
        tolerance: how near a prediction must come.
        changed: `PartCase.changed`.
    """

    def __init__(self, name: str, student: Tensor, reference: PartReference, upstream: Mapping[str, Tensor],
                 exported: Export, tolerance: Tolerance,
                 changed: Mapping[str, Tensor] | None = None) -> None:  # fmt: skip
        self.name = name
        self.student = student
        self.reference = reference
        # of a list, each element may start from the others
        self.own = {key: tensor for key, tensor in upstream.items() if key != name or name in reference.lists}
        self.exported = exported
        self.tolerance = tolerance
        self.changed = changed or {}
        self.forward = reference.forward
        self.shape = reference.forward[name].shape

    def at(self, name: str, value: Tensor) -> Scene:
        """The same case, seen from another tensor, for whose gradient the student has the given value."""
        return Scene(name, value, self.reference, self.own, self.exported, self.tolerance)

    @cached_property
    def chained(self) -> dict[str, Tensor]:
        """Tensor name → what the chain rule gives from the student's own gradients further up."""
        return self.reference.chained(self.own)

    @cached_property
    def expected(self) -> Tensor:
        """What the tensor should be, given the student's own upstream."""
        return self.chained[self.name]

    @cached_property
    def cotangents(self) -> dict[str, Tensor]:
        """Consumer → the gradient that arrives from it: the student's own where there is one; `loss` itself is 1."""
        found = {name: self.own.get(name, self.chained[name]) for name in self.consumers if name != "loss"}
        return {**found, "loss": torch.ones_like(self.reference.root)} if "loss" in self.consumers else found

    @cached_property
    def consumers(self) -> list[str]:
        """The tensors computed directly from this one, in the order of the forward pass; a list's own elements last."""
        itself = [self.name] if self.name in self.reference.recurrent else []
        return [*self.reference.consumers[self.name], *itself]

    def made_by(self, name: str) -> str:
        """What autograd calls the operation that made a tensor, `TanhBackward0`; nothing for a leaf."""
        operation = self.reference.members(name)[0].grad_fn
        return operation.name() if operation is not None else ""

    @cached_property
    def descendants(self) -> frozenset[str]:
        """All tensors that were computed from this one, directly or not."""
        return self.computed_from(self.name)

    def computed_from(self, name: str) -> frozenset[str]:
        """All tensors that were computed from a tensor, directly or not."""
        return self.reference.computed_from(name)

    @cached_property
    def paths(self) -> dict[str, Tensor]:
        """Consumer → its contribution to the expected value."""
        return {consumer: self.through(consumer, self.cotangents[consumer]) for consumer in self.consumers}

    def through(self, consumer: str, cotangent: Tensor) -> Tensor:
        """The contribution of one consumer alone, were `cotangent` its gradient. Linear in `cotangent`."""
        if consumer == "loss":
            return self._from_loss
        zeros = {name: torch.zeros_like(tensor) for name, tensor in self.forward.items()}
        found = self.reference.chained({**zeros, consumer: cotangent})[self.name]
        return found - self._from_loss

    def uses(self, consumer: str) -> list[Tensor]:
        """What one consumer contributes, apart for each of the places in its line at which this tensor stands."""
        single = not {self.name, consumer} & {"loss", *self.reference.lists}  # a list may be longer in another case
        edges = self.reference.edges(self.name, consumer) if single else []
        if not 1 < len(edges) <= MAX_USES:
            return [self.paths[consumer]]
        found = []
        for edge in edges:
            with self.reference.without([other for other in edges if other != edge]):
                found.append(self.through(consumer, self.cotangents[consumer]))
        return found

    def with_path(self, consumer: str, contribution: Tensor | None) -> Tensor | None:
        """The expected value with this contribution of one consumer; None where the shapes don't go together."""
        if contribution is None or len(self.consumers) == 1:
            return contribution
        try:
            return self.expected - self.paths[consumer] + contribution
        except RuntimeError:
            return None

    def with_arrived(self, consumer: str, cotangent: Tensor) -> Tensor | None:
        """The expected value, were `cotangent` what arrives from one consumer."""
        return self.with_path(consumer, self.through(consumer, cotangent))

    @cached_property
    def _from_loss(self) -> Tensor:
        zeros = {name: torch.zeros_like(tensor) for name, tensor in self.forward.items()}
        return self.reference.chained(zeros)[self.name]

    # --- the step from one consumer, where it works element by element

    @cached_property
    def elementwise(self) -> dict[str, Elementwise]:
        """Consumer → its step, for those that work element by element (matrix products and look-ups don't)."""
        found = {consumer: self._elementwise(consumer) for consumer in self.consumers if consumer != "loss"}
        return {consumer: step for consumer, step in found.items() if step is not None}

    def _elementwise(self, consumer: str) -> Elementwise | None:
        target = self.forward[consumer]
        try:
            shape = broadcast_shape(self.shape, target.shape)
        except RuntimeError:
            return None
        if shape not in (self.shape, target.shape):
            return None
        wide = target.numel() > self.shape.numel()  # of equal shapes, as those of lists, either way gives the same
        ones = torch.ones_like(self.forward[self.name] if wide else target)
        local = self.pushed(consumer, ones) if wide else self.through(consumer, ones)
        step = Elementwise(self.cotangents[consumer].expand(shape), local.expand(shape))
        same = self.tolerance.holds(summed(step.product, self.shape), self.paths[consumer])
        return step if same and self._stays_elementwise(consumer, shape, local) else None

    def _stays_elementwise(self, consumer: str, shape: torch.Size, local: Tensor) -> bool:
        """Whether another cotangent meets the same factors: equal sums for one could be a coincidence."""
        other = torch.linspace(0.5, 1.5, self.forward[consumer].numel(), dtype=local.dtype)
        other = other.view(self.forward[consumer].shape)
        wanted = self.through(consumer, other)
        return self.tolerance.holds(summed(other.expand(shape) * local.expand(shape), self.shape), wanted)

    def pushed(self, consumer: str, direction: Tensor) -> Tensor:
        """How `consumer` moves when this tensor moves along `direction` (a Jacobian-vector product).

        Reverse mode twice: the gradient of the gradient, which is linear in the cotangent, with respect to it.
        """
        cotangent = torch.ones_like(self.forward[consumer]).requires_grad_()
        others = [name for name in self.reference.tensors if name not in (self.name, consumer)]
        handles = [member.register_hook(torch.zeros_like) for name in others for member in self.reference.members(name)]
        try:
            gradient = self.reference.gradients_of(consumer, cotangent, [self.name], create_graph=True)[self.name]
            (moved,) = torch.autograd.grad((gradient * direction).sum(), cotangent, allow_unused=True)
        finally:
            for handle in handles:
                handle.remove()
        return torch.zeros_like(cotangent).detach() if moved is None else moved.detach()

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
        other = Scene(self.name, self.student, self.reference, own, self.exported, self.tolerance)
        other.names = {**self.names, **{gradient_of(name): tensor for name, tensor in own.items()}}
        return other

    def value(self, node: Node, otherwise: Mapping[str, Value] | None = None, *, keep: bool = False) -> Tensor | None:
        """What a formula gives here, or None.

        Args:
            node: the formula.
            otherwise: names that stand for something else.
            keep: whether its parts' values are kept for formulas that share them.
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
        """What a formula gives, in the shape of what is expected, or None."""
        found = self.value(node)
        return None if found is None else conformed(found, self.shape)

    def is_right(self, found: Tensor | None) -> bool:
        """Whether a value in the expected shape is the right one."""
        return found is not None and self.tolerance.holds(found, self.expected)

    def scale_of(self, found: Tensor | None) -> float | None:
        """The one number by which a value in the expected shape must be multiplied to be right; None for none."""
        scale = nearest(self.expected, found) if found is not None and bool(self.expected.any()) else None
        return scale if found is not None and scale is not None and self.is_right(found * scale) else None

    # --- comparing

    def fits(self, predicted: Tensor | None) -> bool:
        """Whether a slip that gives `predicted` explains the student's value, its shape included."""
        if predicted is None:
            return False
        student = conformed(self.student, predicted.shape)
        if student is None:
            return False
        told = bool(predicted.any()) and conformed(self.student, self.shape) is not None
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
        student = conformed(self.student, self.shape)
        if student is None:
            return True
        scale = max(float(self.expected.abs().max()), float(student.abs().max()))
        return float((student - self.expected).abs().max()) > max(CLEARLY * scale, 100 * FLOAT64.atol)


def nearest(goal: Tensor, direction: Tensor) -> float | None:
    """The one number by which `direction` comes nearest to `goal`; None where every one does, or none."""
    square = float((direction * direction).sum())
    return float((goal * direction).sum()) / square if 0 < square < math.inf else None


def summed(tensor: Tensor, shape: torch.Size) -> Tensor:
    """A broadcast undone: the sum over the dimensions that `shape` does not have, or has with size 1."""
    return tensor.sum_to_size(shape) if tensor.shape != shape else tensor
