"""Ways to make one line of a right solution wrong, each with the diagnoses that would be true of it."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

Shapes = Mapping[str, tuple[int, ...]]
"""Name → shape of the tensors that a line may read."""


class Mutant(NamedTuple):
    """One changed statement: its cell, its place in the cell and what stands there now, and what was done to it.

    `source` is the cell's source with this change alone, `names` what the statement binds.
    """

    cell: str
    place: int
    new: ast.stmt
    source: str
    names: frozenset[str]
    operator: str
    line: str


SCALE = {
    "term-factor",
    "factor-too-many",
    "constant-factor",
    "path-factor",
    "sign-flipped",
    "path-sign",
    "wrong-constant",
}
SUMS = {"sum-missing", "sum-wrong-dimension", "sum-too-many", "sum-too-early"}
PATHS = {"path-missing", "only-one-path", "overwritten"}
PIECES = {"local-derivative-missing", "upstream-missing", "factor-missing", "factor-too-many", "wrong-power"}
NAMES = {"wrong-neighbour", "another-gradient", "not-a-gradient", "used-too-early"}

ACCEPTED: dict[str, set[str]] = {
    # Of what a method adds up step by step, the sum so far has its sign flipped at every step.
    "sign": {"sign-flipped", "path-sign", "term-sign", "constant-factor"},
    "factor": SCALE | {"factor-missing"},
    # What is left of a sum may be a factor, a constant or nothing at all; of an index it is another step's.
    "dropped term": PATHS | PIECES | SCALE | {"all-zero", "term-missing", "constant-missing", "eps-missing",
                                             "row-missing", "another-function", "wrong-neighbour"},
    # What is left of a product may be a value of the forward pass, a comparison, or the derivative of another function.
    "dropped factor": PIECES | SCALE | PATHS | {"another-gradient", "not-a-gradient", "another-function", "all-zero",
                                               "two-names", "brackets", "wrong-dtype"},
    # A softmax's sum over the row dropped leaves p * (1 - p).
    "dropped sum": SUMS | {"constant-factor", "index-not-accumulated", "row-missing"},
    "wrong axis": SUMS,
    # Where it raises in an engine of one's own, what was to be handed on after that is missing.
    "transposed": {"transposed", "operand-transposed", "sum-wrong-dimension", "path-missing"},
    "identity": PIECES | NAMES | SCALE | PATHS
    | {"sum-missing", "sum-too-many", "shape-not-restored", "two-names", "all-zero"},
    "stale operand": NAMES | PIECES | {"path-missing", "all-zero"},
    "swapped operands": PIECES | SCALE
    | {"path-sign", "term-sign", "operands-swapped", "transposed", "not-finite", "wrong-operation"},
    "assignment": PATHS | {"index-not-accumulated", "places-missing", "constant-factor", "sign-flipped", "all-zero"},
    "power": PIECES | SCALE,
}  # fmt: skip
"""Operator → the codes that describe what it does; which of them depends on the line."""


def mutants(cell: str, source: str, shapes: Shapes, lines: Callable[[ast.stmt], bool]) -> Iterator[Mutant]:
    """Every mutant of one cell.

    Args:
        cell: its grade_id.
        source: its source.
        shapes: the shapes of the tensors of forward pass and solution.
        lines: which statements are the student's.
    """
    tree = ast.parse(source)
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    inner = [node for node in statements if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    inner = [child for node in inner for child in ast.walk(node) if isinstance(child, ast.stmt)]
    seen = {ast.unparse(tree)}
    for index, statement in enumerate(statements):
        if not isinstance(statement, ast.Assign | ast.AugAssign | ast.Expr) or not lines(statement):
            continue
        for operator, change in OPERATORS.items():
            for changed in change(copy.deepcopy(statement), shapes):
                mutated = copy.deepcopy(tree)
                _replace(mutated, index, changed)
                text = ast.unparse(ast.fix_missing_locations(mutated))
                if text not in seen:
                    seen.add(text)
                    # Which tensors a method makes is not written in it.
                    names = frozenset[str]() if statement in inner else frozenset(written(statement))
                    yield Mutant(cell, index, changed, text, names, operator, ast.unparse(changed))


def applied(sources: Mapping[str, str], changed: Sequence[Mutant]) -> dict[str, str]:
    """The sources with all the changes, each in a statement of its own."""
    trees = {mutant.cell: ast.parse(sources[mutant.cell]) for mutant in changed}
    for mutant in sorted(changed, key=lambda mutant: -mutant.place):
        _replace(trees[mutant.cell], mutant.place, copy.deepcopy(mutant.new))
    return {**sources, **{cell: ast.unparse(ast.fix_missing_locations(tree)) for cell, tree in trees.items()}}


def written(statement: ast.AST) -> set[str]:
    """The names that a statement binds, or writes into; the variables of comprehensions are their own."""
    names: set[str] = set()
    inner = {id(child) for node in ast.walk(statement) if isinstance(node, ast.comprehension)
             for child in ast.walk(node.target)}  # fmt: skip
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in inner:
            names.add(node.id)
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            names |= {child.id for child in ast.walk(node.value) if isinstance(child, ast.Name)}
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            function = node.value.func
            if (
                isinstance(function, ast.Attribute)
                and function.attr.endswith("_")
                and isinstance(function.value, ast.Name)
            ):
                names.add(function.value.id)
    return names


def _replace(tree: ast.Module, index: int, new: ast.stmt) -> None:
    target = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)][index]
    for node in ast.walk(tree):
        for field in ("body", "orelse"):
            block = getattr(node, field, None)
            if isinstance(block, list) and target in block:
                block[block.index(target)] = new
                return


# --- operators: a statement → changed copies of it

Statements = Iterator[ast.stmt]


def _value(statement: ast.stmt) -> ast.expr | None:
    return statement.value if isinstance(statement, ast.Assign | ast.AugAssign) else None


def _with_value(statement: ast.stmt, value: ast.expr) -> ast.stmt:
    changed = copy.deepcopy(statement)
    changed.value = value  # type: ignore[attr-defined]
    return changed


def _with_node(statement: ast.stmt, place: int, new: ast.expr) -> ast.stmt:
    """The statement with the expression at one place of `ast.walk` exchanged."""

    class Exchange(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return new if node is target else super().generic_visit(node)

    changed = copy.deepcopy(statement)
    target = list(ast.walk(changed))[place]
    result = Exchange().visit(changed)
    assert isinstance(result, ast.stmt)
    return result


def _nodes(statement: ast.stmt) -> list[tuple[int, ast.expr]]:
    """The expressions on the right-hand side, with their places in `ast.walk`."""
    value = _value(statement) if not isinstance(statement, ast.Expr) else statement.value
    if value is None:
        return []
    inside = set(map(id, ast.walk(value)))
    return [
        (place, node)
        for place, node in enumerate(ast.walk(statement))
        if id(node) in inside and isinstance(node, ast.expr)
    ]


def _expression(text: str, **parts: ast.expr) -> ast.expr:
    """An expression in which names stand for the given parts."""

    class Fill(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.AST:
            return parts.get(node.id, node)

    result = Fill().visit(ast.parse(text, mode="eval").body)
    assert isinstance(result, ast.expr)
    return result


def _is_zeros(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and "zeros" in value.func.attr


def sign(statement: ast.stmt, shapes: Shapes) -> Statements:
    """Minus the whole line."""
    value = _value(statement)
    if value is not None and not _is_zeros(value):
        yield _with_value(statement, _expression("-(A)", A=value))


def factor(statement: ast.stmt, shapes: Shapes) -> Statements:
    """A constant times the whole line."""
    value = _value(statement)
    if value is not None and not _is_zeros(value):
        for text in ("2 * (A)", "(A) / n"):
            yield _with_value(statement, _expression(text, A=value))


def dropped_term(statement: ast.stmt, shapes: Shapes) -> Statements:
    """One side of a sum or difference only."""
    for place, node in _nodes(statement):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
            yield _with_node(statement, place, node.left)
            right = node.right if isinstance(node.op, ast.Add) else ast.UnaryOp(ast.USub(), node.right)
            yield _with_node(statement, place, right)


def dropped_factor(statement: ast.stmt, shapes: Shapes) -> Statements:
    """One side of a product or quotient only."""
    for place, node in _nodes(statement):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
            yield _with_node(statement, place, node.left)
            if isinstance(node.op, ast.Mult):
                yield _with_node(statement, place, node.right)


def _is_sum(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sum"


def dropped_sum(statement: ast.stmt, shapes: Shapes) -> Statements:
    """What was summed, without the sum."""
    for place, node in _nodes(statement):
        if isinstance(node, ast.Call) and _is_sum(node):
            assert isinstance(node.func, ast.Attribute)
            is_function = isinstance(node.func.value, ast.Name) and node.func.value.id == "torch"
            yield _with_node(statement, place, node.args[0] if is_function else node.func.value)


def wrong_axis(statement: ast.stmt, shapes: Shapes) -> Statements:
    """A sum over the other dimension."""
    for place, node in _nodes(statement):
        if not isinstance(node, ast.Call) or not _is_sum(node):
            continue
        changed = copy.deepcopy(node)
        for constant in [*changed.args, *(keyword.value for keyword in changed.keywords)]:
            if isinstance(constant, ast.Constant) and type(constant.value) is int:
                constant.value = 1 - constant.value
                yield _with_node(statement, place, changed)
                break


def transposed(statement: ast.stmt, shapes: Shapes) -> Statements:
    """The result turned over, or an operand not turned over."""
    value = _value(statement)
    flat = all(len(shapes.get(name, (1, 1))) == 2 for name in written(statement))
    if value is not None and flat and not _is_zeros(value) and isinstance(statement, ast.Assign):
        yield _with_value(statement, _expression("(A).T", A=value))
    for place, node in _nodes(statement):
        if isinstance(node, ast.Attribute) and node.attr == "T":
            yield _with_node(statement, place, node.value)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            yield _with_node(statement, place, _expression("(A @ B).T", A=node.left, B=node.right))


def identity(statement: ast.stmt, shapes: Shapes) -> Statements:
    """The gradient from above, and nothing else."""
    value = _value(statement)
    own = written(statement)
    names = [node.id for _, node in _nodes(statement) if isinstance(node, ast.Name)]
    above = [name for name in dict.fromkeys(names) if name.startswith("d") and name in shapes and name not in own]
    if value is not None and isinstance(statement, ast.Assign):
        for name in above:
            yield _with_value(statement, ast.Name(name, ast.Load()))


def stale_operand(statement: ast.stmt, shapes: Shapes) -> Statements:
    """Another tensor of the same shape in place of one."""
    for place, node in _nodes(statement):
        if not isinstance(node, ast.Name) or node.id not in shapes:
            continue
        values = [name for name in shapes if not name.startswith("d") and name != node.id]
        gradients = [name for name in shapes if name.startswith("d") and name != node.id]
        own = node.id[1:] if node.id.startswith("d") else f"d{node.id}"
        alike = [name for name in (own, *values, *gradients) if shapes.get(name) == shapes[node.id]]
        for name in dict.fromkeys([*alike[:1], *alike[-1:]]):
            yield _with_node(statement, place, ast.Name(name, ast.Load()))


def swapped(statement: ast.stmt, shapes: Shapes) -> Statements:
    """The two sides of an operation that is not commutative, exchanged."""
    for place, node in _nodes(statement):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Div | ast.MatMult | ast.Pow):
            yield _with_node(statement, place, ast.BinOp(node.right, node.op, node.left))


def assignment(statement: ast.stmt, shapes: Shapes) -> Statements:
    """What should be accumulated is assigned."""
    if isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Add):
        yield ast.Assign([copy.deepcopy(statement.target)], statement.value)
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "index_add_" and len(node.args) == 3:
                _, index, values = node.args
                call = _expression("A.index_put_((B,), C)", A=node.func.value, B=index, C=values)
                yield _with_node(statement, list(ast.walk(statement)).index(node), call)
            elif any(keyword.arg == "accumulate" for keyword in node.keywords):
                yield ast.parse(ast.unparse(statement).replace("accumulate=True", "accumulate=False")).body[0]


def power(statement: ast.stmt, shapes: Shapes) -> Statements:
    """Another exponent, or none."""
    for place, node in _nodes(statement):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            yield _with_node(statement, place, node.left)
            yield _with_node(statement, place, _expression("A ** (B + 1)", A=node.left, B=node.right))


OPERATORS: dict[str, Callable[[ast.stmt, Shapes], Statements]] = {
    "sign": sign,
    "factor": factor,
    "dropped term": dropped_term,
    "dropped factor": dropped_factor,
    "dropped sum": dropped_sum,
    "wrong axis": wrong_axis,
    "transposed": transposed,
    "identity": identity,
    "stale operand": stale_operand,
    "swapped operands": swapped,
    "assignment": assignment,
    "power": power,
}
