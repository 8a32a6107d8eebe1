"""One wrong tensor in all the cases that speak of it, and the student's lines that made it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from functools import cached_property

import torch
from torch import Tensor

from grader.diagnosis.case_view import COARSE, Scene
from grader.diagnosis.formula.bindings import Line, names_behind
from grader.diagnosis.formula.node import Node
from grader.diagnosis.formula.program import Program
from grader.diagnosis.gradient_lines import GradientLines
from grader.diagnosis.guess import Guess
from grader.execution.tensors import Export, StudentTensor
from grader.marking.case_values import CaseValues
from grader.marking.tolerance import FLOAT64, conformed
from grader.marking.verdicts import PartMarks
from grader.notebook.gradient_names import gradient_of, tensor_of

MAX_HYPOTHESES = 3000
"""What is tried for one wrong tensor at most, guesses and changed formulas together.

Counted and not timed, so that the same notebook gets the same answer on every machine. The simple ones come first.
"""


class Budget:
    """How many hypotheses may still be tried."""

    def __init__(self) -> None:
        self.left = MAX_HYPOTHESES

    def spend(self) -> bool:
        """Take one; whether there was one left."""
        self.left -= 1
        return self.left >= 0


class WrongTensor:
    """A wrong tensor.

    Attributes:
        gradient: the student's name for it, `dX`.
        name: the tensor's own name, `X`.
        scenes: one for every hidden case that speaks of it; empty where none can be diagnosed from.
        budget: what may still be tried, for this tensor and for those on the way to it.
        formula: what a gradient is computed by that stands between two asked ones; None for all others.
    """

    def __init__(self, marks: PartMarks, where: GradientLines, gradient: str, cases: Sequence[CaseValues]) -> None:
        self.marks = marks
        self.where = where
        self.gradient = gradient
        self.name = tensor_of(gradient)
        self.budget = Budget()
        self.formula: Node | None = None
        scenes = [_scene(part_case, gradient, marks.part.changed_before(part_case)) for part_case in cases]
        self.scenes = [scene for scene in scenes if scene is not None]
        if len(self.scenes) < len(scenes):
            self.scenes = []

    def instead(self, gradient: str, name: str, scenes: list[Scene], formula: Node) -> WrongTensor:
        """Another gradient of the same part, which the student computes on the way to this one.

        `formula` is what it is computed by there; the name may be bound again later.
        """
        other = copy(self)
        for kept in ("reads", "ancestry", "elementwise_steps"):
            other.__dict__.pop(kept, None)
        other.gradient, other.name, other.scenes, other.formula = gradient, name, scenes, formula
        return other

    @property
    def checked(self) -> bool:
        """Whether the exercise asks for it; if not, it is a gradient that the student computes on the way."""
        return self.gradient in self.marks.part.checks.gradients

    @property
    def seen(self) -> StudentTensor:
        """What left the kernel of the visible case."""
        return self.marks.part.visible.exported.get(self.gradient, StudentTensor.absent())

    @property
    def first(self) -> Scene:
        """The first of the cases, to read shapes and names from: they are the same in all."""
        return self.scenes[0]

    @property
    def consumers(self) -> list[str]:
        """The tensors of the forward pass that were computed directly from this one."""
        return self.first.consumers

    @property
    def known_consumers(self) -> list[str]:
        """The consumers whose gradient the student has, too: only their contributions can have been forgotten.

        What stands between two gradients that are asked for has none of them beside it: there all may be.
        """
        if self.formula is not None:
            return self.consumers
        return [name for name in self.consumers if name == "loss" or all(name in scene.own for scene in self.scenes)]

    @cached_property
    def elementwise_steps(self) -> list[str]:
        """The consumers reached by an elementwise step in every case, whose gradient the student has."""
        return [name for name in self.known_consumers if all(name in scene.elementwise for scene in self.scenes)]

    @property
    def follows(self) -> bool:
        """Whether it is just what follows from the student's gradients further up, the unasked ones included."""
        return all(scene.fits(scene.expected) for scene in self.scenes)

    def explains(self, guess: Guess) -> bool:
        """Whether a guess gives the student's value, to tolerance, in every case that speaks."""
        return all(scene.fits(guess.predict(scene)) for scene in self.scenes)

    def program(self, leaves: Collection[str]) -> Program:
        """The part's statements with formulas in place of tensors; the leaves stand for themselves."""
        reference = self.marks.part.visible.reference
        return Program(self.marks.part.cells, self.marks.part.part_id, leaves, reference.tensors, reference.constants)

    @property
    def lines(self) -> list[Line]:
        """The student's lines of the part, in order."""
        return self.where.program.lines

    @cached_property
    def reads(self) -> frozenset[str]:
        """The names that the lines for the gradient read."""
        return frozenset[str]().union(*(line.reads for line in self.lines if self.gradient in line.names))

    @cached_property
    def ancestry(self) -> frozenset[str]:
        """The gradient, the names that its lines read, and those that these are made from, up to other gradients."""
        stops = {*map(gradient_of, self.marks.part.visible.reference.forward)}
        return names_behind(self.lines, self.gradient, stops)

    @property
    def leaves(self) -> frozenset[str]:
        """The names that have a value in every case, the gradient itself left out."""
        return frozenset.intersection(*(frozenset(scene.names) for scene in self.scenes)) - {self.gradient}

    def bound_later(self, name: str) -> bool:
        """Whether a name is bound, or written into, again after the last line for this gradient."""
        last = {word: place for place, line in enumerate(self.lines) for word in line.names}
        return last.get(name, -1) > last.get(self.gradient, len(self.lines))


def _scene(part_case: CaseValues, gradient: str, changed: Export) -> Scene | None:
    name = tensor_of(gradient)
    found = part_case.exported.get(gradient)
    if found is None or found.tensor is None or name not in part_case.reference.forward:
        return None
    tolerance = COARSE if found.note.dtype == "torch.float32" else FLOAT64
    return Scene(name, part_case.reference, _all_gradients(part_case), tolerance, found.tensor.to(torch.float64),
                 {**changed, **part_case.exported}, part_case.changed)  # fmt: skip


def _all_gradients(part_case: CaseValues) -> dict[str, Tensor]:
    """Tensor name → the student's gradient, also of those that the part computes on the way and nobody asked for."""
    found = dict(part_case.upstream)
    for name, tensor in part_case.reference.forward.items():
        exported = part_case.exported.get(gradient_of(name))
        if name not in found and exported is not None and exported.tensor is not None:
            stretched = conformed(exported.tensor, tensor.shape)
            if stretched is not None:
                found[name] = stretched.to(tensor.dtype)
    return found
