"""Changes within a student's formula that would make it another one, and what it is changed with.

A kind of change takes one part of a formula and yields what may stand in its place: the new part, the code, and the
sentence with the parts that it quotes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from grader.diagnosis.case_view import Scene
from grader.diagnosis.formula.expression import write
from grader.diagnosis.formula.node import ALL, AT, Node, Value, exchanged, name, number, parts
from grader.notebook.gradient_names import gradient_of
from grader.records import Diagnosis
from grader.wording import quoted

EMPTY = ("number", "size", "count", "ones_like", "zeros_like", "slice")
"""Parts that hold no tensor's numbers."""
POWERS = (-3.0, -2.5, -2.0, -1.5, -1.0, -0.5, 0.5, 1.5, 2.0, 3.0)
"""Exponents that are tried in place of another."""
MAX_SIZES = 8
"""Sizes that are tried in place of another number, besides the first."""
MAX_WEIGHTS = 4
"""Numbers with a name that may be a factor in the loss."""


class Candidate(NamedTuple):
    """What may be missing in a formula: its name for the student, the formula that it is, and its value in one case."""

    label: str
    node: Node
    value: Tensor


@dataclass
class Context:
    """A formula, and what it may be changed with.

    Attributes:
        formula: the student's.
        first: the case whose values say what has which shape.
        near: what may be put in, and takes part in the step.
        far: all the rest.
        sizes: names of sizes, `n` before all.
        weights: the named numbers that are no sizes: what a term of the loss may be weighted with.
    """

    formula: Node
    first: Scene
    near: Sequence[Candidate]
    far: Sequence[Candidate]

    def __post_init__(self) -> None:
        loops = [part.value for part in parts(self.formula) if part.op == "loop"]
        self.counters: dict[str, Value] = {loop.counter: 1 for loop in loops if loop.counter}
        self.everything = [*self.near, *self.far]
        self.known = {one.label for one in self.everything}
        dims = {size for tensor in self.first.forward.values() for size in tensor.shape if size > 2}
        named = sorted(self.first.names.items(), key=lambda pair: len(pair[0]))
        short = [label for label, value in named if type(value) is int and value in dims]
        self.sizes = short[:1] + [label for label in short[1:] if label != "batch_size"][:MAX_SIZES]
        self.weights = [label for label, value in named if type(value) is float][:MAX_WEIGHTS]

    def value(self, node: Node) -> Tensor | None:
        """What a part gives in the first case, in a loop in its second round; None where that can't be computed."""
        return self.first.value(node, self.counters or None)

    @cached_property
    def parts(self) -> list[Node]:
        """The parts that may be wrong: of what is put together of several pieces, not the pieces that are right."""
        right = {part for piece in self._right_pieces() for part in parts(piece)}
        once = [part for part in parts(self.formula) if part.op == "loop" and not part.value.counter]
        right |= {bound for part in once for bound in part.args[1:3]}  # what stands in no loop has no rounds to count
        return [part for part in parts(self.formula) if part not in right]

    def _right_pieces(self) -> Iterator[Node]:
        joined = self.formula.args[3] if self.formula.op == "loop" else self.formula
        values = map(self.value, joined.args if joined.op == "cat" else ())
        pieces = [value for value in values if value is not None]
        found, expected = self.first.stretched(self.formula), self.first.expected
        if not pieces or len(pieces) < len(joined.args) or found is None:
            return
        dim = joined.value if joined.value < 0 else joined.value - pieces[0].dim()
        sizes = [piece.shape[dim] for piece in pieces]
        if sum(sizes) == expected.shape[dim]:
            sides = zip(joined.args, found.split(sizes, dim), expected.split(sizes, dim), strict=True)
            yield from (part for part, here, right in sides if self.first.tolerance.holds(here, right))

    @property
    def further(self) -> Context:
        """The same, where what is put in comes from further away and is no number."""
        other = replace(self, near=self.far, far=[])
        other.sizes, other.weights, other.probabilities = [], [], []
        return other

    @cached_property
    def rank(self) -> int:
        """The dimensions of the largest tensor that the formula names, two at least."""
        values = [self.first.names.get(part.value) for part in parts(self.formula) if part.op == "name"]
        return max([2, *(value.dim() for value in values if isinstance(value, Tensor))])

    def is_size(self, node: Node) -> bool:
        """Whether a part is the name of a size."""
        return node.op == "name" and node.value in self.sizes

    def is_gradient(self, node: Node) -> bool:
        """Whether a part is a use of a gradient that the exercise has a name for."""
        return node.op == "use" and node.value in map(gradient_of, self.known)

    def alike(self, node: Node) -> list[Candidate]:
        """The other candidates of a part's shape."""
        here = self.value(node)
        return [one for one in self.everything
                if here is not None and one.label != node.value and one.value.shape == here.shape]  # fmt: skip

    @cached_property
    def factors(self) -> list[Candidate]:
        """What may be missing in a product; also `1 - s` and `1 - t**2`, for what may be a logistic one or a tanh."""
        floating = [one for one in self.near if one.value.dim() and one.value.is_floating_point()]
        elements = self.elements
        found = [*floating, *_complements(floating), *elements, *_complements(elements), *_logistic(elements)]
        return [*found, *self.neighbours]

    @cached_property
    def elements(self) -> list[Candidate]:
        """In a loop the elements of a vector, or of a list, that its counter goes through: `w[k]`, `h[t]`."""
        return [one for counter in sorted(self.counters) for one in self._elements(counter, name(counter))]

    @cached_property
    def neighbours(self) -> list[Candidate]:
        """In a loop the elements at the other places at which the formula looks: `h[t + 1]`."""
        looked = [part.args[1] for part in parts(self.formula) if part.op == "pick" and part.value == (AT,)]
        places = {write(place): place for place in looked if place.op in ("add", "sub")}
        return [one for text, place in places.items() for one in self._elements(text, place)] if self.counters else []

    def _elements(self, text: str, place: Node) -> list[Candidate]:
        floating = [one for one in self.near if one.value.is_floating_point()]
        lists = [one for one in floating if one.value.dim() == 1 or self._is_list(one.label.removeprefix("d"))]
        return [self._element(one, text, place) for one in lists]

    @cached_property
    def columns(self) -> list[Candidate]:
        """In a loop the columns of a table of indices: `Xb[:, t]`."""
        return [
            Candidate(f"{one.label}[:, {counter}]", Node("pick", (one.node, name(counter)), (ALL, AT)), one.value[:, 0])
            for counter in sorted(self.counters)
            for one in self.everything
            if one.value.dtype is torch.int64 and one.value.dim() == 2
        ]

    def _is_list(self, label: str) -> bool:
        reference = self.first.reference
        return label in reference.lists or label in reference.sequences

    @staticmethod
    def _element(one: Candidate, text: str, place: Node) -> Candidate:
        return Candidate(f"{one.label}[{text}]", Node("pick", (one.node, place), (AT,)), one.value[0])

    @cached_property
    def probabilities(self) -> list[Candidate]:
        """What a loss may make of the tensor that it is computed from: its softmax, where an example has a row."""
        scene = self.first
        last = [label for label, uses in scene.reference.consumers.items() if uses == ["loss"]]
        whole = [Candidate(one, name(one), scene.forward[one]) for one in last if scene.forward[one].dim() > 1]
        steps = [self._element(one, at, name(at)) for one in whole if self._is_list(one.label) for at in self.counters]
        return [one._replace(node=Node("softmax", (one.node,), -1)) for one in [*whole, *steps]]


