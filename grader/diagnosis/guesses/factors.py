"""A tensor of the forward pass missing from a product, or in it once too often."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from grader.diagnosis.case_view import Elementwise, Scene, summed
from grader.diagnosis.formula.bindings import divides, raises
from grader.diagnosis.subject import Guess, Predict, Subject
from grader.diagnosis.words import quoted

POWERS = (1, 2, 3)
TIMES = {1: "once", 2: "twice", 3: "three times"}


def factors(subject: Subject) -> Iterator[Guess]:
    """One factor too few or too many, among the tensors that take part in the step."""
    for consumer in subject.consumers:
        if consumer == "loss" or not all(consumer in scene.elementwise for scene in subject.scenes):
            continue
        for factor in _candidates(subject, consumer):
            for power in POWERS:
                yield Guess(*_few(subject, factor, power), _with_power(consumer, factor, -power))
                yield Guess(*_many(subject, factor, power), _with_power(consumer, factor, power))


def _few(subject: Subject, factor: str, power: int) -> tuple[str, str]:
    if not _used(subject, factor):
        return "factor-missing", _left_out(subject, factor)
    if factor == subject.name or raises(subject.sources, subject.gradient, factor):
        return "wrong-power", (
            f"The power of {quoted(factor)} is too low here: differentiate the line that uses it once more on paper, "
            "and mind the exponent."
        )
    if power == 2 and divides(subject.sources, subject.gradient, factor):
        return "wrong-operation", f"{quoted(factor)} divides here, and it should multiply: {_CHECK}."
    if divides(subject.sources, subject.gradient, factor):
        return "factor-too-many", _divides(factor, power, "more")
    return (
        "factor-missing",
        f"{quoted(factor)} is in this product {TIMES[power]} less than the chain rule calls for: {_CHECK}.",
    )


def _many(subject: Subject, factor: str, power: int) -> tuple[str, str]:
    if not _used(subject, factor):  # what is left out divides, then
        return "factor-missing", _left_out(subject, factor)
    if raises(subject.sources, subject.gradient, factor):
        return "wrong-power", (
            f"The power of {quoted(factor)} is too high here: differentiate the line that uses it once more on paper, "
            "and mind the exponent."
        )
    if power == 2 and factor != subject.name:
        return "wrong-operation", f"{quoted(factor)} multiplies here, and it should divide: {_CHECK}."
    if divides(subject.sources, subject.gradient, factor):
        return "factor-missing", _divides(factor, power, "less")
    return (
        "factor-too-many",
        f"{quoted(factor)} is in this product {TIMES[power]} more than the chain rule calls for: {_CHECK}.",
    )


def _divides(factor: str, power: int, how: str) -> str:
    return f"{quoted(factor)} divides here {TIMES[power]} {how} than the chain rule calls for: {_CHECK}."


def _used(subject: Subject, factor: str) -> bool:
    """Whether the factor is named in the part at all: it may stand in a line for a name of the student's own."""
    return factor in subject.ancestry


def _left_out(subject: Subject, factor: str) -> str:
    return (
        f"A factor with {quoted(factor)} in it is left out: the derivative of the line that uses "
        f"{quoted(subject.name)} holds it, and what arrives from above is multiplied by all of that."
    )


_CHECK = "check the derivative of this step"


def _candidates(subject: Subject, consumer: str) -> list[str]:
    """The tensor itself, what it is combined with, and the result; then every other tensor, nearest first."""
    uses = subject.first.reference.consumers
    siblings = [name for name, consumers in uses.items() if consumer in consumers and name != subject.name]
    return list(dict.fromkeys([subject.name, *siblings, consumer]))


def _with_power(consumer: str, factor: str, power: int) -> Predict:
    def predict(scene: Scene) -> Tensor | None:
        product = multiplied(scene, scene.elementwise[consumer], scene.forward[factor], power)
        return None if product is None else scene.expected - scene.paths[consumer] + product

    return predict


def multiplied(scene: Scene, step: Elementwise, factor: Tensor, power: int) -> Tensor | None:
    """A path's contribution with one more factor in the product, before its sum; None where the shapes differ."""
    try:
        if torch.broadcast_shapes(step.local.shape, factor.shape) != step.local.shape:
            return None
    except RuntimeError:
        return None
    product = step.product * factor**power
    return summed(product, scene.shape) if bool(torch.isfinite(product).all()) else None
