"""Finding a training loop in a cell, and changing expressions in it so that every line stays where it is."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Sequence, Set
from typing import TypeGuard

from grader.notebook.code import Code
from grader.notebook.syntax import names_bound, names_read
from grader.records import Record

COUNT = "_grader_step"
"""The name that counts the steps of a loop whose own counter something else in it uses, too."""


class Edit(Record, frozen=True):
    """An expression's place (line, column, last line, last column, as `ast` counts them) and its new text."""

    place: tuple[int, int, int, int]
    text: str


class Loop:
    """A loop that trains.

    Attributes:
        node: the loop.
        tree: the cell.
        counter: the name that counts its steps, where it has one.
        recounted: whether something in it gives that name other values, a loop over rows, say.
        function: the function that it stands in, if any.
        shadowed: the parameters of the exercise that are that function's own names.
    """

    def __init__(self, node: ast.For | ast.While, tree: ast.Module, settings: set[str]) -> None:
        self.node = node
        self.tree = tree
        self.counter: ast.expr | None = node.target if isinstance(node, ast.For) else _counted(node.test)
        inside = {name for each in node.body for name in names_bound(each)}
        self.recounted = isinstance(node, ast.For) and ast.unparse(node.target) in inside
        around = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)
                  and any(inner is node for inner in ast.walk(each))]  # fmt: skip
        self.function = around[-1] if around else None
        self.shadowed = settings & _own_names(self.function) if self.function is not None else set()

    def assignments(self) -> Iterator[ast.Assign]:
        """The statements in the loop that bind one name."""
        for node in ast.walk(self.node):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                yield node

    def in_its_words(self, expression: ast.expr, counter: ast.expr | None, *, above: bool = False) -> ast.expr:
        """An expression of the release's loop for this one: with its own counter, and the exercise's parameters.

        `above` the loop nothing is counted yet, and so it is for step 0.
        """
        name = counter.id if isinstance(counter, ast.Name) else ""
        counter = ast.Name(COUNT, ast.Load()) if self.recounted else self.counter
        new = _Words(self, name, None if above else counter).visit(copy.deepcopy(expression))
        assert isinstance(new, ast.expr)
        return new

    def outside(self, name: str) -> ast.expr:
        """A name as it is outside of the loop's function."""
        if name not in self.shadowed:
            return ast.Name(name, ast.Load())
        return ast.parse(f"globals()[{name!r}]", mode="eval").body


class _Words(ast.NodeTransformer):
    def __init__(self, loop: Loop, counter: str, new: ast.expr | None) -> None:
        self.loop = loop
        self.counter = counter
        self.new = new

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id == self.counter:
            return ast.Name(self.new.id, ast.Load()) if isinstance(self.new, ast.Name) else ast.Constant(0)
        return self.loop.outside(node.id)


def find_loop(code: Code, gradients: Sequence[str], settings: set[str],
              functions: Set[str] = frozenset()) -> Loop | None:  # fmt: skip
    """The outermost loop of a cell that binds one of the gradients, or calls a function that does."""
    loops = (node for node in ast.walk(code.tree) if isinstance(node, ast.For | ast.While))
    counting = (node for node in loops if isinstance(node, ast.While) or isinstance(node.target, ast.Name))
    found = next(
        (node for node in counting if names_bound(node) & set(gradients) or names_read(node) & functions), None
    )
    return None if found is None else Loop(found, code.tree, settings)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a constant is a number; True is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _counted(test: ast.expr) -> ast.expr | None:
    return test.left if isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) else None


def _own_names(function: ast.FunctionDef) -> frozenset[str]:
    shared = {name for each in ast.walk(function) if isinstance(each, ast.Global) for name in each.names}
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return (names_bound(function) | {argument.arg for argument in arguments}) - shared


def edit(node: ast.expr, new: ast.expr) -> Edit:
    """The replacement of an expression by another."""
    place = (node.lineno, node.col_offset, node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)
    return Edit(place, ast.unparse(new))


def edited(code: Code, edits: Sequence[Edit]) -> Code:
    """The code with expressions replaced and every line where it was."""
    lines = [line.encode() for line in code.source.split("\n")]
    for each in sorted(edits, key=lambda each: each.place, reverse=True):
        first, start, last, end = each.place
        tail = lines[last - 1][end:]
        missing = b"\n" * (last - first)
        lines[first - 1] = lines[first - 1][:start] + b"(" + each.text.encode() + missing + b")" + tail
        del lines[first:last]
    return Code(b"\n".join(lines).decode()) if edits else code
