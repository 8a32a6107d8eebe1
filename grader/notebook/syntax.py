"""From a cell's source to its syntax tree, and what a node of it binds and reads. Nothing is run."""

from __future__ import annotations

import ast
import functools
import re
import threading
import warnings
from collections.abc import Callable

_MAGIC = re.compile(r"^\s*[%!?]|^\s*[\w.]+\?\??\s*$")
"""Magics, shell lines, and questions (`F.one_hot?`) that IPython answers."""
_GETTING_MAGIC = re.compile(r"^(\s*)([\w ,]+=\s*)[%!].*$")
"""`files = !ls`: the name is assigned all the same."""


_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|$)")
"""As Python's own tokenizer has lines: no line ends at a form feed."""


_parsing = threading.Lock()
REMEMBERED = 20_000
"""The trees of cells of up to so many letters are kept: intake fits the same cells to several exercises."""


def parse(source: str) -> ast.Module | None:
    """The syntax tree of a cell, with magics and shell lines blanked out; None for a syntax error.

    A line such as `% n` may also be the middle of an expression, so plain Python is tried first. The tree is shared by
    all who ask for this source: it is read, and never changed.
    """
    tree = parse_plain(source)
    if tree is None:
        tree = parse_plain(_without_magics(source))
    return tree


def parse_plain(source: str) -> ast.Module | None:
    """The syntax tree of a source that is all Python; None for any other."""
    try:
        return _parsed(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def syntax_error(source: str) -> SyntaxError | None:
    """The first syntax error of a cell, magics and shell lines blanked out; None where the parser names none."""
    try:
        return compile_error(_parsed(_without_magics(source)))
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError):
        return None


def compile_error(tree: ast.Module) -> SyntaxError | None:
    """What the compiler refuses of a tree that the parser made: a `return` outside of functions, an argument twice."""
    try:
        with _parsing, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(tree, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError):
        return None  # as deep as that it may still be run
    return None


def _parsed(source: str) -> ast.Module:
    return _remembered(source) if len(source) <= REMEMBERED else _parsed_anew(source)


def _parsed_anew(source: str) -> ast.Module:
    # One at a time: catch_warnings is the process's, and CPython 3.11 counts all threads' depths as one.
    with _parsing, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a student's `"\\d"` is no concern of ours
        return ast.parse(source)


_remembered = functools.lru_cache(maxsize=256)(_parsed_anew)


def _without_magics(source: str) -> str:
    return "\n".join(_without_magic(line) for line in source.split("\n"))


def _without_magic(line: str) -> str:
    if match := _GETTING_MAGIC.match(line):
        return f"{match[1]}{match[2]}None"
    if _MAGIC.match(line):
        indent = line[: len(line) - len(line.lstrip())]
        return f"{indent}pass"
    return line


def segments(source: str) -> Callable[[ast.stmt | ast.expr], str]:
    """What gives the text of a node. `ast.get_source_segment` takes the whole source apart for each."""
    rows: list[bytes] = [row.encode("utf-8", "replace") for row in _LINE.findall(source)]

    def segment(node: ast.stmt | ast.expr) -> str:
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        if first == last:
            return rows[first][node.col_offset : node.end_col_offset].decode()
        found = rows[first : last + 1]
        found[-1] = found[-1][: node.end_col_offset]
        found[0] = found[0][node.col_offset :]
        return b"".join(found).decode()

    return segment


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The names that an import binds."""
    return [alias.asname or alias.name.split(".")[0] for alias in node.names]


def names_read(tree: ast.AST) -> frozenset[str]:
    """The names that are read in a piece of code."""
    return frozenset(
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    )


_BINDING = (ast.stmt, ast.NamedExpr, ast.ExceptHandler, ast.pattern)
"""Of expressions, only one binds names."""


def names_bound(tree: ast.AST) -> frozenset[str]:
    """The names that are bound in a piece of code; those that are only written into are not."""
    binding = (node for node in ast.walk(tree) if isinstance(node, _BINDING))
    bound = [name for node in binding for name in bound_and_written(node)[0]]
    if isinstance(tree, ast.expr) and isinstance(getattr(tree, "ctx", None), ast.Store):  # a target, by itself
        _sort_target(tree, bound, [])
    return frozenset(bound)


def bound_by(node: ast.AST) -> list[str]:
    """The names that this very node binds, writes into or deletes, whatever stands inside of it.

    A comprehension's names are its own; those of functions and classes are bound where they are defined.
    """
    bound, written = bound_and_written(node)
    return [*bound, *written]


def bound_and_written(node: ast.AST) -> tuple[list[str], list[str]]:
    """The names that this very node binds, and those that it only writes into: `dC[i] = …`, `dC.add_(…)`."""
    targets: list[ast.expr] = []
    match node:
        case ast.Assign() | ast.Delete():
            targets = node.targets
        case ast.AnnAssign(value=None):
            pass
        case ast.AugAssign() | ast.AnnAssign() | ast.NamedExpr() | ast.For() | ast.AsyncFor():
            targets = [node.target]
        case ast.With() | ast.AsyncWith():
            targets = [item.optional_vars for item in node.items if item.optional_vars is not None]
        case ast.Import() | ast.ImportFrom():
            return imported(node), []
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [node.name], []
        case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar():
            return [node.name] if node.name else [], []
        case ast.MatchMapping():
            return [node.rest] if node.rest else [], []
        case ast.Call() as call:
            return [], _written_by_call(call)
        case ast.Expr(value=ast.Call() as call):
            return [], _written_by_call(call)
    bound: list[str] = []
    written: list[str] = []
    for target in targets:
        _sort_target(target, bound, written)
    return bound, written


def _sort_target(target: ast.expr, bound: list[str], written: list[str]) -> None:
    if isinstance(target, ast.Name):
        bound.append(target.id)
    elif isinstance(target, ast.Tuple | ast.List):
        for element in target.elts:
            _sort_target(element, bound, written)
    elif isinstance(target, ast.Starred):
        _sort_target(target.value, bound, written)
    elif isinstance(target, ast.Subscript | ast.Attribute):
        _sort_target(target.value, written, written)


def elements_bound(node: ast.AST) -> list[ast.Subscript]:
    """The elements of names that this very statement binds or writes: `dh[t]`."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
    inside = [child for target in targets for child in ast.walk(target)]
    return [child for child in inside if isinstance(child, ast.Subscript) and isinstance(child.value, ast.Name)]


def _written_by_call(call: ast.Call) -> list[str]:
    """What a call writes into: torch's methods that end in an underscore work in place, and `out=dC` is filled."""
    function = call.func
    written: list[str] = []
    if isinstance(function, ast.Attribute) and function.attr.endswith("_") and not function.attr.endswith("__"):
        _sort_target(function.value, written, written)
    for keyword in call.keywords:
        if keyword.arg == "out":
            _sort_target(keyword.value, written, written)
    return written
