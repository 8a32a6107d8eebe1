"""A student's statements as they follow each other, and what each does to a name. Nothing is run."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple


class Round(NamedTuple):
    """`for counter in range(first, last)`; no counter, and one round, for what stands in no loop."""

    counter: str
    first: ast.expr | None
    last: ast.expr


class Written(NamedTuple):
    """`target[places] = value`, or with `+=` or `-=` (`how`); the whole of `target` where no places are given."""

    target: str
    places: ast.expr | None
    how: str
    value: ast.expr
    loop: Round


class Binding(NamedTuple):
    """What a statement does to a name.

    Attributes:
        name: the name.
        value: the expression bound to it or written into it; None where the statement is not understood.
        operator: that of `+=` and its like.
        column: the index, where one element of each row is written to.
        written: the places, where it is written to by slices and numbers, or in each round of a loop.
    """

    name: str
    value: ast.expr | None
    operator: str | None = None
    column: ast.expr | None = None
    written: Written | None = None


ONCE = Round("", None, ast.Constant(1))
HOW = {ast.Add: "add", ast.Sub: "sub"}


def steps(body: Sequence[ast.stmt]) -> Iterator[tuple[ast.stmt, Round | None]]:
    """The statements as they follow each other, those in a `with` taken out of it; of a loop, one round.

    With each comes the loop that it stands in: `ONCE` for none, None for one that is not understood. A name that is
    bound to `slice(…)` is written out where it stands in brackets.
    """
    slices: dict[str, ast.Slice] = {}
    for node, around in _straight(body, ONCE):
        made = _slice(node)
        if made is not None:
            slices[made[0]] = made[1]
        yield (_Slices(slices).visit(copy.deepcopy(node)) if slices and made is None else node), around


def _straight(body: Sequence[ast.stmt], loop: Round | None) -> Iterator[tuple[ast.stmt, Round | None]]:
    for node in body:
        if isinstance(node, ast.With):
            yield from _straight(node.body, loop)
        elif isinstance(node, ast.For):
            yield from _straight(node.body, _round(node) if loop is ONCE else None)
        else:
            yield node, loop


def _round(node: ast.For) -> Round | None:
    call = node.iter
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "range"):
        return None
    if not isinstance(node.target, ast.Name) or call.keywords or not 1 <= len(call.args) <= 2:
        return None
    return Round(node.target.id, call.args[0] if len(call.args) == 2 else None, call.args[-1])


def write_of(node: ast.stmt, loop: Round | None) -> Written | None:
    """What a statement writes into a name by slices and numbers, or adds to it in a loop; None for any other."""
    if loop is None or not isinstance(node, ast.Assign | ast.AugAssign):
        return None
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    how = "set" if isinstance(node, ast.Assign) else HOW.get(type(node.op))
    if how is None or (isinstance(node, ast.Assign) and len(node.targets) > 1):
        return None
    if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
        return Written(target.value.id, target.slice, how, node.value, loop)
    if isinstance(target, ast.Name) and how != "set" and loop is not ONCE:
        return Written(target.id, None, how, node.value, loop)
    return None


def _slice(node: ast.stmt) -> tuple[str, ast.Slice] | None:
    """The name and the slice of `places = slice(first, last, step)`."""
    if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
        return None
    call = node.value
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "slice"):
        return None
    if call.keywords or not 1 <= len(call.args) <= 3:
        return None
    ends = [None, *call.args] if len(call.args) == 1 else list(call.args)
    ends = [None if isinstance(end, ast.Constant) and end.value is None else end for end in ends]
    lower, upper, step = [*ends, None][:3]
    return node.targets[0].id, ast.Slice(lower, upper, step)


class _Slices(ast.NodeTransformer):
    """Names of slices, in brackets, exchanged for what they are bound to."""

    def __init__(self, slices: Mapping[str, ast.Slice]) -> None:
        self.slices = slices

    def visit_Subscript(self, node: ast.Subscript) -> ast.Subscript:
        self.generic_visit(node)
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        for place, item in enumerate(items):
            if isinstance(item, ast.Name) and item.id in self.slices:
                items[place] = self.slices[item.id]
        node.slice = node.slice if isinstance(node.slice, ast.Tuple) else items[0]
        return node
