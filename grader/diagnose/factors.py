"""A tensor of the forward pass missing from a product, or in it once too often."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from grader.diagnose.scene import Elementwise, Scene, summed
from grader.diagnose.subject import Guess, Predict, Subject
from grader.diagnose.words import quoted

POWERS = (1, 2, 3)


def factors(subject: Subject) -> Iterator[Guess]:
    """One factor too few or too many, among the tensors that take part in the step."""
    for consumer in subject.consumers:
        if consumer == "loss" or not all(consumer in scene.elementwise for scene in subject.scenes):
            continue
        for factor in _candidates(subject, consumer):
            for power in POWERS:
                yield Guess(*_few(subject, factor), _with_power(consumer, factor, -power))
                yield Guess(*_many(subject, factor), _with_power(consumer, factor, power))


def _few(subject: Subject, factor: str) -> tuple[str, str]:
    if factor == subject.name:
        return "wrong-power", (
            f"{quoted(factor)} is missing as a factor, or its power is too low: differentiate the line that uses it "
            "once more on paper, and mind the exponent."
        )
    return "factor-missing", (
        f"The factor {quoted(factor)} is missing: it stands in the forward pass between {quoted(subject.name)} and "
        "the loss, so it belongs to the local derivative."
    )


def _many(subject: Subject, factor: str) -> tuple[str, str]:
    if factor == subject.name:
        return "wrong-power", (
            f"The power of {quoted(factor)} is too high here: differentiate the line that uses it once more on paper, "
            "and mind the exponent."
        )
    return "factor-too-many", f"{quoted(factor)} is in this product once more than the chain rule calls for."


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
