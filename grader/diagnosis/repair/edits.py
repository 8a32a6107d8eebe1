"""Changes within a student's formula that would make it another one, each with what it would mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations
from typing import NamedTuple

from grader.diagnosis.formula.expression import Node, Value, name, number, write
from grader.diagnosis.formula.formula import exchanged, parts
from grader.diagnosis.words import quoted


class Said(NamedTuple):
    """A sentence about parts of a formula: written out only when it is said, for most never are."""

    text: str
    nodes: tuple[Node, ...] = ()

    def __str__(self) -> str:
        return self.text.format(*(quoted(write(node)) for node in self.nodes))


class Edit(NamedTuple):
    """A changed formula, and what is wrong with the unchanged one if this one is right."""

    formula: Node
    code: str
    message: Said


class Candidate(NamedTuple):
    """What may be missing in a formula: its name for the student, the formula that it is, and its value in one case."""

    label: str
    node: Node
    value: Value


Change = tuple[Node, str, Said]
Kind = Callable[[Node], Iterator[Change]]

NUMBERS = (1.0, 2.0, 0.5, 3.0)
POWERS = (-3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.5, 1.5, 2.0, 3.0)
SMALL = (1e-5, 1e-8, 1e-6)
"""Constants that are added before a division, as a batch norm does."""
EMPTY = ("number", "size", "count", "ones_like", "zeros_like")
"""Parts that hold no tensor's numbers."""


def within(formula: Node, constants: list[str], rank: int) -> Iterator[Edit]:
    """What is there already, otherwise: signs, numbers, sums, order, layout, powers.

    Args:
        formula: the student's.
        constants: the sizes, `n` before all.
        rank: the dimensions of the largest tensor that it names.
    """
    whole = parts(formula)
    tensors = [part for part in whole if not (part.op == "name" and part.value in constants)]
    for kind in (_collected, _crossed, _denominators, _signs, _terms_too_many, _numbers, _small):
        yield from applied(formula, whole, kind)
    for kind in (partial(_sums, rank=rank), _orders, partial(_layouts, rank=rank), _powers):
        yield from applied(formula, tensors, kind)
    yield from applied(formula, whole, lambda part: _sizes(part, constants))


def fewer(formula: Node) -> Iterator[Edit]:
    """A factor taken out, brackets set otherwise."""
    for kind in (_removed, _grouped):
        yield from applied(formula, parts(formula), kind)


def applied(formula: Node, whole: Sequence[Node], kind: Kind) -> Iterator[Edit]:
    """The formulas that one kind of change makes, part by part."""
    for part in whole:
        for new, code, message in kind(part):
            yield Edit(exchanged(formula, part, new), code, message)


def _collected(node: Node) -> Iterator[Change]:
    """Every round of a loop assigns, and what an earlier one has put there is lost."""
    if node.op == "loop" and node.value.counter and node.value.how == "set":
        message = Said(
            "The rounds of the loop write to the same places of {}, and each = throws away what an earlier round has "
            "put there: contributions add up, so += belongs here.",
            (node,),
        )
        yield Node("loop", node.args, node.value._replace(how="add")), "index-not-accumulated", message


def _crossed(node: Node) -> Iterator[Change]:
    """`x[range(n), index]` with an index that has kept its dimension."""
    if node.op == "mask" and node.args[1].op == "unsqueeze":
        message = Said(
            "{} has the shape (n, 1), so beside range(n) it points to its columns in every row, and not to one in "
            "each: give it without that dimension, which keepdim or None has put there.",
            (node.args[1],),
        )
        yield Node("mask", (node.args[0], node.args[1].args[0])), "index-crossed", message


def _denominators(node: Node) -> Iterator[Change]:
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
    new = Node("div", (fraction.args[0], Node(node.op, (fraction.args[1], chain[-1]))))
    for product in reversed(chain[:-1]):
        new = Node("mul", (new, product.args[1]))
    message = Said("{} is a fraction less a number: brackets belong around what it is divided by.",
                   (Node(node.op, (fraction, chain[-1])),))  # fmt: skip
    yield new if before is None else Node(left.op, (before, new)), "brackets", message


