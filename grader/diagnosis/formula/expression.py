"""The value of a formula, and its text.

Names stand for tensors and numbers that the caller gives.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from grader.diagnosis.formula.node import AT, Loop, Node, Unsupported, Value, parts
from grader.diagnosis.formula.operations import OPERATIONS, checked, size, written_to

MAX_NUMBER = 1e15
MAX_ROUNDS = 16
"""Of a loop."""

Environment = Mapping[str, Value]
Values = dict[Any, Any]
"""Part of a formula → its value; `Round` → the same for what changes from round to round."""


class Round(NamedTuple):
    """A round of the loops over a counter."""

    counter: str
    number: int


def evaluate(node: Node, names: Environment, known: Values, keep: bool = False) -> Value:
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


def _evaluated(node: Node, names: Environment, known: Values, new: Values) -> Value:
    for done in (known, new):
        if node in done:
            found: Value = done[node]
            return found
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
                arguments = node.args
                if node.op == "if":  # the other side may read what isn't there, as the step after the last one
                    arguments = (arguments[1 if _evaluated(arguments[0], names, known, new) else 2],)
                values = [_evaluated(argument, names, known, new) for argument in arguments]
                result = OPERATIONS[node.op].compute(node.value, *values)
        except (RuntimeError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise Unsupported from error
    if not isinstance(result, Tensor | slice) and not (math.isfinite(result) and abs(result) < MAX_NUMBER):
        raise Unsupported
    new[node] = result
    return result


def _looped(node: Node, names: Environment, known: Values, new: Values) -> Tensor:
    """All rounds of a loop. What does not change from round to round is computed once.

    A line that reads what it writes to finds what earlier rounds have left there; in a list of gradients, what `names`
    has for it.
    """
    loop: Loop = node.value
    before, first, last = (_evaluated(argument, names, known, new) for argument in node.args[:3])
    if type(first) is not int or type(last) is not int or last - first > MAX_ROUNDS:
        raise Unsupported
    empty = node.args[0].op == "elements"
    result = None if empty else torch.as_tensor(before)
    body = node.args[3:]
    reads_own = any(part.op == "name" and part.value == loop.target for line in body for part in parts(line))
    carried = reads_own and not (empty and loop.target in names)
    changing = {loop.counter, loop.target} if carried else {loop.counter}
    fixed = {part: _evaluated(part, names, known, new) for part in _without(changing, body)}
    for counter in range(first, last)[:: -1 if loop.backward else 1]:
        key = Round(loop.counter, counter)
        found: Values = {}
        here: dict[str, Value] = {**names, loop.counter: counter}
        if carried and result is not None:
            here[loop.target] = result
        kept = fixed if carried else {**known.get(key, {}), **fixed}
        value, *numbers = (_evaluated(part, here, kept, found) for part in body)
        if not carried:
            new.setdefault(key, {}).update(found)
        own = result is not None and result is not before
        if result is None:
            value, count = torch.as_tensor(value), size(before)
            checked([count, *value.shape])
            result = value.new_full((count, *value.shape), math.nan)
        result = written_to(result, loop.how, loop.pattern, numbers, value, own=own)
    if result is None:
        raise Unsupported
    return result


def _without(changing: Collection[str], nodes: Sequence[Node]) -> list[Node]:
    """The largest parts of formulas in which none of the names occurs that change from round to round."""
    depends: dict[tuple[Node, frozenset[str]], bool] = {}

    def reads(node: Node, names: frozenset[str]) -> bool:
        if (node, names) not in depends:
            inner = names - {node.value.counter} if node.op == "loop" else names
            depends[node, names] = (node.op == "name" and node.value in names) or any(
                reads(argument, names if place < 3 else inner) for place, argument in enumerate(node.args)
            )
        return depends[node, names]

    found: list[Node] = []
    seen: set[Node] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        if not reads(node, frozenset(changing)):
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
    if node.op == "pick" and node.value == (AT,):
        return f"{_bracketed(node.args[0], 5)}[{write(node.args[1])}]"
    operation = OPERATIONS[node.op]
    inner = [_bracketed(argument, operation.rank) for argument in node.args]
    return operation.written.format(*inner, op=node.op, value=node.value)


def shown(name: str) -> str:
    """A name as the student wrote it: of a call's own name (`Program`), what it is called there."""
    return name.rpartition("__")[2] or name


def _bracketed(node: Node, rank: int) -> str:
    loose = node.op in OPERATIONS and OPERATIONS[node.op].rank < rank
    return f"({write(node)})" if loose else write(node)
