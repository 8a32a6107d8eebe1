"""Loops over numbers, and over lists, as loops over numbers: `for x, d in zip(xs, ds)` as `for t in range(len(xs))`."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from grader.diagnosis.formula.node import Unsupported


class Over(NamedTuple):
    """What a loop goes through: the numbers from `first` up to, and not including, `last`; or backward.

    Attributes:
        counter: the student's name for the number; empty where the loop has none.
        elements: the loop's names for elements of lists → the list that each is of.
    """

    counter: str
    first: ast.expr
    last: ast.expr
    backward: bool = False
    elements: Mapping[str, ast.expr] = {}


def gone_through(target: ast.expr, over: ast.expr) -> Over | None:
    """What a loop goes through, a range or lists side by side; None for what isn't understood."""
    zero, one = ast.Constant(0), ast.Constant(1)
    match target, over:
        case _, ast.Call(func=ast.Name(id="reversed"), args=[inner]):
            found = gone_through(target, inner)
            return found and found._replace(backward=not found.backward)
        case _, ast.Call(func=ast.Name(id="list"), args=[ast.Call(func=ast.Name(id="zip" | "enumerate")) as inner]):
            return gone_through(target, inner)
        case ast.Name(id=counter), ast.Call(func=ast.Name(id="range"), args=[last]):
            return Over(counter, zero, last)
        case ast.Name(id=counter), ast.Call(func=ast.Name(id="range"), args=[first, last]):
            return Over(counter, first, last)
        case (
            ast.Name(id=counter),
            ast.Call(func=ast.Name(id="range"), args=[last, first, ast.UnaryOp(ast.USub(), ast.Constant(value=1))]),
        ):
            return Over(counter, ast.BinOp(first, ast.Add(), one), ast.BinOp(last, ast.Add(), one), backward=True)
        case ast.Tuple(elts=[ast.Name(id=counter), inner]), ast.Call(func=ast.Name(id="enumerate"), args=[over]):
            found = gone_through(inner, over)
            return found._replace(counter=counter) if found and found.elements and not found.backward else None
        case ast.Tuple(elts=names), ast.Call(func=ast.Name(id="zip"), args=lists) if len(names) == len(lists):
            pairs = [pair for each in zip(names, lists, strict=True) if (pair := gone_through(*each)) is not None]
            elements = {name: each for pair in pairs for name, each in pair.elements.items()}
            same = len(elements) == len(names) and len({pair.backward for pair in pairs}) == 1
            return pairs[0]._replace(counter="", elements=elements) if same else None
        case ast.Name(id=name), ast.Name() | ast.Subscript(value=ast.Name()):
            return Over("", zero, ast.Call(ast.Name("len", ast.Load()), [over], []), elements={name: over})
    return None


def stored_names(body: Iterable[ast.AST]) -> set[str]:
    """The names that a piece of code binds, those of comprehensions included."""
    nodes = [node for line in body for node in ast.walk(line)]
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


@dataclass
class Put(ast.NodeTransformer):
    """Names, and attributes of some objects, exchanged for what they stand for; the trees given are not changed.

    `objects`: an object's name → the layer that it is: `self.name` of it becomes `layer__name`.
    """

    names: Mapping[str, ast.expr]
    objects: Mapping[str, str] = field(default_factory=dict)

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