def _signs(node: Node) -> Iterator[Change]:
    message = Said("One sign is wrong in this formula: look at {}.", (node,))
    if node.op in ("add", "sub"):
        yield Node("sub" if node.op == "add" else "add", node.args), "term-sign", message
        if node.op == "sub":
            swapped = Said("In {} it matters which side is subtracted from which.", (node,))
            yield Node("sub", (node.args[1], node.args[0])), "operands-swapped", swapped
    if node.op == "neg":
        yield node.args[0], "term-sign", message
    elif node.op != "number":
        yield Node("neg", (node,)), "term-sign", message


def _numbers(node: Node) -> Iterator[Change]:
    if node.op == "number":
        near = SMALL if 0 < node.value < 0.1 else NUMBERS
        values = {node.value + 1, node.value - 1, -node.value, node.value * 2, node.value / 2, *near}
        message = Said(f"The number {node.value:g} in this formula is not the right one.")
        for value in sorted(values - {node.value}, key=lambda other: abs(other - node.value)):
            yield number(value), "wrong-constant", message
    if node.op == "pow" and node.args[1].op == "number":
        message = Said(
            "The power in {} is not the right one: the derivative of a power has another exponent, and the old one as "
            "a factor.",
            (node,),
        )
        for value in POWERS:
            yield Node("pow", (node.args[0], number(value))), "wrong-power", message


def _sizes(node: Node, constants: list[str]) -> Iterator[Change]:
    """A size, or one less than it, in place of another number."""
    if node.op not in ("number", "size", "count") and not (node.op == "name" and node.value in constants):
        return
    message = Said("The number {} in this formula is not the right one: think of the sizes.", (node,))
    for other in constants:
        for new in (name(other), less_one(other)):
            yield new, "wrong-constant", message


def less_one(size: str) -> Node:
    """`n - 1`."""
    return Node("sub", (name(size), number(1)))


def _sums(node: Node, rank: int) -> Iterator[Change]:
    if node.op in ("sum", "mean"):
        dims, keep = node.value
        (inner,) = node.args
        if node.op == "mean":
            message = Said("In {} a mean is taken where a sum belongs.", (node,))
            yield Node("sum", (inner,), (dims, keep)), "constant-factor", message
        for others in combinations(range(rank), len(dims or (0,))):
            for kept in (keep, not keep):
                if dims != others:
                    message = Said(
                        "The sum in {} goes over the wrong dimension: compare the shapes that were stretched.", (node,)
                    )
                    yield Node(node.op, (inner,), (others, kept)), "sum-wrong-dimension", message
                elif kept is not keep:
                    message = Said("Think about keepdim in {}: the shapes that follow line up differently.", (node,))
                    yield Node(node.op, (inner,), (others, kept)), "keepdim", message
        yield inner, "sum-too-many", Said("The sum in {} is one too many: nothing was stretched there.", (node,))
    elif node.op not in (*EMPTY, "one_hot"):  # whose rows add up to one
        message = Said(
            "A sum is missing around {}: what was stretched in the forward pass is summed on the way back.", (node,)
        )
        pairs = combinations(range(rank), 2) if rank > 2 else ()
        for dims in (*((dim,) for dim in range(rank)), *pairs):
            for keep in (True, False):
                yield Node("sum", (node,), (dims, keep)), "sum-missing", message


def _orders(node: Node) -> Iterator[Change]:
    """Sides exchanged, a transposition too many or too few."""
    if node.op in ("div", "pow", "matmul"):
        message = Said("The two sides of {} are exchanged.", (node,))
        yield Node(node.op, (node.args[1], node.args[0])), "operands-swapped", message
    if node.op in ("transpose", "swap"):
        message = Said("{} should not be transposed: write the shapes out.", (node,))
        yield node.args[0], "operand-transposed", message
    elif node.op in ("name", "use", "matmul"):
        message = Said("{} lies the wrong way here: write the shapes out.", (node,))
        yield Node("swap", (node,), (-2, -1)), "operand-transposed", message
    if node.op in ("mul", "div"):
        verbs = ("multiplied", "divided") if node.op == "mul" else ("divided", "multiplied")
        message = Said(
            f"In {{}} something is {verbs[0]} that should be {verbs[1]}: check the derivative of this step.", (node,)
        )
        yield Node("div" if node.op == "mul" else "mul", node.args), "wrong-operation", message


