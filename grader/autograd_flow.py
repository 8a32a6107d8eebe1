"""Follows autograd's numbers through a notebook's source: which names hold one of them, and from which line.

An abstract interpreter over the syntax trees. It runs nothing. A value here is where its numbers come from, and the
little else that is needed to see through aliases: the dotted name of a module's member, a string that is known, the
student's function that it is, the names whose object it may be. What a branch, a loop or a call may do is joined; what
can't be followed carries nothing, for a flag must be certain: the scaled run (`grader/autograd_use.py`) has the rest.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from grader.autograd_names import (
    CODE_RUNNERS,
    FILLERS,
    HOLDERS,
    LOADERS,
    NO_NUMBER_ATTRIBUTES,
    NO_NUMBERS,
    SAME_OBJECT,
    SAVERS,
    SHAPED_AFTER,
    kind_of,
)
from grader.records import Record
from grader.syntax import parse

MAX_STEPS = 60_000
"""Nodes visited at most: some 0.1 s. What comes later is left to the scaled run."""
MAX_DEPTH = 8
MAX_UNROLLED = 64

FILES = "<files>"  # a name that stands for all files
Statement = ast.stmt | ast.ExceptHandler | ast.match_case
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Origin(Record, frozen=True):
    """Where a number came from autograd: the planned cell, the line in it, the expression.

    `engine`: torch's engine made it (so that a scaled run shows it); `beside`: autograd without its engine, or an
    optimizer's step; `unreadable`: code that is put together only when it runs, and may be anything.
    """

    cell: int
    line: int
    text: str
    kind: Literal["engine", "beside", "unreadable"] = "engine"


@dataclass(frozen=True, slots=True)
class Value:
    """What is known of a value; see the module's text."""

    origins: frozenset[Origin] = frozenset()
    path: str = ""
    text: str | None = None
    names: frozenset[str] = frozenset()
    items: tuple[Value, ...] = ()
    code: Function | None = None
    kind: Class | None = None
    bound: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function of the notebook's own, and the cell it stands in."""

    node: FunctionNode
    cell: int
    trusted: bool


@dataclass(frozen=True, slots=True, eq=False)
class Class:
    """A class of the notebook's own. `differentiable`: derived from `torch.autograd.Function`."""

    methods: dict[str, Function] = field(default_factory=dict)
    differentiable: bool = False


NOTHING = Value()


class _Exhausted(Exception):
    """The steps are used up."""


