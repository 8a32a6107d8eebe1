"""Changes to a student's formula that would make it another one, each with what it would mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from grader.diagnose.expression import Node, Value, name, number, write
from grader.diagnose.formula import exchanged, parts
from grader.diagnose.words import quoted


class Edit(NamedTuple):
    """A changed formula, and what is wrong with the unchanged one if this one is right."""

    formula: Node
    code: str
    message: str


SUM_DIMS = (0, 1)
NUMBERS = (1.0, 2.0, 0.5, 3.0)
POWERS = (-3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.5, 1.5, 2.0, 3.0)
SMALL = (1e-5, 1e-8, 1e-6)
"""Constants that are added before a division, as a batch norm does."""


def edits(formula: Node, names: Mapping[str, Value], constants: list[str]) -> Iterator[Edit]:
    """Every formula that one change makes of this one, small changes first.

    Args:
        formula: the student's.
        names: what names stand for, in one of the cases; other names than these are not put in.
        constants: the numbers among them that take part as factors, `n` before all.
    """
    whole = parts(formula)
    for kind in (_signs, _terms_too_many, _numbers, _small, _sums, _orders, _powers):
        for part in whole:
            if part.op == "name" and part.value in constants and kind in (_sums, _orders, _powers):
                continue
            for new, code, message in kind(part):
                yield Edit(exchanged(formula, part, new), code, message)
    for part in whole:
        for new, code, message in _sizes(part, constants):
            yield Edit(exchanged(formula, part, new), code, message)
    for part in whole:
        for new, code, message in _other_names(part, names):
            yield Edit(exchanged(formula, part, new), code, message)
    for kind in (_removed, _grouped):
        for part in whole:
            for new, code, message in kind(part):
                yield Edit(exchanged(formula, part, new), code, message)
    for part in whole:
        for new, code, message in _factors(part, names, constants):
            yield Edit(exchanged(formula, part, new), code, message)
    for part in whole:
        for new, code, message in _terms(part, names):
            yield Edit(exchanged(formula, part, new), code, message)


Change = tuple[Node, str, str]


def _said(node: Node) -> str:
    return quoted(write(node))


def _signs(node: Node) -> Iterator[Change]:
    message = f"One sign is wrong in this formula: look at {_said(node)}; the rest fits."
    if node.op in ("add", "sub"):
        yield Node("sub" if node.op == "add" else "add", node.args), "term-sign", message
        if node.op == "sub":
            yield (
                Node("sub", (node.args[1], node.args[0])),
                "operands-swapped",
                (f"In {_said(node)} it matters which side is subtracted from which."),
            )
    if node.op == "neg":
        yield node.args[0], "term-sign", message
    elif node.op != "number":
        yield Node("neg", (node,)), "term-sign", message


def _numbers(node: Node) -> Iterator[Change]:
    if node.op == "number":
        near = SMALL if 0 < node.value < 0.1 else NUMBERS
        values = {node.value + 1, node.value - 1, -node.value, node.value * 2, node.value / 2, *near}
        for value in sorted(values - {node.value}, key=lambda other: abs(other - node.value)):
            yield (
                number(value),
                "wrong-constant",
                f"The number {node.value:g} in this formula is not right; the rest fits.",
            )
    if node.op == "pow" and node.args[1].op == "number":
        for value in POWERS:
            yield (
                Node("pow", (node.args[0], number(value))),
                "wrong-power",
                (
                    f"The power in {_said(node)} is not the right one: the derivative of a power has another "
                    "exponent, and the old one as a factor."
                ),
            )


def _sizes(node: Node, constants: list[str]) -> Iterator[Change]:
    """A size, or one less than it, in place of another number."""
    if node.op not in ("number", "size") and not (node.op == "name" and node.value in constants):
        return
    for other in constants:
        for new in (name(other), _less_one(other)):
            yield new, "wrong-constant", f"The number {_said(node)} in this formula is not right: think of the sizes."


def _less_one(size: str) -> Node:
    return Node("sub", (name(size), number(1)))


def _sums(node: Node) -> Iterator[Change]:
    if node.op in ("sum", "mean"):
        dims, keep = node.value
        (inner,) = node.args
        wrong = f"The sum in {_said(node)} goes over the wrong dimension: compare the shapes that were stretched."
        for dim in SUM_DIMS:
            for kept in (keep, not keep):
                if ((dim,), kept) != (dims, keep):
                    code = "sum-wrong-dimension" if dims != (dim,) else "keepdim"
                    kept_message = f"Think about keepdim in {_said(node)}: the shapes that follow line up differently."
                    yield Node("sum", (inner,), ((dim,), kept)), code, wrong if code != "keepdim" else kept_message
        yield inner, "sum-too-many", f"The sum in {_said(node)} is one too many: nothing was stretched there."
        if node.op == "mean":
            yield Node("sum", (inner,), (dims, keep)), "constant-factor", "A mean is taken here where a sum belongs."
    elif node.op not in ("number", "size"):
        for dim in SUM_DIMS:
            for keep in (True, False):
                yield (
                    Node("sum", (node,), ((dim,), keep)),
                    "sum-missing",
                    (
                        f"A sum is missing around {_said(node)}: what was stretched in the forward pass is summed on "
                        "the way back."
                    ),
                )


def _orders(node: Node) -> Iterator[Change]:
    """Sides exchanged, a transposition too many or too few."""
    if node.op in ("div", "pow", "matmul"):
        yield (
            Node(node.op, (node.args[1], node.args[0])),
            "operands-swapped",
            f"The two sides of {_said(node)} are exchanged.",
        )
    if node.op == "transpose":
        yield node.args[0], "operand-transposed", f"{_said(node)} should not be transposed: write the shapes out."
    elif node.op == "name" or node.op == "matmul":
        yield (
            Node("transpose", (node,)),
            "operand-transposed",
            f"{_said(node)} lies the wrong way here: write the shapes out.",
        )
    if node.op in ("mul", "div"):
        verb = "multiplied" if node.op == "mul" else "divided"
        yield (
            Node("div" if node.op == "mul" else "mul", node.args),
            "wrong-operation",
            (f"In {_said(node)} something is {verb} that should not be: check the derivative of this step."),
        )


def _powers(node: Node) -> Iterator[Change]:
    if node.op == "pow" and node.args[1].op == "number":
        yield node.args[0], "wrong-power", f"The power in {_said(node)} is too much: check the derivative of this step."
    elif node.op not in ("number", "size", "zeros_like", "ones_like"):
        for value in POWERS:
            yield (
                Node("pow", (node, number(value))),
                "wrong-power",
                (f"{_said(node)} stands here with the wrong power: check the derivative of this step."),
            )


def _other_names(node: Node, names: Mapping[str, Value]) -> Iterator[Change]:
    here = names.get(node.value) if node.op == "name" else None
    if not isinstance(here, Tensor):
        return
    nearest = (node.value[1:], f"d{node.value}")
    for other, value in sorted(names.items(), key=lambda item: item[0] not in nearest):
        if other != node.value and isinstance(value, Tensor) and value.shape == here.shape:
            kind = "gradient" if other.startswith("d") and other[1:] in names else "value of the forward pass"
            yield (
                name(other),
                "wrong-neighbour",
                (f"Everything fits but {quoted(node.value)}: a {kind} that has the same shape belongs in its place."),
            )


def _removed(node: Node) -> Iterator[Change]:
    """A factor too many."""
    if node.op in ("mul", "div"):
        yield node.args[0], "factor-too-many", f"{_said(node.args[1])} does not belong into {_said(node)}."
    if node.op == "mul":
        yield node.args[1], "factor-too-many", f"{_said(node.args[0])} does not belong into {_said(node)}."


def _terms_too_many(node: Node) -> Iterator[Change]:
    """A term too many; one of two numbers (`h**(2 + 1)`) is a wrong number instead."""
    if node.op in ("add", "sub") and any(argument.op != "number" for argument in node.args):
        yield node.args[0], "term-too-many", f"The term {_said(node.args[1])} does not belong here, or is here twice."
    if node.op == "add":
        yield node.args[1], "term-too-many", f"The term {_said(node.args[0])} does not belong here, or is here twice."


def _grouped(node: Node) -> Iterator[Change]:
    """Brackets in the wrong place."""
    message = f"Look at the order in which {_said(node)} is computed: brackets are missing."
    if node.op == "pow" and node.args[0].op in ("add", "sub"):
        base, exponent = node.args
        yield (
            Node(base.op, (base.args[0], Node("pow", (base.args[1], exponent)))),
            "brackets",
            message.replace("brackets are missing", "the power belongs to one term only"),
        )
    if node.op in ("add", "sub", "mul", "div"):
        left, right = node.args
        if left.op in ("add", "sub", "mul", "div"):
            a, b = left.args
            yield Node(left.op, (a, Node(node.op, (b, right)))), "brackets", message
        if right.op in ("add", "sub", "mul", "div"):
            a, b = right.args
            yield Node(right.op, (Node(node.op, (left, a)), b)), "brackets", message
        for place, side in enumerate(node.args):
            if side.op == "sum":
                sides = [*node.args]
                sides[place] = side.args[0]
                yield (
                    Node("sum", (Node(node.op, tuple(sides)),), side.value),
                    "sum-too-early",
                    (
                        f"In {_said(node)} the sum takes in one factor only: a method call binds tighter than *. "
                        "Multiply first, then sum the products."
                    ),
                )


def _small(node: Node) -> Iterator[Change]:
    if node.op == "pow":
        for value in SMALL:
            yield (
                Node("pow", (Node("add", (node.args[0], number(value))), node.args[1])),
                "eps-missing",
                (f"In {_said(node)} the small constant is lost that the forward pass adds before the power."),
            )


def _terms(node: Node, names: Mapping[str, Value]) -> Iterator[Change]:
    """A term that is missing somewhere."""
    if node.op in ("ones_like", "zeros_like", "size"):
        return
    for value in (1, -1):
        yield (
            Node("add", (number(value), node)),
            "constant-missing",
            (f"A constant is missing beside {_said(node)}: differentiate this step once more on paper."),
        )
    for other, tensor in names.items():
        if isinstance(tensor, Tensor) and tensor.is_floating_point():
            message = f"A term is missing beside {_said(node)}: {quoted(other)} takes part there, too."
            yield Node("add", (node, name(other))), "term-missing", message
            yield Node("sub", (node, name(other))), "term-missing", message


def _factors(node: Node, names: Mapping[str, Value], constants: list[str]) -> Iterator[Change]:
    """A factor that is missing somewhere."""
    if node.op in ("number", "size", "ones_like", "zeros_like"):
        return
    for other in constants:
        less = f"{other} - 1"
        for factor, missing in ((name(other), other), (_less_one(other), less)):
            message = f"{quoted(missing)} is missing as a factor or divisor at {_said(node)}."
            yield Node("mul", (node, factor)), "factor-missing", message
            yield Node("div", (node, factor)), "factor-missing", message
        ratio = Node("div", (name(other), _less_one(other)))
        message = f"At {_said(node)} one of {quoted(other)} and {quoted(less)} stands where the other belongs."
        yield Node("mul", (node, ratio)), "factor-missing", message
        yield Node("div", (node, ratio)), "factor-missing", message
    for other, value in names.items():
        if isinstance(value, Tensor) and value.is_floating_point() and torch.Size([]) != value.shape:
            yield (
                Node("mul", (node, name(other))),
                "factor-missing",
                (f"{quoted(other)} is missing as a factor at {_said(node)}: the derivative of this step holds it."),
            )
