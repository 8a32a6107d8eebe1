"""A student's formula as a small tree that can be computed again, and changed, without running the student's code.

Only the operations of `_OPERATIONS` are computed; every other formula is left alone (`Unsupported`).
Names stand for tensors and numbers that the caller gives; no attribute is looked up on anything, and no result may
have more than `MAX_ELEMENTS` elements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from grader.diagnosis.formula.operations import MAX_ELEMENTS, OPERATIONS, UNARY, Pattern, Unsupported, Value, written_to
from grader.diagnosis.words import shown

__all__ = ["MAX_ELEMENTS", "UNARY", "Unsupported", "Value"]

MAX_NUMBER = 1e15
MAX_ROUNDS = 16
"""Of a loop."""

Environment = Mapping[str, Value]


@dataclass(frozen=True, eq=False)
class Node:
    """A formula: an operation on other formulas. `value` is what no formula is: a number, a name, dimensions."""

    op: str
    args: tuple[Node, ...] = ()
    value: Any = None


def number(value: float) -> Node:
    """A formula that is a number."""
    return Node("number", value=value)


def name(value: str) -> Node:
    """A formula that is a name."""
    return Node("name", value=value)


def use(value: str, formula: Node) -> Node:
    """One use of a name that the student gave to a formula: every use is a node of its own, the formula is shared."""
    return Node("use", (formula,), value)


class Loop(NamedTuple):
    """What a `loop` node does in each round: it writes `args[3]` into `args[0]`.

    The counter goes from `args[1]` up to `args[2]`; the other arguments are the numbers of the pattern.

    Attributes:
        counter: the loop's own name; empty where the statement stands in no loop.
        target: the name that is written to.
        how: `set`, `add` or `sub`.
        pattern: the places; None where the whole is written to.
    """

    counter: str
    target: str
    how: str
    pattern: Pattern | None


# --- computing


def evaluate(node: Node, names: Environment, known: dict[Node, Value], keep: bool = False) -> Value:
    """The value of a formula.

    Args:
        node: the formula.
        names: what its names stand for.
        known: values of parts of it, already computed for the same names.
        keep: put what is computed into `known`.

    Raises:
        Unsupported: it can't be computed.
    """
    return _evaluated(node, names, known, known if keep else {})


def _evaluated(node: Node, names: Environment, known: Mapping[Node, Value], new: dict[Node, Value]) -> Value:
    if node in known:
        return known[node]
    if node in new:
        return new[node]
    if node.op == "number":
        result: Value = node.value
    elif node.op == "name":
        if node.value not in names:
            raise Unsupported
        result = names[node.value]
    else:
        try:
            if node.op == "loop":
                result = _looped(node, names, known, new)
            else:
                values = [_evaluated(argument, names, known, new) for argument in node.args]
                result = OPERATIONS[node.op](node.value, *values)
        except (RuntimeError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise Unsupported from error
    if not isinstance(result, Tensor) and not (math.isfinite(result) and abs(result) < MAX_NUMBER):
        raise Unsupported
    new[node] = result
    return result


def _looped(node: Node, names: Environment, known: Mapping[Node, Value], new: dict[Node, Value]) -> Tensor:
    """All rounds of a loop. What does not depend on the counter is computed once."""
    loop: Loop = node.value
    result, first, last = (_evaluated(argument, names, known, new) for argument in node.args[:3])
    if not isinstance(result, Tensor) or type(first) is not int or type(last) is not int or last - first > MAX_ROUNDS:
        raise Unsupported
    body = node.args[3:]
    same = _without(loop.counter, body)
    fixed = {part: _evaluated(part, names, known, new) for part in same}
    for counter in range(first, last):
        found: dict[Node, Value] = {}
        value, *numbers = (_evaluated(part, {**names, loop.counter: counter}, fixed, found) for part in body)
        result = written_to(result, loop.how, loop.pattern, numbers, value, own=counter > first)
    return result


def _without(counter: str, nodes: Sequence[Node]) -> list[Node]:
    """The largest parts of formulas in which a loop's counter does not occur."""
    depends: dict[Node, bool] = {}

    def reads(node: Node) -> bool:
        if node not in depends:
            inner = [reads(argument) for argument in node.args]
            if node.op == "loop" and node.value.counter == counter:
                inner[3:] = []
            depends[node] = any(inner) or (node.op == "name" and node.value == counter)
        return depends[node]

    found: list[Node] = []
    seen: set[Node] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        if not reads(node):
            found.append(node)
        else:
            pending.extend(node.args)
    return found


# --- writing

_SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "matmul": "@"}
_RANK = {"add": 1, "sub": 1, "mul": 2, "div": 2, "matmul": 2, "neg": 3, "pow": 4}


def write(node: Node) -> str:
    """A formula as it would stand in a notebook, for a sentence that quotes it."""
    if node.op in ("number", "name", "use"):
        return shown(str(node.value))
    inner = [_bracketed(argument, _RANK.get(node.op, 5)) for argument in node.args]
    if node.op in _SIGNS:
        return f"{inner[0]} {_SIGNS[node.op]} {inner[1]}" if node.op != "pow" else f"{inner[0]}**{inner[1]}"
    if node.op == "neg":
        return f"-{inner[0]}"
    if node.op == "transpose":
        return f"{inner[0]}.T"
    if node.op == "loop":
        return shown(node.value.target)
    if node.op == "pick":
        return f"{inner[0]}[…]"
    if node.op == "einsum":
        return "einsum(…)"
    if node.op == "swap":
        return f"{inner[0]}.transpose({node.value[0]}, {node.value[1]})"
    return f"{inner[0]}.{node.op}(…)" if node.op != "same" else inner[0]


def _bracketed(node: Node, rank: int) -> str:
    text = write(node)
    return f"({text})" if _RANK.get(node.op, 6) < rank or (rank == 5 and node.op in _RANK) else text
