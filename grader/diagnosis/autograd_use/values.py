"""What the interpreter knows of a value, instead of the value."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from grader.records import Record

MAX_NAMES = 200
MAX_TEXT = 20_000
"""A value with more names, a longer string, is not followed: neither is what a student writes."""

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


@dataclass(frozen=True, slots=True, eq=False)  # values share parts: to compare them deeply could take for ever
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
        coded: whether it may hold a function or an object of the notebook's own.
    """

    origins: frozenset[Origin] = frozenset()
    path: str = ""
    text: str | None = None
    names: frozenset[str] = frozenset()
    items: tuple[Value, ...] = ()
    code: Function | None = None
    bound: tuple[Value, ...] = ()
    kind: Class | None = None
    coded: bool = False

    def named(self, name: str) -> Value:
        """The same value, bound to a name."""
        return self if name in self.names else replace(self, names=self.names | {name})

    @property
    def is_inert(self) -> bool:
        """Whether neither a number of autograd's nor code of the notebook's own can come of it."""
        return not (self.origins or self.coded or self.code is not None or self.kind is not None)


NOTHING = Value()


def joined(values: Iterable[Value]) -> Value:
    """A value computed from others: their origins."""
    return Value(origins=frozenset().union(*(value.origins for value in values)))


def holding(values: Iterable[Value]) -> Value:
    """A container of others, or one of them: their origins and their names."""
    found = list(values)
    names = frozenset().union(*(value.names for value in found))
    coded = any(value.coded or value.code is not None or value.kind is not None for value in found)
    return replace(joined(found), names=names if len(names) <= MAX_NAMES else frozenset(), coded=coded)


def known(text: str) -> Value:
    """A string that is known, unless it is too long to be worth it."""
    return Value(text=text) if len(text) <= MAX_TEXT else NOTHING


def either(one: Value, other: Value) -> Value:
    """A value that is one of two."""
    if one is other:
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
