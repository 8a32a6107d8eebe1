"""A part's detached run in one case: what its lines made of random numbers, beside what the chain rule makes of them.

The random numbers that stood for the gradients are known from their seed. One backward pass through the reference's
graph, in which a hook hands on the same numbers, gives what every line should have made of them. Nothing is judged yet.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from grader.course.part_reference import PartReference
from grader.execution.detached import Detached, DetachedRun
from grader.execution.tensors import Export, StudentTensor
from grader.marking.tolerance import FLOAT64, conformed
from grader.notebook.gradient_names import gradient_of, tensor_of


@dataclass(eq=False)
class DetachedValues:
    """A part's detached run in one case.

    Attributes:
        detached: what came of it: one run, or two with other numbers in some gradients.
        reference: autograd's side.
        gradients: the gradients that the part asks for, in the order of the exercise.
        upstream: the gradients that it starts from.
        values: the trained parameters.
    """

    detached: Detached
    reference: PartReference
    gradients: Sequence[str]
    upstream: Sequence[str]
    values: Sequence[str]

    def __post_init__(self) -> None:
        self.lines, self.runs, self.run = self.detached.lines, self.detached.runs, self.detached.runs[0]
        self._chained: dict[tuple[frozenset[str], frozenset[str]], dict[str, Tensor]] = {}

    def value(self, name: str) -> Tensor | None:
        """What the student's lines made of the random numbers, in the tensor's shape; None where nothing usable."""
        found = self.run.recorded.get(name)
        return None if found is None else self.conformed(name, found)

    def conformed(self, name: str, found: StudentTensor) -> Tensor | None:
        """A value for a gradient in its tensor's shape and dtype; None where it isn't one."""
        right = self.reference.gradients.get(tensor_of(name))
        if found.tensor is None or found.note.lacks or right is None:
            return None
        value = conformed(found.tensor, right.shape)
        return None if value is None else value.to(right.dtype)

    def variable(self, name: str) -> str:
        """The student's name for a gradient."""
        return self.lines.variables.get(name, name)

    def directly_above(self, name: str) -> list[str]:
        """The gradients from which the chain rule makes a gradient in one step."""
        return [*map(gradient_of, self.reference.consumers.get(tensor_of(name), []))]

    def group(self, name: str) -> Set[str]:
        """The gradients that one statement binds together, or a function that was called somewhere."""
        if name in self.run.ended:
            return self.run.ended
        return {other for other, place in self.lines.places.items() if place == self.lines.places.get(name)}

    def export(self, name: str, run: DetachedRun | None = None) -> Export:
        """The part as a line for a gradient found it, and what that line made: for a diagnosis of it alone.

        `run` is the run to look at where it isn't the first.
        """
        run = run or self.run
        shapes = {gradient_of(tensor): self.reference.gradients[tensor].shape for tensor in self.handed}
        shown = {key: StudentTensor.of(run.numbers(key, shape)) for key, shape in shapes.items()}
        return {**shown, name: run.recorded[name]} if name in run.recorded else shown

    # --- the forward pass that the lines start from

    @property
    def sound(self) -> bool:
        """Whether the student's cells left the forward pass as it is: from other numbers other gradients follow."""
        return not self.differing

    @cached_property
    def differing(self) -> frozenset[str]:
        """The tensors of the forward pass of which the student's cells have made something else."""
        return frozenset(
            name
            for name, found in self.run.after.items()
            if name in self.reference.forward and name not in self.values and not self._as_given(name, found)
        )

    def _as_given(self, name: str, found: StudentTensor) -> bool:
        given = self.reference.forward[name]
        return found.tensor is not None and found.tensor.shape == given.shape and FLOAT64.holds(found.tensor, given)

    # --- what the chain rule gives

    @cached_property
    def gaps(self) -> frozenset[str]:
        """The gradients that the part's lines should bind, or read, and that nothing has bound."""
        absent = self.run.absent
        return absent & self.lines.places.keys() | absent.intersection(itertools.chain(*self.lines.reads.values()))

    @cached_property
    def handed(self) -> frozenset[str]:
        """The tensors whose gradients were random numbers for the lines below: all asked for, all bound or wanted."""
        names = {*self.gradients, *self.upstream, *self.run.recorded, *self.gaps}
        return frozenset(name for name in self.reference.tensors if gradient_of(name) in names)

    def answers(self, name: str) -> Iterator[Tensor]:
        """What the line for a gradient may make, for each set of gradients from which it may be written.

        A gradient that the student never binds, or that no check asks for, may be skipped by the lines below it. And
        of gradients that one statement binds, one may be made from the other.
        """
        return (chained[tensor_of(name)] for chained in self._passes(name) if tensor_of(name) in chained)

    def _passes(self, name: str) -> Iterator[dict[str, Tensor]]:
        for handed in self._starts:
            yield self.chained(handed)
        together = frozenset(
            tensor_of(other) for other in self.group(name) if other != name and self.value(other) is not None
        )
        if together:
            yield self.chained(self.handed, together)
        if self.run.changed:
            yield self._from_changed

    @cached_property
    def _starts(self) -> Collection[frozenset[str]]:
        """The sets of gradients that lines may be written from: all handed on, those bound, or those asked for."""
        bound = frozenset(map(tensor_of, {*self.upstream, *self.run.recorded})) & self.handed
        asked = frozenset(map(tensor_of, {*self.gradients, *self.upstream})) & self.handed
        return dict.fromkeys((self.handed, bound, asked, bound & asked))

    @cached_property
    def _from_changed(self) -> dict[str, Tensor]:
        """What follows from the numbers as they were in the end, after lines that have written to some of them."""
        upstream = {name: self.numbers(name) for name in self.handed}
        for name, found in self.run.changed.items():
            right = self.reference.gradients.get(tensor_of(name))
            value = conformed(found.tensor, right.shape) if found.tensor is not None and right is not None else None
            if value is not None and right is not None:
                upstream[tensor_of(name)] = value.to(right.dtype)
        return self.reference.chained(upstream)

    def chained(self, handed: frozenset[str], own: frozenset[str] = frozenset()) -> dict[str, Tensor]:
        """Tensor → its gradient by the chain rule, where each of `handed` passes on its numbers.

        Those in `own` pass on what the student's lines made of them.
        """
        if not own:  # the same in every submission
            key = self.run.seed, self.run.others, handed
            return self.reference.chained_once(key, lambda: {name: self.numbers(name) for name in handed})
        if (handed, own) not in self._chained:
            upstream = {name: self.numbers(name) for name in handed}
            upstream |= {name: value for name in own if (value := self.value(gradient_of(name))) is not None}
            self._chained[handed, own] = self.reference.chained(upstream)
        return self._chained[handed, own]

    def numbers(self, name: str) -> Tensor:
        """The random numbers that stood for a tensor's gradient."""
        right = self.reference.gradients[name]
        return self.run.numbers(gradient_of(name), right.shape).to(right.dtype)
