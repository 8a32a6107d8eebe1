"""From the syntax tree of a student's line to a formula: only what `OPERATIONS` holds is understood."""

from __future__ import annotations

import ast
import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import compress
from typing import TypeVar

from grader.diagnosis.formula.calls import call, is_true, literal
from grader.diagnosis.formula.loops import Put, gone_through, stored_names
from grader.diagnosis.formula.node import ALL, AT, NEW, Loop, Node, Pattern, Unsupported, name, number

MAX_DEPTH = 40
COUNTERS = ("t", "k", "i", "step", "place")
"""What a loop's counter is called where the student has none: the first that the cell doesn't use."""

Tree = TypeVar("Tree", bound=ast.AST)

OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Pow: "pow", ast.MatMult: "matmul",
}  # fmt: skip
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip


@dataclass
class Rounds:
    """The rounds of a loop: its counter goes from `first` up to, and not including, `last`; or backward.

    `anew`: the names that the rounds have bound to something else.
    """

    counter: str
    first: Node
    last: Node
    backward: bool = False
    anew: set[str] = field(default_factory=set)

    def place(self, *, first: bool = False) -> Node:
        """Where an element of a list has its place that each round puts behind all others, or before them."""
        late = self.last - number(1) - name(self.counter)
        return late if self.backward != first else name(self.counter) - self.first


