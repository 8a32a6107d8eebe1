"""A formula as a small tree that can be computed again, and changed, without running the student's code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from torch import Tensor

MAX_NODES = 160
Value = Tensor | int | float

ALL, NEW, AT = ":", "None", "i"
Pattern = tuple[str | tuple[bool, bool, bool], ...]
"""What stands in the brackets of `x[…]`, without its numbers: for a slice, which of its three are given."""


class Unsupported(Exception):
    """A formula that is not understood, or that can't be computed."""


@dataclass(frozen=True, eq=False)
class Node:
    """A formula: an operation on other formulas. `value` is what no formula is: a number, a name, dimensions."""

    op: str
    args: tuple[Node, ...] = ()
    value: Any = None

    @cached_property
    def reads(self) -> frozenset[str]:
        """The names in it, without the counters of loops in it."""
        if self.op == "name":
            return frozenset([self.value])
        found = frozenset[str]().union(*(argument.reads for argument in self.args[3:]))
        if self.op == "loop":
            found -= {self.value.counter}
        return found.union(*(argument.reads for argument in self.args[:3]))

    def __add__(self, other: Node) -> Node:
        return Node("add", (self, other))

    def __sub__(self, other: Node) -> Node:
        return Node("sub", (self, other))

    def __mul__(self, other: Node) -> Node:
        return Node("mul", (self, other))

    def __truediv__(self, other: Node) -> Node:
        return Node("div", (self, other))

    def __pow__(self, other: Node) -> Node:
        return Node("pow", (self, other))

    def __neg__(self) -> Node:
        return Node("neg", (self,))


class Loop(NamedTuple):
    """What a `loop` node does in each round: it writes `args[3]` into `args[0]`.

    The counter goes from `args[1]` up to `args[2]`; the other arguments are the numbers of the pattern. A list, into
    which elements are written, is an `elements` node at first, and then its elements stacked.

    Attributes:
        counter: the loop's own name; empty where the statement stands in no loop.
        target: the name that is written to.
        how: `set`, `add` or `sub`.
        pattern: the places; None where the whole is written to.
        backward: whether the last round comes first.
    """

    counter: str
    target: str
    how: str
    pattern: Pattern | None
    backward: bool = False


def number(value: float) -> Node:
    """A formula that is a number."""
    return Node("number", value=value)


def name(value: str) -> Node:
    """A formula that is a name."""
    return Node("name", value=value)


def use(value: str, formula: Node) -> Node:
    """One use of a name that the student gave to a formula: every use is a node of its own, the formula is shared."""
    return Node("use", (formula,), value)


def parts(node: Node) -> list[Node]:
    """All parts of a formula, itself first, each once; no more of them than one too many."""
    found: dict[Node, None] = {}
    pending = [node]
    while pending and len(found) <= MAX_NODES:
        part = pending.pop()
        if part not in found:
            found[part] = None
            pending.extend(reversed(part.args))
    return list(found)


def exchanged(node: Node, old: Node, new: Node) -> Node:
    """The formula with one of its parts exchanged, wherever it occurs."""
    done = {old: new}

    def exchange(part: Node) -> Node:
        if part not in done:
            arguments = tuple(map(exchange, part.args))
            same = all(a is b for a, b in zip(arguments, part.args, strict=True))
            done[part] = part if same else Node(part.op, arguments, part.value)
        return done[part]

    return exchange(node)
