"""Slips that touch every element alike: nothing filled in, the sign, a constant factor, rows for columns."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import Tensor

from grader.diagnosis.case_view import Scene
from grader.diagnosis.subject import Guess, Subject
from grader.diagnosis.words import named_factor, quoted, shape_text


def zeros(subject: Subject) -> Iterator[Guess]:
    """Nothing but zeros, or what rounding leaves of them, where the gradient is not zero."""
    yield Guess(
        "all-zero",
        f"{quoted(subject.gradient)} holds zeros only: nothing was ever written into it, or everything in it cancels. "
        f"The loss does depend on {quoted(subject.name)}.",
        lambda scene: torch.zeros_like(scene.expected),
    )


def begun_with_ones(subject: Subject) -> Iterator[Guess]:
    """Contributions added up, or put in their places, in a tensor that was not empty."""
    message = (
        f"{quoted(subject.gradient)} begins with ones, and what belongs there is {{}}: an accumulator begins with "
        "zeros, as zeros_like makes them."
    )
    begins = re.compile(rf"\b{re.escape(subject.gradient)}\s*=[^=\n]*\bones(_like)?\(")
    if any(begins.search(source) for source in subject.sources):
        yield Guess("term-too-many", message.format("added to them"), lambda scene: scene.expected + 1)
        yield Guess("term-too-many", message.format("put among them"),
                    lambda scene: torch.where(scene.expected == 0, 1.0, scene.expected))  # fmt: skip


def sign(subject: Subject) -> Iterator[Guess]:
    """Minus what it should be."""
    yield Guess(
        "sign-flipped",
        f"The numbers of {quoted(subject.gradient)} are right and their sign is not: "
        f"follow the minus signs on the way from {quoted(subject.name)} to the loss.",
        lambda scene: -scene.expected,
    )


def transposed(subject: Subject) -> Iterator[Guess]:
    """Rows and columns exchanged, or a column that has lost its dimension and lies as a row does."""
    rank = len(subject.first.shape)
    if rank < 2:
        return
    if rank == 2 and any(scene.student.dim() == 1 for scene in subject.scenes):
        yield Guess(
            "keepdim",
            f"{quoted(subject.gradient)} has the shape {shape_text(subject.first.student.shape)}, its tensor "
            f"{shape_text(subject.first.shape)}: a dimension of size 1 got lost on the way, as in a sum without "
            "keepdim.",
            lambda scene: scene.expected.T,
        )
    else:
        exchanged = "rows and columns exchanged" if rank == 2 else "its dimensions in the opposite order"
        yield Guess(
            "transposed",
            f"{quoted(subject.gradient)} has {exchanged}: a gradient lies exactly as its tensor does.",
            lambda scene: scene.expected.permute(*reversed(range(rank))),
        )


def factor(subject: Subject) -> Iterator[Guess]:
    """A constant times what it should be, with a name that holds in every case."""
    ratios = [_ratio(scene.student, scene.expected) for scene in subject.scenes]
    if any(ratio is None or ratio == 0 for ratio in ratios):
        return
    found = [ratio for ratio in ratios if ratio is not None]
    signs = {ratio > 0 for ratio in found}
    name = named_factor(subject.scenes, [abs(ratio) for ratio in found])
    if name is None or len(signs) > 1 or name == "1":
        return
    minus = "" if signs == {True} else ", and its sign is flipped"
    yield Guess(
        "constant-factor",
        f"{quoted(subject.gradient)} is {quoted(name)} times what it should be{minus}: "
        f"look for a number or a mean in the forward pass that is missing here, or here twice.",
        lambda scene: scene.expected * (_ratio(scene.student, scene.expected) or 0.0),
    )


def _ratio(student: Tensor, expected: Tensor) -> float | None:
    """The one number by which `expected` comes nearest to `student`; None where there is none to be had."""
    if student.numel() != expected.numel() or not expected.numel():
        return None
    square = float((expected * expected).sum())
    if square == 0:
        return None
    return float((student.reshape(expected.shape) * expected).sum()) / square


def ratio_along(scene: Scene, rest: Tensor, direction: Tensor) -> float | None:
    """The factor `k` for which `rest + k * direction` comes nearest to the student's value."""
    if scene.student.shape != rest.shape:
        return None
    return _ratio(scene.student - rest, direction)