class Reader:
    """Reads expressions; what their names and calls of the student's stand for, others may say (`Program`).

    Attributes:
        counters: those of the loops that the expression stands in.
        used: the names of the cell, which no loop's counter may have.
        depth: how deep in a formula it is.
    """

    def __init__(self) -> None:
        self.counters: tuple[str, ...] = ()
        self.used: frozenset[str] = frozenset()
        self.depth = 0

    def look(self, label: str) -> Node:
        """What a name stands for."""
        return name(label)

    def entered(self, call: ast.expr) -> ast.expr | None:
        """What a function of the student's returns, in names that `look` knows; None for what is none of theirs."""
        return None

    def read(self, tree: ast.expr) -> Node:
        """A formula from its syntax tree.

        Raises:
            Unsupported: it holds something that is not understood.
        """
        if self.depth > MAX_DEPTH:
            raise Unsupported
        self.depth += 1
        try:
            return self._read(tree)
        finally:
            self.depth -= 1

    def _read(self, tree: ast.expr) -> Node:
        match tree:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return number(value)
            case ast.Name(id=label):
                return self.look(label)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.read(operand)
                return number(-inner.value) if inner.op == "number" else Node("neg", (inner,))
            case ast.List(elts=[]):
                return Node("elements", (number(0),))
            case ast.BinOp(op=ast.Mult(), left=ast.List(elts=[ast.Constant()]), right=count):
                return Node("elements", (self.read(count),))
            case ast.BinOp(op=sign) if type(sign) in OPERATORS:
                return Node(OPERATORS[type(sign)], (self.read(tree.left), self.read(tree.right)))
            case ast.Attribute(value=ast.Name(id="math" | "torch"), attr="pi"):
                return number(math.pi)
            case ast.Attribute(attr="mT", value=value):
                return Node("swap", (self.read(value),), (-2, -1))
            case ast.Attribute(attr="T" | "data" as attr, value=value):
                return Node("same" if attr == "data" else "transpose", (self.read(value),))
            case ast.Attribute(
                attr="indices", value=ast.Call(func=ast.Attribute(attr="max", value=value), args=[dim, *keep])
            ):
                place = Node("argmax", (self.read(value),), literal(dim))
                keep += [word.value for word in tree.value.keywords if word.arg == "keepdim"]  # type: ignore[attr-defined]
                return Node("unsqueeze", (place,), place.value) if any(map(is_true, keep)) else place
            case ast.Call(func=ast.Attribute() as function):
                return call(tree, function, self.read)
            case ast.IfExp():
                return Node("if", tuple(self.read(part) for part in (tree.test, tree.body, tree.orelse)))
            case ast.Compare(left=left, ops=[sign], comparators=[right]) if type(sign) in COMPARISONS:
                return Node(COMPARISONS[type(sign)], (self.read(left), self.read(right)))
            case ast.BoolOp(op=ast.And(), values=[first, *rest]):
                others = self.read(rest[0] if len(rest) == 1 else ast.BoolOp(ast.And(), rest))
                return Node("if", (self.read(first), others, number(0)))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Node("if", (self.read(operand), number(0), number(1)))
            case ast.ListComp(elt=element, generators=[around]) | ast.GeneratorExp(elt=element, generators=[around]):
                return self._list(element, around)
            case ast.Call(func=ast.Name()) if (returned := self.entered(tree)) is not None:
                return self.read(returned)
            case ast.Call(func=ast.Name(id="len"), args=[value], keywords=[]):
                return Node("size", (self.read(value),), 0)
            case ast.Call(func=ast.Name(id="sum"), args=[value], keywords=[]):
                return Node("sum", (self.read(value),), ((0,), False))
            case ast.Call(func=ast.Name(id="slice"), args=[_, *_] as ends, keywords=[]):
                three = [None, *ends, None] if len(ends) == 1 else [*ends, None][:3]
                there = [end is not None and not (isinstance(end, ast.Constant) and end.value is None) for end in three]
                return Node("slice", tuple(self.read(end) for end in compress(three, there) if end), tuple(there))
            case (
                ast.Subscript(value=value, slice=ast.Slice(None, None, ast.UnaryOp(ast.USub(), ast.Constant(value=1))))
                | ast.Call(func=ast.Name(id="list"), args=[ast.Call(func=ast.Name(id="reversed"), args=[value])])
            ):
                return Node("flip", (self.read(value),), (0,))
            case ast.Subscript(value=ast.Attribute(attr="shape", value=value)):
                return Node("size", (self.read(value),), literal(tree.slice))
            case ast.Subscript():
                pattern, numbers = self.places(tree.slice)
                inner = self.read(tree.value)
                if pattern.count(NEW) == 1 and not numbers:
                    return Node("unsqueeze", (inner,), pattern.index(NEW))
                return Node("pick", (inner, *numbers), pattern)
        raise Unsupported

    def _list(self, element: ast.expr, loop: ast.comprehension) -> Node:
        """`[… for t in range(T)]`: the elements stacked."""
        if loop.ifs:
            raise Unsupported
        rounds, [element] = self.around(loop, [element])
        if isinstance(element, ast.Constant) and element.value is None:
            return Node("elements", (rounds.last,))
        with self.within(rounds.counter):
            value = self.read(element)
        start = Node("elements", (rounds.last - rounds.first,))
        return Node("loop", (start, rounds.first, rounds.last, value, rounds.place()),
                    Loop(rounds.counter, "", "set", (AT,)))  # fmt: skip

    def around(self, loop: ast.For | ast.comprehension, body: list[Tree]) -> tuple[Rounds, list[Tree]]:
        """The rounds of a loop, and its body with elements of lists in place of the loop's names for them.

        Raises:
            Unsupported: it goes through something else.
        """
        over = gone_through(loop.target, loop.iter)
        if over is None or stored_names(body) & over.elements.keys():
            raise Unsupported
        free = (each for each in COUNTERS if each not in self.used and each not in self.counters)
        counter = over.counter or next(free, None)
        if counter is None:
            raise Unsupported
        place = ast.Name(counter, ast.Load())
        put = Put({each: ast.Subscript(those, place, ast.Load()) for each, those in over.elements.items()})
        rounds = Rounds(counter, self.read(over.first), self.read(over.last), over.backward)
        return rounds, [put.into(line) for line in body] if over.elements else body

    @contextlib.contextmanager
    def within(self, counter: str) -> Iterator[None]:
        """Inside of a loop its counter stands for itself."""
        self.counters = (*self.counters, counter)
        try:
            yield
        finally:
            self.counters = self.counters[:-1]

    def places(self, tree: ast.expr) -> tuple[Pattern, list[Node]]:
        """What stands in the brackets of `x[…]`: the pattern, and the numbers in it.

        Raises:
            Unsupported: it holds something that is not understood.
        """
        pattern: list[str | tuple[bool, bool, bool]] = []
        numbers: list[Node] = []
        for item in tree.elts if isinstance(tree, ast.Tuple) else [tree]:
            if isinstance(item, ast.Slice):
                ends = (item.lower, item.upper, item.step)
                numbers += [self.read(end) for end in ends if end is not None]
                pattern.append((ends[0] is not None, ends[1] is not None, ends[2] is not None) if any(ends) else ALL)
            elif isinstance(item, ast.Constant) and item.value is None:
                pattern.append(NEW)
            else:
                numbers.append(self.read(item))
                pattern.append(AT)
        return tuple(pattern), numbers
