"""What our backward cells call: the methods of the student's own classes, followed from our cells into theirs.

Read from the syntax tree and never run. What can't be followed is left out: it is only for pointing at a line and for
diagnoses, which are checked against the numbers anyhow.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from grader.intake.take_in import PlannedCell
from grader.notebook.code import Code
from grader.notebook.syntax import names_bound

_SUFFIX = re.compile(r"(_[a-z]+|\d+)$")


class Call(NamedTuple):
    """`layer.backward(given)`, or `back(layer, given)` by a helper of ours."""

    layer: str
    given: ast.expr


class Names(NamedTuple):
    """What has a name beside the layers: the tensors of the forward pass, and all the rest."""

    tensors: frozenset[str]
    constants: frozenset[str]


class Methods:
    """The backward methods behind the gradients of a part.

    Args:
        cells: the submission's cells as they were run.
        part: a part, with backward cells or without.
    """

    def __init__(self, cells: Sequence[PlannedCell], part: str) -> None:
        self._classes: dict[str, tuple[int, ast.ClassDef]] = {}
        self._functions: dict[str, tuple[int, int]] = {}
        own = [cell for cell in cells if cell.role == "backward" and cell.part == part]
        for index, cell in enumerate(cells):
            if cell.student and own:
                classes = [node for node in cell.code.tree.body if isinstance(node, ast.ClassDef)]
                self._classes.update((node.name, (index, node)) for node in classes)
                functions = [node for node in cell.code.tree.body if isinstance(node, ast.FunctionDef)]
                self._functions.update((node.name, (index, node.lineno)) for node in functions)
        self._statements = [node for cell in own for node in _straight(cell.code.tree.body)]
        self._layers: dict[str, str] = {}
        self._made_with: dict[str, list[ast.expr]] = {}
        for target, value in self._bindings():
            function = value.func if isinstance(value, ast.Call) else None
            if isinstance(target, ast.Name) and isinstance(function, ast.Name) and function.id in self._classes:
                self._layers[target.id] = function.id
                self._made_with[target.id] = value.args if isinstance(value, ast.Call) else []

    def place(self, gradient: str) -> tuple[int, int] | None:
        """The cell (index) and line of the student's method that made a gradient which a cell of ours binds."""
        found = self._made(gradient)
        if found is None:
            return None
        target, value = found
        layer, attribute = self._layer_behind(value)
        if layer is None:
            name = self._function_behind(value)
            return self._functions[name] if name is not None else None
        index, class_ = self._classes[self._layers[layer]]
        wanted = f"self.{attribute}" if attribute else None
        place = [*_names(target), gradient].index(gradient)
        return index, _line(class_, wanted, self._set(layer).get("training"), place)

    def code(self, gradient: str) -> str | None:
        """What of the student's made a gradient which a cell of ours binds: `Tanh.backward`, or a function's name."""
        found = self._made(gradient)
        if found is None:
            return None
        layer, _ = self._layer_behind(found[1])
        return f"{self._layers[layer]}.backward" if layer is not None else self._function_behind(found[1])

    def _made(self, gradient: str) -> tuple[ast.expr, ast.expr] | None:
        """The last assignment of a cell of ours that binds a gradient."""
        pairs = reversed(list(self._bindings()))
        return next((pair for pair in pairs if gradient in names_bound(pair[0])), None)

    def _layer_behind(self, value: ast.expr) -> tuple[str | None, str | None]:
        """The layer whose method makes a value, and the attribute in which it is left, if it is."""
        if (attribute := self._attribute(value)) is not None:
            return attribute
        called = self._call(value)
        return (called.layer if called is not None else None), None

    def _function_behind(self, value: ast.expr) -> str | None:
        """The student's function that a cell of ours handed on or called to make a value."""
        made: dict[str, ast.expr] = {ast.unparse(target): value for target, value in self._bindings()}
        seen: set[str] = set()
        pending = [value]
        while pending:
            for node in ast.walk(pending.pop()):
                if isinstance(node, ast.Name) and node.id in self._functions:
                    return node.id
                if isinstance(node, ast.Name) and node.id in made and node.id not in seen:
                    seen.add(node.id)
                    pending.append(made[node.id])
        return None

    def source(self, tensors: Collection[str], constants: Collection[str]) -> str:
        """Our cells with the student's methods written out in place of their calls, in plain names.

        Args:
            tensors: the names of the forward pass; `self.xhat` of the layer `norm_eval` is taken for `xhat_eval`, or
                else for `xhat`, if there is such a tensor.
            constants: what else has a name there: the same, for what the layer does not compute itself.
        """
        known = Names(frozenset(tensors), frozenset(constants))
        lines: list[str] = []
        for node in self._statements:
            if isinstance(node, ast.Expr) and (called := self._call(node.value)) is not None:
                lines += self._written_out(called, known, [])
            for target, value in _pairs(node):
                if (names := _names(target)) and (called := self._call(value)) is not None:
                    lines += self._written_out(called, known, names)
                elif isinstance(target, ast.Name) and (attribute := self._attribute(value)) is not None:
                    lines.append(f"{target.id} = {'__'.join(attribute)}")
        return "\n".join(lines)

    # --- reading our cells

    def _set(self, layer: str) -> dict[str, ast.expr]:
        """The attributes of a layer that our cells set → what they set them to."""
        return {
            target.attr: value
            for target, value in self._bindings()
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == layer
        }

    def _called_with(self, layer: str) -> list[ast.expr]:
        """What our cells call a layer with in the forward pass; nothing where they don't."""
        calls = [child for node in self._statements for child in ast.walk(node) if isinstance(child, ast.Call)]
        found = [call.args for call in calls if isinstance(call.func, ast.Name) and call.func.id == layer]
        return found[-1] if found else []

    def _bindings(self) -> Iterator[tuple[ast.expr, ast.expr]]:
        for node in self._statements:
            yield from _pairs(node)

    def _attribute(self, value: ast.expr) -> tuple[str, str] | None:
        if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) and value.value.id in self._layers:
            return value.value.id, value.attr
        return None

    def _call(self, value: ast.expr) -> Call | None:
        if not isinstance(value, ast.Call) or not value.args:
            return None
        function = value.func
        if isinstance(function, ast.Attribute) and function.attr == "backward" and isinstance(function.value, ast.Name):
            return Call(function.value.id, value.args[0]) if function.value.id in self._layers else None
        first = value.args[0]
        if isinstance(first, ast.Name) and first.id in self._layers and len(value.args) == 2:
            return Call(first.id, value.args[1])
        return None

    # --- writing a method out

    def _written_out(self, call: Call, known: Names, results: Sequence[str]) -> list[str]:
        _, class_ = self._classes[self._layers[call.layer]]
        method = _method(class_, "backward")
        if method is None or len(method.args.args) != 2:
            return []
        given, ours = self._called_with(call.layer), self._set(call.layer)
        kept = self._set_by(class_, "__init__", self._made_with[call.layer], known)
        kept |= self._set_by(class_, "__call__", given, known)
        body = list(_taken(method.body, ours.get("training")))
        forward = _method(class_, "__call__")
        stored = _stored(forward.body) if forward is not None else []
        known = known._replace(constants=known.constants - {node.attr for node in stored if hasattr(node, "attr")})
        rename = _Rename(call.layer, {method.args.args[1].arg: call.given}, body, {**kept, **ours}, known)
        lines = []
        for node in body:
            if isinstance(node, ast.Return):
                several = isinstance(node.value, ast.Tuple) and len(results) > 1
                values = node.value.elts if isinstance(node.value, ast.Tuple) and several else [node.value]
                for result, value in zip(results, values, strict=False):
                    if value is not None:
                        lines.append(f"{result} = {ast.unparse(rename.visit(copy.deepcopy(value)))}")
                break
            if not _is_stub(node):
                lines.append(ast.unparse(ast.fix_missing_locations(rename.visit(copy.deepcopy(node)))))
        return [*self._forward(call.layer, class_, rename, given, lines), *lines]

    def _arguments(self, method: ast.FunctionDef, given: Sequence[ast.expr], known: Names) -> dict[str, ast.expr]:
        """The arguments of a method → what they are; a tensor's own name, where that is what another layer returns."""
        if len(method.args.args) != len(given) + 1:
            return {}
        found = {argument.arg: value for argument, value in zip(method.args.args[1:], given, strict=True)}
        made = {name for name, value in found.items() if any(isinstance(node, ast.Call) for node in ast.walk(value))}
        return found | {name: ast.Name(name, ast.Load()) for name in made & known.tensors}

    def _set_by(self, class_: ast.ClassDef, name: str, given: Sequence[ast.expr], known: Names) -> dict[str, ast.expr]:
        """The attributes that a method sets to its own arguments → what these are."""
        method = _method(class_, name)
        if method is None:
            return {}
        arguments = self._arguments(method, given, known)
        pairs = [pair for node in method.body for pair in _pairs(node)]
        return {
            target.attr: arguments[value.id]
            for target, value in pairs
            if isinstance(target, ast.Attribute) and isinstance(value, ast.Name) and value.id in arguments
        }

    def _forward(
        self, layer: str, class_: ast.ClassDef, backward: _Rename, given: Sequence[ast.expr], wanted: Sequence[str]
    ) -> list[str]:
        """The lines of `__call__` that make what the lines of `backward` read and nobody else has a name for."""
        method = _method(class_, "__call__")
        arguments = self._arguments(method, given, backward.known) if method is not None else {}
        if method is None or not arguments:
            return []
        body = list(_taken(method.body, backward.held.get("training")))
        rename = _Rename(layer, arguments, body, backward.held, backward.known)
        sides = [map(ast.unparse, map(rename.visit, copy.deepcopy(pair))) for node in body for pair in _pairs(node)]
        lines = [" = ".join(pair) for pair in sides]
        needed = Code("\n".join(wanted)).reads - set(backward.bound)
        found: list[str] = []
        for line in map(Code, reversed(lines)):
            if needed.intersection(line.binds):
                needed |= line.reads
                found.insert(0, line.source)
        return found


