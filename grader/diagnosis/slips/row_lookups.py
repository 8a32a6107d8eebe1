"""Rows of a table, or elements, that were taken several times: assigned where they should be accumulated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from grader.diagnosis.case_view import Scene
from grader.diagnosis.formula.node import Node
from grader.diagnosis.guess import Guess, Predict
from grader.diagnosis.slips.edit import Change, Context
from grader.diagnosis.wrong_tensor import WrongTensor
from grader.notebook.gradient_names import gradient_of

# --- made in the right step


Collect = Callable[[Tensor, Tensor, int], Tensor]
"""What is made of the gradients that arrive, given the place that each was copied from, and how many places there are.

Both tensors have the consumer's shape; the result is flat.
"""


MAX_PLACES = 16
"""Columns of indices that are gone through one by one."""


def rows(wrong: WrongTensor) -> Iterator[Guess]:
    """Of all contributions to a row or an element only one was kept, one a column of the indices, or one column."""
    for consumer in wrong.known_consumers:
        taken = {scene: _taken(scene, consumer) for scene in wrong.scenes if consumer != "loss"}
        found = {scene: index for scene, index in taken.items() if index is not None}
        if not found or len(found) < len(taken):
            continue
        table = all(_is_table(scene, consumer) for scene in found)
        shape = wrong.first.forward[consumer].shape
        message = (
            f"Some rows of `{wrong.name}` were taken several times, but only one contribution of each is kept: "
            "writing to an index, even with +=, counts a repeated row only once. All of them add up."
            if table else
            f"Some elements of `{wrong.name}` were copied to several places of `{consumer}`, but only one "
            "contribution of each is kept: assigning counts an element only once, and so does += with an index in "
            "which a place occurs twice. All of them add up."
        )  # fmt: skip
        begin = 0 if consumer in wrong.first.reference.lists else 1  # a list is gone through step by step
        along = [partial(_along, axis) for axis in range(begin, len(shape) - 1) if table]
        collects: list[Collect] = [_kept, partial(_kept, which="amin"), *along]
        for collect in collects:
            yield Guess("index-not-accumulated", message, _collected(consumer, found, collect))
        for place in range(shape[1]) if table and len(shape) > 2 and shape[1] <= MAX_PLACES else ():
            yield Guess(
                "places-missing",
                f"`{wrong.gradient}` collects from position {place} of `{gradient_of(consumer)}` only, but "
                "every position used rows of the table, so every one sends something back.",
                _collected(consumer, found, partial(_only, place)),
            )


def _is_table(scene: Scene, consumer: str) -> bool:
    table, taken = scene.forward[scene.name], scene.forward[consumer]
    return table.dim() == 2 and taken.dim() >= 2 and taken.shape[-1] == table.shape[1]


def _taken(scene: Scene, consumer: str) -> Tensor | None:
    """Which element each place of `consumer` was copied from, where some may have been copied more than once.

    Found by pushing the elements' numbers through the step: what arrives are the numbers of those that were taken.
    """
    source, taken = scene.forward[scene.name], scene.forward[consumer]
    numbers = torch.arange(source.numel(), dtype=source.dtype).view(source.shape)
    index = scene.pushed(consumer, numbers).round().long()
    inside = bool(((index >= 0) & (index < source.numel())).all())
    several = _is_table(scene, consumer) or len(index.unique()) < index.numel()
    return index if inside and several and torch.equal(source.flatten()[index], taken) else None


def _collected(consumer: str, taken: Mapping[Scene, Tensor], collect: Collect) -> Predict:
    """The gradient, where what comes from one consumer is collected so, and what comes from all others is right."""
    return lambda scene: scene.with_path(
        consumer, collect(taken[scene], scene.cotangents[consumer], scene.shape.numel()).view(scene.shape)
    )


def _kept(index: Tensor, arrived: Tensor, size: int, which: str = "amax") -> Tensor:
    """Written one after the other, the last of each staying; the first for `amin`."""
    order = torch.arange(index.numel())
    kept = torch.full((size,), -1).scatter_reduce(0, index.flatten(), order, which, include_self=False)
    return torch.where(kept >= 0, arrived.flatten()[kept.clamp(min=0)], 0.0)


def _along(axis: int, index: Tensor, arrived: Tensor, size: int) -> Tensor:
    """A loop over one dimension of the indices, each round assigning with `+=` but counting repeats once."""
    rounds = zip(index.unbind(axis), arrived.unbind(axis), strict=True)
    return torch.stack([_kept(places, values, size) for places, values in rounds]).sum(0)


def _only(place: int, index: Tensor, arrived: Tensor, size: int) -> Tensor:
    """Everything from one column of the indices."""
    total = torch.zeros(size, dtype=arrived.dtype)
    return total.index_add_(0, index[:, place].flatten(), arrived[:, place].flatten())


# --- undone in a formula


def collected(node: Node, _: Context) -> Iterator[Change]:
    """Every round of a loop assigns, and what an earlier one has put there is lost."""
    if node.op == "loop" and node.value.counter and node.value.how == "set":
        text = (
            "The rounds of the loop write to the same places of {}, and each = throws away what an earlier round has "
            "put there. Contributions add up: use +=."
        )
        yield Node("loop", node.args, node.value._replace(how="add")), "index-not-accumulated", text, node


def crossed(node: Node, _: Context) -> Iterator[Change]:
    """`x[range(n), index]` with an index that has kept its dimension."""
    if node.op == "mask" and node.args[1].op == "unsqueeze":
        text = (
            "{} has the shape (n, 1), so with range(n) it points to its columns in every row, not to one in each: "
            "use it without that dimension, which keepdim or None has added."
        )
        yield Node("mask", (node.args[0], node.args[1].args[0])), "index-crossed", text, node.args[1]
