"""The graph that autograd recorded of a part's forward pass, and what the chain rule makes of other numbers in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from grader.notebook.gradient_names import gradient_of

Named = Tensor | list[Tensor]
"""What a name of the forward pass stands for: a tensor, or a list of tensors of one shape (a state at every step)."""
Operation = tuple[str, int]
"""An operation by autograd's name, and which of its operands is meant."""
Member = tuple[str, int]
"""A name of the forward pass and a place in its list; 0 where it is none."""
Edge = tuple[Any, int]
"""A node of autograd's graph, and which of its operands is meant."""
_KEPT = 6
"""So many answers of the chain rule are kept of a part in a case."""
STRAIGHT = 1e-4
"""How far from its gradient a parameter may have moved, as a share of its way, for that to be rounding."""


class PartReference:
    """A part's forward pass in one case, and every gradient that autograd gives for it.

    A list of tensors is one tensor here, whose first dimension is the place in the list: so is its gradient, and so is
    what takes the place of that. In the graph its elements are apart, and each may be computed from the one before it.

    Attributes:
        root: the scalar that `backward` was called on.
        tensors: name → tensor of the forward pass that the root depends on, the root itself left out.
        lists: of these names, those of lists.
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
        self.root = root
        self.named = named
        self.lists = frozenset(name for name, value in named.items() if isinstance(value, list))
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

    def members(self, name: str) -> list[Tensor]:
        """The tensors of the graph that a name stands for: one, or those of a list."""
        return members_of(self.named[name])

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
        return {name: [use for use in uses if use != name] for name, uses in self._uses.items()}

    @cached_property
    def computed(self) -> frozenset[str]:
        """The tensors that are computed from others: from their gradients, and no others, gradients are computed."""
        return frozenset(name for uses in self.consumers.values() for name in uses if name != "loss")

    @property
    def recurrent(self) -> set[str]:
        """The lists of which an element is computed directly from another one, as the cell of an LSTM is."""
        return {name for name in self.lists if name in self._uses[name]}

    @cached_property
    def across_steps(self) -> frozenset[tuple[str, str]]:
        """The pairs of lists of which no element of the second is computed directly from the first's at its own place.

        So is a state of a step from the one of the step before.
        """
        found: dict[tuple[str, str], set[bool]] = {}
        for source, place, user, its in self._direct_uses:
            if {source, user} <= self.lists:
                found.setdefault((source, user), set()).add(place == its)
        return frozenset(pair for pair, same in found.items() if same == {False})

    @cached_property
    def _uses(self) -> dict[str, list[str]]:
        uses: dict[str, list[str]] = {name: [] for name in self.tensors}
        for source, _, user, _ in self._direct_uses:
            if user not in uses[source]:
                uses[source].append(user)
        return uses

    @cached_property
    def _direct_uses(self) -> list[tuple[str, int, str, int]]:
        """A name and the place in its list, and those of what is computed directly from it, in forward order."""
        users = [(name, place, member) for name in self.named for place, member in enumerate(self.members(name))]
        return [(*used, name, place) for name, place, tensor in [*users, ("loss", 0, self.root)]
                for _, used in self._line(tensor)]  # fmt: skip

    @cached_property
    def _owners(self) -> dict[Any, Member]:
        """The node of autograd's graph that made a tensor with a name, or the tensor itself of a leaf → the tensor."""
        return {member if member.grad_fn is None else member.grad_fn: (name, place)
                for name in self.named for place, member in enumerate(self.members(name))}  # fmt: skip

    def _line(self, tensor: Tensor) -> Iterator[tuple[Edge, Member]]:
        """The places in the line of a tensor at which others with a name are used, none of them twice."""
        pending: list[Any] = [tensor.grad_fn]
        seen = {None}
        while pending:
            node = pending.pop()
            if node not in seen:
                seen.add(node)
                for place, (child, _) in enumerate(node.next_functions):
                    used = self._owners.get(getattr(child, "variable", child))
                    if used is not None:
                        yield (node, place), used
                    else:
                        pending.append(child)

    def computed_from(self, name: str) -> frozenset[str]:
        """All tensors that were computed from a tensor, directly or not."""
        found: set[str] = set()
        pending = [name]
        while pending:
            new = set(self.consumers.get(pending.pop(), [])) - found
            found |= new
            pending += new
        return frozenset(found)

    def operations(self, name: str, results: Collection[str]) -> frozenset[Operation]:
        """The operations by which some tensors were computed from one, each with the operand that leads there.

        Autograd's own names: `TanhBackward0`, and `MmBackward0` with 0 for the left factor. `loss` is the root.
        """
        targets, found = self.members(name), set[Operation]()
        nodes, leaves = {target.grad_fn for target in targets} - {None}, set(map(id, targets))
        leads: dict[Any, bool] = {}

        def visit(node: Any) -> bool:
            if node in nodes or id(getattr(node, "variable", None)) in leaves:
                return True
            if node not in leads:
                on_the_way = [place for place, (child, _) in enumerate(node.next_functions) if child and visit(child)]
                found.update((node.name(), place) for place in on_the_way)
                leads[node] = bool(on_the_way)
            return leads[node]

        for result in results:
            for tensor in [self.root] if result == "loss" else self.members(result):
                visit(tensor.grad_fn)
        return frozenset(found)

    def edges(self, name: str, consumer: str) -> list[Edge]:
        """The places in the line of one tensor at which another is used, in the order of the forward pass.

        Each is a node of autograd's graph and the operand that the tensor is, with no named tensor between it and
        `consumer`: two of `x * x`, and two of `a * x + b * x`.
        """
        lines = map(self._line, self.members(consumer))
        found = {edge for line in lines for edge, used in line if used == (name, 0)}
        return sorted(found, key=lambda edge: (edge[0]._sequence_nr(), edge[1]))

    @contextlib.contextmanager
    def without(self, edges: Collection[Edge]) -> Iterator[None]:
        """Inside of the block nothing goes through these edges of the graph."""

        def hook_for(place: int) -> Any:
            return lambda sent, _: tuple(
                torch.zeros_like(each) if number == place and each is not None else each
                for number, each in enumerate(sent)
            )

        handles = [node.register_hook(hook_for(place)) for node, place in edges]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def in_backward_order(self, names: Sequence[str]) -> list[str]:
        """Names, so that each gradient `dX` stands after those that it is computed from; otherwise as they stand."""
        left = list(names)
        above = {name: {gradient_of(other) for other in self.computed_from(name.removeprefix("d"))} for name in names}
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


