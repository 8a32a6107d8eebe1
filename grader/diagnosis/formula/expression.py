"""The value of a formula, and its text.

Names stand for tensors and numbers that the caller gives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from grader.diagnosis.formula.node import AT, Loop, Node, Unsupported, Value
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
        known: values of parts of it for the same names; what is computed is added if it is to be kept.
        keep: whether it is.

    Raises:
        Unsupported: it can't be computed.
    """
    return _Evaluation(names, known, known if keep else {}).value(node)


@dataclass
class _Evaluation:
    """What names stand for, and the values of parts of formulas: those that are known, and those that are new.

    Inside of a loop `around` is the evaluation that the loop stands in, which computes what no changing name is in:
    once for all rounds.
    """

    names: Environment
    known: Values
    new: Values
    changing: Set[str] = frozenset()
    around: _Evaluation | None = None

    def value(self, node: Node) -> Value:
        if self.around is not None and not self.changing & node.reads:
            return self.around.value(node)
        for done in (self.known, self.new):
            if node in done:
                found: Value = done[node]
                return found
        try:
            result = self._computed(node)
        except (RuntimeError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise Unsupported from error
        if not isinstance(result, Tensor | slice) and not (math.isfinite(result) and abs(result) < MAX_NUMBER):
            raise Unsupported
        self.new[node] = result
        return result

    def _computed(self, node: Node) -> Value:
        arguments = node.args
        match node.op:
            case "number":
                number: Value = node.value
                return number
            case "name":
                if node.value not in self.names:
                    raise Unsupported
                return self.names[node.value]
            case "loop":
                return self._looped(node)
            case "if":  # the other side may read what isn't there, as the step after the last one
                arguments = (arguments[1 if self.value(arguments[0]) else 2],)
        operation, values = OPERATIONS[node.op], [self.value(argument) for argument in arguments]
        if operation.sizes is not None:
            checked(operation.sizes(node.value, *values))
        result: Value = operation.compute(node.value, *values)
        return result

    def _looped(self, node: Node) -> Tensor:
        """All rounds of a loop.

        A line that reads what it writes to finds what earlier rounds have left there; in a list of gradients, what
        `names` has for it.
        """
        loop: Loop = node.value
        before, first, last = map(self.value, node.args[:3])
        if type(first) is not int or type(last) is not int or last - first > MAX_ROUNDS:
            raise Unsupported
        empty = node.args[0].op == "elements"
        result = None if empty else torch.as_tensor(before)
        body = node.args[3:]
        carried = any(loop.target in part.reads for part in body) and not (empty and loop.target in self.names)
        for counter in range(first, last)[:: -1 if loop.backward else 1]:
            here: dict[str, Value] = {**self.names, loop.counter: counter}
            changing, key = {loop.counter}, Round(loop.counter, counter)
            known, new = ({}, {}) if carried else (self.known.get(key, {}), self.new.setdefault(key, {}))
            if carried:
                changing.add(loop.target)
                here |= {loop.target: result} if result is not None else {}
            value, *numbers = map(_Evaluation(here, known, new, changing, self).value, body)
            own = result is not None and result is not before
            if result is None:
                value, count = torch.as_tensor(value), size(before)
                checked([count, *value.shape])
                result = value.new_full((count, *value.shape), math.nan)
            result = written_to(result, loop.how, loop.pattern, numbers, value, own=own)
        if result is None:
            raise Unsupported
        return result


def write(node: Node) -> str:
    """A formula as it would stand in a notebook, for a sentence that quotes it."""
    if node.op in ("number", "name", "use"):
        return shown(str(node.value))
    if node.op == "loop":
        return shown(node.value.target)
    if node.op == "pick" and node.value == (AT,):
        return f"{_bracketed(node.args[0], 5)}[{write(node.args[1])}]"
    operation = OPERATIONS[node.op]
    last = 0 if node.op == "pow" else 1  # `a - (b - c)` and `(a**b)**c` need their brackets, `(a - b) - c` doesn't
    inner = [
        _bracketed(argument, operation.rank + (place == last and len(node.args) == 2))
        for place, argument in enumerate(node.args)
    ]
    return operation.written.format(*inner, op=node.op, value=node.value)


def shown(name: str) -> str:
    """A name as the student wrote it: of a call's own name (`Program`), what it is called there."""
    return name.rpartition("__")[2] or name


def _bracketed(node: Node, rank: int) -> str:
    loose = node.op in OPERATIONS and OPERATIONS[node.op].rank < rank
    return f"({write(node)})" if loose else write(node)
