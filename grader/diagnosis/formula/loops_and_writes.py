"""A student's statements as they follow each other, and what each does to a name. Nothing is run."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from grader.diagnosis.formula.counted_loops import counted
from grader.diagnosis.formula.operations import SPELLED
from grader.diagnosis.formula.reader import OPERATORS, rounds
from grader.notebook.code import Code
from grader.notebook.syntax import bound_by, names_read


class Round(NamedTuple):
    """`for counter in range(first, last)`, or backward; no counter, and one round, for what stands in no loop."""

    counter: str
    first: ast.expr
    last: ast.expr
    backward: bool


ONCE = Round("", ast.Constant(0), ast.Constant(1), False)


class Binding(NamedTuple):
    """What a statement does to a name.

    Attributes:
        name: the name.
        value: the expression bound to it or written into it; None where the statement is not understood.
        how: the operation of `+=` and its like; `set` for `=`, `append` for a list's next element.
        places: what stands in the brackets of `name[…] = value`; None where there are none.
        column: the index, where one element of each row is written to.
        loop: the loop that it stands in, where it does something else in every round.
    """

    name: str
    value: ast.expr | None
    how: str = "set"
    places: ast.expr | None = None
    column: ast.expr | None = None
    loop: Round = ONCE


def bindings(cells: Sequence[Code]) -> Iterator[Binding]:
    """Every binding of a name, in order."""
    for code in cells:
        around, anew = None, set[str]()
        for node, loop in _straight(counted(code.tree).body, ONCE):
            if loop is not around:
                around, anew = loop, set()
            for binding in _bindings(node, loop):
                carried = binding.places is None and binding.loop is not ONCE and binding.name not in anew
                yield binding if carried or binding.places is not None else binding._replace(loop=ONCE)
                if not carried and binding.places is None:
                    anew.add(binding.name)


def _straight(body: Sequence[ast.stmt], loop: Round | None) -> Iterator[tuple[ast.stmt, Round | None]]:
    """The statements as they follow each other, those in a `with` taken out of it; of a loop, one round.

    With each comes the loop that it stands in: `ONCE` for none, None for one that is not understood.
    """
    for node in body:
        if isinstance(node, ast.With):
            yield from _straight(node.body, loop)
        elif isinstance(node, ast.For):
            found = rounds(node) if loop is ONCE else None
            yield from _straight(node.body, None if found is None else Round(*found))
        elif isinstance(node, ast.If) and (sides := _sides(node)):
            for one, other in sides:
                yield _valued(one, ast.IfExp(node.test, one.value, other.value)), loop  # type: ignore[attr-defined]
        else:
            yield node, loop


def _sides(node: ast.If) -> list[tuple[ast.stmt, ast.stmt]]:
    """The statements of two branches that go together one by one; those that only add have a zero beside them."""
    body, other = node.body, node.orelse
    if not other and all(isinstance(each, ast.AugAssign) and isinstance(each.op, ast.Add | ast.Sub) for each in body):
        other = [_valued(each, ast.Constant(0)) for each in body]
    pairs = list(zip(body, other, strict=False))
    return pairs if len(body) == len(other) and all(_alike(*pair) for pair in pairs) else []


def _alike(one: ast.stmt, other: ast.stmt) -> bool:
    """Whether two statements do the same, each with a value of its own."""
    zero = ast.Constant(0)
    return _is_plain(one) and _is_plain(other) and ast.dump(_valued(one, zero)) == ast.dump(_valued(other, zero))


def _is_plain(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign | ast.AugAssign)


def _valued(node: ast.stmt, value: ast.expr) -> ast.stmt:
    new = copy.copy(node)
    new.value = value  # type: ignore[attr-defined]
    return new


def _bindings(node: ast.stmt, loop: Round | None) -> Iterator[Binding]:
    match node:
        case ast.Assign(targets=[ast.Name(id=label)], value=value):
            carried = loop is not None and label in names_read(value)
            yield Binding(label, value, loop=loop if loop is not None and carried else ONCE)
            return
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=label), attr="reverse"), args=[])):
            backward = ast.Slice(step=ast.UnaryOp(ast.USub(), ast.Constant(1)))
            yield Binding(label, ast.Subscript(ast.Name(label, ast.Load()), backward, ast.Load()))
            return
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=label), attr="append"), args=[value])) if (
            loop is not None and loop is not ONCE
        ):
            yield Binding(label, value, "append", _round_number(loop), loop=loop)
            return
        case ast.Expr(
            value=ast.Call(func=ast.Attribute(value=ast.Name(id=label), attr="insert"), args=[first, value])
        ) if loop is not None and loop is not ONCE and isinstance(first, ast.Constant) and first.value == 0:
            yield Binding(label, value, "append", _round_number(loop._replace(backward=not loop.backward)), loop=loop)
            return
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=label), attr=attr)) as value):
            if label in bound_by(node) and attr in SPELLED:
                yield from _bindings(ast.Assign([ast.Name(label, ast.Store())], value), loop)
                return
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.GeneratorExp(elt=value) | ast.ListComp(elt=value)):
            if all(isinstance(name, ast.Name) for name in names):
                yield from (Binding(name.id, value) for name in names)  # type: ignore[attr-defined]
                return
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(names) == len(values):
            if all(isinstance(name, ast.Name) for name in names):
                yield from (Binding(name.id, value) for name, value in zip(names, values, strict=True))  # type: ignore[attr-defined]
                return
        case ast.Assign(targets=[ast.Subscript(value=ast.Name())], value=ast.Constant(value=None)):
            return  # the exercise's own stub
        case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=label)) as target], value=value):
            yield from _written(Binding(label, value), target, loop)
            return
        case ast.AugAssign(target=ast.Subscript(value=ast.Name(id=label)) as target, op=ast.Add() | ast.Sub()):
            yield from _written(Binding(label, node.value, OPERATORS[type(node.op)]), target, loop)
            return
        case ast.AugAssign(target=ast.Name(id=label), op=sign, value=value) if type(sign) in OPERATORS:
            how = OPERATORS[type(sign)]
            rounds = loop if how in ("add", "sub") and loop is not None else ONCE
            yield Binding(label, value, how, loop=rounds)
            return
    for name in {word for child in ast.walk(node) for word in bound_by(child)}:
        yield Binding(name, None)


def _round_number(loop: Round) -> ast.expr:
    """How many rounds of a loop come before one, which is where a list's next element has its place."""
    counter = ast.Name(loop.counter, ast.Load())
    if loop.backward:
        return ast.BinOp(ast.BinOp(loop.last, ast.Sub(), ast.Constant(1)), ast.Sub(), counter)
    return ast.BinOp(counter, ast.Sub(), loop.first)


def _written(binding: Binding, target: ast.Subscript, loop: Round | None) -> Iterator[Binding]:
    """`x[…] = value`, in every round of a loop or once; `x[range(n), index] = value`, also as `x[i, index[i]]`."""
    column: ast.expr | None = None
    match target.slice:
        case ast.Tuple(elts=[ast.Call(func=ast.Name(id="range") | ast.Attribute(attr="arange")), index]):
            column = index
        case ast.Tuple(elts=[ast.Name(id=row), ast.Subscript(value=index, slice=ast.Name(id=same))]) if row == same:
            column = index
    if column is not None and binding.value is not None:
        value = _Whole(target.slice).visit(copy.deepcopy(binding.value))
        yield binding._replace(value=value, column=column)
    else:
        yield binding._replace(value=binding.value if loop else None, places=target.slice, loop=loop or ONCE)


class _Whole(ast.NodeTransformer):
    """Reads what stands at the very places that are written to as the whole tensor: the mask takes them out of it."""

    def __init__(self, places: ast.expr) -> None:
        self.places = ast.dump(places)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        return node.value if ast.dump(node.slice) == self.places else node
