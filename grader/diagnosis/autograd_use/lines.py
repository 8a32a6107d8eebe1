"""The lines behind a tensor: what they call, and whether that is plain arithmetic or a way to autograd's numbers.

Read from the syntax trees, backwards from the last line that binds a name, and never run. Whether a number *is*
autograd's, the detached and the scaled run tell (`flags.py`); this tells a person where to look.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch

from grader.diagnosis.autograd_use.autograd_names import (
    CODE_RUNNERS,
    FILLERS,
    NO_NUMBER_ATTRIBUTES,
    NO_NUMBERS,
    SHAPED_AFTER,
    kind_of,
)
from grader.intake.take_in import PlannedCell
from grader.notebook.syntax import bound_by, imported

Kind = Literal["engine", "formula", "hidden", "odd"]
"""`engine`: a number that autograd's engine made. `formula`: one of its formulas, called by hand. `hidden`: code that
is put together only when it runs. `odd`: anything else that isn't arithmetic on tensors."""

MAX_STATEMENTS = 2_000
"""So many statements are followed for one tensor: what is behind more of them is not read."""
_ARITHMETIC = {"torch", "F", "math", "np", "numpy", "functional"}
_TENSOR = set(dir(torch.Tensor)) - {"backward", "register_hook", "grad", "grad_fn", "_grad"}
_BY_TEXT = {"compile", "getattr", "attrgetter", "methodcaller", "__import__"}
"""Besides `CODE_RUNNERS`, what is given a name or a program as text."""
_BUILTINS = set(dir(builtins)) - _BY_TEXT - {"exec", "eval", "vars", "globals", "locals", "open"}
_COMPLEX = {"complex", "imag", "real", "view_as_real", "view_as_complex", "complex64", "complex128", "cfloat"}
_GRAD = ("grad", "_grad")
MAX_TEXT = 60


class Origin(NamedTuple):
    """Something behind a tensor, and where it stands: the cell (index) and the 1-based line in it."""

    kind: Kind
    cell: int
    line: int
    text: str


class _Line(NamedTuple):
    """A statement in the order of the notebook.

    `whole`: its names have their values from it alone. `until`: the end of the loop around it.
    """

    cell: int
    names: frozenset[str]
    nodes: tuple[ast.AST, ...]
    whole: bool
    until: int


