"""Slips in a product: the derivative, the upstream or another factor missing, or there once too often."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from grader.diagnosis.case_view import Scene
from grader.diagnosis.chain_rule import Elementwise, summed
from grader.diagnosis.formula.node import Node, name, number
from grader.diagnosis.formula.operations import broadcast_shape
from grader.diagnosis.guess import Guess, with_path_changed
from grader.diagnosis.slips.edit import EMPTY, POWERS, Change, Context, less_one
from grader.diagnosis.wrong_tensor import WrongTensor
from grader.notebook.gradient_names import gradient_of

# --- made in the right step


def left_out(wrong: WrongTensor) -> Iterator[Guess]:
    """The local derivative or the upstream gradient is not there."""
    for consumer in wrong.elementwise_steps:
        yield Guess(
            "local-derivative-missing",
            f"`{gradient_of(consumer)}` was passed straight on to `{wrong.gradient}`: the derivative of the line "
            f"that computes `{consumer}`, with respect to `{wrong.name}`, is missing as a factor.",
            with_path_changed(consumer, lambda scene, step: summed(step.cotangent, scene.shape)),
        )
        yield Guess(
            "upstream-missing",
            f"Only the derivative of the step to `{consumer}` is here: by the chain rule what arrives from "
            f"above, `{gradient_of(consumer)}`, multiplies it.",
            with_path_changed(consumer, lambda scene, step: summed(step.local, scene.shape)),
        )


TIMES = {1: "once", 2: "twice", 3: "three times"}


def factors(wrong: WrongTensor) -> Iterator[Guess]:
    """One factor too few or too many, among the tensors that take part in the step."""
    for consumer in wrong.consumers:
        reached = all(consumer in scene.elementwise for scene in wrong.scenes)
        for factor in _candidates(wrong, consumer) if reached else ():
            for power, times in TIMES.items():
                for code, message, exponent in _too_few_or_many(wrong, factor, power, times):
                    yield Guess(
                        code, message, with_path_changed(consumer, partial(multiplied, factor=factor, power=exponent))
                    )


def _too_few_or_many(wrong: WrongTensor, factor: str, power: int, times: str) -> Iterator[tuple[str, str, int]]:
    """Code, sentence, and the exponent of the factor beside what should be there."""
    if factor in wrong.ancestry:
        for code, more_or_less, exponent in (("factor-missing", "less", -power), ("factor-too-many", "more", power)):
            yield code, (
                f"`{factor}` is in this product {times} {more_or_less} than the chain rule calls for: check the "
                "derivative of this step."
            ), exponent  # fmt: skip
        return
    for exponent in (-power, power):  # what is left out may divide
        yield "factor-missing", (
            f"A factor with `{factor}` in it is left out: it belongs to the derivative of the line that uses "
            f"`{wrong.name}`."
        ), exponent  # fmt: skip


def _candidates(wrong: WrongTensor, consumer: str) -> list[str]:
    """The tensor itself, what it is combined with, and the result."""
    uses = wrong.first.reference.consumers
    siblings = [name for name, consumers in uses.items() if consumer in consumers and name != wrong.name]
    return list(dict.fromkeys([wrong.name, *siblings, consumer]))


def multiplied(scene: Scene, step: Elementwise, *, factor: str, power: int) -> Tensor | None:
    """A path's contribution with one more factor in the product, before its sum; None where the shapes differ."""
    value = scene.forward[factor]
    try:
        if broadcast_shape(step.local.shape, value.shape) != step.local.shape:
            return None
    except RuntimeError:
        return None
    product = step.product * value**power
    return summed(product, scene.shape) if bool(torch.isfinite(product).all()) else None


# --- undone in a formula


MAX_FACTORS = 3
"""So many sizes are tried as a missing factor."""


def factors_put_in(node: Node, context: Context) -> Iterator[Change]:
    """A factor that is missing somewhere: a tensor, a size or one less than it, a weight of the loss."""
    if node.op in EMPTY:
        return
    sizes = context.sizes[:MAX_FACTORS]
    missing = [pair for size in sizes for pair in ((name(size), size), (less_one(size), f"{size} - 1"))]
    for factor, label in [*missing, *((name(weight), weight) for weight in context.weights)]:
        text = f"`{label}` is missing as a factor or divisor at {{}}."
        yield node * factor, "factor-missing", text, node
        yield node / factor, "factor-missing", text, node
    for size in sizes:
        ratio = name(size) / less_one(size)
        text = f"At {{}} one of `{size}` and `{size} - 1` stands where the other belongs."
        yield node * ratio, "factor-missing", text, node
        yield node / ratio, "factor-missing", text, node
    for one in context.factors:
        text = f"`{one.label}` is missing as a factor at {{}}: it belongs to the derivative of this step."
        yield node * one.node, "factor-missing", text, node


def removed(node: Node, _: Context) -> Iterator[Change]:
    """A factor too many."""
    if node.op in ("mul", "div"):
        yield node.args[0], "factor-too-many", "{} does not belong in {}.", node.args[1], node
    if node.op == "mul":
        yield node.args[1], "factor-too-many", "{} does not belong in {}.", node.args[0], node


def powers(node: Node, context: Context) -> Iterator[Change]:
    """A power of a part that has none; `whole_value.exponents` has other powers of one."""
    raised = node.op == "pow" and node.args[1].op == "number"
    if not raised and node.op not in EMPTY and not context.is_size(node):
        text = "{} stands here with the wrong power: check the derivative of this step."
        for value in POWERS:
            yield node ** number(value), "wrong-power", text, node
