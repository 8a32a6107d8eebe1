"""From the syntax tree of a student's line to a formula: only what stands here is understood."""

from __future__ import annotations

import ast
import math

from grader.diagnosis.formula.expression import Node, name, number
from grader.diagnosis.formula.operations import ALL, AT, EQUATION, NEW, UNARY, Pattern, Unsupported

MAX_DEPTH = 40

OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Pow: "pow", ast.MatMult: "matmul",
}  # fmt: skip
_METHODS = {
    "add": "add", "sub": "sub", "mul": "mul", "div": "div", "pow": "pow", "matmul": "matmul", "mm": "matmul",
    "exp": "exp", "log": "log", "tanh": "tanh", "sigmoid": "sigmoid", "erf": "erf",
    "sqrt": "sqrt", "square": "square", "neg": "neg", "t": "transpose",
    "reciprocal": "reciprocal", "clone": "same", "detach": "same", "contiguous": "same",
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
    if isinstance(tree, ast.BinOp) and type(tree.op) in OPERATORS:
        return Node(OPERATORS[type(tree.op)], (read(tree.left, depth + 1), read(tree.right, depth + 1)))
    if isinstance(tree, ast.Attribute) and tree.attr == "mT":
        return Node("swap", (read(tree.value, depth + 1),), (-2, -1))
    if isinstance(tree, ast.Attribute) and tree.attr == "pi" and _is_module(tree.value, "math", "torch"):
        return number(math.pi)
    if isinstance(tree, ast.Attribute) and tree.attr in ("T", "data"):
        return Node("same" if tree.attr == "data" else "transpose", (read(tree.value, depth + 1),))
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Attribute):
        return _call(tree, tree.func, depth)
    if isinstance(tree, ast.Subscript) or (isinstance(tree, ast.Attribute) and tree.attr == "indices"):
        return _picked(tree, depth)
    raise Unsupported


def _call(tree: ast.Call, function: ast.Attribute, depth: int) -> Node:
    """`x.sum(0, keepdim=True)` and `torch.sum(x, 0, keepdim=True)` alike."""
    arguments = list(tree.args)
    if not _is_module(function.value, *_MODULES):
        arguments = [function.value, *arguments]
    options = {keyword.arg: keyword.value for keyword in tree.keywords}
    attr = function.attr
    if attr in ("zeros", "ones", "full"):
        return _new(attr, arguments, depth)
    if attr == "einsum":
        return _einsum(arguments, depth)
    if not arguments:
        raise Unsupported
    inner = read(arguments[0], depth + 1)
    rest = arguments[1:]
    if attr in _REDUCTIONS:
        return Node(attr, (inner,), _dims_of(rest, options))
    if attr == "flatten" and len(rest) <= 2 and not options:
        return Node("flatten", (inner,), tuple(_literal(dim) for dim in rest))
    if attr == "arange" and not rest and not options:
        return Node("arange", (inner,))
    if attr == "pad" and len(rest) == 1 and not options and len(_sizes(rest)) == 2:
        return Node("pad", (inner, *(read(size, depth + 1) for size in _sizes(rest))))
    if attr in ("softmax", "argmax"):
        dim = _literal(rest[0] if rest else options.pop("dim", None))
        return Node(attr, (inner,), dim)
    if attr in ("view", "reshape", "expand"):
        sizes = _sizes(rest)
        if len(sizes) == 1 and isinstance(sizes[0], ast.Attribute) and sizes[0].attr == "shape":
            return Node("like" if attr != "expand" else _no(), (inner, read(sizes[0].value, depth + 1)))
        return Node("expand" if attr == "expand" else "reshape", (inner, *(read(size, depth + 1) for size in sizes)))
    if attr in ("transpose", "swapaxes") and len(rest) == 2 and not options:
        return Node("swap", (inner,), (_literal(rest[0]), _literal(rest[1])))
    if attr == "permute" and not options:
        return Node("permute", (inner,), tuple(_literal(dim) for dim in _sizes(rest)))
    if attr == "masked_fill" and len(rest) == 2 and not options:
        return Node("masked_fill", (inner, read(rest[0], depth + 1), read(rest[1], depth + 1)))
    if attr in ("index_add", "index_add_") and len(rest) == 3 and not options:
        return Node("index_add", (inner, *(read(argument, depth + 1) for argument in rest[1:])), _literal(rest[0]))
    if attr == "to" and len(rest) == 1:
        return Node("same", (inner,))  # another dtype: here everything is float64
    if attr in ("unsqueeze", "size") and len(rest) == 1:
        return Node(attr, (inner,), _literal(rest[0]))
    if attr in _METHODS and set(options) <= {"num_classes"}:
        return _known(_METHODS[attr], inner, [*rest, *options.values()], depth)
    raise Unsupported


def _einsum(arguments: list[ast.expr], depth: int) -> Node:
    equation = arguments[0].value if arguments and isinstance(arguments[0], ast.Constant) else None
    if not isinstance(equation, str) or not EQUATION.fullmatch(equation.replace(" ", "")):
        raise Unsupported
    return Node("einsum", tuple(read(argument, depth + 1) for argument in arguments[1:]), equation)


def _is_module(tree: ast.expr, *names: str) -> bool:
    return isinstance(tree, ast.Name) and tree.id in names


def _known(op: str, inner: Node, rest: list[ast.expr], depth: int) -> Node:
    wanted = 0 if op in UNARY or op == "count" else 1
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
            dim = _literal(call.args[0])
            found = Node("argmax", (read(call.func.value, depth + 1),), dim)
            kept = [*call.args[1:], *(word.value for word in call.keywords if word.arg == "keepdim")]
            return Node("unsqueeze", (found,), dim) if kept and ast.unparse(kept[0]) == "True" else found
        raise Unsupported
    if isinstance(tree.value, ast.Attribute) and tree.value.attr == "shape":
        return Node("size", (read(tree.value.value, depth + 1),), _literal(tree.slice))
    pattern, numbers = places(tree.slice, depth)
    inner = read(tree.value, depth + 1)
    if pattern.count(NEW) == 1 and not numbers:
        return Node("unsqueeze", (inner,), pattern.index(NEW))
    return Node("pick", (inner, *numbers), pattern)


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