def less_one(size: str) -> Node:
    """`n - 1`."""
    return name(size) - number(1)


def _logistic(candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    """The derivative of a logistic function, for what lies between 0 and 1."""
    for one in _complements(candidates):
        if one.node.args[1].op != "pow":
            label = one.label.removeprefix("1 - ")
            yield Candidate(f"{label} * ({one.label})", one.node.args[1] * one.node, one.value * (1 - one.value))


def _complements(candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    for one in candidates:
        if not one.value.numel():
            continue
        lowest, highest = float(one.value.min()), float(one.value.max())
        if highest <= 1 and lowest >= 0:
            yield Candidate(f"1 - {one.label}", number(1) - one.node, 1 - one.value)
        elif highest <= 1 and lowest >= -1:
            yield Candidate(f"1 - {one.label}**2", number(1) - one.node ** number(2), 1 - one.value**2)


# --- the changes

Change = tuple[Node, str, str, *tuple[Node, ...]]
"""What may stand in a part's place, the code, and the sentence with the parts that it quotes."""
Kind = Callable[[Node, Context], Iterator[Change]]


class Edit(NamedTuple):
    """A changed formula, and what is wrong with the unchanged one if this one is right.

    The sentence is written out only when it is said, for most never are.
    """

    formula: Node
    code: str
    text: str
    quotes: Sequence[Node]

    @property
    def diagnosis(self) -> Diagnosis:
        """The edit as it is reported."""
        message = self.text.format(*(quoted(write(node)) for node in self.quotes))
        return Diagnosis(code=self.code, message=message)


def edits(kinds: Sequence[Kind], context: Context) -> Iterator[Edit]:
    """The formulas that changes in one place make, kind by kind and part by part."""
    whole = context.parts
    for kind in kinds:
        for part in whole:
            for new, code, text, *quotes in kind(part, context):
                yield Edit(exchanged(context.formula, part, new), code, text, quotes)
