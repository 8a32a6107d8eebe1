"""Sums over broadcast dimensions: missing, over the wrong dimension, one too many, or too early."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations

from torch import Tensor

from grader.diagnosis.case_view import Scene
from grader.diagnosis.chain_rule import summed
from grader.diagnosis.formula.node import Node
from grader.diagnosis.guess import Guess, Recomputed, with_path_changed
from grader.diagnosis.slips.edit import EMPTY, Change, Context
from grader.diagnosis.wrong_tensor import WrongTensor
from grader.wording import shape

SAME = 1e-9
"""A sum whose elements differ by no more than this share has one number for all."""

# --- made in the right step


def sums(wrong: WrongTensor) -> Iterator[Guess]:
    """Sums over broadcast dimensions: missing, over the wrong dimension, one too many, or too early."""
    for consumer in wrong.elementwise_steps:
        yield from _undone_broadcast(wrong, consumer)
    message = (
        f"There is one sum too many: `{wrong.gradient}` should have the shape {shape(wrong.first.shape)} of its tensor."
    )
    for axis in range(len(wrong.first.shape)):
        for keep in (True, False):
            summed_up = partial(lambda axis, keep, scene: scene.expected.sum(axis, keepdim=keep), axis, keep)
            yield Guess("sum-too-many", message, summed_up)
    yield Guess("sum-too-many", message, lambda scene: scene.expected.sum())
    extra = wrong.first.student.dim() - len(wrong.first.shape)
    if extra > 0:  # a gradient for each element of a dimension that the tensor does not have: a matrix an example
        yield Guess(
            "sum-missing",
            f"`{wrong.gradient}` holds a tensor of the shape {shape(wrong.first.shape)} for each element of "
            f"its first {'dimension' if extra == 1 else 'dimensions'}. All of them use `{wrong.name}`, so "
            "their contributions add up.",
            partial(_one_each, extra),
        )


def _one_each(extra: int, scene: Scene) -> Tensor | None:
    """The student's value as it is, where a sum over its first dimensions would make it right."""
    fits = scene.student.dim() == len(scene.shape) + extra and scene.student.shape[extra:] == scene.shape
    return scene.student if fits and scene.is_right(scene.student.sum(tuple(range(extra)))) else None


def _undone_broadcast(wrong: WrongTensor, consumer: str) -> Iterator[Guess]:
    own, wide = wrong.first.shape, wrong.first.elementwise[consumer].local.shape
    name, gradient = f"`{wrong.name}`", f"`{wrong.gradient}`"
    if own != wide:
        yield Guess(
            "sum-missing",
            f"{name} {shape(own)} was stretched to {shape(wide)} in the line of `{consumer}`, so each "
            f"element was used several times: sum {gradient} to bring it back to the shape of {name}.",
            with_path_changed(consumer, lambda scene, step: step.product),
        )
        for outside, change in _TOO_EARLY:
            yield Guess(
                "sum-too-early",
                f"The sum covers one factor only, and {outside} is multiplied afterwards: a method call binds "
                "tighter than *. Multiply first, then sum the products.",
                with_path_changed(consumer, change),
            )
    for axis in range(len(wide)):
        message = (
            f"The sum goes {_dimension(axis, len(wide))}, but {name} was stretched along a different "
            "dimension: compare the two shapes."
            if own != wide else
            f"There is a sum here, but nothing was stretched in the line of `{consumer}`: {gradient} has the full "
            "shape of its tensor."
        )  # fmt: skip
        for keep in (True, False):
            code = "sum-wrong-dimension" if own != wide else "sum-too-many"
            change = partial(lambda axis, keep, _, step: step.product.sum(axis, keepdim=keep), axis, keep)
            yield Guess(code, message, with_path_changed(consumer, change))


def _dimension(index: int, rank: int) -> str:
    """Over which dimension a sum goes, in words."""
    if rank == 2:
        return ("over the rows (dimension 0)", "over the columns (dimension 1)")[index]
    return f"over dimension {index}"


_TOO_EARLY: tuple[tuple[str, Recomputed], ...] = (
    ("the local derivative", lambda scene, step: step.local * summed(step.cotangent, scene.shape)),
    ("the upstream gradient", lambda scene, step: step.cotangent * summed(step.local, scene.shape)),
)


# --- undone in a formula


def sums_otherwise(node: Node, context: Context) -> Iterator[Change]:
    """A sum over other dimensions, one too many, or one that is missing."""
    if node.op in ("sum", "mean"):
        dims, keep = node.value
        (inner,) = node.args
        if node.op == "mean":
            text = "In {} a mean is taken where a sum belongs."
            yield Node("sum", (inner,), node.value), "constant-factor", text, node
        for others in combinations(range(context.rank), len(dims or (0,))):
            for kept in (keep, not keep):
                new = Node(node.op, (inner,), (others, kept))
                if dims != others:
                    text = "The sum in {} goes over the wrong dimension: compare the shapes that were stretched."
                    yield new, "sum-wrong-dimension", text, node
                elif kept is not keep:
                    yield new, "keepdim", "Think about keepdim in {}: the shapes that follow line up differently.", node
        yield inner, "sum-too-many", "The sum in {} is one too many: nothing was stretched there.", node
    elif node.op not in EMPTY and not context.is_size(node):
        text = "A sum is missing around {}: what was stretched in the forward pass is summed on the way back."
        pairs = combinations(range(context.rank), 2) if context.rank > 2 else ()
        for dims in (*((dim,) for dim in range(context.rank)), *pairs):
            for keep in (True, False):
                missing = Node("sum", (node,), (dims, keep))
                if not _adds_up_alike(missing, context):
                    yield missing, "sum-missing", text, node


def _adds_up_alike(node: Node, context: Context) -> bool:
    """Whether a sum is the same number everywhere, as that of probabilities is: it is then no sum that is missing."""
    found = context.value(node)
    if found is None or found.numel() < 2:
        return False
    return float(found.max() - found.min()) < SAME * float(found.abs().max())


def summed_early(node: Node, _: Context) -> Iterator[Change]:
    """A sum, or a mean, that takes in one factor only."""
    for place, side in enumerate(node.args if node.op in ("add", "sub", "mul", "div") else ()):
        if side.op in ("sum", "mean"):
            whole = Node(node.op, (*node.args[:place], side.args[0], *node.args[place + 1 :]))
            text = (
                f"In {{}} the {side.op} covers one factor only: a method call binds tighter than *. Multiply first, "
                f"then take the {side.op} of the products."
            )
            yield Node(side.op, (whole,), side.value), "sum-too-early", text, node