class Flow:
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

    def read(self, source: str, cell: int, *, trusted: bool) -> None:
        """Read one cell. A trusted one is the release's own: its numbers from autograd are no offence."""
        tree = parse(source)
        self._cell, self._trusted = cell, trusted
        if tree is not None:
            try:
                self._block(tree.body)
            except _Exhausted:
                return

    def origins(self, name: str) -> frozenset[Origin]:
        """Where a name's numbers come from autograd; empty where they don't."""
        return self.names.get(name, NOTHING).origins

    # --- statements

    def _block(self, body: Iterable[Statement]) -> None:
        for statement in body:
            getattr(self, f"_do_{type(statement).__name__}", self._do_other)(statement)

    def _do_other(self, node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._value(child)
            elif isinstance(child, Statement):
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
            text = before.text + value.text if before.text is not None and value.text is not None else None
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
        for case in node.cases:
            for pattern in ast.walk(case.pattern):
                if isinstance(pattern, ast.MatchClass):
                    for name, sub in zip(pattern.kwd_attrs, pattern.kwd_patterns, strict=True):
                        if isinstance(sub, ast.MatchAs) and sub.name is not None:
                            self.names[sub.name] = self._attribute(subject, name, pattern)
        self._either([case.body for case in node.cases])

    def _do_For(self, node: ast.For | ast.AsyncFor) -> None:
        rounds = self._rounds(node.target, node.iter)
        before = dict(self.names)
        for element in rounds:
            self._store(node.target, element)
            self._block(node.body)
        self._join(before)
        self._block(node.orelse)

    _do_AsyncFor = _do_For

    def _do_While(self, node: ast.While) -> None:
        before = dict(self.names)
        for _ in range(2):  # what the first round leaves, the second finds
            self._value(node.test)
            self._block(node.body)
        self._join(before)
        self._block(node.orelse)

    def _do_Try(self, node: ast.Try) -> None:
        before = dict(self.names)
        self._block(node.body)
        self._join(before)
        self._either([handler.body for handler in node.handlers] + [[]])
        self._block([*node.orelse, *node.finalbody])

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
            name, path = alias.asname or alias.name.split(".")[0], alias.name if alias.asname else alias.name.split(".")[0]
            self.names[name] = Value(path=path)

    def _do_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self.names[alias.asname or alias.name] = self._member(f"{node.module}.{alias.name}", node)

    def _do_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.names.pop(target.id, None)

    def _either(self, bodies: Sequence[Sequence[Statement]]) -> None:
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
            self.names[name] = value if here is None or here is value else _joined([here, value], keep=here)

    # --- stores

    def _store(self, target: ast.expr, value: Value, source: ast.expr | None = None) -> None:
        if isinstance(target, ast.Name):
            self.names[target.id] = replace(value, names=value.names - {target.id})
        elif isinstance(target, ast.Tuple | ast.List):
            items = value.items if len(value.items) == len(target.elts) else (replace(value, items=()),) * len(target.elts)
            for element, item in zip(target.elts, items, strict=True):
                self._store(element, item)
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
        if base.path == "globals()" and key.text is not None:
            self.names[key.text] = value
            return
        self._write(base.names | ({"globals()"} if base.path == "globals()" else frozenset()), value.origins)

    def _write(self, names: frozenset[str], origins: frozenset[Origin]) -> None:
        """Numbers are written into an object: into whatever may be it, or hold it."""
        if not origins or not names:
            return
        roots = frozenset(name.split(".")[0] for name in names)
        for name in roots:
            self.names.setdefault(name, NOTHING)
        for name, value in self.names.items():
            if name in roots or any(other.split(".")[0] in roots for other in value.names):
                self.names[name] = replace(value, origins=value.origins | origins)

    # --- expressions

    def _value(self, node: ast.expr) -> Value:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise _Exhausted
        method = getattr(self, f"_of_{type(node).__name__}", None)
        result = method(node) if method is not None else self._of_other(node)
        assert isinstance(result, Value)
        return result

    def _of_other(self, node: ast.expr) -> Value:
        return _joined([self._value(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)])

    def _of_Constant(self, node: ast.Constant) -> Value:
        return Value(text=node.value) if isinstance(node.value, str) else NOTHING

    def _of_Name(self, node: ast.Name) -> Value:
        found = self.names.get(node.id)
        if found is None:
            return Value(path=node.id) if hasattr(builtins, node.id) else Value(names=frozenset([node.id]))
        return replace(found, names=found.names | {node.id})

    def _of_Attribute(self, node: ast.Attribute) -> Value:
        return self._attribute(self._value(node.value), node.attr, node)

    def _of_Subscript(self, node: ast.Subscript) -> Value:
        base, key = self._value(node.value), self._value(node.slice)
        if base.path == "globals()" and key.text is not None:
            return self._of_Name(ast.Name(id=key.text))
        if base.path.endswith(".__dict__") and key.text is not None:
            return self._attribute(replace(base, path=base.path.removesuffix(".__dict__")), key.text, node)
        if base.text is not None and ast.unparse(node.slice) == "::-1":
            return Value(text=base.text[::-1])
        if base.items and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int):
            return base.items[node.slice.value] if -len(base.items) <= node.slice.value < len(base.items) else NOTHING
        return Value(origins=base.origins, names=base.names)

    def _of_BinOp(self, node: ast.BinOp) -> Value:
        left, right = self._value(node.left), self._value(node.right)
        if isinstance(node.op, ast.Add) and left.text is not None and right.text is not None:
            return Value(text=left.text + right.text)
        return Value(origins=left.origins | right.origins)

    def _of_JoinedStr(self, node: ast.JoinedStr) -> Value:
        pieces = [self._value(piece.value if isinstance(piece, ast.FormattedValue) else piece) for piece in node.values]
        texts = [piece.text for piece in pieces if piece.text is not None]
        return Value(text="".join(texts)) if len(texts) == len(pieces) else _joined(pieces)

    def _of_Compare(self, node: ast.Compare) -> Value:
        self._of_other(node)
        return NOTHING  # a truth is no number

    def _of_IfExp(self, node: ast.IfExp) -> Value:
        self._value(node.test)
        return _joined([self._value(node.body), self._value(node.orelse)], holders=True)

    def _of_Lambda(self, node: ast.Lambda) -> Value:
        return Value(code=Function(node, self._cell, self._trusted))

    def _of_NamedExpr(self, node: ast.NamedExpr) -> Value:
        value = self._value(node.value)
        self._store(node.target, value)
        return value

    def _of_Tuple(self, node: ast.Tuple | ast.List | ast.Set) -> Value:
        items = [self._value(element) for element in node.elts]
        starred = any(isinstance(element, ast.Starred) for element in node.elts)
        return replace(_joined(items, holders=True), items=() if starred else tuple(items))

    _of_List = _of_Set = _of_Tuple

    def _of_Starred(self, node: ast.Starred) -> Value:
        return self._value(node.value)

    def _of_Dict(self, node: ast.Dict) -> Value:
        return _joined([self._value(value) for value in node.values], holders=True)

    def _of_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Value:
        for generator in node.generators:
            for element in self._rounds(generator.target, generator.iter)[:1]:
                self._store(generator.target, element)
            for test in generator.ifs:
                self._value(test)
        result = node.value if isinstance(node, ast.DictComp) else node.elt
        return replace(self._value(result), items=(), text=None)

    _of_SetComp = _of_GeneratorExp = _of_DictComp = _of_ListComp

    def _rounds(self, target: ast.expr, iterated: ast.expr) -> list[Value]:
        """What the target of a loop is bound to, round by round where that is known, else twice the same."""
        value = self._value(iterated)
        if value.items and len(value.items) <= MAX_UNROLLED and not value.path:
            return list(value.items)
        return [replace(value, items=(), text=None) if value.path != "zip()" else replace(value, path="")] * 2

    def _attribute(self, base: Value, name: str, node: ast.AST) -> Value:
        if base.kind is not None and name in base.kind.methods:
            return Value(origins=base.origins, code=base.kind.methods[name], bound=(base,))
        if base.path:
            return replace(self._member(f"{base.path}.{name}", node), names=base.names)
        if name in NO_NUMBER_ATTRIBUTES:
            return NOTHING
        if name in ("grad", "_grad"):
            if self._own_grads is not None:
                return Value(origins=self._own_grads)
            return Value(origins=self._origin(node))
        if name in ("grad_fn", "next_functions"):
            return Value(origins=self._origin(node, "beside"))
        names = base.names if name in SAME_OBJECT else frozenset(f"{one}.{name}" for one in base.names)
        return Value(origins=base.origins, names=names)

    def _member(self, path: str, node: ast.AST) -> Value:
        kind = kind_of(path)
        if kind == "derivative":
            return Value(path=path, origins=self._origin(node))
        return Value(path=path, origins=self._origin(node, "beside") if kind == "node" else frozenset())

    def _origin(
        self, node: ast.AST, kind: Literal["engine", "beside", "unreadable"] = "engine"
    ) -> frozenset[Origin]:
        if self._trusted:
            return frozenset()
        line = self._line or getattr(node, "lineno", 1)
        return frozenset([Origin(self._cell, line, " ".join(ast.unparse(node).split())[:80], kind)])
