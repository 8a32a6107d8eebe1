"""The statements of a notebook, read for where its numbers come from.

An abstract interpreter over the syntax trees: it runs nothing. What a branch, a loop or a call may do is joined; what
can't be followed carries nothing, because a flag must be certain: the scaled run (`flags.py`) has the rest.
Loops are taken to be run at least once.
"""

from __future__ import annotations

import ast
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace

from grader.diagnosis.autograd_use.values import NOTHING, Class, Function, FunctionNode, Origin, Value, either, known
from grader.notebook.syntax import parse

MAX_STEPS = 40_000
"""Expressions read at most: some 0.1 s. What comes later is left to the scaled run."""

Block = Iterable[ast.stmt]


class Exhausted(Exception):
    """The steps are used up."""


class Statements(ABC):
    """Reads cells in the order in which they run.

    Attributes:
        names: name → what is known of its value after the cells read so far.
        unreadable: where the student's code runs code that is put together only when it runs.
    """

    def __init__(self) -> None:
        self.names: dict[str, Value] = {}
        self.unreadable: list[Origin] = []
        self._own_grads: frozenset[Origin] | None = None  # what the student has put into `.grad`, if anything
        self._returned: list[Value] = []
        self._active: list[FunctionNode] = []
        self._cell = 0
        self._line: int | None = None  # of the exec whose text is being read
        self._trusted = False
        self._steps = 0

    @property
    def _repeats(self) -> int:
        """How often a loop's body is read: what the first round leaves, the second finds."""
        return 1 if self._trusted else 2

    def read(self, source: str, cell: int, *, trusted: bool) -> None:
        """Read one cell. A trusted one is the release's own: its numbers from autograd are no offence."""
        tree = parse(source)
        self._cell, self._trusted, self._active, self._line = cell, trusted, [], None
        if tree is not None:
            with contextlib.suppress(Exhausted, RecursionError):
                self._block(tree.body)

    def origins(self, name: str) -> frozenset[Origin]:
        """Where a name's numbers come from autograd; empty where they don't."""
        return self.names.get(name, NOTHING).origins

    def _spend(self, steps: int) -> None:
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise Exhausted

    # --- statements

    def _block(self, body: Block) -> None:
        for statement in body:
            getattr(self, f"_do_{type(statement).__name__}", self._do_other)(statement)

    def _do_other(self, node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._value(child)
            elif isinstance(child, ast.stmt):
                self._block([child])

    def _do_Assign(self, node: ast.Assign) -> None:
        value = self._value(node.value)
        for target in node.targets:
            self._store(target, value, node.value)

    def _do_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._store(node.target, self._value(node.value))

    def _do_AugAssign(self, node: ast.AugAssign) -> None:
        value = self._value(node.value)
        before = self._value(node.target)
        if isinstance(node.target, ast.Attribute) and node.target.attr == "grad":
            self._store(node.target, value)
            return
        self._write(before.names, value.origins)
        if isinstance(node.target, ast.Name):
            text = known(before.text + value.text).text if before.text is not None and value.text is not None else None
            joined = replace(before, origins=before.origins | value.origins, text=text, items=(), path="")
            self.names[node.target.id] = joined

    def _do_Return(self, node: ast.Return) -> None:
        self._returned.append(self._value(node.value) if node.value is not None else NOTHING)

    def _do_If(self, node: ast.If) -> None:
        self._value(node.test)
        if isinstance(node.test, ast.Constant):
            self._block(node.body if node.test.value else node.orelse)
        else:
            self._either([node.body, node.orelse])

    def _do_Match(self, node: ast.Match) -> None:
        subject = self._value(node.subject)
        patterns = [pattern for case in node.cases for pattern in ast.walk(case.pattern)]
        for pattern in patterns:
            if isinstance(pattern, ast.MatchClass):
                for name, inner in zip(pattern.kwd_attrs, pattern.kwd_patterns, strict=True):
                    if isinstance(inner, ast.MatchAs) and inner.name is not None:
                        self.names[inner.name] = self._attribute(subject, name, node.subject)
        self._either([case.body for case in node.cases])

    def _do_For(self, node: ast.For | ast.AsyncFor) -> None:
        for element in self._rounds(node.iter):
            self._store(node.target, element)
            self._block(node.body)
        self._block(node.orelse)

    _do_AsyncFor = _do_For

    def _do_While(self, node: ast.While) -> None:
        for _ in range(self._repeats):
            self._value(node.test)
            self._block(node.body)
        self._block(node.orelse)

    def _do_Try(self, node: ast.Try) -> None:
        before = dict(self.names)
        self._block(node.body)
        self._join(before)
        self._either([handler.body for handler in node.handlers] + [[]])
        self._block([*node.orelse, *node.finalbody])

    _do_TryStar = _do_Try

    def _do_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            value = self._value(item.context_expr)
            if item.optional_vars is not None:
                self._store(item.optional_vars, value)
        self._block(node.body)

    _do_AsyncWith = _do_With

    def _do_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.names[node.name] = Value(code=Function(node, self._cell, self._trusted))

    _do_AsyncFunctionDef = _do_FunctionDef

    def _do_ClassDef(self, node: ast.ClassDef) -> None:
        bases = [self._value(base) for base in node.bases]
        methods = {name: code for base in bases if base.kind is not None for name, code in base.kind.methods.items()}
        for part in node.body:
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                methods[part.name] = Function(part, self._cell, self._trusted)
        differentiable = any(base.path == "torch.autograd.Function" for base in bases)
        self.names[node.name] = Value(kind=Class(methods, differentiable))

    def _do_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.split(".")[0]
            self.names[alias.asname or top] = Value(path=alias.name if alias.asname else top)

    def _do_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self.names[alias.asname or alias.name] = self._member(f"{node.module}.{alias.name}", node)

    def _do_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.names.pop(target.id, None)

    def _either(self, bodies: Sequence[Sequence[ast.stmt]]) -> None:
        self._spend(len(self.names) // 4)
        before = dict(self.names)
        ends: list[dict[str, Value]] = []
        for body in bodies:
            self.names = dict(before)
            self._block(body)
            ends.append(self.names)
        self.names = ends[0] if ends else before
        for end in ends[1:]:
            self._join(end)

    def _join(self, other: dict[str, Value]) -> None:
        """Keep what may hold after either of two ways here."""
        for name, value in other.items():
            here = self.names.get(name)
            self.names[name] = value if here is None or here is value else either(here, value)

    # --- stores

    def _store(self, target: ast.expr, value: Value, source: ast.expr | None = None) -> None:
        if isinstance(target, ast.Name):
            self.names[target.id] = value.named(target.id)
        elif isinstance(target, ast.Tuple | ast.List):
            known = len(value.items) == len(target.elts)
            for index, element in enumerate(target.elts):
                self._store(element, value.items[index] if known else replace(value, items=(), path=""))
        elif isinstance(target, ast.Starred):
            self._store(target.value, value)
        elif isinstance(target, ast.Attribute):
            self._set_attribute(self._value(target.value), target.attr, value, source)
        elif isinstance(target, ast.Subscript):
            self._set_item(self._value(target.value), self._value(target.slice), value)

    def _set_attribute(self, base: Value, attribute: str, value: Value, source: ast.expr | None = None) -> None:
        if attribute == "grad":
            if not (isinstance(source, ast.Constant) and source.value is None):
                self._own_grads = (self._own_grads or frozenset()) | value.origins
            return
        self._write(base.names, value.origins)

    def _set_item(self, base: Value, key: Value, value: Value) -> None:
        if base.path == "[globals]" and key.text is not None:
            self.names[key.text] = value
            return
        self._write(base.names | ({"[globals]"} if base.path == "[globals]" else frozenset()), value.origins)

    def _write(self, names: frozenset[str], origins: frozenset[Origin]) -> None:
        """Numbers are written into an object: into whatever may be it, or hold it."""
        if not origins or not names:
            return
        self._spend(len(self.names))
        roots = frozenset(name.split(".")[0] for name in names)
        for name in roots:
            self.names.setdefault(name, NOTHING.named(name))
        for name, value in self.names.items():
            if any(other.split(".")[0] in roots for other in value.names):
                self.names[name] = replace(value, origins=value.origins | origins, items=())

    # --- what expressions are: grader/diagnosis/autograd_use/expressions.py

    @abstractmethod
    def _value(self, node: ast.expr) -> Value:
        """What is known of an expression's value; its effects are noted."""

    @abstractmethod
    def _attribute(self, base: Value, name: str, node: ast.expr) -> Value:
        """What is known of an attribute."""

    @abstractmethod
    def _member(self, path: str, node: ast.AST) -> Value:
        """What is known of a module or its member."""

    @abstractmethod
    def _rounds(self, iterated: ast.expr) -> list[Value]:
        """What a loop's target is bound to: round by round where that is known, else twice what it may be."""
