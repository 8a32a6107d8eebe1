"""Which lines give a gradient's name to something else, when the gradient has served its purpose.

`dh = dhpreact.mean()` below `dhpreact = (1 - h**2) * dh` is a helper: nothing that is asked for is computed from it.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping

from grader.notebook.gradient_names import gradient_of
from grader.notebook.syntax import bound_by, names_read

_SCOPES = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def uses_after(trees: Mapping[int, ast.Module], gradients: Collection[str]) -> dict[int, dict[int, set[str]]]:
    """Cell → line → the gradients whose names a statement there binds anew, for no other gradient and no `cmp`.

    Before, other gradients were computed from what the name stood for, or it was compared.

    Args:
        trees: the cells in their order.
        gradients: their names.
    """
    live: set[str] = set()
    unused: dict[str, list[tuple[int, int]]] = {}
    found: dict[int, dict[int, set[str]]] = {}
    lines = [(index, node) for index, tree in trees.items() for node in _simple(tree)]
    for index, node in reversed(lines):
        names = bound_by(node)
        reads = names_read(node)
        plain = isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets)
        for name in [name for name in names if name in gradients]:
            if name in live:
                for place, line in unused.pop(name, []):
                    found.setdefault(place, {}).setdefault(line, set()).add(name)
            elif plain and name not in reads:
                unused.setdefault(name, []).append((index, node.lineno))
            else:
                unused.pop(name, None)
        serves = bool(live.intersection(names) or set(names).intersection(gradients) or _compares(node, reads))
        live -= {name for name in names if plain and name not in reads}
        live |= reads if serves else set()
    return found


def _simple(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements that hold no others, in their order."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt) and not isinstance(child, _SCOPES):
            if hasattr(child, "body"):
                yield from _simple(child)
            else:
                yield child
        elif isinstance(child, ast.ExceptHandler | ast.match_case):
            yield from _simple(child)


def _compares(node: ast.stmt, reads: Collection[str]) -> bool:
    return isinstance(node, ast.Expr | ast.Assert) and any(gradient_of(name) in reads for name in reads)