class _Rename(ast.NodeTransformer):
    """A method's names in the terms of our cell: its arguments, what `self` holds; locals get names of their own."""

    def __init__(self, layer: str, arguments: Mapping[str, ast.expr], body: Sequence[ast.stmt],
                 held: dict[str, ast.expr], known: Names) -> None:  # fmt: skip
        self.layer = layer
        self.arguments = arguments
        self.held = held
        self.known = known
        stored = _stored(body)
        self.locals = {node.id for node in stored if isinstance(node, ast.Name)}
        self.made = {node.attr for node in stored if isinstance(node, ast.Attribute)}

    @property
    def bound(self) -> list[str]:
        """What the method binds, as it is called in its lines."""
        return [f"{self.layer}__{name}" for name in (*self.locals, *self.made)]

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.locals:
            return ast.Name(f"{self.layer}__{node.id}", node.ctx)
        return copy.deepcopy(self.arguments[node.id]) if node.id in self.arguments else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
            self.generic_visit(node)
            return node
        if node.attr not in self.made:
            if node.attr in self.held:
                return copy.deepcopy(self.held[node.attr])
            suffix = _SUFFIX.search(self.layer)
            for name in (node.attr + (suffix[0] if suffix else ""), node.attr):
                if name in self.known.tensors or name in self.known.constants:
                    return ast.Name(name, node.ctx)
        return ast.Name(f"{self.layer}__{node.attr}", node.ctx)


