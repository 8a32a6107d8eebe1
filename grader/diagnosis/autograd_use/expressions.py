"""The expressions of a notebook, read for where their numbers come from; calls are in `calls.py`."""

from __future__ import annotations

import ast
import builtins
from dataclasses import replace

from grader.diagnosis.autograd_use.autograd_names import NO_NUMBER_ATTRIBUTES, SAME_OBJECT, kind_of
from grader.diagnosis.autograd_use.statements import Statements
from grader.diagnosis.autograd_use.values import (
    NOTHING,
    Function,
    Origin,
    OriginKind,
    Value,
    either,
    holding,
    joined,
    known,
)

MAX_ROUNDS = 64
"""A loop over so many known elements is read round by round."""


class Expressions(Statements):
    """What each kind of expression hands on."""

    def _value(self, node: ast.expr) -> Value:
        self._spend(1)
        method = getattr(self, f"_of_{type(node).__name__}", None)
        result = method(node) if method is not None else self._of_other(node)
        assert isinstance(result, Value)
        return result

    def _of_other(self, node: ast.expr) -> Value:
        return joined([self._value(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)])

    def _of_Constant(self, node: ast.Constant) -> Value:
        return known(node.value) if isinstance(node.value, str) else NOTHING

    def _of_Name(self, node: ast.Name) -> Value:
        found = self.names.get(node.id)
        if found is None:
            return Value(path=node.id) if hasattr(builtins, node.id) else NOTHING.named(node.id)
        return found

    def _of_Attribute(self, node: ast.Attribute) -> Value:
        return self._attribute(self._value(node.value), node.attr, node)

    def _of_Subscript(self, node: ast.Subscript) -> Value:
        base, key = self._value(node.value), self._value(node.slice)
        if base.path == "[globals]" and key.text is not None:
            return self._of_Name(ast.Name(id=key.text))
        if base.path.endswith(".__dict__") and key.text is not None:
            return self._attribute(replace(base, path=base.path.removesuffix(".__dict__")), key.text, node)
        if base.text is not None and ast.unparse(node.slice) == "::-1":
            return known(base.text[::-1])
        if base.items and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int):
            return base.items[node.slice.value] if -len(base.items) <= node.slice.value < len(base.items) else NOTHING
        return Value(origins=base.origins, names=base.names)

    def _of_BinOp(self, node: ast.BinOp) -> Value:
        left, right = self._value(node.left), self._value(node.right)
        if isinstance(node.op, ast.Add) and left.text is not None and right.text is not None:
            return known(left.text + right.text)
        return Value(origins=left.origins | right.origins)

    def _of_JoinedStr(self, node: ast.JoinedStr) -> Value:
        pieces = [self._value(piece.value if isinstance(piece, ast.FormattedValue) else piece) for piece in node.values]
        texts = [piece.text for piece in pieces if piece.text is not None]
        return known("".join(texts)) if len(texts) == len(pieces) else joined(pieces)

    def _of_Compare(self, node: ast.Compare) -> Value:
        self._of_other(node)
        return NOTHING  # a truth is no number

    def _of_IfExp(self, node: ast.IfExp) -> Value:
        self._value(node.test)
        return either(self._value(node.body), self._value(node.orelse))

    def _of_Lambda(self, node: ast.Lambda) -> Value:
        return Value(code=Function(node, self._cell, self._trusted))

    def _of_NamedExpr(self, node: ast.NamedExpr) -> Value:
        value = self._value(node.value)
        self._store(node.target, value)
        return value

    def _of_Tuple(self, node: ast.Tuple | ast.List | ast.Set) -> Value:
        items = [self._value(element) for element in node.elts]
        starred = any(isinstance(element, ast.Starred) for element in node.elts)
        return replace(holding(items), items=() if starred else tuple(items))

    _of_List = _of_Set = _of_Tuple

    def _of_Yield(self, node: ast.Yield | ast.YieldFrom) -> Value:
        if node.value is not None:
            self._returned.append(self._value(node.value))
        return NOTHING

    _of_YieldFrom = _of_Yield

    def _of_Starred(self, node: ast.Starred) -> Value:
        return self._value(node.value)

    def _of_Dict(self, node: ast.Dict) -> Value:
        return holding([self._value(value) for value in node.values])

    def _of_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Value:
        items = self._each(node, node.generators)
        return replace(holding(items), items=tuple(items) if len(node.generators) == 1 and len(items) > 1 else ())

    _of_SetComp = _of_GeneratorExp = _of_ListComp

    def _of_DictComp(self, node: ast.DictComp) -> Value:
        return holding(self._each(node, node.generators))

    def _each(self, node: ast.expr, generators: list[ast.comprehension]) -> list[Value]:
        """The elements of a comprehension, round by round where that is known."""
        if not generators:
            result = node.value if isinstance(node, ast.DictComp) else node.elt  # type: ignore[attr-defined]
            return [self._value(result)]
        rounds = self._rounds(generators[0].iter)
        known = len(rounds) if rounds[:1] != rounds[1:2] else 1
        found: list[Value] = []
        for element in rounds[:known]:
            self._store(generators[0].target, element)
            for test in generators[0].ifs:
                self._value(test)
            found += self._each(node, generators[1:])
        return found

    def _rounds(self, iterated: ast.expr) -> list[Value]:
        value = self._value(iterated)
        if value.path == "[zip]":
            return [replace(value, path="")] * self._repeats
        if value.items and len(value.items) <= MAX_ROUNDS:
            return list(value.items)
        return [replace(value, items=(), text=None, path="")] * self._repeats

    def _attribute(self, base: Value, name: str, node: ast.AST) -> Value:
        if base.kind is not None and name in base.kind.methods:
            return Value(origins=base.origins, code=base.kind.methods[name], bound=(base,))
        if base.path and not base.path.startswith("["):
            return replace(self._member(f"{base.path}.{name}", node), names=base.names)
        if name in NO_NUMBER_ATTRIBUTES:
            return NOTHING
        if name in ("grad", "_grad"):
            if self._own_grads is not None:
                return Value(origins=self._own_grads)
            return Value(origins=self._origin(node))
        if name in ("grad_fn", "next_functions"):
            return Value(origins=self._origin(node, "beside"))
        inner = frozenset(one if one.count(".") > 1 else f"{one}.{name}" for one in base.names)
        names = base.names if name in SAME_OBJECT else inner
        return Value(origins=base.origins, names=names)

    def _member(self, path: str, node: ast.AST) -> Value:
        kind = kind_of(path)
        if kind == "derivative":
            return Value(path=path, origins=self._origin(node))
        return Value(path=path, origins=self._origin(node, "beside") if kind == "node" else frozenset())

    def _origin(self, node: ast.AST, kind: OriginKind = "engine") -> frozenset[Origin]:
        if self._trusted:
            return frozenset()
        line = self._line or int(getattr(node, "lineno", 1))
        return frozenset([Origin(self._cell, line, " ".join(ast.unparse(node).split())[:80], kind)])
