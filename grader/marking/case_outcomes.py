"""One part in one case: the student's tensors beside the reference, and what each is worth there.

A `PartCase` looks at no other case: what all of them say together is `marking`'s to decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

import torch
from torch import Tensor

from grader.course.catalog import Case
from grader.course.graph import PartReference
from grader.execution.tensors import Export, StudentTensor
from grader.marking.misshapen_upstream import carried_shapes
from grader.marking.tolerance import FLOAT64, Tolerance, conformed

ROUNDINGS = 64
"""How many times autograd's own float32 rounding error a differently ordered computation may be off."""
SHORT_ROUNDINGS = 16
"""The same for a tensor of a shorter dtype than its case's, in units of that dtype's precision."""
FAINT = 1e-5
"""Upstream gradients that make of a tensor less than this share of its true gradient prove nothing of a formula."""


class Outcome(IntEnum):
    """What one case says of one tensor, from best to worst. A silent case says nothing.

    `BLANK`: what arrives from above is zero, no number, or of a wrong shape, so that no formula can be told by it.
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
    """

    def __init__(self, case: Case, gradients: Sequence[str], upstream: Sequence[str], values: Sequence[str],
                 exported: Export, reference: PartReference, tolerance: Tolerance,
                 rounding: Mapping[str, float] | None = None, left: Export | None = None) -> None:  # fmt: skip
        self.case = case
        self.gradients = gradients
        self.upstream_names = upstream
        self.values = values
        self.exported = exported
        self.reference = reference
        self.tolerance = tolerance
        self.rounding = rounding
        self._usable: dict[str, Tensor | None] = {}
        self.upstream = {
            name[1:]: tensor for name in (*gradients, *upstream) if (tensor := self.usable(name)) is not None
        }
        self.changed = {
            name[1:]: tensor for name, found in (left or {}).items()
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
        rounding = max(self.rounding.get(name[1:], 0.0), torch.finfo(torch.float32).eps * largest)
        return Tolerance(0.0, ROUNDINGS * rounding / max(1.0, largest)).holds(student, expected)

    def expected(self, name: str) -> Tensor | None:
        """The right value of a check: autograd's gradient, or the trained parameter."""
        return self.reference.values.get(name) if name in self.values else self.reference.gradients.get(name[1:])

    def chained(self) -> dict[str, Tensor]:
        """Tensor name → what the chain rule gives from the student's own upstream."""
        return self.reference.chained(self.upstream)

    @property
    def all_right(self) -> bool:
        """Whether every tensor of the part is right here."""
        return all(outcome is Outcome.RIGHT for outcome in self.outcomes.values())

    def _outcomes(self) -> dict[str, Outcome]:
        found = {name: self._right_or_not(name) for name in (*self.gradients, *self.values)}
        if any(found[name] is Outcome.WRONG for name in self.gradients):
            chained = self.chained()
            for name in self.gradients:
                tensor = self.usable(name)
                expected = chained.get(name[1:])
                if found[name] is Outcome.WRONG and tensor is not None and expected is not None:
                    found[name] = self._followed(name, tensor, expected)
            found.update(self._carried_shapes(found))
            found.update(self._carried_narrow(found))
            found.update(self._carried_on_the_way(found))
            found.update(dict.fromkeys(self._below_misshapen(found), Outcome.BLANK))
        for name in self.values:
            gradient = found.get(f"d{name}", Outcome.RIGHT)
            if gradient is Outcome.ABSENT:  # untrained, it may still look right where the true gradient is near zero
                found[name] = Outcome.ABSENT
            elif found[name] is Outcome.WRONG and gradient is not Outcome.RIGHT:
                found[name] = self._trained(name)
        return found

    def _followed(self, name: str, student: Tensor, expected: Tensor) -> Outcome:
        """What a wrong value is worth beside the one that follows from the student's own upstream."""
        if not bool(torch.isfinite(expected).all()) and not bool(torch.isfinite(student).all()):
            return Outcome.BLANK
        if not (self.holds(name, student, expected) or self._rounded(name, student, expected)):
            return Outcome.WRONG
        # Zeros follow from zeros by any formula: they would be full marks for a notebook of nothing but zeros.
        right = self.reference.gradients[name[1:]]
        told = float(expected.abs().max()) > max(FAINT * float(right.abs().max()), 100 * FLOAT64.atol)
        return Outcome.CARRIED if told else Outcome.BLANK

    def _rounded(self, name: str, student: Tensor, expected: Tensor) -> bool:
        """Whether a tensor is what follows from one above it, but for the rounding of the short dtype of both."""
        eps = self._precision(name)
        above = [key for key in self.reference.consumers[name[1:]] if key in self.upstream]
        if eps <= torch.finfo(expected.dtype).eps or not any(self._precision(f"d{key}") >= eps for key in above):
            return False
        largest = max(float(value.abs().max()) for value in (expected, *(self.upstream[key] for key in above)))
        return float((student - expected).abs().max()) <= SHORT_ROUNDINGS * eps * largest

    def _precision(self, name: str) -> float:
        """The relative precision of the dtype in which a tensor was sent."""
        found = self.exported.get(name)
        return 0.0 if found is None or found.tensor is None else torch.finfo(found.tensor.dtype).eps

    def _carried_shapes(self, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
        """The gradients that are just what follows from one further up whose shape is not its tensor's."""
        sent = {name[1:]: self._sent(name) for name in (*self.gradients, *self.upstream_names)}
        misshapen = {name: tensor for name, tensor in sent.items() if tensor is not None and name not in self.upstream}
        suspects = [name for name in self.gradients if outcomes[name] is Outcome.WRONG]
        if not misshapen or len(suspects) < 2:
            return {}
        followed: dict[str, Outcome] = {}
        for chained in carried_shapes(self.reference, self.upstream, misshapen):
            for name in suspects:
                tensor, expected = sent[name[1:]], chained.get(name[1:])
                # A tensor of a third shape follows from nothing: its own mistake of shape is one of its own.
                fits = tensor is not None and (
                    name[1:] in self.upstream or expected is None or tensor.shape == expected.shape
                )
                stretched = (
                    conformed(tensor, expected.shape) if fits and tensor is not None and expected is not None else None
                )
                outcome = Outcome.WRONG
                if stretched is not None and expected is not None:
                    outcome = self._followed(name, stretched, expected)
                if outcome is not Outcome.WRONG:
                    followed[name] = outcome
        return followed

    def _carried_narrow(self, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
        """The gradients that follow from wrong ones further up which are narrower than their tensors.

        Such a one counts as stretched to its tensor's shape, but the sums in a student's line see it as it is: one row
        and no more. So the same is asked again with that row in its place, and zeros in all others.
        """
        narrow = {
            name[1:]: _in_one_place(tensor, self.upstream[name[1:]])
            for name in self.gradients
            if outcomes[name] in (Outcome.WRONG, Outcome.CARRIED)
            and (tensor := self._sent(name)) is not None
            and tensor.numel() < self.reference.gradients[name[1:]].numel()
            and name[1:] in self.upstream
        }
        suspects = [name for name in self.gradients if outcomes[name] is Outcome.WRONG and name[1:] not in narrow]
        if not narrow or not suspects:
            return {}
        chained = self.reference.chained({**self.upstream, **narrow})
        followed = {}
        for name in suspects:
            tensor = self.usable(name)
            above = set(self.reference.consumers[name[1:]])
            if tensor is not None and above & set(narrow):
                followed[name] = self._followed(name, tensor, chained[name[1:]])
        return {name: outcome for name, outcome in followed.items() if outcome is not Outcome.WRONG}

    def _carried_on_the_way(self, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
        """The gradients that follow from wrong ones which the student has computed and no check asks for.

        In a training loop that is all between the loss and the parameters; in any part, what its own cells have made
        of a gradient that it starts from. Each slip there is charged once: to the first check that follows from it, in
        the order of the backward pass.
        """
        asked = {name[1:] for name in (*self.gradients, *self.upstream_names)}
        way = {name: tensor for name in self.reference.forward if name not in asked
               and (tensor := self.usable(f"d{name}")) is not None} | self.changed  # fmt: skip
        suspects = {name: tensor for name in self.gradients
                    if outcomes[name] is Outcome.WRONG and (tensor := self.usable(name)) is not None}  # fmt: skip
        if not way or len(suspects) < 2:
            return {}
        chained = self.reference.chained({**self.upstream, **way})
        followed = [name for name, tensor in suspects.items() if name[1:] in chained
                    and self._followed(name, tensor, chained[name[1:]]) is Outcome.CARRIED]  # fmt: skip
        for slip in way:
            if slip in chained and not self.holds(f"d{slip}", way[slip], chained[slip]):
                below = [name for name in self.gradients if outcomes[name] is Outcome.WRONG
                         and slip in self.reference.computed_from(name[1:])]  # fmt: skip
                followed = [name for name in followed if name != next(iter(below), None)]
        return dict.fromkeys(followed, Outcome.CARRIED)

    def _below_misshapen(self, outcomes: Mapping[str, Outcome]) -> list[str]:
        """The wrong gradients that get one of a wrong shape from directly above, while their own shape is no mistake.

        What they should make of it depends on how they are written: an index takes a piece of it, a loop another.
        """
        misshapen = {name for name in self.gradients if self._sent(name) is not None and name[1:] not in self.upstream}
        hopeless = {name for name in misshapen if not self._meets(name)}
        return [
            name
            for name in self.gradients
            if outcomes[name] is Outcome.WRONG
            and any(
                f"d{consumer}" in (misshapen if name[1:] in self.upstream else hopeless)
                or (f"d{consumer}" in misshapen and self._too_deep(consumer, name[1:]))
                for consumer in self.reference.consumers[name[1:]]
            )
        ]

    def _too_deep(self, consumer: str, name: str) -> bool:
        """Whether a consumer's gradient has more dimensions than both tensors: which of them a sum means is chance."""
        sent = self._sent(f"d{consumer}")
        forward = self.reference.forward
        return sent is not None and sent.dim() > max(forward[name].dim(), forward[consumer].dim())

    def _meets(self, name: str) -> bool:
        """Whether a gradient of a wrong shape can at least be broadcast together with its tensor."""
        sent = self._sent(name)
        try:
            return sent is not None and bool(torch.broadcast_shapes(sent.shape, self.reference.forward[name[1:]].shape))
        except RuntimeError:
            return False

    def _sent(self, name: str) -> Tensor | None:
        """The student's tensor as it came, where the forward pass has a tensor for it."""
        found = self.exported.get(name)
        return found.tensor if found is not None and self.expected(name) is not None else None

    def _right_or_not(self, name: str) -> Outcome:
        found = self.exported.get(name)
        if found is None or found.note.kind != "tensor":
            return Outcome.ABSENT
        tensor, expected = self.usable(name), self.expected(name)
        if tensor is None or expected is None:
            return Outcome.WRONG
        return Outcome.RIGHT if self.holds(name, tensor, expected) else Outcome.WRONG

    def _trained(self, name: str) -> Outcome:
        """A trained parameter whose gradient is not right: carried where it is one step along the student's own."""
        gradient, value = self.usable(f"d{name}"), self.usable(name)
        start, right, end = (self.reference.initial[name], self.reference.gradients[name], self.reference.values[name])
        if gradient is None or value is None:
            return Outcome.ABSENT
        rate = float(((start - end) * right).sum() / (right * right).sum())
        if not self.holds(f"d{name}", value, start - rate * gradient):
            return Outcome.WRONG
        told = float(gradient.abs().max()) > max(FAINT * float(right.abs().max()), 100 * FLOAT64.atol)
        return Outcome.CARRIED if told else Outcome.BLANK  # to stay where it was follows from zeros


def _in_one_place(narrow: Tensor, stretched: Tensor) -> Tensor:
    """A tensor in the shape to which it was stretched, once, and zeros where it would be repeated."""
    shape = (1,) * (stretched.dim() - narrow.dim()) + tuple(narrow.shape)[max(0, narrow.dim() - stretched.dim()) :]
    result = torch.zeros_like(stretched)
    place = tuple(slice(0, size) for size in shape)
    result[place] = stretched[place]
    return result
