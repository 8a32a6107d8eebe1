"""A student's formula as a small tree that can be computed again, and changed, without running the student's code.

Only what stands in `_BINARY`, `_UNARY` and `_METHODS` is understood; every other formula is left alone (`Unsupported`).
Names stand for tensors and numbers that the caller gives; no attribute is looked up on anything, and no result may
have more than `MAX_ELEMENTS` elements.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

MAX_DEPTH = 40
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
    if node in known:
        return known[node]
    if node.op == "number":
        result: Value = node.value
    elif node.op == "name":
        if node.value not in names:
            raise Unsupported
        result = names[node.value]
    else:
        values = [evaluate(argument, names, known, keep) for argument in node.args]
        try:
            result = _OPERATIONS[node.op](node.value, *values)
        except (RuntimeError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise Unsupported from error
    if not isinstance(result, Tensor) and not (math.isfinite(result) and abs(result) < MAX_NUMBER):
        raise Unsupported
    if keep:
        known[node] = result
    return result


def _checked(shape: torch.Size) -> None:
    if shape.numel() > MAX_ELEMENTS:
        raise Unsupported


def _shape(value: Value) -> torch.Size:
    return value.shape if isinstance(value, Tensor) else torch.Size()


def _elementwise(function: Callable[[Any, Any], Value]) -> Callable[..., Value]:
    def apply(_: object, left: Value, right: Value) -> Value:
        _checked(torch.broadcast_shapes(_shape(left), _shape(right)))
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
    if left.dim() > 2 or right.dim() > 2:
        raise Unsupported
    return left @ right  # each side has at most MAX_ELEMENTS, and so has the result:


def _limited_matmul(value: object, left: Tensor, right: Tensor) -> Tensor:
    _checked(torch.Size([*left.shape[:-1], *right.shape[1:]]))
    return _matmul(value, left, right)


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
    "matmul": _limited_matmul,
}
_UNARY: dict[str, Callable[..., Any]] = {
    "neg": lambda _, value: -value,
    "exp": _plain(torch.exp),
    "log": _plain(torch.log),
    "tanh": _plain(torch.tanh),
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
    **_UNARY,
    "sum": _reduced("sum"),
    "mean": _reduced("mean"),
    "softmax": lambda value, tensor: torch.softmax(tensor, value),
    "argmax": lambda value, tensor: torch.argmax(tensor, value),
    "one_hot": _one_hot,
    "reshape": lambda _, tensor, *sizes: tensor.reshape(sizes),
    "like": lambda _, tensor, other: tensor.reshape(other.shape),
    "expand": _expanded,
    "filled": _filled,
    "filled_like": lambda _, tensor, fill: torch.full_like(tensor, float(fill)),
    "unsqueeze": lambda value, tensor: tensor.unsqueeze(value),
    "size": lambda value, tensor: tensor.shape[value],
    "count": lambda _, tensor: tensor.numel(),
    "index_add": lambda value, base, index, source: base.index_add(value, index, source),
}

# --- reading

_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Pow: "pow", ast.MatMult: "matmul",
}  # fmt: skip
_METHODS = {
    "add": "add", "sub": "sub", "mul": "mul", "div": "div", "pow": "pow", "matmul": "matmul", "mm": "matmul",
    "exp": "exp", "log": "log", "tanh": "tanh", "sqrt": "sqrt", "square": "square", "neg": "neg", "t": "transpose",
    "reciprocal": "reciprocal", "flatten": "flatten", "clone": "same", "detach": "same", "contiguous": "same",
    "ones_like": "ones_like", "zeros_like": "zeros_like", "view_as": "like", "reshape_as": "like", "double": "same",
    "full_like": "filled_like", "one_hot": "one_hot", "float": "same", "numel": "count", "nelement": "count",
}  # fmt: skip
_REDUCTIONS = ("sum", "mean")
_MODULES = ("torch", "F")


def read(tree: ast.expr, depth: int = 0) -> Node:
    """A formula from its syntax tree.

    Raises:
        Unsupported: it holds something that is not understood.
    """
    if depth > MAX_DEPTH:
        raise Unsupported
    if isinstance(tree, ast.Constant) and type(tree.value) in (int, float):
        return number(tree.value)  # type: ignore[arg-type]
    if isinstance(tree, ast.Name):
        return name(tree.id)
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        inner = read(tree.operand, depth + 1)
        return number(-inner.value) if inner.op == "number" else Node("neg", (inner,))
    if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
        return Node(_OPERATORS[type(tree.op)], (read(tree.left, depth + 1), read(tree.right, depth + 1)))
    if isinstance(tree, ast.Attribute) and tree.attr in ("T", "mT", "data"):
        return Node("same" if tree.attr == "data" else "transpose", (read(tree.value, depth + 1),))
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute):
        return _call(tree, tree.func, depth)
    if isinstance(tree, ast.Subscript) or (isinstance(tree, ast.Attribute) and tree.attr == "indices"):
        return _picked(tree, depth)
    raise Unsupported


def _call(tree: ast.Call, function: ast.Attribute, depth: int) -> Node:
    """`x.sum(0, keepdim=True)` and `torch.sum(x, 0, keepdim=True)` alike."""
    arguments = list(tree.args)
    if not (isinstance(function.value, ast.Name) and function.value.id in _MODULES):
        arguments = [function.value, *arguments]
    options = {keyword.arg: keyword.value for keyword in tree.keywords}
    attr = function.attr
    if attr in ("zeros", "ones", "full"):
        return _new(attr, arguments, depth)
    if not arguments:
        raise Unsupported
    inner = read(arguments[0], depth + 1)
    rest = arguments[1:]
    if attr in _REDUCTIONS:
        return Node(attr, (inner,), _dims_of(rest, options))
    if attr in ("softmax", "argmax"):
        dim = _literal(rest[0] if rest else options.pop("dim", None))
        return Node(attr, (inner,), dim)
    if attr in ("view", "reshape", "expand"):
        sizes = _sizes(rest)
        if len(sizes) == 1 and isinstance(sizes[0], ast.Attribute) and sizes[0].attr == "shape":
            return Node("like" if attr != "expand" else _no(), (inner, read(sizes[0].value, depth + 1)))
        return Node("expand" if attr == "expand" else "reshape", (inner, *(read(size, depth + 1) for size in sizes)))
    if attr == "transpose" and sorted(map(_literal, rest)) == [0, 1]:
        return Node("transpose", (inner,))
    if attr in ("index_add", "index_add_") and len(rest) == 3 and not options:
        return Node("index_add", (inner, *(read(argument, depth + 1) for argument in rest[1:])), _literal(rest[0]))
    if attr == "to" and len(rest) == 1:
        return Node("same", (inner,))  # another dtype: here everything is float64
    if attr in ("unsqueeze", "size") and len(rest) == 1:
        return Node(attr, (inner,), _literal(rest[0]))
    if attr in _METHODS and set(options) <= {"num_classes"}:
        return _known(_METHODS[attr], inner, [*rest, *options.values()], depth)
    raise Unsupported


def _known(op: str, inner: Node, rest: list[ast.expr], depth: int) -> Node:
    wanted = 0 if op in _UNARY or op == "count" else 1
    if len(rest) != wanted:
        raise Unsupported
    return Node(op, (inner, *(read(argument, depth + 1) for argument in rest)))


def _new(attr: str, arguments: list[ast.expr], depth: int) -> Node:
    fill = number(0.0 if attr == "zeros" else 1.0)
    if attr == "full":
        if len(arguments) != 2:
            raise Unsupported
        fill, arguments = read(arguments[1], depth + 1), arguments[:1]
    return Node("filled", (fill, *(read(size, depth + 1) for size in _sizes(arguments))))


def _sizes(arguments: list[ast.expr]) -> list[ast.expr]:
    if len(arguments) == 1 and isinstance(arguments[0], ast.Tuple | ast.List):
        return arguments[0].elts
    return arguments


def _dims_of(rest: list[ast.expr], options: dict[str | None, ast.expr]) -> tuple[tuple[int, ...] | None, bool]:
    dim = rest[0] if rest else options.get("dim", options.get("axis"))
    keep = rest[1] if len(rest) > 1 else options.get("keepdim", options.get("keepdims"))
    if set(options) - {"dim", "axis", "keepdim", "keepdims"} or len(rest) > 2:
        raise Unsupported
    kept = isinstance(keep, ast.Constant) and bool(keep.value)
    if dim is None:
        return None, kept
    if isinstance(dim, ast.Tuple | ast.List):
        return tuple(_literal(item) for item in dim.elts), kept
    return (_literal(dim),), kept


def _literal(tree: ast.expr | None) -> int:
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        return -_literal(tree.operand)
    if isinstance(tree, ast.Constant) and type(tree.value) is int and abs(tree.value) < 8:
        return tree.value
    raise Unsupported


def _no() -> str:
    raise Unsupported


def _picked(tree: ast.Subscript | ast.Attribute, depth: int) -> Node:
    """`x[:, None]`, `x[None]`, `x.shape[0]`, `x.max(1).indices`."""
    if isinstance(tree, ast.Attribute):
        call = tree.value
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and call.func.attr == "max"
            and call.args
        ):
            return Node("argmax", (read(call.func.value, depth + 1),), _literal(call.args[0]))
        raise Unsupported
    if isinstance(tree.value, ast.Attribute) and tree.value.attr == "shape":
        return Node("size", (read(tree.value.value, depth + 1),), _literal(tree.slice))
    items = tree.slice.elts if isinstance(tree.slice, ast.Tuple) else [tree.slice]
    new = [place for place, item in enumerate(items) if isinstance(item, ast.Constant) and item.value is None]
    full = [item for item in items if isinstance(item, ast.Slice) and item.lower is item.upper is item.step is None]
    if len(new) != 1 or len(new) + len(full) != len(items):
        raise Unsupported
    return Node("unsqueeze", (read(tree.value, depth + 1),), new[0])


# --- writing

_SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "matmul": "@"}
_RANK = {"add": 1, "sub": 1, "mul": 2, "div": 2, "matmul": 2, "neg": 3, "pow": 4}


def write(node: Node) -> str:
    """A formula as it would stand in a notebook, for a sentence that quotes it."""
    if node.op in ("number", "name"):
        return str(node.value)
    inner = [_bracketed(argument, _RANK.get(node.op, 5)) for argument in node.args]
    if node.op in _SIGNS:
        return f"{inner[0]} {_SIGNS[node.op]} {inner[1]}" if node.op != "pow" else f"{inner[0]}**{inner[1]}"
    if node.op == "neg":
        return f"-{inner[0]}"
    if node.op == "transpose":
        return f"{inner[0]}.T"
    return f"{inner[0]}.{node.op}(…)" if node.op != "same" else inner[0]


def _bracketed(node: Node, rank: int) -> str:
    text = write(node)
    return f"({text})" if _RANK.get(node.op, 6) < rank or (rank == 5 and node.op in _RANK) else text