class Lines:
    """The student's statements in what was run."""

    def __init__(self, cells: Sequence[PlannedCell]) -> None:
        self._lines: list[_Line] = []
        self._ends: dict[str, int] = {}
        self._bodies: dict[str, tuple[int, ast.AST]] = {}
        self._paths: dict[str, str] = {}
        for index, cell in enumerate(cells):
            read = cell.student or cell.role == "backward"
            self._read(cell.code.tree.body if read else [], index, sure=True)
            if cell.part is not None:
                self._ends[cell.part] = len(self._lines)

    def behind(self, part: str, name: str) -> list[Origin] | None:
        """What is behind a name at the end of a part, besides arithmetic; None where no line binds it."""
        end = self._ends.get(part, 0)
        if not any(name in line.names for line in self._lines[:end]):
            return None
        found: dict[Origin, None] = {}
        seen: set[tuple[str, int]] = set()
        pending = [(name, end)]
        while pending and len(seen) < MAX_STATEMENTS:
            wanted, at = pending.pop()
            if (wanted, at) in seen:
                continue
            seen.add((wanted, at))
            for line in self._bindings(wanted, at):
                pending += [(read, line.until) for read in self._scan(line.cell, line.nodes, found, set())]
        return list(found)

    def _bindings(self, name: str, at: int) -> Iterator[_Line]:
        """The statements before `at` that a name's value may come from, the last one first."""
        for line in reversed(self._lines[:at]):
            if name in line.names:
                yield line
                if line.whole:
                    return

    # --- reading

    def _read(self, body: Sequence[ast.stmt], cell: int, *, sure: bool) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self._bodies[node.name] = (cell, node)
                shared = {name for each in ast.walk(node) if isinstance(each, ast.Global) for name in each.names}
                self._add(cell, shared, (node,))
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            elif inner := list(_inside(node)):
                start, head = len(self._lines), _head(node)
                self._add(cell, {name for each in (node, *head) for name in bound_by(each)}, head)
                self._read(inner, cell, sure=sure and isinstance(node, ast.With | ast.AsyncWith))
                if isinstance(node, ast.For | ast.AsyncFor | ast.While):
                    end = len(self._lines)
                    self._lines[start:] = [line._replace(until=max(line.until, end)) for line in self._lines[start:]]
            else:
                names = isinstance(node, ast.Assign) and all(isinstance(each, ast.Name) for each in node.targets)
                self._add(cell, _bound(node), (node,), whole=sure and names)

    def _add(self, cell: int, names: set[str], nodes: tuple[ast.AST, ...], *, whole: bool = False) -> None:
        self._lines.append(_Line(cell, frozenset(names), nodes, whole, len(self._lines)))

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        for alias, name in zip(node.names, imported(node), strict=True):
            self._paths[name] = module + alias.name if module or alias.asname else name

    def _scan(self, cell: int, nodes: Sequence[ast.AST], found: dict[Origin, None], inside: set[str]) -> set[str]:
        """Note what some code calls; the names that it takes numbers from. Functions of the student's are gone into."""
        reads: set[str] = set()
        for node in (each for start in nodes for each in _numbers(start)):
            kind = self._kind(node)
            if kind is not None:
                found.setdefault(Origin(kind, cell, getattr(node, "lineno", 1), _text(node)))
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                reads.add(node.id)
                if node.id in self._bodies and node.id not in inside:
                    inside.add(node.id)
                    where, body = self._bodies[node.id]
                    reads |= self._scan(where, [*ast.iter_child_nodes(body)], found, inside)
        return reads

    def _kind(self, node: ast.AST) -> Kind | None:
        if isinstance(node, ast.Attribute):
            if node.attr in _GRAD:
                path = self._path(node)
                return "engine" if path is None or kind_of(path) != "plain" else None
            if node.attr == "grad_fn":
                return "formula"
            return "odd" if node.attr in _COMPLEX else None
        if isinstance(node, ast.Constant):
            if isinstance(node.value, complex):
                return "odd"
            return "engine" if isinstance(node.value, str) and node.value.split(".")[-1] in _GRAD else None
        if isinstance(node, ast.MatchClass):
            return "engine" if "grad" in node.kwd_attrs else None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
            return "odd" if self._own_calls(node.left) & self._own_calls(node.right) else None  # a difference quotient
        return self._kind_of_call(node) if isinstance(node, ast.Call) else None

    def _kind_of_call(self, node: ast.Call) -> Kind | None:
        path = self._path(node.func)
        last = (path or "").split(".")[-1]
        if path is not None and kind_of(path) in ("derivative", "engine", "optimizer"):
            return "engine"
        if path is not None and kind_of(path) == "node":
            return "formula"
        if last == "getattr" and all(isinstance(each, ast.Constant) for each in node.args[1:]):
            return None
        if last in CODE_RUNNERS or (path == last and last in _BY_TEXT):
            return "hidden"
        first = (path or "").split(".")[0]
        if first in _ARITHMETIC or (path == first and first in _BUILTINS):
            return None
        if isinstance(node.func, ast.Attribute) and first not in self._paths:
            return None if node.func.attr in _TENSOR | FILLERS else "odd"
        return None if first in self._bodies and not isinstance(self._bodies[first][1], ast.ClassDef) else "odd"

    def _own_calls(self, node: ast.AST) -> set[str]:
        """The student's functions that are called in an expression."""
        calls = (each.func for each in ast.walk(node) if isinstance(each, ast.Call))
        return {function.id for function in calls if isinstance(function, ast.Name) and function.id in self._bodies}

    def _path(self, node: ast.AST) -> str | None:
        """The dotted name that an expression is, imports written out; None where it is no such name."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        if parts and node.id not in self._paths and node.id not in _ARITHMETIC:
            return None  # a method of a value
        return ".".join([self._paths.get(node.id, node.id), *reversed(parts)])


def _inside(node: ast.stmt) -> Iterator[ast.stmt]:
    """The statements inside of one, in their order; nothing for a simple one."""
    for field in ("body", "cases", "handlers", "orelse", "finalbody"):
        for each in getattr(node, field, ()):
            yield from [each] if isinstance(each, ast.stmt) else each.body


def _head(node: ast.stmt) -> tuple[ast.AST, ...]:
    """What stands at the head of a compound statement; of a `match`, the patterns, too."""
    inner = (ast.stmt, ast.ExceptHandler, ast.match_case)
    patterns = [part for case in getattr(node, "cases", ()) for part in ast.walk(case.pattern)]
    return (*(each for each in ast.iter_child_nodes(node) if not isinstance(each, inner)), *patterns)


def _bound(node: ast.stmt) -> set[str]:
    """The names that a statement binds, writes into, or puts something into as `append` does."""
    inner = list(ast.walk(node))
    filled = [each.func for each in inner if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute)]
    return {name for each in inner for name in bound_by(each)} | {
        method.value.id for method in filled if method.attr in FILLERS and isinstance(method.value, ast.Name)
    }


def _text(node: ast.AST) -> str:
    try:
        text = ast.unparse(node)
    except RecursionError:
        return "a long formula"
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def _numbers(start: ast.AST) -> Iterator[ast.AST]:
    """The parts of some code that numbers pass through: no comparison, no shape, no condition."""
    pending = [start]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Compare):
            continue
        yield node
        if isinstance(node, ast.IfExp):
            pending += [node.body, node.orelse]
        elif isinstance(node, ast.If | ast.While | ast.Assert):
            pending += [each for each in ast.iter_child_nodes(node) if each is not node.test]
        elif isinstance(node, ast.Call):
            last = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if last in SHAPED_AFTER and isinstance(node.func, ast.Attribute):
                pending.append(node.func.value)
            elif last not in NO_NUMBERS:
                pending += ast.iter_child_nodes(node)
        elif not (isinstance(node, ast.Attribute) and node.attr in NO_NUMBER_ATTRIBUTES):
            pending += ast.iter_child_nodes(node)
