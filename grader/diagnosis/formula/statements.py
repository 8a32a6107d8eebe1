"""The student's statements, gone through one after the other, and the functions and methods that they call."""

from __future__ import annotations

import ast
import contextlib
import copy
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from grader.diagnosis.formula.bindings import Line, lines_of
from grader.diagnosis.formula.loops import Put, stored_names
from grader.diagnosis.formula.names import Names
from grader.diagnosis.formula.node import Unsupported
from grader.diagnosis.formula.operations import SPELLED
from grader.diagnosis.formula.reader import MAX_DEPTH, OPERATORS, Rounds
from grader.notebook.syntax import bound_by

MAX_CALLS = 100
"""So many are gone into, those in the functions themselves included."""
NOTHING = ast.Constant(None)


class Callee(NamedTuple):
    """A function of the student's, or a method of a layer that a cell of ours makes.

    Attributes:
        cell: the index of its cell.
        function: its definition.
        code: as its author would call it: `Tanh.backward`, or its name.
        layer: the layer; empty for a function.
    """

    cell: int
    function: ast.FunctionDef
    code: str
    layer: str = ""


class Statements(Names):
    """What statements make of names. Calls are gone into, so what comes of them are plain statements, too.

    Attributes:
        lines: the student's lines, in order.
        callees: what calls are gone into, by its name here.
        training: what layers' `training` is set to.
        returned: what the functions return that the last statement has called.
    """

    def __init__(self, leaves: Collection[str], tensors: Collection[str], constants: Collection[str]) -> None:
        super().__init__(leaves, tensors, constants)
        self.lines: list[Line] = []
        self.callees: dict[str, Callee] = {}
        self.training: dict[str, bool] = {}
        self.returned: list[ast.expr] = []
        self._calls = 0

    def run(self, body: Sequence[ast.stmt], loop: Rounds | None = None,
            around: tuple[ast.expr, ...] = ()) -> ast.expr | None:  # fmt: skip
        """Go through statements one after the other, of a loop through one round; what they return, if they do."""
        for node in body:
            inner: Sequence[ast.stmt] = ()
            if isinstance(node, ast.Return):
                return node.value or NOTHING
            if isinstance(node, ast.With):
                inner = node.body
            elif isinstance(node, ast.If):
                inner = self._branch(node)
            elif isinstance(node, ast.For) and loop is None and self._looped(node, around):
                continue
            if inner:
                self.depth += 1
                returned = self.run(inner, loop, around)
                self.depth -= 1
                if returned is not None:
                    return returned
            elif not _is_stub(node):
                self.returned = []
                if not self._understood(node, loop):
                    for label in {word for child in ast.walk(node) for word in bound_by(child)}:
                        self.put(label, None)
                self.lines += lines_of(node, (*around, *self.returned))
        return None

    def _looped(self, node: ast.For, around: tuple[ast.expr, ...]) -> bool:
        """Go through a loop; whether it is understood."""
        try:
            rounds, body = self.around(node, node.body)
        except Unsupported:
            return False
        with self.within(rounds.counter):
            self.run(body, rounds, (*around, node.iter))
        return True

    def _branch(self, node: ast.If) -> Sequence[ast.stmt]:
        """The branch that `self.training` takes; else both in one, where they differ only in what they bind."""
        test = node.test.operand if isinstance(node.test, ast.UnaryOp) else node.test
        if isinstance(test, ast.Name) and test.id.endswith("__training"):
            taken = node.body if self.training.get(test.id, True) == (test is node.test) else node.orelse
            return taken or [ast.Pass()]
        sides = _sides(node)
        return [_valued(one, ast.IfExp(node.test, one.value, other.value)) for one, other in sides]  # type: ignore[attr-defined]

    def _understood(self, node: ast.stmt, loop: Rounds | None) -> bool:
        """Do what a simple statement does; whether that is understood."""
        match node:
            case ast.Assign(targets=[ast.Name() | ast.Subscript(value=ast.Name()) as target], value=value):
                self.bind(target, value, loop=loop)
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=value):
                return self._each(zip(targets, self._values(value, len(targets)), strict=True), loop)
            case ast.Assign(targets=[_, _, *_] as targets, value=value):
                return self._each([(target, value) for target in targets], loop)
            case ast.AugAssign(target=ast.Name() | ast.Subscript(value=ast.Name()) as target, op=sign, value=value) if (
                type(sign) in OPERATORS
            ):
                self.bind(target, value, OPERATORS[type(sign)], loop)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name() as target, attr=attr), args=args) as call):
                if attr == "reverse":
                    self.bind(target, ast.Call(ast.Attribute(target, "flip"), [ast.Constant(0)], []))
                elif loop is not None and (attr, *map(_constant, args[:-1])) in (("append",), ("insert", 0)) and args:
                    self.bind(target, args[-1], attr, loop)
                elif target.id in bound_by(node) and attr in SPELLED:
                    self.bind(target, call, loop=loop)
                else:
                    return False
            case ast.Expr(value=value):
                with contextlib.suppress(Unsupported):
                    self.read(value)
                return False
            case _:
                return False
        return True

    def _each(self, pairs: Iterable[tuple[ast.expr, ast.expr]], loop: Rounds | None) -> bool:
        """Bind each target to its value; whether all of that is understood."""
        understood = [self._understood(ast.Assign([target], value), loop) for target, value in pairs]
        return all(understood)

    def _values(self, value: ast.expr, count: int) -> list[ast.expr]:
        """The expressions that several names are bound to together."""
        with contextlib.suppress(Unsupported):
            value = self.entered(value) or value
        match value:
            case ast.Tuple(elts=values) | ast.List(elts=values) if len(values) == count:
                return values
            case ast.GeneratorExp(elt=one) | ast.ListComp(elt=one):
                return [one] * count
        return [NOTHING] * count

    def entered(self, call: ast.expr) -> ast.expr | None:
        """Go through what a call of the student's does; what it returns, None for any other expression.

        Raises:
            Unsupported: it is called otherwise than it is written, or returns nothing that can be told.
        """
        callee, arguments = self.called(call)
        if callee is None:
            return None
        self._calls += 1
        function, layer = callee.function, callee.layer
        prefix = f"{layer}__{function.name}__" if layer else f"{function.name}{self._calls}__"
        own = [each.arg for each in function.args.args]
        names = own[1:] if layer else own
        keywords = {each.arg: each.value for each in call.keywords}  # type: ignore[attr-defined]
        given = {**dict(zip(names, arguments, strict=False)), **keywords}
        other = function.args
        more = [*other.posonlyargs, *other.kwonlyargs, *other.defaults, other.vararg, other.kwarg]
        before, depth, self._beside = self._beside, self.depth, self._beside or bool(layer)
        try:
            for each, value in given.items():
                self.bind(ast.Name(f"{prefix}{each}", ast.Store()), value)
            self._beside = before or function.name in ("__init__", "__call__")
            fits = len(arguments) + len(keywords) == len(names) and given.keys() == set(names) and not any(more)
            if not fits or self._calls > MAX_CALLS or self.depth > MAX_DEPTH:
                raise Unsupported
            self.depth += 1
            local = {each: ast.Name(prefix + each, ast.Load()) for each in {*names, *stored_names(function.body)}}
            put = Put(local, {own[0]: layer} if layer else {})
            returned, found = self.returned, self.run([put.into(node) for node in function.body])
            self.returned = [*returned, found or NOTHING]
        finally:
            self._beside, self.depth = before, depth
        return found or NOTHING

    def called(self, call: ast.expr) -> tuple[Callee | None, list[ast.expr]]:
        """What of the student's an expression calls, and with what; by a helper of ours, too: `back(layer, dout)`."""
        match call:
            case ast.Call(func=ast.Name(id=label), args=arguments) if label in self.callees:
                return self.callees[label], arguments
            case ast.Call(func=ast.Name(), args=[ast.Name(id=layer), argument]) if layer in self.layers:
                return self.callees.get(f"{layer}__backward"), [argument]
        return None, []


