"""A student's formula as a small tree that can be computed again, and changed, without running the student's code.

Only the operations of `_OPERATIONS` are computed; every other formula is left alone (`Unsupported`).
Names stand for tensors and numbers that the caller gives; no attribute is looked up on anything, and no result may
have more than `MAX_ELEMENTS` elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from grader.diagnose.words import shown

MAX_ELEMENTS = 1 << 18
MAX_NUMBER = 1e15

Value = Tensor | int | float
Environment = Mapping[str, Value]


class Unsupported(Exception):
    """A formula that is not understood, or that can't be computed."""


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
        values = [_evaluated(argument, names, known, new) for argument in node.args]
        try:
            result = _OPERATIONS[node.op](node.value, *values)
        except (RuntimeError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise Unsupported from error
    if not isinstance(result, Tensor) and not (math.isfinite(result) and abs(result) < MAX_NUMBER):
        raise Unsupported
    new[node] = result
    return result


def _checked(shape: torch.Size) -> None:
    if shape.numel() > MAX_ELEMENTS:
        raise Unsupported


def _elementwise(function: Callable[[Any, Any], Value]) -> Callable[..., Value]:
    def apply(_: object, left: Value, right: Value) -> Value:
        if isinstance(left, Tensor) and isinstance(right, Tensor) and left.shape != right.shape:
            sides = zip_longest(reversed(left.shape), reversed(right.shape), fillvalue=1)
            _checked(torch.Size([max(one, other) for one, other in sides]))
        return function(left, right)

    return apply


def _power(base: Value, exponent: Value) -> Value:
    if isinstance(base, Tensor) or isinstance(exponent, Tensor):
        result: Value = base**exponent
        return result
    raised = float(base) ** float(exponent)
    if isinstance(raised, complex):
        raise Unsupported
    return int(raised) if isinstance(base, int) and isinstance(exponent, int) and raised.is_integer() else raised


def _matmul(_: object, left: Tensor, right: Tensor) -> Tensor:
    """Each side has at most MAX_ELEMENTS, and so has the result."""
    batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    _checked(torch.Size([*batch, *left.shape[-2:-1], *(right.shape[-1:] if right.dim() > 1 else ())]))
    return left @ right


def _reduced(kind: str) -> Callable[..., Tensor]:
    def apply(value: tuple[tuple[int, ...] | None, bool], tensor: Tensor) -> Tensor:
        dims, keep = value
        function = getattr(torch, kind)
        result: Tensor = function(tensor) if dims is None else function(tensor, dims, keepdim=keep)
        return result

    return apply


def _plain(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda _, tensor: function(tensor)


def _expanded(_: object, tensor: Tensor, *sizes: int) -> Tensor:
    _checked(torch.Size([max(1, size) for size in sizes]))
    return tensor.expand(sizes)


def _filled(_: object, fill: float, *sizes: int) -> Tensor:
    _checked(torch.Size(sizes))
    return torch.full(sizes, float(fill), dtype=torch.float64)


def _one_hot(_: object, index: Tensor, classes: int) -> Tensor:
    _checked(torch.Size([*index.shape, classes]))
    return torch.nn.functional.one_hot(index.long(), classes).to(torch.float64)


_BINARY: dict[str, Callable[..., Value]] = {
    "add": _elementwise(lambda a, b: a + b),
    "sub": _elementwise(lambda a, b: a - b),
    "mul": _elementwise(lambda a, b: a * b),
    "div": _elementwise(lambda a, b: a / b),
    "pow": _elementwise(_power),
    "matmul": _matmul,
}
UNARY: dict[str, Callable[..., Any]] = {
    "neg": lambda _, value: -value,
    "exp": _plain(torch.exp),
    "log": _plain(torch.log),
    "tanh": _plain(torch.tanh),
    "sigmoid": _plain(torch.sigmoid),
    "erf": _plain(torch.erf),
    "sqrt": _plain(torch.sqrt),
    "square": _plain(torch.square),
    "reciprocal": _plain(torch.reciprocal),
    "transpose": _plain(torch.t),
    "flatten": _plain(torch.flatten),
    "same": lambda _, value: value,
    "ones_like": _plain(torch.ones_like),
    "zeros_like": _plain(torch.zeros_like),
}
_OPERATIONS: dict[str, Callable[..., Any]] = {
    **_BINARY,
    **UNARY,
    "use": lambda _, value: value,
    "sum": _reduced("sum"),
    "mean": _reduced("mean"),
    "softmax": lambda value, tensor: torch.softmax(tensor, value),
    "argmax": lambda value, tensor: torch.argmax(tensor, value),
    "one_hot": _one_hot,
    "reshape": lambda _, tensor, *sizes: tensor.reshape(sizes),
    "swap": lambda value, tensor: tensor.transpose(*value),
    "permute": lambda value, tensor: tensor.permute(value),
    "masked_fill": lambda _, tensor, mask, fill: tensor.masked_fill(mask, float(fill)),
    "like": lambda _, tensor, other: tensor.reshape(other.shape),
    "expand": _expanded,
    "filled": _filled,
    "filled_like": lambda _, tensor, fill: torch.full_like(tensor, float(fill)),
    "unsqueeze": lambda value, tensor: tensor.unsqueeze(value),
    "size": lambda value, tensor: tensor.shape[value],
    "count": lambda _, tensor: tensor.numel(),
    "mask": lambda _, tensor, index: torch.zeros_like(tensor).scatter_(1, index.unsqueeze(1), 1.0),
    "index_add": lambda value, base, index, source: base.index_add(value, index, source),
}


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
    if node.op == "swap":
        return f"{inner[0]}.transpose({node.value[0]}, {node.value[1]})"
    return f"{inner[0]}.{node.op}(…)" if node.op != "same" else inner[0]


def _bracketed(node: Node, rank: int) -> str:
    text = write(node)
    return f"({text})" if _RANK.get(node.op, 6) < rank or (rank == 5 and node.op in _RANK) else text