def _stored(body: Sequence[ast.stmt]) -> list[ast.AST]:
    """The names and attributes that a method binds."""
    nodes = [node for statement in body for node in ast.walk(statement)]
    return [node for node in nodes if isinstance(getattr(node, "ctx", None), ast.Store)]


def _names(target: ast.expr) -> list[str]:
    """The names of a target, `dx` or `dx, dw`; none where it is, or holds, anything else."""
    found = target.elts if isinstance(target, ast.Tuple) else [target]
    names = [node.id for node in found if isinstance(node, ast.Name)]
    return names if len(names) == len(found) else []


def _straight(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.With):
            yield from _straight(node.body)
        else:
            yield node


def _taken(body: Sequence[ast.stmt], training: ast.expr | None) -> Iterator[ast.stmt]:
    """The statements of a method as they follow each other, with the branch that `self.training` takes."""
    mode = training.value if isinstance(training, ast.Constant) else True
    for node in body:
        test = ast.unparse(node.test) if isinstance(node, ast.If) else ""
        if isinstance(node, ast.If) and test in ("self.training", "not self.training"):
            yield from _taken(node.body if (test == "self.training") == bool(mode) else node.orelse, training)
        else:
            yield node


def _pairs(node: ast.stmt) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Target and value of every assignment in a statement, `a, b = c, d` taken apart."""
    if not isinstance(node, ast.Assign):
        return
    for target in node.targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            yield from zip(target.elts, node.value.elts, strict=False)
        else:
            yield target, node.value


def _method(class_: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    found = [node for node in class_.body if isinstance(node, ast.FunctionDef) and node.name == name]
    return found[-1] if found else None


def _line(class_: ast.ClassDef, attribute: str | None, training: ast.expr | None, place: int = 0) -> int:
    """The line that makes an attribute (`self.dweight`), or what `backward` returns; else the method's first.

    `place` is which of several values it returns.
    """
    method = _method(class_, "backward")
    if method is None:
        return class_.lineno
    returns = [node for node in ast.walk(method) if isinstance(node, ast.Return) and node.value is not None]
    value = returns[0].value if len(returns) == 1 else None
    if isinstance(value, ast.Tuple) and place < len(value.elts):
        value = value.elts[place]
    wanted = attribute or (value.id if isinstance(value, ast.Name) else None)
    if wanted is None:
        return returns[0].lineno if len(returns) == 1 else method.lineno
    made = [node.lineno for node in _taken(method.body, training) if _makes(node, wanted)]
    return made[-1] if made else method.lineno


def _makes(node: ast.stmt, name: str) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
    return not _is_stub(node) and any(ast.unparse(target).split("[")[0] == name for target in targets)


def _is_stub(node: ast.stmt) -> bool:
    """`dx = None`, as it stands in a blank exercise."""
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value is None
