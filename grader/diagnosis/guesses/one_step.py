"""Slips inside one step of the chain rule: the derivative or the upstream left out, sums missing or misplaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import torch
from torch import Tensor

from grader.diagnosis.case_view import Elementwise, Scene, summed
from grader.diagnosis.subject import Guess, Predict, Subject
from grader.diagnosis.words import dimension, quoted, shape_text

Change = Callable[[Scene, Elementwise], Tensor | None]


def left_out(subject: Subject) -> Iterator[Guess]:
    """The local derivative or the upstream gradient is not there."""
    gradient = quoted(subject.gradient)
    for consumer in elementwise_steps(subject):
        upstream = quoted(f"d{consumer}")
        yield Guess(
            "local-derivative-missing",
            f"{upstream} was passed straight on to {gradient}: the derivative of the line that computes "
            f"{quoted(consumer)}, with respect to {quoted(subject.name)}, is missing as a factor.",
            changed(consumer, lambda scene, step: summed(step.cotangent, scene.shape)),
        )
        yield Guess(
            "upstream-missing",
            f"Of the step to {quoted(consumer)} only the derivative is here: by the chain rule what arrives from "
            f"above, {upstream}, multiplies it.",
            changed(consumer, lambda scene, step: summed(step.local, scene.shape)),
        )


def passed_on(subject: Subject) -> Iterator[Guess]:
    """What arrived from above, in its own shape."""
    for consumer in subject.known_consumers:
        if consumer == "loss":
            continue
        own, target = list(subject.first.shape), list(subject.first.forward[consumer].shape)
        gradient, upstream = quoted(subject.gradient), quoted(f"d{consumer}")
        if subject.first.shape.numel() == subject.first.forward[consumer].numel() and own != target:
            yield Guess(
                "shape-not-restored",
                f"{gradient} holds the numbers of {upstream} in the shape {shape_text(target)}: bring them back into "
                f"the shape {shape_text(own)} of {quoted(subject.name)}.",
                lambda scene, consumer=consumer: scene.cotangents[consumer]  # type: ignore[misc]
                if scene.fits_numbers(scene.expected, scene.cotangents[consumer]) else None,
            )  # fmt: skip
        if len(target) > len(own):
            yield Guess(
                "sum-missing",
                f"{gradient} holds {upstream} as it is, in the shape {shape_text(target)}. {quoted(subject.name)} "
                f"{shape_text(own)} was stretched to it in the forward pass: what was used several times adds up.",
                lambda scene, consumer=consumer: _if_some_sum_is_right(scene, consumer),  # type: ignore[misc]
            )
        yield Guess(
            "local-derivative-missing",
            f"{upstream} was passed straight on to {gradient}, in its own shape: what happens between "
            f"{quoted(subject.name)} and {quoted(consumer)} has a way back, too.",
            lambda scene, consumer=consumer: scene.cotangents[consumer],  # type: ignore[misc]
        )


def _if_some_sum_is_right(scene: Scene, consumer: str) -> Tensor | None:
    """What arrives from a consumer, where sums over some of its dimensions make of it what it should give."""
    arrived = scene.cotangents[consumer]
    for kept in combinations(range(arrived.dim()), len(scene.shape)):
        gone = tuple(set(range(arrived.dim())) - set(kept))
        same = torch.Size(arrived.shape[dim] for dim in kept) == scene.shape
        if same and scene.tolerance.holds(arrived.sum(gone), scene.paths[consumer]):
            return arrived
    return None


def row_left_out(subject: Subject) -> Iterator[Guess]:
    """A softmax differentiated as if each element acted on its own place alone."""
    for consumer in subject.known_consumers:
        if consumer == "loss" or not all(_is_softmax(scene, consumer) for scene in subject.scenes):
            continue
        message = (
            f"An element of {quoted(subject.name)} acts on every element of its row of {quoted(consumer)}, because the "
            "row adds up to one: where one grows, the others shrink. Here only"
        )
        yield Guess(
            "row-missing",
            f"{message} a part of what comes back from the row is there: a sum over it is missing.",
            lambda scene, consumer=consumer: scene.forward[consumer] * scene.cotangents[consumer],  # type: ignore[misc]
        )
        yield Guess(
            "row-missing",
            f"{message} what comes back from its own place is there: all places of the row send something, and add up.",
            lambda scene, consumer=consumer: scene.forward[consumer]  # type: ignore[misc]
            * (1 - scene.forward[consumer]) * scene.cotangents[consumer],
        )  # fmt: skip


def _is_softmax(scene: Scene, consumer: str) -> bool:
    alone = scene.consumers == [consumer] and scene.shape == scene.forward[consumer].shape
    return alone and _made_by(scene, consumer).startswith("SoftmaxBackward")


def _made_by(scene: Scene, name: str) -> str:
    """What autograd calls the operation that made a tensor, `TanhBackward0`; nothing for a leaf."""
    operation = scene.reference.members(name)[0].grad_fn
    return operation.name() if operation is not None else ""


def sums(subject: Subject) -> Iterator[Guess]:
    """Sums over broadcast dimensions: missing, over the wrong dimension, one too many, or too early."""
    for consumer in elementwise_steps(subject):
        yield from _undone_broadcast(subject, consumer)
    yield from _too_many(subject)
    yield from _unsummed(subject)


def _undone_broadcast(subject: Subject, consumer: str) -> Iterator[Guess]:
    shape, wide = list(subject.first.shape), list(subject.first.elementwise[consumer].local.shape)
    name, gradient = quoted(subject.name), quoted(subject.gradient)
    stretched = f"{name} {shape_text(shape)} was stretched to {shape_text(wide)} in the line of {quoted(consumer)}"
    if shape != wide:
        yield Guess(
            "sum-missing",
            f"{stretched}: an element that was used several times collects the contributions of all its uses, so "
            f"{gradient} needs a sum to come back to the shape of {name}.",
            changed(consumer, lambda scene, step: step.product),
        )
        for outside, change in _TOO_EARLY:
            yield Guess(
                "sum-too-early",
                f"The sum takes in one factor only, and {outside} is multiplied on afterwards: a method call binds "
                "tighter than *. Multiply first, then sum the products.",
                changed(consumer, change),
            )
    for axis in range(len(wide)):
        for keep in (True, False):
            yield Guess(
                "sum-wrong-dimension" if shape != wide else "sum-too-many",
                f"The sum goes {dimension(axis, len(wide))}, and that is not the dimension along which {name} was "
                "stretched: compare the two shapes."
                if shape != wide
                else f"There is a sum here, and nothing was stretched in the line of {quoted(consumer)}: "
                f"{gradient} has the full shape of its tensor.",
                changed(consumer, _product_summed(axis, keep)),
            )


def _cotangent_summed_early(scene: Scene, step: Elementwise) -> Tensor:
    return step.local * summed(step.cotangent, scene.shape)


def _local_summed_early(scene: Scene, step: Elementwise) -> Tensor:
    return step.cotangent * summed(step.local, scene.shape)


_TOO_EARLY = (
    ("the local derivative", _cotangent_summed_early),
    ("the upstream gradient", _local_summed_early),
)


def _product_summed(axis: int, keep: bool) -> Change:
    return lambda _, step: step.product.sum(axis, keepdim=keep)


def _too_many(subject: Subject) -> Iterator[Guess]:
    message = (
        f"There is one sum too many: {quoted(subject.gradient)} should have the shape "
        f"{shape_text(subject.first.shape)} of its tensor, with a value of its own for every element."
    )
    for axis in range(len(subject.first.shape)):
        for keep in (True, False):
            yield Guess("sum-too-many", message, _expected_summed(axis, keep))
    yield Guess("sum-too-many", message, lambda scene: scene.expected.sum())


def _unsummed(subject: Subject) -> Iterator[Guess]:
    """A gradient for each element of a dimension that the tensor does not have (a matrix for each example)."""
    here, wanted = list(subject.first.student.shape), list(subject.first.shape)
    extra = len(here) - len(wanted)
    if extra > 0:
        yield Guess(
            "sum-missing",
            f"{quoted(subject.gradient)} holds a tensor of the shape {shape_text(wanted)} for each element of its "
            f"first {'dimension' if extra == 1 else 'dimensions'}. {quoted(subject.name)} serves them all, and what is "
            "used several times adds up.",
            lambda scene: _if_sum_is_right(scene, extra),
        )


def _if_sum_is_right(scene: Scene, extra: int) -> Tensor | None:
    """The student's value as it is, where a sum would make it right."""
    if scene.student.dim() != len(scene.shape) + extra or scene.student.shape[extra:] != scene.shape:
        return None
    total = scene.student.sum(tuple(range(extra)))
    return scene.student if scene.tolerance.holds(total, scene.expected) else None


