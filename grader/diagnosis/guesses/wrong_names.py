"""Slips with names: another tensor's value, a stale upstream, one that was not complete yet."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from grader.diagnosis.case_view import Scene
from grader.diagnosis.formula.bindings import names_behind
from grader.diagnosis.subject import Guess, Predict, Subject
from grader.diagnosis.words import quoted


def another_value(subject: Subject) -> Iterator[Guess]:
    """The value of another tensor, or its gradient, under this name."""
    gradient = quoted(subject.gradient)
    for other in _alike(subject, subject.name):
        if _made_from(subject, other):
            continue
        yield Guess(
            "another-gradient",
            f"{gradient} holds the gradient of another tensor, {quoted(f'd{other}')}: something between the two is "
            "missing, or the names were mixed up.",
            _own(other),
        )
    for other in [subject.name, *_alike(subject, subject.name)]:
        yield Guess(
            "not-a-gradient",
            f"{gradient} holds {quoted(other)} itself, a value of the forward pass and no gradient.",
            _value(other),
        )


def _made_from(subject: Subject, other: str) -> bool:
    """Whether the other gradient comes later in the backward pass, so that it is equal only because it follows."""
    read = {word for line in subject.lines for word in line.reads}
    return f"d{other}" not in read and subject.name in subject.first.computed_from(other)


def _own(other: str) -> Predict:
    return lambda scene: scene.own.get(other)


def _value(other: str) -> Predict:
    return lambda scene: scene.forward[other]


def value_for_gradient(subject: Subject) -> Iterator[Guess]:
    """The right formula with a value of the forward pass where its gradient belongs, or with another gradient.

    The line names the one alone. It comes before what the numbers alone would say: where the two differ by a factor,
    the factor is not the slip.
    """
    read = {word for line in subject.lines for word in line.reads}
    for consumer in subject.known_consumers:
        if consumer == "loss" or f"d{consumer}" in read:
            continue
        if consumer in read:
            yield _value_guess(consumer)
        for other in _alike(subject, consumer):
            if f"d{other}" in read and subject.name != other:
                yield _gradient_guess(consumer, other)


def _value_guess(consumer: str) -> Guess:
    return Guess(
        "wrong-neighbour",
        f"The formula fits, but {quoted(consumer)} stands where {quoted(f'd{consumer}')} belongs: "
        "what flows backward is the gradient, not the value.",
        _through(consumer, consumer, gradient=False),
    )


def _gradient_guess(consumer: str, other: str) -> Guess:
    return Guess(
        "wrong-neighbour",
        f"The formula fits, but it is applied to {quoted(f'd{other}')} where {quoted(f'd{consumer}')} belongs: "
        f"what comes from above here is the gradient of {quoted(consumer)}.",
        _through(consumer, other, gradient=True),
    )


def stale_upstream(subject: Subject) -> Iterator[Guess]:
    """The right formula, applied to something else than what arrives from the consumer."""
    written = {f"d{name}" for name in subject.first.own}
    read = names_behind(subject.sources, subject.gradient, written)
    for consumer in subject.known_consumers:
        if consumer == "loss":
            continue
        wanted = quoted(f"d{consumer}")
        yield from _incomplete(subject, consumer)  # what too_early has no evidence for
        yield _value_guess(consumer)
        for other in _alike(subject, consumer):
            if f"d{other}" in read or f"d{other}" not in written:
                yield _gradient_guess(consumer, other)
            yield Guess(
                "wrong-neighbour",
                f"The formula fits, but {quoted(other)} stands where {wanted} belongs.",
                _through(consumer, other, gradient=False),
            )


def too_early(subject: Subject) -> Iterator[Guess]:
    """What arrives was taken before all contributions to it had been added up: it is bound again after this line."""
    for consumer in subject.known_consumers:
        uses = subject.first.reference.consumers.get(consumer, [])
        if len(uses) < 2 or not subject.bound_later(f"d{consumer}"):
            continue
        for left_out in uses:
            yield Guess(
                "used-too-early",
                f"{quoted(f'd{consumer}')} was used here before it was complete: the path through {quoted(left_out)} "
                "was added to it only later. Go through the forward pass strictly backward.",
                _before(consumer, left_out),
            )


def _incomplete(subject: Subject, consumer: str) -> Iterator[Guess]:
    """Only a part of what arrives is used."""
    uses = subject.first.reference.consumers[consumer]
    for left_out in uses if len(uses) > 1 else []:
        yield Guess(
            "path-missing",
            f"Only a part of what {quoted(f'd{consumer}')} should be is used here: what comes through "
            f"{quoted(left_out)} is missing in it.",
            _before(consumer, left_out),
        )


def _before(consumer: str, left_out: str) -> Predict:
    def predict(scene: Scene) -> Tensor:
        above = Scene(consumer, scene.cotangents[consumer], scene.reference, scene.own, scene.exported, scene.tolerance)
        return _instead(scene, consumer, scene.cotangents[consumer] - above.paths[left_out])

    return predict


def _through(consumer: str, other: str, *, gradient: bool) -> Predict:
    def predict(scene: Scene) -> Tensor:
        value = scene.own.get(other, scene.chained[other]) if gradient else scene.forward[other]
        return _instead(scene, consumer, value)

    return predict


def _instead(scene: Scene, consumer: str, cotangent: Tensor) -> Tensor:
    return scene.expected - scene.paths[consumer] + scene.through(consumer, cotangent)


def _alike(subject: Subject, name: str) -> list[str]:
    """The other tensors that have the same shape in every case; those that the student's lines name come first."""
    shapes = [scene.forward[name].shape for scene in subject.scenes]
    alike = [
        other
        for other in subject.first.forward
        if other != name
        and all(scene.forward[other].shape == shape for scene, shape in zip(subject.scenes, shapes, strict=True))
    ]
    read = {word for line in subject.lines for word in line.reads}
    return sorted(alike, key=lambda other: other not in read and f"d{other}" not in read)
