"""The formula behind a gradient, put together from the student's statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

from torch import Tensor

from grader.diagnosis.case_view import Scene
from grader.diagnosis.formula.expression import Loop, Node, Unsupported, Value, number, use
from grader.diagnosis.formula.loops_and_writes import Binding, Written, steps, write_of
from grader.diagnosis.formula.reader import OPERATORS, places, read
from grader.notebook.syntax import parse

MAX_NODES = 160


def formula(gradient: str, sources: Sequence[str], leaves: frozenset[str]) -> Node | None:
    """What a gradient is computed by, with the student's own intermediate names written out.

    Args:
        gradient: the name, `dX`.
        sources: the cells, in order.
        leaves: the names that stand for themselves: the forward pass's, and the exported gradients'.

    Returns:
        The formula of the last statement that binds the name (with what an earlier one had put there, for `+=`), or
        None where it is made otherwise: in a loop, by writing to an index, by a function that is not understood.
    """
    return formulas(sources, leaves).get(gradient)


def formulas(sources: Sequence[str], leaves: frozenset[str]) -> dict[str, Node]:
    """What every name that the cells bind is computed by in the end, where it is understood; arguments as above."""
    found = dict(_versions(sources, leaves))
    return {name: node for name, node in found.items() if node is not None and len(parts(node)) <= MAX_NODES}


def versions(sources: Sequence[str], leaves: frozenset[str]) -> Iterator[tuple[str, Node]]:
    """The same for every statement, in order: what a name is computed by then, though it be bound again later."""
    for name, node in _versions(sources, leaves):
        if node is not None and len(parts(node)) <= MAX_NODES:
            yield name, node


def _versions(sources: Sequence[str], leaves: frozenset[str]) -> Iterator[tuple[str, Node | None]]:
    known: dict[str, Node | None] = {}
    for target, tree, operator, picked, written in _bindings(sources):
        try:
            node = _written_out(read(tree), target, known, leaves) if tree is not None else None
            before = known.get(target)
            if written is not None and node is not None:
                node = _looped(before, written, node, target, known, leaves)
            elif picked is not None and node is not None:
                node = _picked(before, read(picked), node, operator)
            elif operator is not None and node is not None:
                node = Node(operator, (before, node)) if before is not None else None
        except Unsupported:
            node = None
        known[target] = node
        yield target, node


def _looped(before: Node | None, written: Written, value: Node, target: str, known: Mapping[str, Node | None],
            leaves: frozenset[str]) -> Node | None:  # fmt: skip
    """`x[…] = value` and `x[…] += value`, in every round of a loop or once."""
    if before is None:
        return None
    pattern, numbers = (None, []) if written.places is None else places(written.places)
    rounds = [read(end) if end is not None else number(0) for end in (written.loop.first, written.loop.last)]
    given = [_written_out(node, target, known, leaves) for node in (*rounds, *numbers)]
    loop = Loop(written.loop.counter, target, written.how, pattern)
    return Node("loop", (before, *given[:2], value, *given[2:]), loop)


def _picked(before: Node | None, index: Node, value: Node, operator: str | None) -> Node | None:
    """`x[range(n), index] = value`, or with `-=`: one element of each row, written as a mask."""
    if before is None:
        return None
    mask = Node("mask", (before, index))
    if operator is None:
        if before.op == "zeros_like" or (before.op == "filled" and before.args[0].value == 0):
            return Node("mul", (mask, value))
        rest = Node("sub", (before, Node("mul", (mask, before))))
        return Node("add", (rest, Node("mul", (mask, value))))
    return Node(operator, (before, Node("mul", (mask, value)))) if operator in ("add", "sub") else None


def _bindings(sources: Sequence[str]) -> Iterator[Binding]:
    """Every binding of a name, in order."""
    for source in sources:
        tree = parse(source)
        for node, loop in steps(tree.body if tree is not None else []):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                yield Binding(node.targets[0].id, node.value)
            elif (pairs := _pairs(node)) is not None:
                yield from (Binding(name.id, value) for name, value in pairs)
            elif (column := _one_a_row(node)) is not None:
                yield column
            elif (written := write_of(node, loop)) is not None:
                yield Binding(written.target, written.value, written=written)
            elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                operator = OPERATORS.get(type(node.op))
                yield Binding(node.target.id, node.value if operator else None, operator)
            else:
                for name in _touched(node):
                    yield Binding(name, None)


def _pairs(node: ast.stmt) -> list[tuple[ast.Name, ast.expr]] | None:
    """The names and values of `a, b = c, d`."""
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return None
    target, value = node.targets[0], node.value
    if not isinstance(target, ast.Tuple) or not isinstance(value, ast.Tuple) or len(target.elts) != len(value.elts):
        return None
    names = [name for name in target.elts if isinstance(name, ast.Name)]
    return list(zip(names, value.elts, strict=True)) if len(names) == len(value.elts) else None


def _one_a_row(node: ast.stmt) -> Binding | None:
    """`x[range(n), index] = value`, or a loop's `x[i, index[i]] = value`; also with `+=` and `-=`."""
    if not isinstance(node, ast.Assign | ast.AugAssign):
        return None
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    if not isinstance(target, ast.Subscript):
        return None
    pair = target.slice.elts if isinstance(target.slice, ast.Tuple) else []
    if len(pair) != 2 or not isinstance(target.value, ast.Name):
        return None
    index = _index_of_each_row(pair[0], pair[1])
    if index is None:
        return None
    operator = OPERATORS.get(type(node.op)) if isinstance(node, ast.AugAssign) else None
    if isinstance(node, ast.AugAssign) and operator not in ("add", "sub"):
        return None
    return Binding(target.value.id, node.value, operator, index)


