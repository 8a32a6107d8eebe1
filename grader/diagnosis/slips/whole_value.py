"""Slips that touch every element alike: nothing filled in, the sign, a constant, a wrong number."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import torch

from grader.diagnosis.factor_names import named_factor
from grader.diagnosis.formula.node import Node, name, number, parts
from grader.diagnosis.guess import Guess
from grader.diagnosis.slips.edit import EMPTY, POWERS, Change, Context, less_one
from grader.diagnosis.wrong_tensor import WrongTensor

# --- made in the right step


def zeros(wrong: WrongTensor) -> Iterator[Guess]:
    """Nothing but zeros, or what rounding leaves of them, where the gradient is not zero."""
    yield Guess(
        "all-zero",
        f"`{wrong.gradient}` holds zeros only: nothing was ever written into it, or everything in it cancels. "
        f"The loss does depend on `{wrong.name}`.",
        lambda scene: torch.zeros_like(scene.expected),
    )


def begun_with_ones(wrong: WrongTensor) -> Iterator[Guess]:
    """Contributions added up, or put in their places, in a tensor that was not empty."""
    message = (
        f"`{wrong.gradient}` begins with ones, and what belongs there is {{}}: begin with zeros, as zeros_like "
        "makes them."
    )
    nodes = [node for line in wrong.lines if wrong.gradient in line.anew for node in ast.walk(line.value)]
    if any(getattr(node, "attr", getattr(node, "id", "")).startswith("ones") for node in nodes):
        yield Guess("term-too-many", message.format("added to them"), lambda scene: scene.expected + 1)
        yield Guess("term-too-many", message.format("put among them"),
                    lambda scene: torch.where(scene.expected == 0, 1.0, scene.expected))  # fmt: skip


def sign(wrong: WrongTensor) -> Iterator[Guess]:
    """Minus what it should be."""
    yield Guess(
        "sign-flipped",
        f"The numbers of `{wrong.gradient}` are right, but their sign is wrong: "
        f"follow the minus signs on the way from `{wrong.name}` to the loss.",
        lambda scene: -scene.expected,
    )


def factor(wrong: WrongTensor) -> Iterator[Guess]:
    """A constant times what it should be, with a name that holds in every case."""
    said = named_factor(wrong.scenes, [scene.ratio(0 * scene.expected, scene.expected) for scene in wrong.scenes])
    if said is None or said.name == "1":
        return
    yield Guess(
        "constant-factor",
        f"`{wrong.gradient}` {said.said}: look for a number or a mean in the forward pass that is missing here, or "
        "counted twice.",
        lambda scene: scene.expected * (scene.ratio(0 * scene.expected, scene.expected) or 0.0),
    )


# --- undone in a formula


NUMBERS = (1.0, 2.0, 0.5, 3.0)


SMALL = (1e-5, 1e-8, 1e-6)
"""Constants that are added before a division, as a batch norm does."""


def signs(node: Node, _: Context) -> Iterator[Change]:
    """A sign, or the sides of a difference."""
    text = "One sign is wrong in this formula: look at {}."
    if node.op in ("add", "sub"):
        yield Node("sub" if node.op == "add" else "add", node.args), "term-sign", text, node
        if node.op == "sub":
            swapped = "In {} it matters which side is subtracted from which."
            yield node.args[1] - node.args[0], "operands-swapped", swapped, node
    if node.op == "neg":
        yield node.args[0], "term-sign", text, node
    elif node.op != "number":
        yield -node, "term-sign", text, node


def numbers(node: Node, context: Context) -> Iterator[Change]:
    """Another number; or a parameter, which has this value in the case that a student sees."""
    if node.op == "number":
        near = SMALL if 0 < node.value < 0.1 else NUMBERS
        values = {node.value + 1, node.value - 1, -node.value, node.value * 2, node.value / 2, *near}
        for value in sorted(values - {node.value}, key=lambda other: abs(other - node.value)):
            yield number(value), "wrong-constant", f"The number {node.value:g} in this formula is wrong."
        for weight in context.weights:
            text = f"The number {node.value:g} stands where `{weight}` belongs, which is different in other cases."
            yield name(weight), "wrong-constant", text


def exponents(node: Node, _: Context) -> Iterator[Change]:
    """Another exponent."""
    if node.op == "pow" and not any(part.op in ("name", "use") for part in parts(node.args[1])):
        text = (
            "The power in {} is wrong: the derivative of a power has a different exponent, and the old one as a factor."
        )
        for value in POWERS:
            yield node.args[0] ** number(value), "wrong-power", text, node
        yield node.args[0], "wrong-power", "The power in {} doesn't belong there: check this derivative.", node


def small(node: Node, _: Context) -> Iterator[Change]:
    """The constant that keeps a division from being one by zero."""
    text = "In {} the small constant is missing that the forward pass adds before it takes the power."
    for value in SMALL if node.op == "pow" else ():
        yield (node.args[0] + number(value)) ** node.args[1], "eps-missing", text, node


def sizes(node: Node, context: Context) -> Iterator[Change]:
    """A size, or one less than it, in place of another number."""
    if node.op in ("number", "size", "count") or context.is_size(node):
        text = "The number {} in this formula is wrong: think of the sizes."
        for other in context.sizes:
            yield name(other), "wrong-constant", text, node
            yield less_one(other), "wrong-constant", text, node


def ones(node: Node, _: Context) -> Iterator[Change]:
    """A one that is missing somewhere."""
    text = "A constant is missing beside {}: differentiate this step once more on paper."
    for constant in (1, -1) if node.op not in EMPTY else ():
        yield number(constant) + node, "constant-missing", text, node
