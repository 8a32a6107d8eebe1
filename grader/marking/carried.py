"""Whether a gradient that isn't right is carried: its line is right, and what reaches it isn't.

`docs/verdicts.md` has the rule. The line's detached run decides where there is one, else the value beside the one that
follows from the student's own gradients above it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from grader.marking.case_values import CaseValues
from grader.marking.line_alone import Alone
from grader.marking.outcome import Outcome
from grader.marking.tolerance import FLOAT64
from grader.notebook.gradient_names import gradient_of, tensor_of

SHORT_ROUNDINGS = 16
"""How many times the precision of a short dtype a tensor may be off that follows from one of that dtype."""


def on_its_own(values: CaseValues, alone: Alone | None, name: str, outcome: Outcome) -> Outcome:
    """What the line for a gradient that isn't right is worth: by its detached run, else by the value beside it."""
    said = alone.says(name) if alone is not None else None
    if said is not None:
        written = alone is not None and alone.value(name) is not None
        return Outcome.CARRIED if said else Outcome.WRONG if written or outcome is Outcome.WRONG else outcome
    return _followed(values, name) if outcome is Outcome.WRONG else outcome


def trained(values: CaseValues, alone: Alone | None, name: str, gradient: Outcome) -> Outcome:
    """A trained parameter that isn't right: carried where its update is one step along whatever the gradient is."""
    said = alone.trained(name) if alone is not None else None
    if said is not None:
        return Outcome.CARRIED if said else Outcome.WRONG
    if gradient is Outcome.RIGHT:
        return Outcome.WRONG
    step, value, rate = values.usable(gradient_of(name)), values.usable(name), values.reference.step_size(name)
    if step is None or value is None:
        return Outcome.ABSENT
    if rate is None or not values.holds(gradient_of(name), value, values.reference.initial[name] - rate * step):
        return Outcome.WRONG
    # To stay where it was follows from zeros.
    return Outcome.CARRIED if float(step.abs().max()) > 100 * FLOAT64.atol else Outcome.BLANK


def charged(
    values: CaseValues, alone: Alone | None, wanting: Sequence[str], absent: Collection[str]
) -> dict[str, Outcome]:
    """The gradients to which a slip on the way is charged, in lines that no check asks for.

    In a training loop that is all between the loss and the parameters; in any part, what its own cells have made
    of a gradient that it starts from. Each such slip, and each line that isn't there, counts once: at the first
    check below it, in the order of the backward pass, that isn't right, or isn't there.
    """
    found: dict[str, Outcome] = {}
    if alone is None:
        return found
    for slips, candidates, outcome in (
        (alone.slips_on_the_way(), wanting, Outcome.WRONG),
        (alone.gaps_on_the_way(), [name for name in wanting if name in absent], Outcome.ABSENT),
    ):
        for slip in slips:
            tensor = tensor_of(slip)
            below = [name for name in candidates if tensor in values.reference.computed_from(tensor_of(name))]
            found.update(dict.fromkeys(below[:1], outcome))
    return found


def _followed(values: CaseValues, name: str) -> Outcome:
    """What a wrong value is worth beside the one that follows from the student's own upstream."""
    student, expected = values.usable(name), values.chained.get(tensor_of(name))
    if student is None or expected is None:
        return Outcome.BLANK if _misshapen_above(values, name) else Outcome.WRONG
    if not bool(torch.isfinite(expected).all()) and not bool(torch.isfinite(student).all()):
        return Outcome.BLANK
    if not (values.holds(name, student, expected) or _rounded(values, name, student, expected)):
        return Outcome.BLANK if _misshapen_above(values, name) else Outcome.WRONG
    # Zeros follow from zeros by any formula: they would be full marks for a notebook of nothing but zeros.
    return Outcome.CARRIED if float(expected.abs().max()) > 100 * FLOAT64.atol else Outcome.BLANK


def _misshapen_above(values: CaseValues, name: str) -> bool:
    """Whether a gradient directly above is of a shape that isn't its tensor's: what follows depends on the code."""
    for consumer in values.reference.consumers.get(tensor_of(name), []):
        sent = values.exported.get(gradient_of(consumer))
        if (
            sent is not None
            and sent.tensor is not None
            and sent.tensor.shape != values.reference.forward[consumer].shape
        ):
            return True
    return False


def _rounded(values: CaseValues, name: str, student: Tensor, expected: Tensor) -> bool:
    """Whether a tensor is what follows from one above it, but for the rounding of the short dtype of both."""
    eps = values.precision(name)
    above = [key for key in values.reference.consumers[tensor_of(name)] if key in values.upstream]
    if eps <= torch.finfo(expected.dtype).eps or not any(values.precision(gradient_of(key)) >= eps for key in above):
        return False
    largest = max(float(value.abs().max()) for value in (expected, *(values.upstream[key] for key in above)))
    return float((student - expected).abs().max()) <= SHORT_ROUNDINGS * eps * largest