def _expected_summed(axis: int, keep: bool) -> Predict:
    return lambda scene: scene.expected.sum(axis, keepdim=keep)


def elementwise_steps(subject: Subject) -> list[str]:
    """The consumers reached by an elementwise step in every case, whose gradient the student has."""
    return [name for name in subject.known_consumers if all(name in scene.elementwise for scene in subject.scenes)]


def changed(consumer: str, change: Change) -> Predict:
    """The expected value with one path's contribution computed otherwise."""

    def predict(scene: Scene) -> Tensor | None:
        found = change(scene, scene.elementwise[consumer])
        if found is None:
            return None
        return found if len(scene.consumers) == 1 else added(scene.expected - scene.paths[consumer], found)

    return predict


def added(rest: Tensor, part: Tensor) -> Tensor | None:
    """The sum as broadcasting makes it; None where the shapes don't go together."""
    try:
        torch.broadcast_shapes(rest.shape, part.shape)
    except RuntimeError:
        return None
    return rest + part


FROM_OUTPUT: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "tanh": ("Tanh", lambda output: 1 - output**2),
    "the logistic function": ("Sigmoid", lambda output: output * (1 - output)),
    "the exponential": ("Exp", lambda output: output),
}
"""Function → what autograd calls it, and its derivative: written with the output, and so easily taken for another."""


def another_function(subject: Subject) -> Iterator[Guess]:
    """The derivative of tanh for a logistic function, and the like."""
    for consumer in elementwise_steps(subject):
        if subject.first.shape != subject.first.forward[consumer].shape:
            continue  # a function of one tensor keeps its shape
        if _made_by(subject.first, consumer).startswith(("Pow", "Sqrt", "Rsqrt")):
            yield Guess(
                "wrong-power",
                f"This is the power itself, {quoted(consumer)}, where its derivative belongs: there the exponent comes "
                "down as a factor, and is smaller by one.",
                changed(consumer, _with(consumer, lambda output: output)),
            )
        for function, (made_by, derivative) in FROM_OUTPUT.items():
            if all(_made_by(scene, consumer).startswith(made_by) for scene in subject.scenes):
                continue
            yield Guess(
                "another-function",
                f"This is the derivative of {function}, written with its output {quoted(consumer)}, and "
                f"{quoted(consumer)} is computed by another function: differentiate that one.",
                changed(consumer, _with(consumer, derivative)),
            )


def _with(consumer: str, derivative: Callable[[Tensor], Tensor]) -> Change:
    return lambda scene, step: summed(step.cotangent * derivative(scene.forward[consumer]), scene.shape)
