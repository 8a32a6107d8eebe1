"""Calls of torch's methods and functions, as operations on formulas: by the arguments that `OPERATIONS` names."""

from __future__ import annotations

import ast
from collections.abc import Callable

from grader.diagnosis.formula.node import Node, Unsupported, number
from grader.diagnosis.formula.operations import EQUATION, OPERATIONS, SPELLED

Read = Callable[[ast.expr], Node]
"""What reads an argument."""


def call(tree: ast.Call, function: ast.Attribute, read: Read) -> Node:
    """A call of an operation: `x.sum(0, keepdim=True)` and `torch.sum(x, 0, keepdim=True)` alike.

    Raises:
        Unsupported: it is none that `OPERATIONS` holds, or is called in another way.
    """
    of_torch = isinstance(function.value, ast.Name) and function.value.id in ("torch", "F")
    arguments = [*tree.args] if of_torch else [function.value, *tree.args]
    options = {keyword.arg: keyword.value for keyword in tree.keywords}
    op = SPELLED.get(function.attr)
    match function.attr, arguments:
        case "zeros" | "ones" as fill, sizes:
            return Node("filled", (number(float(fill == "ones")), *map(read, _sizes(sizes))))
        case "full", [*sizes, fill]:
            return Node("filled", (read(fill), *map(read, _sizes(sizes))))
        case "cat" | "concat", [ast.List(elts=pieces) | ast.Tuple(elts=pieces), *dims]:
            dim = dims[0] if dims else options.get("dim", ast.Constant(0))
            return Node("cat", tuple(map(read, pieces)), literal(dim))
        case "stack", [pieces] if not options:
            return read(pieces)
        case "einsum", [ast.Constant(value=str(equation)), *tensors] if EQUATION.fullmatch(equation.replace(" ", "")):
            return Node("einsum", tuple(map(read, tensors)), equation)
        case "view" | "reshape", [tensor, ast.Attribute(attr="shape", value=other)] if not options:
            return Node("like", (read(tensor), read(other)))
        case _, [tensor, *dims] if op in ("sum", "mean"):
            return Node(op, (read(tensor),), _dims_of(dims, options))
        case _, [_, *_] if op is not None and not options.keys() - set(OPERATIONS[op].keywords):
            return _taken(op, [*arguments, *options.values()], read)
    raise Unsupported


def _taken(op: str, arguments: list[ast.expr], read: Read) -> Node:
    """A call whose arguments are as the table has them."""
    takes = OPERATIONS[op].takes
    several = takes.endswith("*")
    if several:
        arguments = [arguments[0], *_sizes(arguments[1:])]
        takes = "x" + takes[1] * (len(arguments) - 1)
    if len(takes) != len(arguments):
        raise Unsupported
    found = list(zip(takes, arguments, strict=True))
    literals = tuple(literal(argument) for kind, argument in found if kind == "i")
    value = literals if len(literals) > 1 or several else literals[0] if literals else None
    return Node(op, tuple(read(argument) for kind, argument in found if kind == "x"), value)


def _sizes(arguments: list[ast.expr]) -> list[ast.expr]:
    if len(arguments) == 1 and isinstance(arguments[0], ast.Tuple | ast.List):
        return arguments[0].elts
    return arguments


def is_true(tree: ast.expr | None) -> bool:
    """Whether an option is written out as true."""
    return isinstance(tree, ast.Constant) and bool(tree.value)


def _dims_of(rest: list[ast.expr], options: dict[str | None, ast.expr]) -> tuple[tuple[int, ...] | None, bool]:
    dim = rest[0] if rest else options.get("dim", options.get("axis"))
    keep = rest[1] if len(rest) > 1 else options.get("keepdim", options.get("keepdims"))
    if set(options) - {"dim", "axis", "keepdim", "keepdims"} or len(rest) > 2:
        raise Unsupported
    kept = is_true(keep)
    if dim is None:
        return None, kept
    if isinstance(dim, ast.Tuple | ast.List):
        return tuple(literal(item) for item in dim.elts), kept
    return (literal(dim),), kept


def literal(tree: ast.expr | None) -> int:
    """A whole number that is written out, such as a dimension's.

    Raises:
        Unsupported: it is something else, or large.
    """
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        return -literal(tree.operand)
    if isinstance(tree, ast.Constant) and type(tree.value) is int and abs(tree.value) < 8:
        return tree.value
    raise Unsupported
