"""Where the true gradient is zero up to rounding: whether a line with a right value is right.

Minus zero is zero, and so is half of it. So the part is run detached twice, with different random numbers in the
gradients that such a line starts from, and all else the same. By how much its value must move between the two is known
from the reference's graph. A slip is called one only where the line took the numbers up and made something else of
them. Where it didn't, or where anything else is different in the second run, nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from grader.course.part_reference import PartReference
from grader.execution.detached import DetachedRun
from grader.execution.tensors import Export, StudentTensor
from grader.marking.line_alone import NEAR, Alone
from grader.marking.tolerance import FLOAT64, conformed
from grader.notebook.gradient_names import gradient_of, tensor_of

ZERO = 1e-9
"""A true gradient smaller than this share of the gradients it is computed from is zero up to rounding."""


class Edge(NamedTuple):
    """A step of the chain rule that right values prove little of: from `dupper` to `dlower`; `zero` is one of them."""

    upper: str
    lower: str
    zero: str


class Finding(Enum):
    """What two detached runs say of one step of the chain rule."""

    FOLLOWS = "what the chain rule gives"
    SLIPS = "something else"
    UNMOVED = "the same as before: it does not start from there"
    UNKNOWN = "nothing"


class Trial(NamedTuple):
    """One step that was tried: what was found, and under which name the upstream went.

    `export` is the part as the second run had it, where the step slips.
    """

    edge: Edge
    finding: Finding
    name: str
    export: Export | None = None

    @property
    def slip(self) -> str:
        """What a student is told of a slip."""
        return (
            f"{self._zero}, so a comparison can't show a slip here. But with different numbers in `{self.name}` the "
            "line doesn't give what the chain rule gives."
        )

    @property
    def doubt(self) -> str:
        """What a student is told where the step is right as far as anybody can see."""
        if self.finding is Finding.UNMOVED:
            return f"{self._zero}, so a right value proves little here; it doesn't change with `{self.name}`."
        return (
            f"{self._zero}, so a right value proves little here, and the line could not be tried with different "
            "numbers."
        )

    @property
    def _zero(self) -> str:
        if self.edge.zero == self.edge.lower:
            return f"The true gradient of `{self.edge.lower}` is zero up to rounding"
        return f"What comes through `{self.edge.upper}` is zero up to rounding"


# --- what to try


def zero_gradients(checked: Sequence[str], references: Sequence[PartReference]) -> set[str]:
    """The tensors whose checked gradients are zero but for rounding in every case, whatever their consumers' are."""
    return {
        tensor_of(gradient)
        for gradient in checked
        if references and all(_is_zero(tensor_of(gradient), reference) for reference in references)
    }


def _is_zero(name: str, reference: PartReference) -> bool:
    above = [reference.gradients[consumer] for consumer in reference.consumers.get(name, []) if consumer != "loss"]
    largest = max((_size(gradient) for gradient in above), default=0.0)
    return name in reference.gradients and _size(reference.gradients[name]) < ZERO * largest


def edges(checked: Sequence[str], references: Sequence[PartReference]) -> list[Edge]:
    """The steps to try: those to a gradient that is zero, and those from one to a gradient that is checked."""
    zero = zero_gradients(checked, references)
    return [
        Edge(upper, lower, lower if lower in zero else upper)
        for lower in (tensor_of(name) for name in checked if zero)
        for upper in references[0].consumers.get(lower, [])
        if upper != "loss" and (lower in zero or upper in zero)
    ]


# --- what came of it


def judge(alone: Alone | None, tried: Sequence[Edge]) -> list[Trial]:
    """What two detached runs say of the steps to try.

    Args:
        alone: the part in the case in which it was run detached twice, where it was.
        tried: the steps.
    """
    if alone is None or len(alone.runs) < 2 or not alone.sound:
        return [Trial(edge, Finding.UNKNOWN, gradient_of(edge.upper)) for edge in tried]
    first, second = alone.runs[:2]
    return [_judge(alone, edge, first, second) for edge in tried]


