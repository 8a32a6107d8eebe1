"""What a cell's source says, read from its syntax tree and never by running it."""

from __future__ import annotations

import ast
import functools
import re
import threading
import warnings
from collections.abc import Callable

from grader.records import Record

_MAGIC = re.compile(r"^\s*[%!?]|^\s*[\w.]+\?\??\s*$")
"""Magics, shell lines, and questions (`F.one_hot?`) that IPython answers."""
_GETTING_MAGIC = re.compile(r"^(\s*)([\w ,]+=\s*)[%!].*$")
"""`files = !ls`: the name is assigned all the same."""


_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|$)")
"""As Python's own tokenizer has lines: no line ends at a form feed."""


class Statement(Record, frozen=True):
    """A statement that binds names: which, what it reads, and the lines (1-based, both included) it stands on."""

    names: tuple[str, ...]
    reads: frozenset[str]
    first: int
    last: int


_parsing = threading.Lock()
REMEMBERED = 20_000
"""The trees of cells of up to so many letters are kept: every stage reads the same cells."""


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


def assigned_names(source: str) -> list[str]:
    """The names that a cell assigns or writes into, in the order in which it first does."""
    return list(dict.fromkeys(name for statement in statements(source) for name in statement.names))


def defined_names(source: str) -> list[str]:
    """The classes and functions that a cell defines."""
    tree = parse(source)
    kinds = ast.ClassDef | ast.FunctionDef
    return [node.name for node in tree.body if isinstance(node, kinds)] if tree is not None else []


def loop_variables(source: str) -> set[str]:
    """The names that the `for` loops of a cell bind at their heads."""
    tree = parse(source)
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For)] if tree is not None else []
    return {name for loop in loops for name in names_bound(loop.target)}


def loaded_names(source: str) -> set[str]:
    """The names that a cell reads."""
    tree = parse(source)
    return set(names_read(tree)) if tree is not None else set()


def imported(node: ast.Import | ast.ImportFrom) -> list[str]:
    """The names that an import binds."""
    return [alias.asname or alias.name.split(".")[0] for alias in node.names]


def names_read(tree: ast.AST) -> frozenset[str]:
    """The names that are read in a piece of code."""
    return frozenset(
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    )


def names_bound(tree: ast.AST) -> frozenset[str]:
    """The names that are bound in a piece of code; those that are only written into are not."""
    bound = [name for node in ast.walk(tree) for name in _binds(node)[0]]
    if isinstance(tree, ast.expr) and isinstance(getattr(tree, "ctx", None), ast.Store):  # a target, by itself
        _sort_target(tree, bound, [])
    return frozenset(bound)


@functools.lru_cache(maxsize=256)
def statements(source: str) -> tuple[Statement, ...]:
    """Every simple statement that binds a name or writes into one (`dC[i] += …`), in the order of the source."""
    tree = parse(source)
    if tree is None:
        return ()
    found = []
    for node in ast.walk(tree):
        names = bound_by(node)
        if names and isinstance(node, _SIMPLE):
            last = node.end_lineno or node.lineno
            found.append(Statement(names=tuple(names), reads=names_read(node), first=node.lineno, last=last))
        elif isinstance(node, ast.For | ast.AsyncFor | ast.With | ast.AsyncWith) and names:  # what stands in it follows
            head = [node.iter] if isinstance(node, ast.For | ast.AsyncFor) else [i.context_expr for i in node.items]
            reads = frozenset(name for each in head for name in names_read(each))
            last = max(each.end_lineno or node.lineno for each in head)
            found.append(Statement(names=tuple(names), reads=reads, first=node.lineno, last=last))
    return tuple(sorted(found, key=lambda statement: (statement.first, statement.last)))


_SIMPLE = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.NamedExpr, ast.Call, ast.Delete)


def bound_by(node: ast.AST) -> list[str]:
    """The names that this very node binds, writes into or deletes, whatever stands inside of it.

    A comprehension's names are its own; those of functions and classes are bound where they are defined.
    """
    bound, written = _binds(node)
    return [*bound, *written]


def _binds(node: ast.AST) -> tuple[list[str], list[str]]:
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


def elements_written(source: str, name: str) -> list[ast.Subscript]:
    """The elements of one name that a cell writes, in the order of the source."""
    found = [element for node in ast.walk(parse(source) or ast.Module([], [])) for element in elements_bound(node)]
    own = [each for each in found if isinstance(each.value, ast.Name) and each.value.id == name]
    return sorted(own, key=lambda element: (element.lineno, element.col_offset))


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


def line_that_binds(source: str, name: str) -> int | None:
    """The line of the last statement of a cell that binds or writes `name`; None where there is none."""
    lines = [statement.first for statement in statements(source) if name in statement.names]
    return lines[-1] if lines else None


def first_bindings(source: str) -> list[tuple[int, str]]:
    """The lines of a cell with each name that they are the first to bind, in their order."""
    tree = parse(source)
    nodes = ast.walk(tree) if tree is not None else ()
    bound = [(getattr(node, "lineno", 1), name) for node in nodes for name in _binds(node)[0]]
    found: dict[str, int] = {}
    for line, name in sorted(bound, key=lambda one: one[0]):
        found.setdefault(name, line)
    return [(line, name) for name, line in found.items()]


def loops_around(source: str, line: int) -> list[tuple[int, int]]:
    """The first and last lines of the loops that a line stands in."""
    return [(node.lineno, node.end_lineno or node.lineno) for node in _loops_around(parse(source), line)]


def _loops_around(tree: ast.Module | None, line: int) -> list[ast.For | ast.While]:
    nodes = ast.walk(tree) if tree is not None else ()
    return [
        node
        for node in nodes
        if isinstance(node, ast.For | ast.While) and node.lineno <= line <= (node.end_lineno or 0)
    ]


def unfinished(source: str, line: int) -> list[Statement]:
    """The statements that an error in a line leaves undone, or done in part.

    They are those at it and after it, and, of a loop around it, those that write into something in every round.
    """
    loops = _loops_around(parse(source), line)
    begun = {
        (child.lineno, child.end_lineno)
        for loop in loops
        for child in ast.walk(loop)
        if isinstance(child, ast.AugAssign | ast.Expr)
        or (isinstance(child, ast.Assign) and any(isinstance(target, ast.Subscript) for target in child.targets))
    }
    return [found for found in statements(source) if found.last >= line or (found.first, found.last) in begun]


def top_level_line(source: str, line: int | None) -> int:
    """The first line of the top-level statement that `line` stands in; 0 where `line` is None or in none."""
    tree = parse(source)
    if tree is None or line is None:
        return 0
    return next((node.lineno for node in tree.body if node.lineno <= line <= (node.end_lineno or 0)), 0)


def up_to_line(source: str, line: int) -> str:
    """The top-level statements of a cell that end before `line`."""
    tree = parse(source)
    if tree is None:
        return ""
    last = max((node.end_lineno or 0 for node in tree.body if (node.end_lineno or 0) < line), default=0)
    return "\n".join(source.split("\n")[:last])
