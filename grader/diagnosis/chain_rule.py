"""What the chain rule makes of the student's gradients in one case, from the consumers of one tensor down to it.

Everything here is tensor algebra on data and on the instructor's own graph; nothing of a student's is executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self

import torch
from torch import Tensor

from grader.course.part_reference import PartReference
from grader.diagnosis.formula.operations import broadcast_shape
from grader.marking.tolerance import Tolerance

MAX_USES = 4
"""So many contributions of a tensor's uses are told apart by the numbers alone."""


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


@dataclass(eq=False)
class ChainRule:
    """The last step to one tensor's gradient in one case.

    Attributes:
        name: the tensor of the forward pass (`X`, not `dX`).
        reference: autograd's side of the case.
        upstream: tensor name → the student's usable gradient for it, in the tensor's shape.
        tolerance: how near a prediction must come.
        own: of `upstream`, what this gradient may start from.
    """

    name: str
    reference: PartReference
    upstream: Mapping[str, Tensor]
    tolerance: Tolerance

    def __post_init__(self) -> None:
        itself = {self.name} - self.reference.lists  # of a list, each element may start from the others
        self.own = {name: tensor for name, tensor in self.upstream.items() if name not in itself}
        self.forward = self.reference.forward
        self.shape = self.forward[self.name].shape

    def at(self, name: str) -> Self:
        """The same case, seen from another tensor."""
        return replace(self, name=name, upstream=self.own)

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
        return self.reference.computed_from(self.name)

    @cached_property
    def paths(self) -> dict[str, Tensor]:
        """Consumer → its contribution to the expected value."""
        return {consumer: self.through(consumer, self.cotangents[consumer]) for consumer in self.consumers}

    def through(self, consumer: str, cotangent: Tensor) -> Tensor:
        """The contribution of one consumer alone, were `cotangent` its gradient. Linear in `cotangent`."""
        if consumer == "loss":
            return self._from_loss
        return self.reference.chained({**self._zeros, consumer: cotangent})[self.name] - self._from_loss

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
    def _zeros(self) -> dict[str, Tensor]:
        return {name: torch.zeros_like(tensor) for name, tensor in self.forward.items()}

    @cached_property
    def _from_loss(self) -> Tensor:
        return self.reference.chained(self._zeros)[self.name]

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


def summed(tensor: Tensor, shape: torch.Size) -> Tensor:
    """A broadcast undone: the sum over the dimensions that `shape` does not have, or has with size 1."""
    return tensor.sum_to_size(shape) if tensor.shape != shape else tensor