def _judge(alone: Alone, edge: Edge, first: DetachedRun, second: DetachedRun) -> Trial:
    lower = gradient_of(edge.lower)
    if edge.upper in alone.handed and alone.follows_all(lower):
        return Trial(edge, Finding.FOLLOWS, alone.variable(gradient_of(edge.upper)))
    name, moves = _moves(alone, edge, first, second)
    start, end = (_number(run.recorded.get(lower), alone.reference, edge.lower) for run in (first, second))
    changed = {found for run in (first, second) for found in run.changed if found == lower or found not in run.shared}
    spoiled = {lower, name, *map(gradient_of, moves)} & changed
    if edge.upper not in moves or start is None or end is None or spoiled:
        return Trial(edge, Finding.UNKNOWN, name)
    largest = max(float(way.abs().max()) for ways in moves.values() for way in ways)
    moved = end - start

    def explained(ways: Mapping[str, Sequence[Tensor]]) -> bool:
        sums = (sum(some, torch.zeros_like(moved)) for some in product(*ways.values()))
        return any(float((moved - each).abs().max()) <= NEAR * largest for each in sums)

    still = {other: (torch.zeros_like(moved), *ways) for other, ways in moves.items()}
    if explained({**still, edge.upper: moves[edge.upper]}):
        return Trial(edge, Finding.FOLLOWS, name)
    if explained({**still, edge.upper: still[edge.upper][:1]}):
        return Trial(edge, Finding.UNMOVED, name)
    return Trial(edge, Finding.SLIPS, name, _export(alone, edge, second))


def _moves(alone: Alone, edge: Edge, first: DetachedRun, second: DetachedRun) -> tuple[str, dict[str, list[Tensor]]]:
    """The upstream's name, and by how much `dlower` may move for each gradient that has different numbers.

    By what the chain rule's step from one to the other adds; or by all paths, where a line skips what is between them.
    A student may call the gradient of `hprebn` anything: which name it is, its value tells.
    """
    reference = alone.reference
    changes: dict[str, Tensor] = {}
    used = {*first.recorded, *alone.upstream, *alone.lines.reads.get(gradient_of(edge.lower), ())}
    for other in sorted(alone.handed):
        if gradient_of(other) in second.others and gradient_of(other) in used and other != edge.lower:
            right = reference.gradients[other]
            numbers = [run.numbers(gradient_of(other), right.shape) for run in (first, second)]
            changes[other] = (numbers[1] - numbers[0]).to(right)
    name = alone.variable(gradient_of(edge.upper))
    if edge.upper not in changes:
        follows = alone.chained(alone.handed)[edge.upper]
        for own, given in second.given.items():
            value, drawn = (_number(found, reference, edge.upper) for found in (first.recorded.get(own), given))
            if value is not None and drawn is not None and value.any() and FLOAT64.holds(value, follows):
                name, changes[edge.upper] = own, drawn - value
    zeros = {other: torch.zeros_like(tensor) for other, tensor in reference.gradients.items()}
    still = reference.chained(zeros)[edge.lower]
    moves: dict[str, list[Tensor]] = {}
    for other, change in changes.items():
        step = reference.chained({**zeros, other: change})[edge.lower] - still
        ways = (step, reference.local(other, change, [edge.lower])[edge.lower])
        if moved := [way for way in ways if bool(way.any())]:
            moves[other] = moved
    return name, moves


def _export(alone: Alone, edge: Edge, run: DetachedRun) -> Export:
    """The part as the second run had it, for a diagnosis of the step."""
    shown = alone.export(gradient_of(edge.lower), run)
    for own in run.given.values():
        if _number(own, alone.reference, edge.upper) is not None:
            shown.setdefault(gradient_of(edge.upper), own)
    return shown


def _number(found: StudentTensor | None, reference: PartReference, tensor: str) -> Tensor | None:
    """A value in the shape of a tensor of the forward pass; None where it has none that can be compared."""
    if found is None or found.tensor is None or tensor not in reference.gradients:
        return None
    value = conformed(found.tensor, reference.gradients[tensor].shape)
    value = None if value is None else value.to(reference.gradients[tensor].dtype)
    return value if value is not None and bool(torch.isfinite(value).all()) else None


def _size(tensor: Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0