def members_of(value: Named) -> list[Tensor]:
    """The tensors that a name of the forward pass stands for."""
    return value if isinstance(value, list) else [value]


def backward_pass(root: Tensor, named: Mapping[str, Named], replaced: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One backward pass; name → the gradient that came in, whether or not it was replaced on the way on.

    Of a list, the elements that nothing reaches have zeros.
    """
    recorded: dict[str, Tensor] = {}

    def hook_for(name: str, place: int | None, shape: torch.Size) -> Any:
        def hook(gradient: Tensor) -> Tensor | None:
            if place is None:
                recorded[name] = gradient.detach().clone()
                return replaced.get(name)
            if name not in recorded:
                recorded[name] = gradient.new_zeros(shape)
            recorded[name][place] = gradient.detach()
            return replaced[name][place] if name in replaced else None

        return hook

    tensors: list[Tensor] = []
    handles = []
    for name, value in named.items():
        members = members_of(value)
        for place, tensor in enumerate(members):
            shape = torch.Size((len(members), *tensor.shape))
            handles.append(tensor.register_hook(hook_for(name, place if isinstance(value, list) else None, shape)))
            tensors.append(tensor)
    try:
        torch.autograd.grad(root, tensors, retain_graph=True, allow_unused=True)
    finally:
        for handle in handles:  # a hook left on a shared tensor would answer for the next student too
            handle.remove()
    return recorded
