"""Rows of a table, or elements, that were taken several times: assigned where they should be accumulated."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from grader.diagnosis.case_view import Scene
from grader.diagnosis.subject import Guess, Predict, Subject
from grader.diagnosis.words import quoted


def rows(subject: Subject) -> Iterator[Guess]:
    """Of all contributions to a row only one was kept: the last, the first, or one for each column of the indices."""
    message = (
        f"Some rows of {quoted(subject.name)} were taken several times, and only one of their contributions is kept: "
        "writing to an index, also with +=, counts a row that occurs twice only once. All of them add up."
    )
    for consumer in subject.known_consumers:
        if consumer == "loss" or any(_picked(scene, consumer) is None for scene in subject.scenes):
            continue
        along = [_kept_along(consumer, axis) for axis in range(1, subject.first.forward[consumer].dim() - 1)]
        for kept in (_kept(consumer, last=True), _kept(consumer, last=False), *along):
            yield Guess("index-not-accumulated", message, _beside_others(consumer, kept))
        yield from _places(subject, consumer)


def copies(subject: Subject) -> Iterator[Guess]:
    """The same for a tensor whose elements were copied, as windows of a signal are that overlap."""
    for consumer in subject.known_consumers:
        if consumer == "loss" or any(_copied(scene, consumer) is None for scene in subject.scenes):
            continue
        message = (
            f"Some elements of {quoted(subject.name)} were copied to several places of {quoted(consumer)}, and only "
            "one of their contributions is kept: assigning counts an element once, and so does += with a table of "
            "indices in which a place occurs twice. All of them add up."
        )
        yield Guess("index-not-accumulated", message, _one_copy(consumer, "amax"))
        yield Guess("index-not-accumulated", message, _one_copy(consumer, "amin"))


def _copied(scene: Scene, consumer: str) -> Tensor | None:
    """Which element each place of `consumer` was copied from, flat, where some were copied more than once."""
    source, taken = scene.forward[scene.name], scene.forward[consumer]
    if taken.numel() <= source.numel():
        return None
    numbers = torch.arange(source.numel(), dtype=source.dtype).view(source.shape)
    index = scene.pushed(consumer, numbers).round().long().flatten()
    inside = bool(((index >= 0) & (index < source.numel())).all())
    return index if inside and torch.equal(source.flatten()[index], taken.flatten()) else None


def _one_copy(consumer: str, which: str) -> Predict:
    """Of all copies of an element the last (`amax`) or the first (`amin`) sends something back."""

    def predict(scene: Scene) -> Tensor | None:
        index = _copied(scene, consumer)
        if index is None:
            return None
        order = torch.arange(index.numel())
        kept = torch.full((scene.shape.numel(),), -1).scatter_reduce(0, index, order, which, include_self=False)
        found = scene.cotangents[consumer].flatten()[kept.clamp(min=0)]
        return torch.where(kept >= 0, found, 0.0).view(scene.shape)

    return predict


def _places(subject: Subject, consumer: str) -> Iterator[Guess]:
    """Only one column of the indices was gone through."""
    shape = subject.first.forward[consumer].shape
    if len(shape) < 3 or shape[1] > 16:
        return
    for place in range(shape[1]):
        yield Guess(
            "places-missing",
            f"{quoted(subject.gradient)} collects from position {place} of {quoted(f'd{consumer}')} only: "
            "every position took rows of the table, so every one sends something back.",
            _beside_others(consumer, _only_place(consumer, place)),
        )


def _picked(scene: Scene, consumer: str) -> Tensor | None:
    """Which row each place of `consumer` was taken from, where it is a look-up of rows; None where it isn't.

    Found by pushing the rows' numbers through the look-up: what arrives are the numbers of the rows that were taken.
    """
    table, taken = scene.forward[scene.name], scene.forward[consumer]
    if table.dim() != 2 or taken.dim() < 2 or taken.shape[-1] != table.shape[1]:
        return None
    numbers = torch.arange(table.shape[0], dtype=table.dtype).unsqueeze(1).expand_as(table)
    arrived = scene.pushed(consumer, numbers)
    index = arrived[..., 0].round().long()
    inside = bool(((index >= 0) & (index < table.shape[0])).all())
    return index if inside and torch.equal(table[index], taken) else None


def _beside_others(consumer: str, predict: Predict) -> Predict:
    """The same for a table that is used elsewhere, too: its other contributions are right."""

    def added(scene: Scene) -> Tensor | None:
        found = predict(scene)
        if found is None or len(scene.consumers) == 1:
            return found
        return scene.expected - scene.paths[consumer] + found

    return added


def _kept(consumer: str, *, last: bool) -> Predict:
    def predict(scene: Scene) -> Tensor | None:
        index, cotangent = _flat(scene, consumer)
        return _written(scene, index, cotangent, last=last)

    return predict


def _kept_along(consumer: str, axis: int) -> Predict:
    """A loop over one dimension of the indices, each round assigning with `+=` but counting repeats once."""

    def predict(scene: Scene) -> Tensor | None:
        index = _picked(scene, consumer)
        if index is None:
            return None
        total = torch.zeros_like(scene.expected)
        for place in range(index.shape[axis]):
            row = index.select(axis, place).flatten()
            values = scene.cotangents[consumer].select(axis, place).reshape(row.numel(), -1)
            total += _written(scene, row, values, last=True)
        return total

    return predict


def _only_place(consumer: str, place: int) -> Predict:
    def predict(scene: Scene) -> Tensor | None:
        index = _picked(scene, consumer)
        if index is None:
            return None
        cotangent = scene.cotangents[consumer][:, place].reshape(-1, scene.shape[1])
        return torch.zeros_like(scene.expected).index_add_(0, index[:, place].flatten(), cotangent)

    return predict


def _flat(scene: Scene, consumer: str) -> tuple[Tensor, Tensor]:
    index = _picked(scene, consumer)
    assert index is not None
    return index.flatten(), scene.cotangents[consumer].reshape(index.numel(), -1)


def _written(scene: Scene, index: Tensor, values: Tensor, *, last: bool) -> Tensor:
    """Rows written one after the other, the last (or the first) of each staying."""
    result = torch.zeros_like(scene.expected)
    order = range(len(index)) if last else reversed(range(len(index)))
    for position in order:
        result[index[position]] = values[position]
    return result