def _layouts(node: Node, rank: int) -> Iterator[Change]:
    """Dimensions that view or reshape should have exchanged, which they never do."""
    cut = node.args[0] if node.op == "swap" else node
    if cut.op != "reshape":
        return
    inner, *sizes = cut.args
    message = Said(
        "view and reshape exchange no dimensions: they cut and join the numbers of {} in the order in which they lie "
        "there. It matters where a transpose stands, and of which dimensions.",
        (inner,),
    )
    if node.op == "swap":
        pair = (node.value[0] % len(sizes), node.value[1] % len(sizes))
        yield _cut_otherwise(cut, pair), "memory-order", message
        return
    for pair in combinations(range(len(sizes)), 2):
        yield Node("swap", (_cut_otherwise(cut, pair),), pair), "memory-order", message
    for pair in combinations(range(rank), 2):
        yield Node("reshape", (Node("swap", (inner,), pair), *sizes)), "memory-order", message


def _cut_otherwise(node: Node, pair: tuple[int, int]) -> Node:
    """A reshape with two of its sizes exchanged."""
    sizes = [*node.args[1:]]
    sizes[pair[0]], sizes[pair[1]] = sizes[pair[1]], sizes[pair[0]]
    return Node("reshape", (node.args[0], *sizes))


def _powers(node: Node) -> Iterator[Change]:
    if node.op == "pow" and node.args[1].op == "number":
        message = Said("The power in {} is too much: check the derivative of this step.", (node,))
        yield node.args[0], "wrong-power", message
    elif node.op not in EMPTY:
        message = Said("{} stands here with the wrong power: check the derivative of this step.", (node,))
        for value in POWERS:
            yield Node("pow", (node, number(value))), "wrong-power", message


def _removed(node: Node) -> Iterator[Change]:
    """A factor too many."""
    message = "{} does not belong in {}."
    if node.op in ("mul", "div"):
        yield node.args[0], "factor-too-many", Said(message, (node.args[1], node))
    if node.op == "mul":
        yield node.args[1], "factor-too-many", Said(message, (node.args[0], node))


def _terms_too_many(node: Node) -> Iterator[Change]:
    """A term too many; one of two numbers (`h**(2 + 1)`) is a wrong number instead."""
    message = "The term {} does not belong here, or is here twice."
    if node.op in ("add", "sub") and any(argument.op != "number" for argument in node.args):
        yield node.args[0], "term-too-many", Said(message, (node.args[1],))
    if node.op == "add":
        yield node.args[1], "term-too-many", Said(message, (node.args[0],))


def _grouped(node: Node) -> Iterator[Change]:
    """Brackets in the wrong place."""
    message = Said("Look at the order in which {} is computed: brackets are missing.", (node,))
    if node.op == "pow" and node.args[0].op in ("add", "sub"):
        base, exponent = node.args
        yield (
            Node(base.op, (base.args[0], Node("pow", (base.args[1], exponent)))),
            "brackets",
            Said("Look at the order in which {} is computed: the power belongs to one term only.", (node,)),
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
                early = Said(
                    "In {} the sum takes in one factor only: a method call binds tighter than *. "
                    "Multiply first, then sum the products.",
                    (node,),
                )
                yield Node("sum", (Node(node.op, tuple(sides)),), side.value), "sum-too-early", early


def _small(node: Node) -> Iterator[Change]:
    if node.op == "pow":
        message = Said(
            "In {} the small constant is lost that the forward pass adds before it takes the power.", (node,)
        )
        for value in SMALL:
            yield Node("pow", (Node("add", (node.args[0], number(value))), node.args[1])), "eps-missing", message
