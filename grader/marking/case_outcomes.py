"""One part in one case: the student's tensors beside the reference, and what each is worth there.

A `PartCase` looks at no other case: what all of them say together is `decision`'s to decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from functools import cached_property

import torch
from torch import Tensor

from grader.course.catalog import Case
from grader.course.graph import PartReference
from grader.execution.tensors import Export, StudentTensor
from grader.marking.alone import Alone
from grader.marking.tolerance import FLOAT64, Tolerance, conformed
from grader.notebook.gradient_names import gradient_of, tensor_of

ROUNDINGS = 64
"""How many times autograd's own float32 rounding error a differently ordered computation may be off."""
SHORT_ROUNDINGS = 16
"""The same for a tensor of a shorter dtype than its case's, in units of that dtype's precision."""


class Outcome(IntEnum):
    """What one case says of one tensor, from best to worst. A silent case says nothing.

    `BLANK`: its line could not be tried on its own, and what arrives from above is zero, no number, or of a wrong
    shape, so that no formula can be told by it.
    """

    RIGHT = 0
    CARRIED = 1
    BLANK = 2
    WRONG = 3
    ABSENT = 4
    SILENT = -1


class PartCase:
    """One part in one case: the student's tensors beside the reference.

    Attributes:
        exported: name → the student's tensor.
        reference: autograd's side.
        upstream: tensor name → the student's usable gradient for it, as the chain rule is given it.
        changed: tensor name → what the part's own cells have made of a gradient that it starts from, which `exported`
            has as it was before; only those that differ.
        alone: what the part's lines are worth on their own, where they were run detached.
        alike: where they were not, a case of the same sizes in which they were.
        absent: the gradients that are not there, whatever their lines are worth.
    """

    def __init__(self, case: Case, gradients: Sequence[str], upstream: Sequence[str], values: Sequence[str],
                 exported: Export, reference: PartReference, tolerance: Tolerance,
                 rounding: Mapping[str, float] | None = None, left: Export | None = None,
                 alone: Alone | None = None, alike: PartCase | None = None) -> None:  # fmt: skip
        self.case = case
        self.gradients = gradients
        self.upstream_names = upstream
        self.values = values
        self.exported = exported
        self.reference = reference
        self.tolerance = tolerance
        self.rounding = rounding
        self.alone = alone
        self.alike = alike
        self.absent: set[str] = set()
        self._usable: dict[str, Tensor | None] = {}
        self.upstream = {
            tensor_of(name): tensor for name in (*gradients, *upstream) if (tensor := self.usable(name)) is not None
        }
        self.changed = {
            tensor_of(name): tensor for name, found in (left or {}).items()
            if (tensor := self._conformed(name, found)) is not None and not self._as_before(name, tensor)
        }  # fmt: skip
        self.outcomes = self._outcomes()

    def usable(self, name: str) -> Tensor | None:
        """The student's gradient in its tensor's own shape and the reference's dtype, or None.

        A number in its place is what the student's next lines go on from, so the chain rule is given it, too.
        """
        if name not in self._usable:
            self._usable[name] = self._conformed(name, self.exported.get(name, StudentTensor.absent()))
        return self._usable[name]

    def _conformed(self, name: str, found: StudentTensor) -> Tensor | None:
        tensor = found.number if found.tensor is None else found.tensor
        wanted = self.expected(name)
        expanded = None if tensor is None or wanted is None else conformed(tensor, wanted.shape)
        return None if expanded is None or wanted is None else expanded.to(wanted.dtype)

    def _as_before(self, name: str, left: Tensor) -> bool:
        before = self.usable(name)
        return before is not None and torch.equal(before, left)

    def holds(self, name: str, student: Tensor, expected: Tensor) -> bool:
        """Whether a value is the expected one: within the case's tolerance, or within the rounding measured for it."""
        if self.rounding is None:
            return self.tolerance.holds(student, expected)
        largest = float(expected.abs().max()) if expected.numel() else 0.0
        rounding = max(self.rounding.get(tensor_of(name), 0.0), torch.finfo(torch.float32).eps * largest)
        return Tolerance(0.0, ROUNDINGS * rounding / max(1.0, largest)).holds(student, expected)

    def expected(self, name: str) -> Tensor | None:
        """The right value of a check: autograd's gradient, or the trained parameter."""
        return self.reference.values.get(name) if name in self.values else self.reference.gradients.get(tensor_of(name))

    @cached_property
    def chained(self) -> dict[str, Tensor]:
        """Tensor name → what the chain rule gives from the student's own upstream."""
        return self.reference.chained(self.upstream)

    @property
    def all_right(self) -> bool:
        """Whether every tensor of the part is right here."""
        return all(outcome is Outcome.RIGHT for outcome in self.outcomes.values())

    def _outcomes(self) -> dict[str, Outcome]:
        found = {name: self._right_or_not(name) for name in (*self.gradients, *self.values)}
        wanting = [name for name in self.gradients if found[name] is not Outcome.RIGHT]
        self.absent = {name for name in wanting if found[name] is Outcome.ABSENT}
        for name in wanting:
            found[name] = self._on_its_own(name, found[name])
        if Outcome.CARRIED in found.values():
            found.update(self._charged(wanting))
        for name in self.values:
            gradient = found.get(gradient_of(name), Outcome.RIGHT)
            if gradient is Outcome.ABSENT:
                found[name] = Outcome.ABSENT
            elif (
                found[name] is Outcome.WRONG or gradient_of(name) in self.absent
            ):  # which looks right where the true gradient is zero
                found[name] = self._trained(name, gradient)
        return found

    def _on_its_own(self, name: str, outcome: Outcome) -> Outcome:
        """What the line for a gradient that isn't right is worth: by its detached run, else by the value beside it."""
        alone = self._alone_of(name)
        said = alone.says(name) if alone is not None else None
        if said is not None:
            written = alone is not None and alone.value(name) is not None
            return Outcome.CARRIED if said else Outcome.WRONG if written or outcome is Outcome.WRONG else outcome
        return self._followed(name) if outcome is Outcome.WRONG else outcome

    def _alone_of(self, name: str) -> Alone | None:
        """The detached run that tells what a line is worth in this case.

        Where that is another case's, a value that is right there and not here speaks for itself.
        """
        if self.alone is None and self.alike is not None and self.alike.outcomes[name] is not Outcome.RIGHT:
            return self.alike.alone
        return self.alone

    def _followed(self, name: str) -> Outcome:
        """What a wrong value is worth beside the one that follows from the student's own upstream."""
        student, expected = self.usable(name), self.chained.get(tensor_of(name))
        if student is None or expected is None:
            return Outcome.BLANK if self._misshapen_above(name) else Outcome.WRONG
        if not bool(torch.isfinite(expected).all()) and not bool(torch.isfinite(student).all()):
            return Outcome.BLANK
        if not (self.holds(name, student, expected) or self._rounded(name, student, expected)):
            return Outcome.BLANK if self._misshapen_above(name) else Outcome.WRONG
        # Zeros follow from zeros by any formula: they would be full marks for a notebook of nothing but zeros.
        return Outcome.CARRIED if float(expected.abs().max()) > 100 * FLOAT64.atol else Outcome.BLANK

    def _misshapen_above(self, name: str) -> bool:
        """Whether a gradient directly above is of a shape that isn't its tensor's: what follows depends on the code."""
        for consumer in self.reference.consumers.get(tensor_of(name), []):
            sent = self.exported.get(gradient_of(consumer))
            if (
                sent is not None
                and sent.tensor is not None
                and sent.tensor.shape != self.reference.forward[consumer].shape
            ):
                return True
        return False

    def _charged(self, wanting: Sequence[str]) -> dict[str, Outcome]:
        """The gradients to which a slip on the way is charged, in lines that no check asks for.

        In a training loop that is all between the loss and the parameters; in any part, what its own cells have made
        of a gradient that it starts from. Each such slip, and each line that isn't there, counts once: at the first
        check below it, in the order of the backward pass, that isn't right, or isn't there.
        """
        charged: dict[str, Outcome] = {}
        alone = self.alone or (self.alike.alone if self.alike is not None else None)
        if alone is None:
            return charged
        absent = [name for name in wanting if name in self.absent]
        for slips, candidates, outcome in (
            (alone.slips_on_the_way(), wanting, Outcome.WRONG),
            (alone.gaps_on_the_way(), absent, Outcome.ABSENT),
        ):
            for slip in slips:
                tensor = tensor_of(slip)
                below = [name for name in candidates if tensor in self.reference.computed_from(tensor_of(name))]
                charged.update(dict.fromkeys(below[:1], outcome))
        return charged

    def _rounded(self, name: str, student: Tensor, expected: Tensor) -> bool:
        """Whether a tensor is what follows from one above it, but for the rounding of the short dtype of both."""
        eps = self._precision(name)
        above = [key for key in self.reference.consumers[tensor_of(name)] if key in self.upstream]
        if eps <= torch.finfo(expected.dtype).eps or not any(self._precision(gradient_of(key)) >= eps for key in above):
            return False
        largest = max(float(value.abs().max()) for value in (expected, *(self.upstream[key] for key in above)))
        return float((student - expected).abs().max()) <= SHORT_ROUNDINGS * eps * largest

    def _precision(self, name: str) -> float:
        """The relative precision of the dtype in which a tensor was sent."""
        found = self.exported.get(name)
        return 0.0 if found is None or found.tensor is None else torch.finfo(found.tensor.dtype).eps

    def _right_or_not(self, name: str) -> Outcome:
        found = self.exported.get(name)
        if found is None or found.note.kind != "tensor" or found.note.lacks:
            return Outcome.ABSENT
        tensor, expected = self.usable(name), self.expected(name)
        if tensor is None or expected is None:
            return Outcome.WRONG
        return Outcome.RIGHT if self.holds(name, tensor, expected) else Outcome.WRONG

    def _trained(self, name: str, gradient: Outcome) -> Outcome:
        """A trained parameter that isn't right: carried where its update is one step along whatever the gradient is."""
        alone = self._alone_of(name)
        said = alone.trained(name) if alone is not None else None
        if said is not None:
            return Outcome.CARRIED if said else Outcome.WRONG
        if gradient is Outcome.RIGHT:
            return Outcome.WRONG
        step, value, rate = self.usable(gradient_of(name)), self.usable(name), self.reference.step_size(name)
        if step is None or value is None:
            return Outcome.ABSENT
        if rate is None or not self.holds(gradient_of(name), value, self.reference.initial[name] - rate * step):
            return Outcome.WRONG
        # To stay where it was follows from zeros.
        return Outcome.CARRIED if float(step.abs().max()) > 100 * FLOAT64.atol else Outcome.BLANK
