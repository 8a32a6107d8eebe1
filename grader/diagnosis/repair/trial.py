"""One case in which a formula is tried: what its names stand for there, and what it should give."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from grader.diagnosis.case_view import Scene
from grader.diagnosis.formula.expression import Environment, Node, Unsupported, Value, evaluate
from grader.diagnosis.formula.formula import meanings
from grader.marking.tolerance import conformed


class Trial:
    """One case, or one case with random upstream gradients: names, and what the formula should give."""

    def __init__(self, scene: Scene, names: Environment, expected: Tensor) -> None:
        self.scene = scene
        self.names = names
        self.expected = expected
        self.known: dict[Node, Value] = {}

    def value(self, node: Node, *, keep: bool = False) -> Tensor | None:
        """What a formula gives here, or None."""
        try:
            found = evaluate(node, self.names, self.known, keep)
        except Unsupported:
            return None
        return found if isinstance(found, Tensor) else torch.tensor(float(found), dtype=torch.float64)

    def stretched(self, node: Node) -> Tensor | None:
        """The same in the shape of what is expected, or None."""
        found = self.value(node)
        return None if found is None else conformed(found, self.expected.shape)

    def right(self, node: Node) -> bool:
        """Whether a formula gives what it should."""
        return self.fits(self.stretched(node))

    def scale(self, node: Node) -> float | None:
        """The one number by which a formula's value must be multiplied to be right; None where there is none."""
        return self.scale_of(self.stretched(node))

    def fits(self, found: Tensor | None) -> bool:
        """Whether a value in the expected shape is the right one."""
        return found is not None and self.scene.tolerance.holds(found, self.expected)

    def scale_of(self, found: Tensor | None) -> float | None:
        """`scale` for a value in the expected shape."""
        if found is None:
            return None
        square = float((found * found).sum())
        if not 0 < square < math.inf or float(self.expected.abs().max()) == 0:
            return None
        scale = float((found * self.expected).sum()) / square
        return scale if self.scene.tolerance.holds(found * scale, self.expected) else None


def trials_of(scenes: Sequence[Scene]) -> list[Trial]:
    """A trial for each case, then one with random gradients from above for each of the first two."""
    return [*(Trial(scene, meanings(scene), scene.expected) for scene in scenes), *map(_random_trial, scenes[:2])]


def _random_trial(scene: Scene) -> Trial:
    """Random gradients from above, the same numbers every time."""
    generator = torch.Generator().manual_seed(len(scene.name))
    own: Mapping[str, Tensor] = {
        name: torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
        for name, tensor in scene.own.items()
        if name in scene.descendants
    }
    names = {**meanings(scene), **{f"d{name}": tensor for name, tensor in own.items()}}
    return Trial(scene, names, scene.reference.chained(own)[scene.name])
