"""The student's statements, gone through with formulas in place of tensors. Nothing is run.

Calls of the student's own functions and methods are gone into, so what comes of it are plain statements, of which each
computes a name from others. A function's names are `function1__name` there, a method's `layer__backward__name`, and
`self.name` is `layer__name`. What is not understood makes a name of which nothing is known.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from grader.diagnosis.formula.bindings import Line, lines_of
from grader.diagnosis.formula.loops import Put, stored_names
from grader.diagnosis.formula.node import AT, MAX_NODES, Loop, Node, Unsupported, name, number, parts, use
from grader.diagnosis.formula.operations import SPELLED
from grader.diagnosis.formula.reader import MAX_DEPTH, OPERATORS, Reader, rounds_before
from grader.intake.take_in import PlannedCell
from grader.notebook.code import Code
from grader.notebook.syntax import bound_by, names_read

MAX_CALLS = 100
"""So many are gone into, those in the functions themselves included."""
_SUFFIX = re.compile(r"(_[a-z]+|\d+)$")
_NOTHING = ast.Constant(None)
_CALL = Code("def __call__(self, x): return super().__call__(x)").tree.body[0]
"""The forward pass of a class that inherits it."""


class Rounds(NamedTuple):
    """The loop that a statement stands in; `anew`: the names that its rounds have bound to something else."""

    counter: str
    first: Node
    last: Node
    backward: bool
    anew: set[str]


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


class Made(NamedTuple):
    """What of the student's makes a gradient that a cell of ours binds: its `Callee.code`, its cell, and the line."""

    code: str
    cell: int
    line: int


