"""Slips with shapes and with the order of operations: transposed, not brought back into shape, brackets."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations

import torch

from grader.diagnosis.case_view import Scene
from grader.diagnosis.formula.node import Node
from grader.diagnosis.guess import Guess
from grader.diagnosis.slips.edit import Change, Context
from grader.diagnosis.wrong_tensor import WrongTensor
from grader.notebook.gradient_names import gradient_of
from grader.wording import shape

# --- made in the right step


def transposed(wrong: WrongTensor) -> Iterator[Guess]:
    """Rows and columns exchanged, or a column that has lost its dimension and lies as a row does."""
    rank = len(wrong.first.shape)
    exchanged = "rows and columns exchanged" if rank == 2 else "its dimensions in the opposite order"
    code, message = (
        ("keepdim", f"`{wrong.gradient}` has the shape {shape(wrong.first.student.shape)}, its tensor "
                    f"{shape(wrong.first.shape)}: a dimension of size 1 got lost on the way, as in a sum "
                    "without keepdim.")
        if rank == 2 and any(scene.student.dim() == 1 for scene in wrong.scenes) else
        ("transposed", f"`{wrong.gradient}` has {exchanged}: a gradient has its tensor's layout.")
    )  # fmt: skip
    if rank > 1:
        yield Guess(code, message, lambda scene: scene.expected.permute(*reversed(range(rank))))


def passed_on(wrong: WrongTensor) -> Iterator[Guess]:
    """What arrived from above, in its own shape."""
    own = shape(wrong.first.shape)
    for consumer in wrong.known_consumers:
        if consumer in ("loss", wrong.name):
            continue
        target, upstream = shape(wrong.first.forward[consumer].shape), gradient_of(consumer)
        code, message = (
            ("shape-not-restored", f"`{wrong.gradient}` holds the numbers of `{upstream}` in the shape {target}: "
                                   f"bring them back into the shape {own} of `{wrong.name}`.")
            if own != target and all(_same_numbers(scene, consumer) for scene in wrong.scenes) else
            ("sum-missing", f"`{wrong.gradient}` holds `{upstream}` as it is, in the shape {target}. "
                            f"`{wrong.name}` {own} was stretched to it in the forward pass: what was used several "
                            "times adds up.")
            if all(_adds_up(scene, consumer) for scene in wrong.scenes) else
            ("local-derivative-missing", f"`{upstream}` was passed straight on to `{wrong.gradient}`, in its own "
                                         f"shape: what happens between `{wrong.name}` and `{consumer}` has a way "
                                         "back, too.")
        )  # fmt: skip
        yield Guess(code, message, partial(lambda consumer, scene: scene.cotangents[consumer], consumer))


def _same_numbers(scene: Scene, consumer: str) -> bool:
    one, other = scene.expected, scene.cotangents[consumer]
    return one.numel() == other.numel() and scene.tolerance.holds(one.flatten(), other.flatten())


def _adds_up(scene: Scene, consumer: str) -> bool:
    """Whether sums over some dimensions of what arrives make of it what it should give."""
    arrived = scene.cotangents[consumer]
    for kept in combinations(range(arrived.dim()), len(scene.shape)):
        gone = tuple(set(range(arrived.dim())).difference(kept))
        same = torch.Size(arrived.shape[dim] for dim in kept) == scene.shape
        if gone and same and scene.tolerance.holds(arrived.sum(gone), scene.paths[consumer]):
            return True
    return False


# --- undone in a formula


def orders(node: Node, context: Context) -> Iterator[Change]:
    """Sides exchanged, a transposition too many or too few."""
    if context.is_size(node):
        return
    if node.op in ("div", "pow", "matmul"):
        yield Node(node.op, node.args[::-1]), "operands-swapped", "The two sides of {} are swapped.", node
    if node.op in ("transpose", "swap"):
        yield node.args[0], "operand-transposed", "{} should not be transposed: write the shapes out.", node
    elif node.op in ("name", "use", "matmul"):
        text = "{} is the wrong way round here: write the shapes out."
        yield Node("swap", (node,), (-2, -1)), "operand-transposed", text, node
    if node.op == "mul":
        text = "In {} {} multiplies, but it should divide: check the derivative of this step."
        yield node.args[0] / node.args[1], "wrong-operation", text, node, node.args[1]
    elif node.op == "div":
        text = "In {} {} divides, but it should multiply: check the derivative of this step."
        yield node.args[0] * node.args[1], "wrong-operation", text, node, node.args[1]


def layouts(node: Node, context: Context) -> Iterator[Change]:
    """Dimensions that view or reshape should have exchanged, which they never do."""
    cut = node.args[0] if node.op == "swap" else node
    if cut.op != "reshape":
        return
    inner, *sizes = cut.args
    text = (
        "view and reshape don't exchange dimensions: they cut and join the numbers of {} in memory order. "
        "Check where you transpose, and which dimensions."
    )
    if node.op == "swap":
        pair = (node.value[0] % len(sizes), node.value[1] % len(sizes))
        yield _cut_otherwise(cut, pair), "memory-order", text, inner
        return
    for pair in combinations(range(len(sizes)), 2):
        yield Node("swap", (_cut_otherwise(cut, pair),), pair), "memory-order", text, inner
    for pair in combinations(range(context.rank), 2):
        yield Node("reshape", (Node("swap", (inner,), pair), *sizes)), "memory-order", text, inner


def _cut_otherwise(node: Node, pair: tuple[int, int]) -> Node:
    """A reshape with two of its sizes exchanged."""
    sizes = [*node.args[1:]]
    sizes[pair[0]], sizes[pair[1]] = sizes[pair[1]], sizes[pair[0]]
    return Node("reshape", (node.args[0], *sizes))


def denominators(node: Node, _: Context) -> Iterator[Change]:
    """`a - n / n - 1 * b`, where `n / (n - 1)` is meant."""
    if node.op not in ("add", "sub"):
        return
    left, right = node.args
    before, fraction = (left.args[0], left.args[1]) if left.op in ("add", "sub") else (None, left)
    chain = [right]
    while chain[-1].op == "mul":
        chain.append(chain[-1].args[0])
    if fraction.op != "div" or chain[-1].op != "number":
        return
    new = fraction.args[0] / Node(node.op, (fraction.args[1], chain[-1]))
    for product in reversed(chain[:-1]):
        new = new * product.args[1]
    text = "{} is a fraction minus a number: put brackets around what it is divided by."
    whole = new if before is None else Node(left.op, (before, new))
    yield whole, "brackets", text, Node(node.op, (fraction, chain[-1]))


def grouped(node: Node, _: Context) -> Iterator[Change]:
    """Brackets in the wrong place."""
    text = "Look at the order in which {} is computed: "
    if node.op == "pow" and node.args[0].op in ("add", "sub"):
        base, exponent = node.args
        new = Node(base.op, (base.args[0], base.args[1] ** exponent))
        yield new, "brackets", f"{text}the power belongs to one term only.", node
    if node.op not in ("add", "sub", "mul", "div"):
        return
    left, right = node.args
    if left.op in ("add", "sub", "mul", "div"):
        a, b = left.args
        yield Node(left.op, (a, Node(node.op, (b, right)))), "brackets", f"{text}brackets are missing.", node
    if right.op in ("add", "sub", "mul", "div"):
        a, b = right.args
        yield Node(right.op, (Node(node.op, (left, a)), b)), "brackets", f"{text}brackets are missing.", node
