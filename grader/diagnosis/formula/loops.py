"""Loops over numbers, and over lists, as loops over numbers: `for x, d in zip(xs, ds)` as `for t in range(len(xs))`."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from grader.diagnosis.formula.node import Unsupported


class Numbers(NamedTuple):
    """The numbers that a loop goes through: from `first` up to, and not including, `last`; or backward."""

    counter: str
    first: ast.expr
    last: ast.expr
    backward: bool = False


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


def numbers_of(loop: ast.For | ast.comprehension) -> Numbers | None:
    """What a loop over a `range` goes through; None for others."""
    one = ast.Constant(1)
    match loop.target, loop.iter:
        case _, ast.Call(func=ast.Name(id="reversed"), args=[inner], keywords=[]):
            found = numbers_of(ast.comprehension(loop.target, inner, [], 0))
            return found and found._replace(backward=not found.backward)
        case ast.Name(id=counter), ast.Call(func=ast.Name(id="range"), args=[last], keywords=[]):
            return Numbers(counter, ast.Constant(0), last)
        case ast.Name(id=counter), ast.Call(func=ast.Name(id="range"), args=[first, last], keywords=[]):
            return Numbers(counter, first, last)
        case (
            ast.Name(id=counter),
            ast.Call(func=ast.Name(id="range"), args=[last, first, ast.UnaryOp(ast.USub(), ast.Constant(value=1))]),
        ):
            return Numbers(counter, ast.BinOp(first, ast.Add(), one), ast.BinOp(last, ast.Add(), one), backward=True)
    return None


def elements_of(target: ast.expr, over: ast.expr) -> Elements | None:
    """What a loop goes through, where that is lists; None for numbers, and for what isn't understood."""
    match target, over:
        case _, ast.Call(func=ast.Name(id="reversed"), args=[inner]):
            found = elements_of(target, inner)
            return found and found._replace(backward=not found.backward)
        case _, ast.Call(func=ast.Name(id="list"), args=[ast.Call(func=ast.Name(id="zip" | "enumerate")) as inner]):
            return elements_of(target, inner)
        case ast.Tuple(elts=[ast.Name(id=counter), inner]), ast.Call(func=ast.Name(id="enumerate"), args=[over]):
            found = elements_of(inner, over)
            return found._replace(counter=counter) if found is not None and not found.backward else None
        case ast.Tuple(elts=names), ast.Call(func=ast.Name(id="zip"), args=lists) if len(names) == len(lists):
            pairs = [elements_of(*pair) for pair in zip(names, lists, strict=True)]
            lists_of = {name: each for pair in pairs if pair is not None for name, each in pair.lists.items()}
            return Elements("", lists_of) if len(lists_of) == len(names) else None
        case ast.Name(id=name), ast.Name() | ast.Subscript(value=ast.Name()):
            return Elements("", {name: over})
    return None


def stored_names(body: Iterable[ast.AST]) -> set[str]:
    """The names that a piece of code binds, those of comprehensions included."""
    nodes = [node for line in body for node in ast.walk(line)]
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


class Put(ast.NodeTransformer):
    """Names, and attributes of some objects, exchanged for what they stand for; the trees given are not changed.

    Args:
        names: name → what it stands for.
        objects: an object's name → the layer that it is: `self.name` of it becomes `layer__name`.
    """

    def __init__(self, names: Mapping[str, ast.expr], objects: Mapping[str, str]) -> None:
        self.names = names
        self.objects = objects

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """What the name stands for."""
        found = self.names.get(node.id)
        return ast.Name(found.id, node.ctx) if isinstance(found, ast.Name) else copy.deepcopy(found) or node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """The name of what an object holds."""
        if isinstance(node.value, ast.Name) and node.value.id in self.objects:
            return ast.copy_location(ast.Name(f"{self.objects[node.value.id]}__{node.attr}", node.ctx), node)
        return self.generic_visit(node)

    def into(self, tree: Any) -> Any:
        """The tree with them exchanged.

        Raises:
            Unsupported: it is too deep for that.
        """
        try:
            return self.visit(copy.deepcopy(tree))
        except RecursionError:
            raise Unsupported from None