class Program(Reader):
    """What a part's names are computed by.

    Args:
        cells: the submission's cells as they were run.
        part: the part.
        leaves: the names that stand for themselves: the forward pass's, and the exported gradients'.
        tensors: the names of the forward pass: `self.xhat` of the layer `norm_eval` is taken for `xhat_eval`, or else
            for `xhat`, if there is such a tensor.
        constants: what else has a name there: the same, for what the layer does not compute itself.

    Attributes:
        lines: the student's lines, in order.
        made: for each gradient that a cell of ours binds, what of the student's makes it.
    """

    def __init__(self, cells: Sequence[PlannedCell], part: str, leaves: Collection[str] = (),
                 tensors: Collection[str] = (), constants: Collection[str] = ()) -> None:  # fmt: skip
        super().__init__()
        self.leaves, self.tensors, self.constants = leaves, tensors, constants
        self.lines: list[Line] = []
        self.made: dict[str, Made] = {}
        self._known: dict[str, Node | None] = {}
        self._same: dict[str, str] = {}
        self._versions: list[tuple[str, Node | None]] = []
        self._target, self._keeps_own = "", False
        self._calls, self._beside = 0, False
        self._returned: list[ast.expr] = []
        self._ours: dict[str, ast.expr] = {}
        self._layers: dict[str, str] = {}
        self._training: dict[str, bool] = {}
        student = [(index, node) for index, cell in enumerate(cells) if cell.student for node in cell.code.tree.body]
        self._classes = {node.name: (index, node) for index, node in student if isinstance(node, ast.ClassDef)}
        self._callees = {node.name: Callee(index, node, node.name)
                         for index, node in student if isinstance(node, ast.FunctionDef)}  # fmt: skip
        for cell in cells:
            if cell.student and cell.part == part:
                self.used = frozenset(node.id for node in ast.walk(cell.code.tree) if isinstance(node, ast.Name))
                self._run(cell.code.tree.body)
        for cell in cells:
            if cell.role == "backward" and cell.part == part:
                self._run_ours(cell.code.tree.body)

    @property
    def versions(self) -> Iterator[tuple[str, Node]]:
        """For every statement, in order, what a name is computed by then, though it be bound again later."""
        for label, node in self._versions:
            if node is not None and len(parts(node)) <= MAX_NODES:
                yield label, node

    @property
    def formulas(self) -> dict[str, Node]:
        """What every name is computed by in the end, with the student's own names written out."""
        found = dict(self._versions)
        return {label: node for label, node in found.items() if node is not None and len(parts(node)) <= MAX_NODES}

    # --- names

    def look(self, label: str) -> Node:
        """What a name stands for: itself, another name, or what it is computed by."""
        own = label == self._target
        if label in self.counters or (own and self._keeps_own) or (label in self.leaves and not own):
            return name(label)
        if label not in self._known:
            given = self._given(label, {*self.tensors, *self.constants})
            return name(self._same.get(label) or given or label)
        found = self._known[label]
        if found is None:
            raise Unsupported
        return use(label, found)

    def _given(self, label: str, names: Collection[str]) -> str | None:
        """The name that the exercise has for an attribute of a layer."""
        layer, attribute = label.partition("__")[0], label.rpartition("__")[2]
        suffix = _SUFFIX.search(layer)
        found = [attribute + suffix[0], attribute] if suffix is not None else [attribute]
        return next((each for each in found if layer in self._layers and each in names), None)

    def _put(self, label: str, node: Node | None) -> None:
        """Have a name stand for a formula, or for what nothing is known of; beside the lines, also for another name."""
        another = node.value if node is not None and node.op == "name" else None
        if another is None and (node is None or label.count("__") == 1):
            computed = label.rpartition("__")[2]  # the layer computes it, so a number of that name is not meant
            another = self._given(label, {*self.tensors, *{*self.constants} - {computed}})
        if self._beside and another is not None:
            self._known.pop(label, None)
            self._same[label] = another
            return
        self._known[label] = node
        if not self._beside:
            self._versions.append((label, node))

    def _bind(self, label: str, value: ast.expr, how: str = "set", at: ast.expr | None = None,
              loop: Rounds | None = None) -> None:  # fmt: skip
        """What a statement does to a name.

        Args:
            label: the name.
            value: the expression bound to it or written into it.
            how: the operation of `+=` and its like; `set` for `=`, `append` and `insert` for a list's next element.
            at: what stands in the brackets of `name[…] = value`.
            loop: the loop that it stands in.
        """
        if loop is not None and at is None and how not in ("append", "insert"):
            carried = how in ("add", "sub") or (how == "set" and label in names_read(value))
            if label in loop.anew or not carried:  # every round does the same
                loop.anew.add(label)
                loop = None
        before = self._target, self._keeps_own
        self._target, self._keeps_own = label, _column(at) is None and not (at is None and loop is None)
        try:
            node: Node | None = self._written(label, value, how, at, loop)
        except Unsupported:
            node = None
        finally:
            self._target, self._keeps_own = before
        self._put(label, node)

    def _written(self, label: str, value: ast.expr, how: str, at: ast.expr | None, loop: Rounds | None) -> Node:
        column = _column(at)
        new = self.read(value if at is None or column is None else _Whole(at).visit(copy.deepcopy(value)))
        if how == "set" and at is None and loop is None:
            return new
        before = self._known.get(label)
        if before is None:
            raise Unsupported
        if column is not None:
            return _one_a_row(before, self.read(column), new, how)
        if at is None and loop is None:
            return Node(how, (before, new))
        counter, first, last, backward, _ = loop or Rounds("", number(0), number(1), False, set())
        pattern, numbers = self.places(at) if at is not None else (None, [])
        if how in ("append", "insert"):
            place = rounds_before(counter, first, last, backward=backward != (how == "insert"))
            before, how, pattern, numbers = Node("elements", (last - first,)), "set", (AT,), [place]
        return Node("loop", (before, first, last, new, *numbers), Loop(counter, label, how, pattern, backward))

    # --- statements

    def _run(self, body: Sequence[ast.stmt], loop: Rounds | None = None,
             around: tuple[ast.expr, ...] = ()) -> ast.expr | None:  # fmt: skip
        """Go through statements one after the other, of a loop through one round; what they return, if they do."""
        for node in body:
            inner: Sequence[ast.stmt] = ()
            if isinstance(node, ast.Return):
                return node.value or _NOTHING
            if isinstance(node, ast.With):
                inner = node.body
            elif isinstance(node, ast.If):
                inner = self._branch(node)
            elif isinstance(node, ast.For) and loop is None and self._looped(node, around):
                continue
            if inner:
                self.depth += 1
                returned = self._run(inner, loop, around)
                self.depth -= 1
                if returned is not None:
                    return returned
            elif not _is_stub(node):
                self._returned = []
                if not self._understood(node, loop):
                    for label in {word for child in ast.walk(node) for word in bound_by(child)}:
                        self._put(label, None)
                self.lines += lines_of(node, (*around, *self._returned))
        return None

    def _looped(self, node: ast.For, around: tuple[ast.expr, ...]) -> bool:
        """Go through a loop; whether it is understood."""
        try:
            over, body = self.around(node, node.body)
            first, last = self.read(over.first), self.read(over.last)
        except Unsupported:
            return False
        with self.within(over.counter):
            self._run(body, Rounds(over.counter, first, last, over.backward, set()), (*around, node.iter))
        return True

    def _branch(self, node: ast.If) -> Sequence[ast.stmt]:
        """The branch that `self.training` takes; else both in one, where they differ only in what they bind."""
        test = node.test.operand if isinstance(node.test, ast.UnaryOp) else node.test
        if isinstance(test, ast.Name) and test.id.endswith("__training"):
            taken = node.body if self._training.get(test.id, True) == (test is node.test) else node.orelse
            return taken or [ast.Pass()]
        sides = _sides(node)
        return [_valued(one, ast.IfExp(node.test, one.value, other.value)) for one, other in sides]  # type: ignore[attr-defined]

    def _understood(self, node: ast.stmt, loop: Rounds | None) -> bool:
        """Do what a simple statement does; whether that is understood."""
        match node:
            case ast.Assign(targets=[ast.Name(id=label)], value=value):
                self._bind(label, value, loop=loop)
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=label), slice=at)], value=value):
                self._bind(label, value, at=at, loop=loop)
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=value):
                return self._each(zip(targets, self._values(value, len(targets)), strict=True), loop)
            case ast.Assign(targets=[_, _, *_] as targets, value=value):
                return self._each([(target, value) for target in targets], loop)
            case ast.AugAssign(target=ast.Name(id=label), op=sign, value=value) if type(sign) in OPERATORS:
                self._bind(label, value, OPERATORS[type(sign)], loop=loop)
            case ast.AugAssign(
                target=ast.Subscript(value=ast.Name(id=label), slice=at), op=ast.Add() | ast.Sub() as sign, value=value
            ):
                self._bind(label, value, OPERATORS[type(sign)], at, loop)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=label), attr=attr), args=args) as call):
                if attr == "reverse":
                    self._bind(label, ast.Call(ast.Attribute(call.func.value, "flip"), [ast.Constant(0)], []))  # type: ignore[attr-defined]
                elif loop is not None and (attr, *map(_constant, args[:-1])) in (("append",), ("insert", 0)) and args:
                    self._bind(label, args[-1], attr, loop=loop)
                elif label in bound_by(node) and attr in SPELLED:
                    self._bind(label, call, loop=loop)
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
        return [_NOTHING] * count

    # --- the student's functions and methods

    def entered(self, call: ast.expr) -> ast.expr | None:
        """Go through what a call of the student's does; what it returns, None for any other expression.

        Raises:
            Unsupported: it is called otherwise than it is written, or returns nothing that can be told.
        """
        callee, arguments = self._called(call)
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
                self._bind(f"{prefix}{each}", value)
            self._beside = before or function.name in ("__init__", "__call__")
            fits = len(arguments) + len(keywords) == len(names) and given.keys() == set(names) and not any(more)
            if not fits or self._calls > MAX_CALLS or self.depth > MAX_DEPTH:
                raise Unsupported
            self.depth += 1
            local = {each: ast.Name(prefix + each, ast.Load()) for each in {*names, *stored_names(function.body)}}
            put = Put(local, {own[0]: layer} if layer else {})
            returned, found = self._returned, self._run([put.into(node) for node in function.body])
            self._returned = [*returned, found or _NOTHING]
        finally:
            self._beside, self.depth = before, depth
        return found or _NOTHING

    def _called(self, call: ast.expr) -> tuple[Callee | None, list[ast.expr]]:
        """What of the student's an expression calls, and with what; by a helper of ours, too: `back(layer, dout)`."""
        match call:
            case ast.Call(func=ast.Name(id=label), args=arguments) if label in self._callees:
                return self._callees[label], arguments
            case ast.Call(func=ast.Name(), args=[ast.Name(id=layer), argument]) if layer in self._layers:
                return self._callees.get(f"{layer}__backward"), [argument]
        return None, []

    # --- our cells

    def _run_ours(self, body: Sequence[ast.stmt]) -> None:
        """What our cells do with the student's functions, and with layers that they make of their classes."""
        for node in body:
            put = Put({}, {layer: layer for layer in self._layers})
            if isinstance(node, ast.With):
                self._run_ours(node.body)
            elif isinstance(node, ast.Expr):
                with contextlib.suppress(Unsupported):
                    self.read(put.into(node.value))
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    for pair in _pairs(put.into(target), put.into(node.value)):
                        self._run_our(*pair)

    def _run_our(self, target: ast.expr, value: ast.expr) -> None:
        match target, value:
            case ast.Name(id=layer), ast.Call(func=ast.Name(id=label)) if label in self._classes:
                self._begin_layer(layer, *self._classes[label])
                with contextlib.suppress(Unsupported):
                    self.entered(ast.Call(ast.Name(f"{layer}____init__", ast.Load()), value.args, value.keywords))
            case ast.Name(id=label), ast.Constant(value=bool(flag)):
                self._training[label] = flag
            case ast.Name(id=label), _ if self._layer_of(label):
                self._beside = True
                self._bind(label, value)
                self._beside = False
            case _:
                names = [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]
                self._ours |= dict.fromkeys(names, value)
                if any(label in self._callees or self._layer_of(label) for label in names_read(value)):
                    self._run([ast.Assign([target], value)])
                self.made |= {label: made for place, label in enumerate(names) if (made := self._maker(value, place))}

    def _begin_layer(self, layer: str, cell: int, class_: ast.ClassDef) -> None:
        self._layers[layer] = class_.name
        for node in (_CALL, *class_.body):
            if isinstance(node, ast.FunctionDef) and node.args.args:
                label = layer if node.name == "__call__" else f"{layer}__{node.name}"
                self._callees[label] = Callee(cell, node, f"{class_.name}.{node.name}", layer)

    def _layer_of(self, label: str) -> str | None:
        """The layer whose attribute a name is, or that it is itself."""
        layer = label.partition("__")[0]
        return layer if layer in self._layers else None

    def _maker(self, value: ast.expr, place: int) -> Made | None:
        """What of the student's makes a value, or one of several; its lines have just been gone through."""
        callee, _ = self._called(value)
        made = value
        if callee is not None:
            made = self._returned[-1] if self._returned else _NOTHING
        elif isinstance(value, ast.Name) and (layer := self._layer_of(value.id)) is not None:
            callee = self._callees.get(f"{layer}__backward")
        if callee is None:
            return self._function_behind(value)
        if isinstance(made, ast.Tuple) and place < len(made.elts):
            made = made.elts[place]
        own = [line.node.lineno for line in self.lines if isinstance(made, ast.Name) and made.id in line.names]
        line = own[-1] if own else getattr(made, "lineno", callee.function.lineno)
        return Made(callee.code, callee.cell, line)

    def _function_behind(self, value: ast.expr) -> Made | None:
        """The student's function that a cell of ours handed on to make a value."""
        pending, seen = [value], set[str]()
        while pending:
            for label in sorted(names_read(pending.pop()) - seen):
                seen.add(label)
                if (found := self._callees.get(label)) is not None and not found.layer:
                    return Made(found.code, found.cell, found.function.lineno)
                pending += [self._ours[label]] if label in self._ours else []
        return None


