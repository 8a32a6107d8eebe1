"""Loops over lists written as loops over numbers: `for x, d in zip(xs, ds)` as `for t in range(len(xs))`.

Read from the syntax tree; nothing is run.
"""

from __future__ import annotations

import ast
import copy
from typing import NamedTuple

COUNTERS = ("t", "k", "i", "step", "place")
"""What a loop's counter is called where the student has none: the first that the cell doesn't use."""


class Elements(NamedTuple):
    """The lists that a loop goes through side by side.

    Attributes:
        counter: the student's own counter, from `enumerate`; empty where there is none.
        lists: the loop's name of an element → the list that it is of.
        backward: whether the last elements come first.
    """

    counter: str
    lists: dict[str, ast.expr]
    backward: bool = False


def counted(tree: ast.Module) -> ast.Module:
    """A cell with such loops written out; the tree that is given is shared, and not changed."""
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For | ast.comprehension)]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    free = next((name for name in COUNTERS if name not in used), None)
    if free is None or not any(_elements(loop.target, loop.iter) for loop in loops):
        return tree
    found = copy.deepcopy(tree)
    for node in reversed(list(ast.walk(found))):  # the inner ones first
        if isinstance(node, ast.For):
            node.body = _written_out(node, node.body, free)
        elif isinstance(node, ast.ListComp | ast.GeneratorExp) and len(node.generators) == 1:
            (line,) = _written_out(node.generators[0], [ast.Expr(node.elt)], free)
            node.elt = line.value  # type: ignore[attr-defined]
    return ast.fix_missing_locations(found)


def _written_out(loop: ast.For | ast.comprehension, body: list[ast.stmt], free: str) -> list[ast.stmt]:
    """The body with the elements of the lists in it, once the loop itself has been given a counter."""
    found = _elements(loop.target, loop.iter)
    written = {name for line in body for child in ast.walk(line) for name in _stored(child)}
    if found is None or written & found.lists.keys():
        return body
    counter = found.counter or free
    length = _call("range", _call("len", next(iter(found.lists.values()))))
    loop.target, loop.iter = ast.Name(counter, ast.Store()), _call("reversed", length) if found.backward else length
    place = ast.Name(counter, ast.Load())
    elements = {name: ast.Subscript(each, place, ast.Load()) for name, each in found.lists.items()}
    return [_Put(elements).visit(line) for line in body]


def _elements(target: ast.expr, over: ast.expr) -> Elements | None:
    """What a loop goes through, where that is lists; None for numbers, and for what isn't understood."""
    match target, over:
        case _, ast.Call(func=ast.Name(id="reversed"), args=[inner]):
            found = _elements(target, inner)
            return found and found._replace(backward=not found.backward)
        case _, ast.Call(func=ast.Name(id="list"), args=[ast.Call(func=ast.Name(id="zip" | "enumerate")) as inner]):
            return _elements(target, inner)
        case ast.Tuple(elts=[ast.Name(id=counter), inner]), ast.Call(func=ast.Name(id="enumerate"), args=[over]):
            found = _elements(inner, over)
            return found._replace(counter=counter) if found is not None and not found.backward else None
        case ast.Tuple(elts=names), ast.Call(func=ast.Name(id="zip"), args=lists) if len(names) == len(lists):
            pairs = [_elements(*pair) for pair in zip(names, lists, strict=True)]
            lists_of = {name: each for pair in pairs if pair is not None for name, each in pair.lists.items()}
            return Elements("", lists_of) if len(lists_of) == len(names) else None
        case ast.Name(id=name), ast.Name() | ast.Subscript(value=ast.Name()):
            return Elements("", {name: over})
    return None


def _stored(node: ast.AST) -> list[str]:
    return [node.id] if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else []


def _call(function: str, argument: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(function, ast.Load()), [argument], [])


class _Put(ast.NodeTransformer):
    def __init__(self, elements: dict[str, ast.Subscript]) -> None:
        self.elements = elements

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self.elements[node.id]) if node.id in self.elements else node
