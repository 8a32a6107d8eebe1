"""Slips with names: another tensor's value, another gradient, one that was not complete yet."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from grader.diagnosis.case_view import Scene
from grader.diagnosis.formula.node import Node
from grader.diagnosis.guess import Guess
from grader.diagnosis.slips.edit import Change, Context
from grader.diagnosis.wrong_tensor import WrongTensor
from grader.notebook.gradient_names import gradient_of, tensor_of

# --- made in the right step


def another_value(wrong: WrongTensor) -> Iterator[Guess]:
    """The value of another tensor, or its gradient, under this name."""
    for other in _alike(wrong, wrong.name):
        # Its gradient may be equal only because it follows: it comes later in the backward pass.
        later = wrong.name in wrong.first.reference.computed_from(other)
        if gradient_of(other) in wrong.reads or not later:
            yield Guess(
                "another-gradient",
                f"`{wrong.gradient}` holds the gradient of another tensor, `{gradient_of(other)}`: something between "
                "the two is missing, or the names were mixed up.",
                partial(lambda other, scene: scene.own.get(other), other),
            )
    for other in [wrong.name, *_alike(wrong, wrong.name)]:
        yield Guess(
            "not-a-gradient",
            f"`{wrong.gradient}` holds `{other}` itself, a value of the forward pass, not a gradient.",
            partial(lambda other, scene: scene.forward[other], other),
        )


def a_step_too_far(wrong: WrongTensor, *, seen: bool = False) -> Iterator[Guess]:
    """The gradient of a tensor that this one is computed from: the line has gone through the next step as well.

    `seen`: only where the line names that tensor, as it must for a step such as a logarithm's.
    """
    for other in _alike(wrong, wrong.name):
        if wrong.first.reference.consumers[other] == [wrong.name] and (other in wrong.reads or not seen):
            yield Guess(
                "another-gradient",
                f"`{wrong.gradient}` holds what belongs to `{gradient_of(other)}`: it has gone a step too far, "
                f"through the line that computes `{wrong.name}` from `{other}`.",
                partial(lambda other, scene: scene.reference.chained({**scene.own, scene.name: scene.expected})[other],
                        other),
            )  # fmt: skip


def stale_upstream(wrong: WrongTensor) -> Iterator[Guess]:
    """The right formula with a value where its gradient belongs, with another gradient, or a part of what arrives."""
    written = {*map(gradient_of, wrong.first.own)}
    for consumer in wrong.known_consumers:
        if consumer == "loss":
            continue
        arrives, uses = gradient_of(consumer), wrong.first.reference.consumers[consumer]
        for left_out in uses if len(uses) > 1 else []:  # what too_early has no evidence for
            yield Guess(
                "path-missing",
                f"Only a part of what `{arrives}` should be is used here: what comes through `{left_out}` is missing "
                "from it.",
                partial(_before, consumer, left_out),
            )
        yield Guess(
            "wrong-neighbour",
            f"The formula fits, but `{consumer}` stands where `{arrives}` belongs: what flows backward is the "
            "gradient, not the value.",
            partial(lambda consumer, scene: scene.with_arrived(consumer, scene.forward[consumer]), consumer),
        )
        for other in _alike(wrong, consumer):
            if gradient_of(other) in wrong.ancestry or gradient_of(other) not in written:
                yield Guess(
                    "wrong-neighbour",
                    f"The formula fits, but it is applied to `{gradient_of(other)}` where `{arrives}` belongs: what "
                    f"comes from above here is the gradient of `{consumer}`.",
                    partial(_applied_to, consumer, other),
                )


def _applied_to(consumer: str, other: str, scene: Scene) -> Tensor | None:
    return scene.with_arrived(consumer, scene.own.get(other, scene.chained[other]))


def too_early(wrong: WrongTensor) -> Iterator[Guess]:
    """What arrives was taken before all contributions to it had been added up: it is bound again after this line."""
    for consumer in wrong.known_consumers:
        uses = wrong.first.reference.consumers.get(consumer, [])
        for left_out in uses if len(uses) > 1 and wrong.bound_later(gradient_of(consumer)) else []:
            yield Guess(
                "used-too-early",
                f"`{gradient_of(consumer)}` was used here before it was complete: the path through `{left_out}` was "
                "added to it only later. Go through the forward pass strictly backward.",
                partial(_before, consumer, left_out),
            )


def _before(consumer: str, left_out: str, scene: Scene) -> Tensor | None:
    return scene.with_arrived(consumer, scene.cotangents[consumer] - scene.at(consumer).paths[left_out])


def _alike(wrong: WrongTensor, name: str) -> list[str]:
    """The other tensors that have the same shape in every case; those that the student's lines name come first."""
    alike = [
        other
        for other in wrong.first.forward
        if other != name and all(scene.forward[other].shape == scene.forward[name].shape for scene in wrong.scenes)
    ]
    return sorted(alike, key=lambda other: other not in wrong.reads and gradient_of(other) not in wrong.reads)


# --- undone in a formula


def searched(node: Node, context: Context) -> Iterator[Change]:
    """Another tensor in which the place of the largest element is looked for: it may be of any shape."""
    if node.op == "argmax" and node.args[0].op == "name":
        for one in context.near:
            if one.value.is_floating_point() and one.label != node.args[0].value:
                text = f"The place of the largest element is looked for in {{}}: `{one.label}` belongs there."
                yield Node("argmax", (one.node,), node.value), "wrong-neighbour", text, node.args[0]


def intermediates(node: Node, context: Context) -> Iterator[Change]:
    """A name of the student's own taken for what it may have been meant to be; the arguments are the same."""
    if node.op != "use" or context.is_gradient(node) or node.args[0].op == "name":
        return  # a second name for a tensor: `exchanges` has that
    text = "Everything fits except {}: look at the line that computes it."
    for other in context.alike(node):
        if other.node.op == "name":
            yield other.node, "wrong-intermediate", text, node


def exchanges(node: Node, context: Context) -> Iterator[Change]:
    """A name of the notebook exchanged for another one of the same shape."""
    if node.op != "name" and not context.is_gradient(node):
        return
    nearest = (tensor_of(node.value), gradient_of(node.value))
    for other in sorted(context.alike(node), key=lambda candidate: candidate.label not in nearest):
        gradient = other.label.startswith("d") and (tensor_of(other.label) in context.known or other.node.op == "use")
        kind = "gradient" if gradient else "tensor" if other.node.op == "use" else "value of the forward pass"
        text = f"Everything fits except `{node.value}`: a {kind} that has the same shape belongs in its place."
        yield other.node, "wrong-neighbour", text
