"""A tensor that is used several times, also within one line: what becomes of each use's contribution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from grader.diagnosis.case_view import MAX_USES, NOTHING, Scene
from grader.diagnosis.subject import Guess, Subject
from grader.diagnosis.words import named_factor
from grader.wording import listed

_ORDER = ("first", "second", "third", "fourth")
_GONE, _FLIPPED = "is missing", "has the wrong sign"


def uses(subject: Subject) -> Iterator[Guess]:
    """Every contribution multiplied by a number of its own, which may be zero."""
    consumers = subject.known_consumers or subject.consumers
    if len(consumers) < len(subject.consumers):
        return
    labels = [label for one in consumers for label in _labels(subject.name, one, len(subject.first.uses(one)))]
    pieces = {scene: [piece for one in consumers for piece in scene.uses(one)] for scene in subject.scenes}
    if not 1 < len(labels) <= MAX_USES or {len(those) for those in pieces.values()} != {len(labels)}:
        return  # a loop of the forward pass may use it as often as the case is large
    factors = {scene: found for scene, those in pieces.items() if (found := _factors(scene, those)) is not None}
    if len(factors) < len(pieces):
        return
    said = [
        words
        for numbers in zip(*factors.values(), strict=True)
        if (words := _said(subject.scenes, numbers)) is not None
    ]
    if len(said) < len(labels):
        return
    code = {frozenset([_GONE]): "path-missing", frozenset([_FLIPPED]): "path-sign"}.get(frozenset(said) - {""})
    off = [f"{label} {words}" for label, words in zip(labels, said, strict=True) if words]
    message = (
        f"`{subject.name}` is used {len(labels)} times, and every use sends a contribution back. Of these, "
        f"{listed(off, MAX_USES)}."
    )
    yield Guess(code or "path-factor", message, lambda scene: _joined(pieces[scene], factors[scene]))


def _joined(pieces: Sequence[Tensor], factors: Sequence[float]) -> Tensor:
    return torch.stack([factor * piece for factor, piece in zip(factors, pieces, strict=True)]).sum(0)


def _labels(name: str, consumer: str, count: int) -> list[str]:
    """How the contributions of one consumer are called: it may use a tensor at several places of its line."""
    if count == 1:
        return [f"the one through `{consumer}`"]
    return [f"the one of the {place} `{name}` in the line of `{consumer}`" for place in _ORDER[:count]]


def _factors(scene: Scene, pieces: Sequence[Tensor]) -> list[float] | None:
    """The numbers by which contributions are multiplied in the student's tensor; None where they are alike."""
    table = torch.stack([piece.flatten() for piece in pieces], 1)
    if scene.student.numel() != len(table) or int(torch.linalg.matrix_rank(table)) < len(pieces):
        return None
    found: list[float] = torch.linalg.lstsq(table, scene.student.reshape(-1, 1)).solution.flatten().tolist()
    return found


def _said(scenes: Sequence[Scene], numbers: Sequence[float]) -> str | None:
    """What is said of a contribution that has these factors; nothing of a right one, None where they have no name."""
    if all(abs(number) < NOTHING for number in numbers):
        return _GONE
    factor = named_factor(scenes, numbers, numbers=False)
    if factor is None or factor.name == "1":
        return None if factor is None else _FLIPPED if factor.negative else ""
    minus = " with the wrong sign" if factor.negative else ""
    return f"is `{factor.name}` times what it should be{minus}"
