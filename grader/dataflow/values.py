"""What the interpreter knows of a value, instead of the value."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from grader.records import Record

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
OriginKind = Literal["engine", "beside", "unreadable"]


class Origin(Record, frozen=True):
    """Where a number came from autograd: the planned cell, the line in it, the expression.

    `engine`: torch's engine made it, so that scaling the engine's results shows it. `beside`: an optimizer's step, or
    autograd's formulas without its engine. `unreadable`: code that is put together only when it runs.
    """

    cell: int
    line: int
    text: str
    kind: OriginKind = "engine"


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function of the notebook's own, the cell it stands in, and whether that is the release's."""

    node: FunctionNode
    cell: int
    trusted: bool


@dataclass(frozen=True, slots=True, eq=False)
class Class:
    """A class of the notebook's own. `differentiable`: derived from `torch.autograd.Function`."""

    methods: dict[str, Function] = field(default_factory=dict)
    differentiable: bool = False


@dataclass(frozen=True, slots=True)
class Value:
    """Where a value's numbers come from autograd, and what is needed to see through other names for it.

    Attributes:
        origins: empty for a value that holds no number of autograd's.
        path: the dotted name of a module or its member, `torch.autograd`; of a builtin; or a made-up one with
            brackets, `globals()`.
        text: the string that it is, where that is known.
        names: the names whose object it may be or lie in, also `layer.weight`.
        items: its elements, where all are known.
        code: the notebook's own function that it is, and `bound`, the arguments it holds already.
        kind: the notebook's own class that it is, or is an object of.
    """

    origins: frozenset[Origin] = frozenset()
    path: str = ""
    text: str | None = None
    names: frozenset[str] = frozenset()
    items: tuple[Value, ...] = ()
    code: Function | None = None
    bound: tuple[Value, ...] = ()
    kind: Class | None = None


NOTHING = Value()


def joined(values: Iterable[Value]) -> Value:
    """A value computed from others: their origins."""
    return Value(origins=frozenset().union(*(value.origins for value in values)))


def holding(values: Iterable[Value]) -> Value:
    """A container of others, or one of them: their origins and their names."""
    found = list(values)
    return replace(joined(found), names=frozenset().union(*(value.names for value in found)))


def either(one: Value, other: Value) -> Value:
    """A value that is one of two."""
    if one == other:
        return one
    return replace(one, origins=one.origins | other.origins, names=one.names | other.names, items=(), text=None)


@dataclass(frozen=True, slots=True)
class Call:
    """A call whose operands are known. `name` is what is called, without what it is looked up in."""

    node: ast.Call
    function: Value
    receiver: Value | None
    name: str
    args: Sequence[Value]
    keywords: Mapping[str, Value]

    @property
    def operands(self) -> list[Value]:
        """The arguments, however they were given."""
        return [*self.args, *self.keywords.values()]

    def argument(self, index: int) -> Value:
        """A positional argument, or nothing."""
        return self.args[index] if index < len(self.args) else NOTHING
