"""The graph that autograd recorded of a forward pass: which tensors with a name were computed from which, and how."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
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


class Graph:
    """A part's forward pass in one case, as autograd recorded it.

    Attributes:
        root: the scalar that `backward` was called on.
        named: what each name stands for that the root depends on, the root itself left out.
        lists: of these names, those of lists.
    """

    def __init__(self, root: Tensor, named: Mapping[str, Named]) -> None:
        self.root = root
        self.named = named
        self.lists = frozenset(name for name, value in named.items() if isinstance(value, list))

    def members(self, name: str) -> list[Tensor]:
        """The tensors of the graph that a name stands for: one, or those of a list."""
        return members_of(self.named[name])

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
        uses: dict[str, list[str]] = {name: [] for name in self.named}
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
