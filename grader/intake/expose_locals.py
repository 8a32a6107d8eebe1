"""Gradients that a student's function keeps to itself: they are made names of the notebook, so that they can be read.

`def backward(): …` with all gradients in it and a `cmp` for each is a whole answer, though nothing leaves the function.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from grader.notebook.code import Code


def with_shared(code: Code, names: Iterable[str]) -> Code:
    """The code with `global` in its functions for those of `names` that are local there; every line where it was."""
    lines = [line.encode() for line in code.source.split("\n")]
    for function in (node for node in code.tree.body if isinstance(node, ast.FunctionDef)):
        shared = sorted(set(names) & _local(function))
        first = _first_simple(function, shared) if shared else None
        if first is not None:
            line = lines[first.lineno - 1]
            declared = f"global {', '.join(shared)}; ".encode()
            lines[first.lineno - 1] = line[: first.col_offset] + declared + line[first.col_offset :]
    source = b"\n".join(lines).decode()
    return Code(source) if source != code.source else code


def _local(function: ast.FunctionDef) -> set[str]:
    """The names that a function binds for itself: no arguments, and nothing of the functions inside of it."""
    found: set[str] = set()
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        if isinstance(
            node, ast.Nonlocal | ast.Global | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
        ):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        todo += ast.iter_child_nodes(node)
    taken = {each.arg for each in ast.walk(function.args) if isinstance(each, ast.arg)}
    taken |= {name for each in ast.walk(function) if isinstance(each, ast.Global | ast.Nonlocal) for name in each.names}
    return found - taken


def _first_simple(function: ast.FunctionDef, names: Iterable[str]) -> ast.stmt | None:
    """The first simple statement in a function, where none of the names is used before it."""
    node: ast.stmt = function.body[0]
    while isinstance(node, ast.For | ast.While | ast.If | ast.With | ast.Try):
        heads = [each for each in ast.iter_child_nodes(node) if not isinstance(each, ast.stmt | ast.ExceptHandler)]
        if any(isinstance(each, ast.Name) and each.id in names for head in heads for each in ast.walk(head)):
            return None
        node = node.body[0]
    return None if hasattr(node, "body") or isinstance(node, ast.Match) else node
