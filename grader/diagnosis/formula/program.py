"""A part's program: the student's statements, and what cells of ours do with their functions and methods.

It is gone through with formulas in place of tensors, and nothing is run. What is not understood makes a name of which
nothing is known.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from grader.diagnosis.formula.loops import Put
from grader.diagnosis.formula.node import Unsupported
from grader.diagnosis.formula.statements import NOTHING, Callee, Statements
from grader.intake.take_in import PlannedCell
from grader.notebook.code import Code
from grader.notebook.syntax import names_read

_CALL = Code("def __call__(self, x): return super().__call__(x)").tree.body[0]
"""The forward pass of a class that inherits it."""


class Made(NamedTuple):
    """What of the student's makes a gradient that a cell of ours binds: its `Callee.code`, its cell, and the line."""

    code: str
    cell: int
    line: int


class Program(Statements):
    """What a part's names are computed by.

    Args:
        cells: the submission's cells as they were run.
        part: the part.
        leaves, tensors, constants: as in `Names`.

    Attributes:
        made: for each gradient that a cell of ours binds, what of the student's makes it.
    """

    def __init__(self, cells: Sequence[PlannedCell], part: str, leaves: Collection[str] = (),
                 tensors: Collection[str] = (), constants: Collection[str] = ()) -> None:  # fmt: skip
        super().__init__(leaves, tensors, constants)
        self.made: dict[str, Made] = {}
        self._ours: dict[str, ast.expr] = {}
        student = [(index, node) for index, cell in enumerate(cells) if cell.student for node in cell.code.tree.body]
        self._classes = {node.name: (index, node) for index, node in student if isinstance(node, ast.ClassDef)}
        self.callees = {node.name: Callee(index, node, node.name)
                        for index, node in student if isinstance(node, ast.FunctionDef)}  # fmt: skip
        own = [cell for cell in cells if cell.part == part]
        for cell in own:
            if cell.student:
                self.used = frozenset(node.id for node in cell.code.nodes if isinstance(node, ast.Name))
                self.run(cell.code.tree.body)
        for cell in own:
            if cell.role == "backward":
                self._run_ours(cell.code.tree.body)

    def _run_ours(self, body: Sequence[ast.stmt]) -> None:
        for node in body:
            put = Put({}, {layer: layer for layer in self.layers})
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
                self.training[label] = flag
            case ast.Name(id=label), _ if self._layer_of(label):
                self._beside = True
                self.bind(target, value)
                self._beside = False
            case _:
                names = [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]
                self._ours |= dict.fromkeys(names, value)
                if any(label in self.callees or self._layer_of(label) for label in names_read(value)):
                    self.run([ast.Assign([target], value)])
                self.made |= {label: made for place, label in enumerate(names) if (made := self._maker(value, place))}

    def _begin_layer(self, layer: str, cell: int, class_: ast.ClassDef) -> None:
        self.layers.add(layer)
        for node in (_CALL, *class_.body):
            if isinstance(node, ast.FunctionDef) and node.args.args:
                label = layer if node.name == "__call__" else f"{layer}__{node.name}"
                self.callees[label] = Callee(cell, node, f"{class_.name}.{node.name}", layer)

    def _layer_of(self, label: str) -> str | None:
        """The layer whose attribute a name is, or that it is itself."""
        layer = label.partition("__")[0]
        return layer if layer in self.layers else None

    def _maker(self, value: ast.expr, place: int) -> Made | None:
        """What of the student's makes a value, or one of several; its lines have just been gone through."""
        callee, _ = self.called(value)
        made = value
        if callee is not None:
            made = self.returned[-1] if self.returned else NOTHING
        elif isinstance(value, ast.Name) and (layer := self._layer_of(value.id)) is not None:
            callee = self.callees.get(f"{layer}__backward")
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
                if (found := self.callees.get(label)) is not None and not found.layer:
                    return Made(found.code, found.cell, found.function.lineno)
                pending += [self._ours[label]] if label in self._ours else []
        return None


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Target and value of an assignment, `a, b = c, d` taken apart."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        yield from zip(target.elts, value.elts, strict=False)
    else:
        yield target, value
