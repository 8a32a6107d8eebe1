"""What autograd gives for a part in one case, and what the chain rule makes of other numbers in its graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from grader.course.graph import Graph, Named, backward_pass
from grader.notebook.gradient_names import gradient_of

_KEPT = 6
"""So many answers of the chain rule are kept of a part in a case."""
STRAIGHT = 1e-4
"""How far from its gradient a parameter may have moved, as a share of its way, for that to be rounding."""


class PartReference(Graph):
    """A part's forward pass in one case, and every gradient that autograd gives for it.

    A list of tensors is one tensor here, whose first dimension is the place in the list: so is its gradient, and so is
    what takes the place of that. In the graph its elements are apart, and each may be computed from the one before it.

    Attributes:
        tensors: name → tensor of the forward pass that the root depends on, the root itself left out.
        gradients: name of the tensor (`X`, not `dX`) → its gradient, same shape and dtype.
        values: name → tensor compared by value (the trained parameters).
        initial: the same names → what they were before the part's reference code trained them.
        forward: the values of `tensors` when `backward` was called: later cells may train them in place.
        constants: the other numbers and tensors that had a name then (`n`, `Xb`).
        sequences: the other lists of tensors, or of numbers, each as one tensor.
    """

    def __init__(self, root: Tensor, named: Mapping[str, Named], gradients: dict[str, Tensor],
                 constants: dict[str, int | float | Tensor],
                 sequences: Mapping[str, Tensor] | None = None) -> None:  # fmt: skip
        super().__init__(root, named)
        self.tensors = {name: torch.stack(value).detach() if isinstance(value, list) else value
                        for name, value in named.items()}  # fmt: skip
        self.gradients = gradients
        self.forward = {name: tensor.detach().clone() for name, tensor in self.tensors.items()}
        self.constants = constants
        self.sequences = sequences or {}
        self.values: dict[str, Tensor] = {}
        self.initial: dict[str, Tensor] = {}
        self._kept: dict[Hashable, dict[str, Tensor]] = {}

    def chained_once(self, key: Hashable, upstream: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """As `chained`, from what is the same for many submissions: kept under `key`, and not to be written to."""
        if key not in self._kept:
            if len(self._kept) == _KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = self.chained(upstream())
        return self._kept[key]

    def chained(self, upstream: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the chain rule gives for every tensor, from the student's own gradients further up.

        Each tensor's incoming gradient is recorded by a hook, which then hands on the student's value in its place,
        so one backward pass answers for all tensors at once (`docs/verdicts.md`, "carried").

        Args:
            upstream: name of a tensor → the student's gradient for it, in the tensor's own shape and dtype.
        """
        return backward_pass(self.root, self.named, upstream)

    def local(self, name: str, cotangent: Tensor, of: Collection[str] | None = None) -> dict[str, Tensor]:
        """The gradient that reaches each tensor, or those in `of`, from `name` alone, when `cotangent` is its gradient.

        Tensors that `name` was not computed from get zeros.
        """
        sources = [key for key in self.tensors if key != name and (of is None or key in of)]
        return self.gradients_of(name, cotangent, sources)

    def gradients_of(self, name: str, cotangent: Tensor, sources: Sequence[str], *,
                     create_graph: bool = False) -> dict[str, Tensor]:  # fmt: skip
        """As `local`, for `sources`; with `create_graph` what is found can be differentiated by `cotangent`."""
        rows = list(cotangent) if name in self.lists else [cotangent]
        members = [member for key in sources for member in self.members(key)]
        # As `grad_outputs`, the rows would have torch import sympy, to compare two shapes: most of a second, once.
        pairs = zip(self.members(name), rows, strict=True)
        through = torch.stack([(member * row).sum() for member, row in pairs]).sum()
        found = iter(
            torch.autograd.grad(through, members, retain_graph=True, create_graph=create_graph, allow_unused=True)
        )
        gradients = {}
        for key in sources:
            here = [torch.zeros_like(member) if gradient is None else gradient
                    for member, gradient in zip(self.members(key), found, strict=False)]  # fmt: skip
            gradients[key] = torch.stack(here) if key in self.lists else here[0]
        return gradients

    @cached_property
    def shapes(self) -> dict[str, torch.Size]:
        """Name → shape of every tensor."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    @cached_property
    def gradient_shapes(self) -> dict[str, torch.Size]:
        """Gradient → its shape; without the names that the exercise itself has given to something else."""
        shapes = {gradient_of(name): shape for name, shape in self.shapes.items()}
        taken = {name: self.constants[name] for name in shapes if name in self.constants}
        other = {name for name, value in taken.items() if not isinstance(value, Tensor) or value.shape != shapes[name]}
        return {name: shape for name, shape in shapes.items() if name not in other}

    @property
    def known(self) -> set[str]:
        """All that has a name: tensors and constants."""
        return {*self.tensors, *self.constants}

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
