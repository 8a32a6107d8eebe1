"""From the syntax tree of a student's line to a formula: only what `OPERATIONS` holds is understood."""

from __future__ import annotations

import ast
import math
from itertools import compress

from grader.diagnosis.formula.node import ALL, AT, NEW, Loop, Node, Pattern, Unsupported, name, number
from grader.diagnosis.formula.operations import EQUATION, OPERATIONS, SPELLED

MAX_DEPTH = 40

OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Pow: "pow", ast.MatMult: "matmul",
}  # fmt: skip
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip


def read(tree: ast.expr, depth: int = 0) -> Node:
    """A formula from its syntax tree.

    Raises:
        Unsupported: it holds something that is not understood.
    """
    if depth > MAX_DEPTH:
        raise Unsupported
    match tree:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return number(value)
        case ast.Name(id=label):
            return name(label)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = read(operand, depth + 1)
            return number(-inner.value) if inner.op == "number" else Node("neg", (inner,))
        case ast.List(elts=[]):
            return Node("elements", (number(0),))
        case ast.BinOp(op=ast.Mult(), left=ast.List(elts=[ast.Constant()]), right=count):
            return Node("elements", (read(count, depth + 1),))
        case ast.BinOp(op=sign) if type(sign) in OPERATORS:
            return Node(OPERATORS[type(sign)], (read(tree.left, depth + 1), read(tree.right, depth + 1)))
        case ast.Attribute(value=ast.Name(id="math" | "torch"), attr="pi"):
            return number(math.pi)
        case ast.Attribute(attr="mT", value=value):
            return Node("swap", (read(value, depth + 1),), (-2, -1))
        case ast.Attribute(attr="T" | "data" as attr, value=value):
            return Node("same" if attr == "data" else "transpose", (read(value, depth + 1),))
        case ast.Attribute(
            attr="indices", value=ast.Call(func=ast.Attribute(attr="max", value=value), args=[dim, *keep])
        ):
            place = Node("argmax", (read(value, depth + 1),), _literal(dim))
            keep += [word.value for word in tree.value.keywords if word.arg == "keepdim"]  # type: ignore[attr-defined]
            return Node("unsqueeze", (place,), place.value) if keep and ast.unparse(keep[0]) == "True" else place
        case ast.Call(func=ast.Attribute() as function):
            return _call(tree, function, depth)
        case ast.IfExp():
            return Node("if", tuple(read(part, depth + 1) for part in (tree.test, tree.body, tree.orelse)))
        case ast.Compare(left=left, ops=[sign], comparators=[right]) if type(sign) in COMPARISONS:
            return Node(COMPARISONS[type(sign)], (read(left, depth + 1), read(right, depth + 1)))
        case ast.BoolOp(op=ast.And(), values=[first, *rest]):
            others = read(rest[0] if len(rest) == 1 else ast.BoolOp(ast.And(), rest), depth + 1)
            return Node("if", (read(first, depth + 1), others, number(0)))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return Node("if", (read(operand, depth + 1), number(0), number(1)))
        case ast.ListComp(elt=element, generators=[around]) | ast.GeneratorExp(elt=element, generators=[around]):
            return _list(element, around, depth)
        case ast.Call(func=ast.Name(id="len"), args=[value], keywords=[]):
            return Node("size", (read(value, depth + 1),), 0)
        case ast.Call(func=ast.Name(id="sum"), args=[value], keywords=[]):
            return Node("sum", (read(value, depth + 1),), ((0,), False))
        case ast.Call(func=ast.Name(id="slice"), args=[_, *_] as ends, keywords=[]):
            three = [None, *ends, None] if len(ends) == 1 else [*ends, None][:3]
            there = [end is not None and not (isinstance(end, ast.Constant) and end.value is None) for end in three]
            return Node("slice", tuple(read(end, depth + 1) for end in compress(three, there) if end), tuple(there))
        case ast.Subscript(
            slice=ast.Slice(lower=None, upper=None, step=ast.UnaryOp(ast.USub(), ast.Constant(value=1)))
        ):
            return Node("flip", (read(tree.value, depth + 1),), (0,))
        case ast.Call(func=ast.Name(id="list"), args=[ast.Call(func=ast.Name(id="reversed"), args=[value])]):
            return Node("flip", (read(value, depth + 1),), (0,))
        case ast.Subscript(value=ast.Attribute(attr="shape", value=value)):
            return Node("size", (read(value, depth + 1),), _literal(tree.slice))
        case ast.Subscript():
            pattern, numbers = places(tree.slice, depth)
            inner = read(tree.value, depth + 1)
            if pattern.count(NEW) == 1 and not numbers:
                return Node("unsqueeze", (inner,), pattern.index(NEW))
            return Node("pick", (inner, *numbers), pattern)
    raise Unsupported