def _sides(node: ast.If) -> list[tuple[ast.stmt, ast.stmt]]:
    """The statements of two branches that go together one by one; those that only add have a zero beside them."""
    body, other = node.body, node.orelse
    if not other and all(isinstance(each, ast.AugAssign) and isinstance(each.op, ast.Add | ast.Sub) for each in body):
        other = [_valued(each, ast.Constant(0)) for each in body]
    pairs = list(zip(body, other, strict=False))
    return pairs if len(body) == len(other) and all(_alike(*pair) for pair in pairs) else []


def _alike(one: ast.stmt, other: ast.stmt) -> bool:
    """Whether two statements do the same, each with a value of its own."""
    plain = isinstance(one, ast.Assign | ast.AugAssign) and isinstance(other, ast.Assign | ast.AugAssign)
    return plain and ast.dump(_valued(one, NOTHING)) == ast.dump(_valued(other, NOTHING))


def _valued(node: ast.stmt, value: ast.expr) -> ast.stmt:
    new = copy.copy(node)
    new.value = value  # type: ignore[attr-defined]
    return new


def _constant(tree: ast.expr) -> object:
    return tree.value if isinstance(tree, ast.Constant) else None


def _is_stub(node: ast.stmt) -> bool:
    """`dx = None`, as it stands in a blank exercise."""
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is None
