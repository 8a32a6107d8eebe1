"""Names of a student's own that a `cmp` says are a gradient: `cmp('h', dhidden, h)`, where nothing is called `dh`."""

from __future__ import annotations

import ast
import functools
import io
import tokenize
from collections.abc import Collection, Mapping, Sequence

from grader.notebook.code import Code
from grader.notebook.gradient_names import gradient_of
from grader.notebook.syntax import bound_by


def compared_names(sources: Sequence[str], gradients: Collection[str], known: Collection[str]) -> dict[str, str]:
    """The student's name → the gradient that it is compared as, and to which the notebook gives no other.

    Args:
        sources: the notebook's cells.
        gradients: the exercise's gradients.
        known: the names that the exercise has given.
    """
    compared = [
        (name, gradient)
        for source in sources
        if "cmp" in source
        for name, gradient in _compared_in(source)
        if gradient in gradients and name not in known and name not in gradients
    ]
    if not compared:
        return {}
    at_the_top = [node for source in sources for node in Code(source).tree.body]
    bound = {name for node in at_the_top for name in bound_by(node)}  # not in a training loop
    found: dict[str, str] = {}
    for name, gradient in compared:
        if name in bound and gradient not in bound:
            found.setdefault(name, gradient)
    meant = list(found.values())
    return {name: gradient for name, gradient in found.items() if meant.count(gradient) == 1}


@functools.lru_cache(maxsize=512)
def _compared_in(source: str) -> tuple[tuple[str, str], ...]:
    """The name and the gradient of each `cmp('h', name, h)`."""
    found: list[tuple[str, str]] = []
    for call in Code(source).nodes:
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "cmp":
            names = [one.id for one in call.args[1:] if isinstance(one, ast.Name)]
            if len(names) == 2 and len(call.args) == 3:
                found.append((names[0], gradient_of(names[1])))
    return tuple(found)


def renamed(source: str, names: Mapping[str, str]) -> str:
    """A cell with names replaced where they are names, every line where it was; as it is where it is no Python."""
    names = {name: gradient for name, gradient in names.items() if name in source}
    if not names:
        return source
    taken = {name for node in ast.walk(Code(source).tree) for name in bound_by(node)}
    names = {name: gradient for name, gradient in names.items() if gradient not in taken}
    lines = source.split("\n")
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError, ValueError):
        return source
    for token in reversed(tokens):
        row, column = token.start
        attribute = lines[row - 1][:column].rstrip().endswith(".") if row <= len(lines) else True
        if token.type == tokenize.NAME and token.string in names and not attribute:
            line = lines[row - 1]
            lines[row - 1] = line[:column] + names[token.string] + line[token.end[1] :]
    return "\n".join(lines)