def _index_of_each_row(row: ast.expr, column: ast.expr) -> ast.expr | None:
    """The index in `[range(n), index]`, and in a loop's `[i, index[i]]`."""
    if isinstance(row, ast.Call):
        counter = row.func.id if isinstance(row.func, ast.Name) else getattr(row.func, "attr", "")
        return column if counter in ("range", "arange") else None
    same = isinstance(column, ast.Subscript) and isinstance(row, ast.Name) and getattr(column.slice, "id", "") == row.id
    return column.value if isinstance(column, ast.Subscript) and same else None


def _touched(node: ast.stmt) -> set[str]:
    """The names that a statement of another kind may bind or write into."""
    names = set()
    for child in ast.walk(node):
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            names.add(child.id)
        elif isinstance(child, ast.Subscript | ast.Attribute) and isinstance(child.value, ast.Name):
            in_place = isinstance(child, ast.Attribute) and child.attr.endswith("_")
            if in_place or isinstance(child.ctx, ast.Store):
                names.add(child.value.id)
    return names


def _written_out(node: Node, target: str, known: Mapping[str, Node | None], leaves: frozenset[str]) -> Node:
    if node.op == "name":
        if node.value in leaves and node.value != target:
            return node
        if node.value not in known:
            return node
        found = known[node.value]
        if found is None:
            raise Unsupported
        return use(node.value, found)
    arguments = tuple(_written_out(argument, target, known, leaves) for argument in node.args)
    return node if not arguments else Node(node.op, arguments, node.value)


def parts(node: Node) -> list[Node]:
    """All parts of a formula, itself first, each once; no more of them than one too many."""
    found: dict[Node, None] = {}
    pending = [node]
    while pending and len(found) <= MAX_NODES:
        part = pending.pop()
        if part not in found:
            found[part] = None
            pending.extend(reversed(part.args))
    return list(found)


def exchanged(node: Node, old: Node, new: Node) -> Node:
    """The formula with one of its parts exchanged, wherever it occurs."""
    return _exchanged(node, {old: new})


def _exchanged(node: Node, done: dict[Node, Node]) -> Node:
    if node not in done:
        arguments = tuple(_exchanged(argument, done) for argument in node.args)
        same = all(a is b for a, b in zip(arguments, node.args, strict=True))
        done[node] = node if same else Node(node.op, arguments, node.value)
    return done[node]


def meanings(scene: Scene) -> dict[str, Value]:
    """What names stand for in one case: numbers, tensors of the forward pass, the student's gradients."""
    given = {name: found.number if found.tensor is None else found.tensor for name, found in scene.exported.items()}
    sent = {name: tensor for name, tensor in given.items() if name[1:] in scene.forward and tensor is not None}
    return {**scene.reference.constants, **scene.forward, **{k: v.to(scene.student.dtype) for k, v in sent.items()}}


def changed_values(scene: Scene) -> dict[str, Tensor]:
    """What the exercise has given that the student's cells bound or wrote anew, with the new values."""
    given = {name: found.number if found.tensor is None else found.tensor for name, found in scene.exported.items()}
    return {
        name: value.to(scene.student.dtype)
        for name, value in given.items()
        if (name in scene.forward or name in scene.reference.constants) and value is not None
    }


def leaf_names(scenes: Sequence[Scene], gradient: str) -> frozenset[str]:
    """The names that have a value in every case, the gradient itself left out."""
    common = reduce(frozenset.intersection, [frozenset(meanings(scene)) for scene in scenes])
    return common - {gradient}


def is_tensor(value: Value | None) -> bool:
    """Whether a name stands for a tensor."""
    return isinstance(value, Tensor)