def _one_a_row(before: Node, index: Node, value: Node, how: str) -> Node:
    """`x[range(n), index] = value`, or with `-=`: one element of each row, written as a mask."""
    mask = Node("mask", (before, index))
    if how != "set":
        return Node(how, (before, mask * value))
    if before.op == "zeros_like" or (before.op == "filled" and before.args[0].value == 0):
        return mask * value
    return before - mask * before + mask * value


def _column(at: ast.expr | None) -> ast.expr | None:
    """The index, where one element of each row is written to: `x[range(n), index]`, also as `x[i, index[i]]`."""
    match at:
        case ast.Tuple(elts=[ast.Call(func=ast.Name(id="range") | ast.Attribute(attr="arange")), index]):
            return index
        case ast.Tuple(elts=[ast.Name(id=row), ast.Subscript(value=index, slice=ast.Name(id=same))]) if row == same:
            return index
    return None


class _Whole(ast.NodeTransformer):
    """Reads what stands at the very places that are written to as the whole tensor: the mask takes them out of it."""

    def __init__(self, places: ast.expr) -> None:
        self.places = ast.dump(places)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        return node.value if ast.dump(node.slice) == self.places else node


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
    return plain and ast.dump(_valued(one, _NOTHING)) == ast.dump(_valued(other, _NOTHING))


def _valued(node: ast.stmt, value: ast.expr) -> ast.stmt:
    new = copy.copy(node)
    new.value = value  # type: ignore[attr-defined]
    return new


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Target and value of an assignment, `a, b = c, d` taken apart."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        yield from zip(target.elts, value.elts, strict=False)
    else:
        yield target, value


def _constant(tree: ast.expr) -> object:
    return tree.value if isinstance(tree, ast.Constant) else None


def _is_stub(node: ast.stmt) -> bool:
    """`dx = None`, as it stands in a blank exercise."""
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is None
