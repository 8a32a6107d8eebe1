"""A student's statements as they follow each other, and what each does to a name. Nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from grader.diagnosis.formula.reader import OPERATORS
from grader.notebook.syntax import bound_by, parse


class Round(NamedTuple):
    """`for counter in range(first, last)`; no counter, and one round, for what stands in no loop."""

    counter: str
    first: ast.expr
    last: ast.expr


ONCE = Round("", ast.Constant(0), ast.Constant(1))


class Binding(NamedTuple):
    """What a statement does to a name.

    Attributes:
        name: the name.
        value: the expression bound to it or written into it; None where the statement is not understood.
        how: the operation of `+=` and its like; `set` for `=`.
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


def bindings(sources: Sequence[str]) -> Iterator[Binding]:
    """Every binding of a name, in order."""
    for source in sources:
        tree = parse(source)
        for node, loop in _straight(tree.body if tree is not None else [], ONCE):
            yield from _bindings(node, loop)


def _straight(body: Sequence[ast.stmt], loop: Round | None) -> Iterator[tuple[ast.stmt, Round | None]]:
    """The statements as they follow each other, those in a `with` taken out of it; of a loop, one round.

    With each comes the loop that it stands in: `ONCE` for none, None for one that is not understood.
    """
    for node in body:
        if isinstance(node, ast.With):
            yield from _straight(node.body, loop)
        elif isinstance(node, ast.For):
            yield from _straight(node.body, _round(node) if loop is ONCE else None)
        else:
            yield node, loop


def _round(node: ast.For) -> Round | None:
    match node:
        case ast.For(target=ast.Name(id=counter), iter=ast.Call(func=ast.Name(id="range"), args=[last], keywords=[])):
            return Round(counter, ast.Constant(0), last)
        case ast.For(target=ast.Name(id=counter), iter=ast.Call(func=ast.Name(id="range"), args=[a, b], keywords=[])):
            return Round(counter, a, b)
    return None


def _bindings(node: ast.stmt, loop: Round | None) -> Iterator[Binding]:
    match node:
        case ast.Assign(targets=[ast.Name(id=label)], value=value):
            yield Binding(label, value)
            return
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(names) == len(values):
            if all(isinstance(name, ast.Name) for name in names):
                yield from (Binding(name.id, value) for name, value in zip(names, values, strict=True))  # type: ignore[attr-defined]
                return
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


def _written(binding: Binding, target: ast.Subscript, loop: Round | None) -> Iterator[Binding]:
    """`x[…] = value`, in every round of a loop or once; `x[range(n), index] = value`, also as `x[i, index[i]]`."""
    column: ast.expr | None = None
    match target.slice:
        case ast.Tuple(elts=[ast.Call(func=ast.Name(id="range") | ast.Attribute(attr="arange")), index]):
            column = index
        case ast.Tuple(elts=[ast.Name(id=row), ast.Subscript(value=index, slice=ast.Name(id=same))]) if row == same:
            column = index
    if column is not None:
        yield binding._replace(column=column)
    else:
        yield binding._replace(value=binding.value if loop else None, places=target.slice, loop=loop or ONCE)
