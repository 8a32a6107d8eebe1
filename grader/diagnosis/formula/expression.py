"""The value of a formula, and its text.

Names stand for tensors and numbers that the caller gives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from grader.diagnosis.formula.node import Loop, Node, Unsupported, Value
from grader.diagnosis.formula.operations import OPERATIONS, written_to

MAX_NUMBER = 1e15
MAX_ROUNDS = 16
"""Of a loop."""

Environment = Mapping[str, Value]


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
                result = OPERATIONS[node.op].compute(node.value, *values)
        except (RuntimeError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise Unsupported from error
    if not isinstance(result, Tensor | slice) and not (math.isfinite(result) and abs(result) < MAX_NUMBER):
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


def write(node: Node) -> str:
    """A formula as it would stand in a notebook, for a sentence that quotes it."""
    if node.op in ("number", "name", "use"):
        return shown(str(node.value))
    if node.op == "loop":
        return shown(node.value.target)
    operation = OPERATIONS[node.op]
    inner = [_bracketed(argument, operation.rank) for argument in node.args]
    return operation.written.format(*inner, op=node.op, value=node.value)


def shown(name: str) -> str:
    """A name as the student wrote it: of what a method's names were written out as (`Methods`), the method's own."""
    return name.rpartition("__")[2] or name


def _bracketed(node: Node, rank: int) -> str:
    loose = node.op in OPERATIONS and OPERATIONS[node.op].rank < rank
    return f"({write(node)})" if loose else write(node)
