"""What a part's lines are worth on their own: its detached run in one case, beside what the chain rule makes of it.

The random numbers that stood for the gradients are known from their seed. One backward pass through the reference's
graph, in which a hook hands on the same numbers, gives what every line should have made of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence, Set
from functools import cached_property

from torch import Tensor

from grader.course.graph import PartReference
from grader.execution.detached import Detached, DetachedRun
from grader.execution.tensors import Export, StudentTensor
from grader.marking.tolerance import FLOAT64, conformed
from grader.notebook.gradient_names import gradient_of, tensor_of

NEAR = 1e-4
"""How near, relative to the largest number, is the same for float32: what a slip leaves is seldom as near."""
STILL = 1e-9
"""What has moved by no more than this share has not moved."""
_SHORT = {"torch.float32", "torch.float16", "torch.bfloat16"}


class Alone:
    """A part's detached run in one case.

    Args:
        detached: what came of it.
        reference: autograd's side.
        gradients: the gradients that the part asks for, in the order of the exercise.
        upstream: the gradients that it starts from.
        values: the trained parameters.
    """

    def __init__(self, detached: Detached, reference: PartReference, gradients: Sequence[str],
                 upstream: Sequence[str], values: Sequence[str]) -> None:  # fmt: skip
        self.reference = reference
        self.lines = detached.lines
        self.runs = detached.runs
        self.run: DetachedRun | None = next(iter(detached.runs), None)
        self.gradients = gradients
        self.upstream = upstream
        self.values = values
        self._chained: dict[tuple[frozenset[str], frozenset[str]], dict[str, Tensor]] = {}
        self._said: dict[str, bool | None] = {}

    def says(self, name: str) -> bool | None:
        """Whether the line for a gradient `dX` is right on its own; None where that could not be tried."""
        if name not in self._said:
            self._said[name] = None  # of two lines that read each other's, neither vouches for the other
            self._said[name] = self._judge(name)
        return self._said[name]

    def tried(self, name: str) -> bool:
        """Whether the line for a gradient made a tensor in the detached run, or the update of a parameter was tried."""
        if name in self.values:
            return self.trained(name) is not None
        sent = self._sent(name)
        return sent is not None and sent.tensor is not None

    def value(self, name: str) -> Tensor | None:
        """What the student's lines made of the random numbers, in the tensor's shape; None where nothing usable."""
        found = self._sent(name)
        return None if found is None else self._conformed(name, found)

    def _conformed(self, name: str, found: StudentTensor) -> Tensor | None:
        right = self.reference.gradients.get(tensor_of(name))
        if found.tensor is None or found.note.lacks or right is None:
            return None
        value = conformed(found.tensor, right.shape)
        return None if value is None else value.to(right.dtype)

    def wrong_elements(self, name: str) -> list[int]:
        """Of a list, the places at which a line made something else of the random numbers than the chain rule does."""
        found, value = self._sent(name), self.value(name)
        expected = self.chained(self.handed).get(tensor_of(name))
        if found is None or value is None or expected is None or name in self.run.changed:  # type: ignore[union-attr]
            return []
        pairs = zip(value, expected, strict=True)
        return [place for place, (mine, right) in enumerate(pairs) if not self._near(found, mine, right)]

    def follows_all(self, name: str) -> bool:
        """Whether a line made of the random numbers just what the chain rule gives from all gradients above it."""
        found, value = self._sent(name), self.value(name)
        if found is None or value is None:
            return False
        return self._near(found, value, self.chained(self.handed)[tensor_of(name)])

    def slips_on_the_way(self) -> list[str]:
        """The wrong gradients that no check of the part asks for, in the order of the forward pass.

        Those are the ones that it computes on the way, and those that it starts from and has changed.
        """
        changed = self.run.changed if self.run is not None else {}

        def slips(name: str) -> bool:
            wrong = self._sent(name) is not None and self.says(name) is False
            return wrong or (name in self.upstream and name in changed)

        unasked = [gradient_of(name) for name in self.reference.tensors if gradient_of(name) not in self.gradients]
        return [name for name in unasked if slips(name)]

    def gaps_on_the_way(self) -> list[str]:
        """The gradients that no check of the part asks for and that its lines want, though nothing has bound them.

        In the order of the forward pass.
        """
        unasked = self._gaps - {*self.gradients, *self.upstream}
        return [gradient_of(name) for name in self.reference.tensors if gradient_of(name) in unasked]

    def follows(self, name: str, value: Tensor) -> bool | None:
        """Whether a gradient moves with the random numbers above it; None where it has none above, or nobody can tell.

        Args:
            name: the gradient.
            value: what the same lines made of the student's own gradients, in the tensor's shape.
        """
        recorded = self.value(name)
        if recorded is None or self.run is None or not self.sound or name in self.run.changed:
            return None
        if not _almost(recorded, value.to(recorded.dtype), STILL):
            return True
        above = {other for other in self._directly_above(name) if tensor_of(other) in self.handed}
        if above & self.run.changed.keys():
            return None  # they were not random numbers throughout
        if not above - self._group(name):
            return None  # nothing is, or what one statement has computed with it
        tensor = tensor_of(name)
        return None if _almost(self.chained(self.handed)[tensor], self.reference.gradients[tensor]) else False

    def trains_on(self, name: str, value: Tensor) -> bool | None:
        """Whether a parameter's update takes up its gradient; None where that can't be told.

        Args:
            name: the parameter.
            value: what the same lines trained it to from the student's own gradients.
        """
        trained = self.trained(name)
        found = self.run.after.get(name) if self.run is not None else None
        if trained is not False or found is None or found.tensor is None:
            return trained or None
        end = conformed(found.tensor, value.shape)
        still = end is not None and _almost(end.to(value.dtype), value, STILL)
        return False if still and not _almost(value, self.reference.initial[name].to(value.dtype), STILL) else None

    def rebound(self, name: str) -> bool:
        """Whether a gradient's name was given to something else when its line was done with."""
        return name in self.lines.later or (self.run is not None and name in self.run.reshaped)

    def skipped(self, name: str) -> str:
        """What the line for a gradient doesn't take up, under the student's name: the gradients directly above it."""
        above = [other for other in self._directly_above(name) if tensor_of(other) in self.handed]
        return " and ".join(f"`{self.variable(other)}`" for other in above) or "the gradients above it"

    def variable(self, name: str) -> str:
        """The student's name for a gradient."""
        return self.lines.variables.get(name, name)

    def trained(self, name: str) -> bool | None:
        """Whether a parameter went one step along the gradient that the update was given; None where none was tried."""
        found = self.run.after.get(name) if self.run is not None else None
        rate = self.reference.step_size(name)
        if found is None or found.tensor is None or not self.sound or rate is None:
            return None
        start = self.reference.initial[name]
        value = conformed(found.tensor, start.shape)
        steps = [self.numbers(name)]
        recorded = self.value(gradient_of(name))
        if recorded is not None and float(recorded.abs().max()) > NEAR:
            steps.append(recorded)
        return value is not None and any(self._near(found, value, start - rate * step) for step in steps)

    def export(self, name: str, run: DetachedRun | None = None) -> Export:
        """The part as a line for a gradient found it, and what that line made: for a diagnosis of it alone.

        `run` is the run to look at where it isn't the first.
        """
        run = run or self.run
        assert run is not None
        shapes = {tensor: self.reference.gradients[tensor].shape for tensor in self.handed}
        numbers = {gradient_of(key): run.numbers(gradient_of(key), shape) for key, shape in shapes.items()}
        shown = {key: StudentTensor.of(tensor) for key, tensor in numbers.items()}
        return {**shown, name: run.recorded[name]} if name in run.recorded else shown

    # --- right or not

    def _judge(self, name: str) -> bool | None:
        found = self._sent(name)
        if self.run is None or name in self.run.changed:
            return None  # a line further down has written to it
        if found is None:
            return self._fits_otherwise(name) or None
        if self._fits(name, found) or self._mended(name) or self._fits_otherwise(name):
            return None if any(map(self._mended, self._directly_above(name))) else True
        value = self.value(name)
        if value is None:
            return False
        if self.starts_from_differing(name) or self._spoiled(name):
            return None
        if any(_almost(value, each) for each in self._expected(name)):
            return None  # rounded to float32 on the way, it may be, or a slip that is as small
        return False

    def _fits(self, name: str, found: StudentTensor) -> bool:
        """Whether what a line made of the random numbers is what it should have made."""
        value = self._conformed(name, found)
        if value is None:
            return False
        if name in self.upstream and self._near(found, value, self.numbers(tensor_of(name))):
            return True  # bound again, and not changed
        return any(self._near(found, value, each) for each in self._expected(name))

    def _fits_otherwise(self, name: str) -> bool:
        """Whether a line is right where names keep what they stood for.

        One that a line then turns into another shape must have been so for others that are right with it.
        """
        other = self.run.otherwise if self.run is not None else {}
        below = [key for key in other if name in self.lines.reads.get(key, ()) and key != name]
        if self.run is not None and name in self.run.reshaped and not (below and all(
            self._fits(key, other[key]) for key in below
        )):  # fmt: skip
            return False
        return name in other and self._fits(name, other[name])

    def _mended(self, name: str) -> bool:
        """Whether it is a second attempt that is right, below lines that start from the first."""
        again, first = (self.run.again.get(name), self.run.recorded.get(name)) if self.run is not None else (None, None)
        if again is None or first is None:
            return False
        return self._fits(name, again) and not self._fits(name, first)

    def _directly_above(self, name: str) -> list[str]:
        return [*map(gradient_of, self.reference.consumers.get(tensor_of(name), []))]

    def _expected(self, name: str) -> Iterator[Tensor]:
        return (chained[tensor_of(name)] for chained in self._answers(name) if tensor_of(name) in chained)

    def _near(self, found: StudentTensor, value: Tensor, expected: Tensor) -> bool:
        if found.note.dtype in _SHORT:
            return _almost(value.to(expected.dtype), expected)
        return FLOAT64.holds(value.to(expected.dtype), expected)

    @property
    def sound(self) -> bool:
        """Whether the student's cells left the forward pass as it is: from other numbers other gradients follow."""
        return not self.differing

    @cached_property
    def differing(self) -> frozenset[str]:
        """The tensors of the forward pass of which the student's cells have made something else."""
        after = self.run.after if self.run is not None else {}
        return frozenset(
            name
            for name, found in after.items()
            if name in self.reference.forward and name not in self.values and not self._as_given(name, found)
        )

    def _as_given(self, name: str, found: StudentTensor) -> bool:
        given = self.reference.forward[name]
        return found.tensor is not None and found.tensor.shape == given.shape and FLOAT64.holds(found.tensor, given)

    def starts_from_differing(self, name: str) -> bool:
        """Whether a line starts from a tensor of the forward pass that isn't what it was."""
        return bool(self.differing & self.lines.starts.get(name, self.differing))

    def _spoiled(self, name: str) -> bool:
        """Whether what the line for `name` starts from was no longer the numbers that it should have been."""
        assert self.run is not None
        return any(other in self.run.changed for other in self._directly_above(name)) or self._borrows(name)

    def _borrows(self, name: str) -> bool:
        """Whether a line reads a parameter's gradient, for a sum that is in it, which isn't right itself.

        The chain rule gets to no gradient from a parameter's, so no numbers could take its place.
        """
        read = self.lines.reads.get(name, frozenset()) - {name}
        leaves = [
            other for other in read if other in self.gradients and tensor_of(other) not in self.reference.computed
        ]
        return any(self.says(other) is not True for other in leaves)

    def _sent(self, name: str) -> StudentTensor | None:
        return self.run.recorded.get(name) if self.run is not None else None

    # --- what the chain rule gives

    @cached_property
    def _gaps(self) -> frozenset[str]:
        """The gradients that the part's lines should bind, or read, and that nothing has bound."""
        absent = self.run.absent if self.run is not None else frozenset()
        return absent & self.lines.places.keys() | absent.intersection(itertools.chain(*self.lines.reads.values()))

    @cached_property
    def handed(self) -> frozenset[str]:
        """The tensors whose gradients were random numbers for the lines below: all asked for, all bound or wanted."""
        recorded = self.run.recorded if self.run is not None else {}
        names = {*self.gradients, *self.upstream, *recorded, *self._gaps}
        return frozenset(name for name in self.reference.tensors if gradient_of(name) in names)

    def _answers(self, name: str) -> Iterator[dict[str, Tensor]]:
        """What the chain rule gives, for each set of gradients from which a line may be written.

        A gradient that the student never binds, or that no check asks for, may be skipped by the lines below it. And
        of gradients that one statement binds, one may be made from the other.
        """
        assert self.run is not None
        bound = frozenset(map(tensor_of, {*self.upstream, *self.run.recorded})) & self.handed
        asked = frozenset(map(tensor_of, {*self.gradients, *self.upstream})) & self.handed
        for handed in dict.fromkeys((self.handed, bound, asked, bound & asked)):
            yield self.chained(handed)
        together = self._beside(name)
        if together:
            yield self.chained(self.handed, together)
        if self.run.changed:
            yield self._from_changed

    @cached_property
    def _from_changed(self) -> dict[str, Tensor]:
        """What follows from the numbers as they were in the end, after lines that have written to some of them."""
        assert self.run is not None
        upstream = {name: self.numbers(name) for name in self.handed}
        for name, found in self.run.changed.items():
            right = self.reference.gradients.get(tensor_of(name))
            value = conformed(found.tensor, right.shape) if found.tensor is not None and right is not None else None
            if value is not None and right is not None:
                upstream[tensor_of(name)] = value.to(right.dtype)
        return self.reference.chained(upstream)

    def _beside(self, name: str) -> frozenset[str]:
        """The other gradients that the same statement has bound, and that are of use."""
        names = self._group(name)
        return frozenset(tensor_of(other) for other in names if other != name and self.value(other) is not None)

    def _group(self, name: str) -> Set[str]:
        """The gradients that one statement binds together, or a function that was called somewhere."""
        if self.run is not None and name in self.run.ended:
            return self.run.ended
        return {other for other, place in self.lines.places.items() if place == self.lines.places.get(name)}

    def chained(self, handed: frozenset[str], own: frozenset[str] = frozenset()) -> dict[str, Tensor]:
        """Tensor → its gradient by the chain rule, where each of `handed` passes on its numbers.

        Those in `own` pass on what the student's lines made of them.
        """
        assert self.run is not None
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
        assert self.run is not None
        right = self.reference.gradients[name]
        return self.run.numbers(gradient_of(name), right.shape).to(right.dtype)


def _almost(value: Tensor, expected: Tensor, near: float = NEAR) -> bool:
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    return value.shape == expected.shape and float((value - expected).abs().max()) <= near * largest
