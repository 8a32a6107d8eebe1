"""The graph that autograd recorded of a part's forward pass, and what the chain rule makes of other numbers in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

STRAIGHT = 1e-4
"""How far from its gradient a parameter may have moved, as a share of its way, for that to be rounding."""


class PartReference:
    """A part's forward pass in one case, and every gradient that autograd gives for it.

    Attributes:
        root: the scalar that `backward` was called on.
        tensors: name → tensor of the forward pass that the root depends on, the root itself left out.
        gradients: name of the tensor (`X`, not `dX`) → its gradient, same shape and dtype.
        values: name → tensor compared by value (the trained parameters).
        initial: the same names → what they were before the part's reference code trained them.
        forward: the values of `tensors` when `backward` was called: later cells may train them in place.
        constants: the other numbers and tensors that had a name then (`n`, `Xb`).
    """

    def __init__(self, root: Tensor, tensors: dict[str, Tensor], gradients: dict[str, Tensor],
                 constants: dict[str, int | float | Tensor]) -> None:  # fmt: skip
        self.root = root
        self.tensors = tensors
        self.gradients = gradients
        self.forward = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        self.constants = constants
        self.values: dict[str, Tensor] = {}
        self.initial: dict[str, Tensor] = {}

    def chained(self, upstream: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the chain rule gives for every tensor, from the student's own gradients further up.

        Each tensor's incoming gradient is recorded by a hook, which then hands on the student's value in its place,
        so one backward pass answers for all tensors at once (`docs/verdicts.md`, "carried").

        Args:
            upstream: name of a tensor → the student's gradient for it, in the tensor's own shape and dtype.
        """
        return self._backward(upstream)

    def local(self, name: str, cotangent: Tensor, of: Collection[str] | None = None) -> dict[str, Tensor]:
        """The gradient that reaches each tensor, or those in `of`, from `name` alone, when `cotangent` is its gradient.

        Tensors that `name` was not computed from get zeros.
        """
        sources = [(key, tensor) for key, tensor in self.tensors.items() if key != name and (of is None or key in of)]
        # As `grad_outputs`, the cotangent would have torch import sympy, to compare two shapes: most of a second, once.
        through = (self.tensors[name] * cotangent).sum()
        found = torch.autograd.grad(through, [t for _, t in sources], retain_graph=True, allow_unused=True)
        return {
            key: torch.zeros_like(tensor) if gradient is None else gradient
            for (key, tensor), gradient in zip(sources, found, strict=True)
        }

    @cached_property
    def shapes(self) -> dict[str, torch.Size]:
        """Name → shape of every tensor."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    @property
    def known(self) -> set[str]:
        """All that has a name: tensors and constants."""
        return {*self.tensors, *self.constants}

    @cached_property
    def consumers(self) -> dict[str, list[str]]:
        """Name → the named tensors computed directly from it, in the order of the forward pass."""
        owners = {id(tensor.grad_fn): name for name, tensor in self.tensors.items() if tensor.grad_fn is not None}
        leaves = {id(tensor): name for name, tensor in self.tensors.items() if tensor.grad_fn is None}
        uses: dict[str, list[str]] = {name: [] for name in self.tensors}
        for name, tensor in [*self.tensors.items(), ("loss", self.root)]:
            for source in _direct_inputs(tensor, owners, leaves):
                if source != name and name not in uses[source]:
                    uses[source].append(name)
        return uses

    def computed_from(self, name: str) -> frozenset[str]:
        """All tensors that were computed from a tensor, directly or not."""
        found: set[str] = set()
        pending = [name]
        while pending:
            new = set(self.consumers.get(pending.pop(), [])) - found
            found |= new
            pending += new
        return frozenset(found)

    def in_backward_order(self, names: Sequence[str]) -> list[str]:
        """Names, so that each gradient `dX` stands after those that it is computed from; otherwise as they stand."""
        left = list(names)
        above = {name: {f"d{other}" for other in self.computed_from(name.removeprefix("d"))} for name in names}
        found: list[str] = []
        while left:
            found.append(next((name for name in left if not above[name].intersection(left)), left[0]))
            left.remove(found[-1])
        return found

    def step_size(self, name: str) -> float | None:
        """How far the reference's training has gone along a parameter's gradient; None where that was no single step.

        Where a gradient is zero up to rounding it tells nothing, and the other parameters' does.
        """
        for names in ([name], list(self.values)):
            moved = [(self.initial[key] - self.values[key], self.gradients[key]) for key in names]
            along = sum(float((gradient * gradient).sum()) for _, gradient in moved)
            rate = sum(float((way * gradient).sum()) for way, gradient in moved) / along if along else 0.0
            missed = max(float((way - rate * gradient).abs().max()) for way, gradient in moved)
            if rate and missed <= STRAIGHT * max(float(way.abs().max()) for way, _ in moved):
                return rate
        return None

    @property
    def drifts(self) -> bool:
        """Whether the part trains its values in several steps, or in one that isn't along the gradient."""
        return bool(self.values) and self.step_size(next(iter(self.values))) is None

    def _backward(self, replaced: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return _gradients(self.root, self.tensors, replaced)


def _gradients(root: Tensor, tensors: Mapping[str, Tensor], replaced: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One backward pass; name → the gradient that came in, whether or not it was replaced on the way on."""
    recorded: dict[str, Tensor] = {}

    def hook_for(name: str) -> Any:
        def hook(gradient: Tensor) -> Tensor | None:
            recorded[name] = gradient.detach().clone()
            return replaced.get(name)

        return hook

    handles = [tensor.register_hook(hook_for(name)) for name, tensor in tensors.items()]
    try:
        torch.autograd.grad(root, list(tensors.values()), retain_graph=True, allow_unused=True)
    finally:
        for handle in handles:  # a hook left on a shared tensor would answer for the next student too
            handle.remove()
    return recorded


def _direct_inputs(tensor: Tensor, owners: dict[int, str], leaves: dict[int, str]) -> list[str]:
    """The named tensors that `tensor` was computed from with no other named tensor between them."""
    found: list[str] = []
    start = tensor.grad_fn
    if start is None:
        return found
    pending = [node for node, _ in start.next_functions]
    seen: set[int] = set()
    while pending:
        node = pending.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        variable = getattr(node, "variable", None)
        name = owners.get(id(node)) or (leaves.get(id(variable)) if variable is not None else None)
        if name is not None:
            found.append(name)
        else:
            pending.extend(child for child, _ in node.next_functions)
    return found
