"""Calls of functions that the student has written, put down as plain statements. Nothing is run."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping, Sequence

from grader.notebook.code import Code
from grader.notebook.syntax import names_bound

MAX_CALLS = 40
"""So many are written out in a cell, those in the functions themselves included."""


def functions(cells: Sequence[Code]) -> dict[str, ast.FunctionDef]:
    """The functions that cells define and that can be written out: plain assignments, and a value returned."""
    nodes = [node for code in cells for node in code.tree.body if isinstance(node, ast.FunctionDef)]
    return {node.name: node for node in nodes if _is_plain(node)}


def _is_plain(function: ast.FunctionDef) -> bool:
    given = function.args
    if given.vararg or given.kwarg or given.kwonlyargs or given.posonlyargs or given.defaults:
        return False
    *body, last = function.body
    plain = all(isinstance(node, ast.Assign) or _is_text(node) for node in body)
    return plain and isinstance(last, ast.Return) and last.value is not None


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def written_out(code: Code, known: Mapping[str, ast.FunctionDef]) -> Code:
    """A cell with the calls of known functions written out, their own names being `function1__name`."""
    if not any(_called(node, known) for node in ast.walk(code.tree)):
        return code
    tree = copy.deepcopy(code.tree)
    _Calls(known).body_of(tree)
    return Code(ast.unparse(ast.fix_missing_locations(tree)))


def _called(node: ast.AST, known: Mapping[str, ast.FunctionDef]) -> ast.FunctionDef | None:
    return known.get(node.func.id) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None


class _Calls(ast.NodeTransformer):
    def __init__(self, known: Mapping[str, ast.FunctionDef]) -> None:
        self.known = known
        self.count = 0
        self.before: list[ast.stmt] = []

    def body_of(self, node: ast.AST) -> None:
        """Write the calls out in a body, in place; the functions' own are left alone."""
        for field in ("body", "orelse"):
            body = getattr(node, field, None)
            if isinstance(body, list) and not isinstance(node, ast.FunctionDef | ast.ClassDef):
                setattr(node, field, [new for statement in body for new in self._statement(statement)])

    def _statement(self, node: ast.stmt) -> Iterator[ast.stmt]:
        if hasattr(node, "body"):
            self.body_of(node)
            yield node
            return
        self.before = []
        new = self.visit(node)
        yield from self.before
        yield new

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        function = _called(node, self.known)
        if function is None or self.count >= MAX_CALLS:
            return node
        names = [argument.arg for argument in function.args.args]
        given = dict(zip(names, node.args, strict=False))
        given |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg in names}
        if len(given) != len(names) or len(node.args) + len(node.keywords) != len(names):
            return node
        self.count += 1
        body = copy.deepcopy(function.body)
        stored = {name for statement in body for name in names_bound(statement)}
        rename = _Rename(f"{function.name}{self.count}", {*names, *stored})
        for name, value in given.items():
            self.before.append(ast.Assign([ast.Name(rename.new(name), ast.Store())], value))
        for statement in body:
            if isinstance(statement, ast.Assign):
                made = self.visit(rename.visit(statement))  # what it calls comes before it
                self.before.append(made)
        last = body[-1]
        assert isinstance(last, ast.Return)
        assert last.value is not None
        result: ast.expr = self.visit(rename.visit(last.value))
        return result


class _Rename(ast.NodeTransformer):
    def __init__(self, prefix: str, names: set[str]) -> None:
        self.prefix = prefix
        self.names = names

    def new(self, name: str) -> str:
        """What a name of the function is called where it is written out."""
        return f"{self.prefix}__{name}"

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self.new(node.id), node.ctx) if node.id in self.names else node