def rounds(around: ast.For | ast.comprehension) -> tuple[str, ast.expr, ast.expr, bool] | None:
    """A loop's counter, its first number, the one after its last, and whether it goes backward; None for others."""
    one, zero = ast.Constant(1), ast.Constant(0)
    backward = False
    match around.target, around.iter:
        case ast.Name(id=counter), ast.Call(func=ast.Name(id="reversed"), args=[ast.Call() as numbers], keywords=[]):
            backward = True
        case ast.Name(id=counter), ast.Call() as numbers:
            pass
        case _:
            return None
    match numbers:
        case ast.Call(func=ast.Name(id="range"), args=[last], keywords=[]):
            return counter, zero, last, backward
        case ast.Call(func=ast.Name(id="range"), args=[first, last], keywords=[]):
            return counter, first, last, backward
        case ast.Call(
            func=ast.Name(id="range"), args=[last, first, ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=1))]
        ):
            return counter, ast.BinOp(first, ast.Add(), one), ast.BinOp(last, ast.Add(), one), not backward
    return None


def _list(element: ast.expr, around: ast.comprehension, depth: int) -> Node:
    """`[… for t in range(T)]`: the elements stacked."""
    found = rounds(around)
    if found is None or around.ifs:
        raise Unsupported
    counter, *ends, backward = found
    first, last = (read(end, depth + 1) for end in ends)
    if isinstance(element, ast.Constant) and element.value is None:
        return Node("elements", (last,))
    place = name(counter) - first
    if backward:
        place = last - number(1) - name(counter)
    return Node("loop", (Node("elements", (last - first,)), first, last, read(element, depth + 1), place),
                Loop(counter, "", "set", (AT,)))  # fmt: skip


def _call(tree: ast.Call, function: ast.Attribute, depth: int) -> Node:
    """`x.sum(0, keepdim=True)` and `torch.sum(x, 0, keepdim=True)` alike."""
    arguments = list(tree.args)
    if not (isinstance(function.value, ast.Name) and function.value.id in ("torch", "F")):
        arguments.insert(0, function.value)
    options = {keyword.arg: keyword.value for keyword in tree.keywords}
    attr = function.attr
    if attr in ("zeros", "ones", "full"):
        fill = read(arguments.pop(), depth + 1) if attr == "full" and arguments else number(float(attr == "ones"))
        return Node("filled", (fill, *(read(size, depth + 1) for size in _sizes(arguments))))
    if attr in ("cat", "concat") and arguments and isinstance(arguments[0], ast.List | ast.Tuple):
        dim = arguments[1] if len(arguments) > 1 else options.get("dim", ast.Constant(0))
        return Node("cat", tuple(read(part, depth + 1) for part in arguments[0].elts), _literal(dim))
    if attr == "stack" and len(arguments) == 1 and not options:
        return read(arguments[0], depth + 1)
    op = SPELLED.get(attr)
    if attr == "einsum" and arguments and isinstance(arguments[0], ast.Constant):
        equation = str(arguments[0].value)
        if EQUATION.fullmatch(equation.replace(" ", "")):
            return Node("einsum", tuple(read(argument, depth + 1) for argument in arguments[1:]), equation)
    if op is None or not arguments:
        raise Unsupported
    if op in ("sum", "mean"):
        return Node(op, (read(arguments[0], depth + 1),), _dims_of(arguments[1:], options))
    if set(options).difference(OPERATIONS[op].keywords):
        raise Unsupported
    return _taken(op, [*arguments, *options.values()], depth)


def _taken(op: str, arguments: list[ast.expr], depth: int) -> Node:
    """A call whose arguments are as the table has them."""
    takes = OPERATIONS[op].takes
    if (
        op == "reshape"
        and len(arguments) == 2
        and isinstance(arguments[1], ast.Attribute)
        and arguments[1].attr == "shape"
    ):
        op, takes, arguments = "like", "xx", [arguments[0], arguments[1].value]
    several = takes.endswith("*")
    if several:
        arguments = [arguments[0], *_sizes(arguments[1:])]
        takes = "x" + takes[1] * (len(arguments) - 1)
    if len(takes) != len(arguments):
        raise Unsupported
    found = list(zip(takes, arguments, strict=True))
    literals = tuple(_literal(argument) for kind, argument in found if kind == "i")
    value = literals if len(literals) > 1 or several else literals[0] if literals else None
    return Node(op, tuple(read(argument, depth + 1) for kind, argument in found if kind == "x"), value)


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


def places(tree: ast.expr, depth: int = 0) -> tuple[Pattern, list[Node]]:
    """What stands in the brackets of `x[…]`: the pattern, and the numbers in it.

    Raises:
        Unsupported: it holds something that is not understood.
    """
    pattern: list[str | tuple[bool, bool, bool]] = []
    numbers: list[Node] = []
    for item in tree.elts if isinstance(tree, ast.Tuple) else [tree]:
        if isinstance(item, ast.Slice):
            ends = (item.lower, item.upper, item.step)
            numbers += [read(end, depth + 1) for end in ends if end is not None]
            pattern.append((ends[0] is not None, ends[1] is not None, ends[2] is not None) if any(ends) else ALL)
        elif isinstance(item, ast.Constant) and item.value is None:
            pattern.append(NEW)
        else:
            numbers.append(read(item, depth + 1))
            pattern.append(AT)
    return tuple(pattern), numbers
