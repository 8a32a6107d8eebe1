"""A formula with a constant that is missing in it, or is not the right one: where it belongs, and how large it is.

The constant is found, not tried: the formula is computed once more with a part of it doubled, and what that changes,
times a number, must be all that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from grader.diagnosis.formula.expression import Node, number, write
from grader.diagnosis.formula.formula import exchanged, parts
from grader.diagnosis.repair.trial import Trial
from grader.diagnosis.subject import Subject
from grader.diagnosis.words import named_factor, quoted
from grader.records import Diagnosis


def wrong_scale(subject: Subject, node: Node, trials: Sequence[Trial]) -> Diagnosis | None:
    """The largest part of a formula that has to be a constant times what it is, if there is one.

    Args:
        subject: the tensor.
        node: its formula.
        trials: a trial for each case, then those with random gradients.
    """
    count = len(subject.scenes)
    for part in parts(node):
        if part.op in ("name", "number"):
            continue
        if not subject.budget.spend():
            return None
        doubled = exchanged(node, part, Node("mul", (number(2), part)))
        scales: list[float] = []
        for trial in trials:
            scale = _scale(trial, node, doubled)
            if scale is None or (scales and (scale > 0) != (scales[0] > 0)):
                break
            scales.append(scale)
        if len(scales) < len(trials) or any(
            abs(scales[count + i] - scales[i]) > 1e-7 * abs(scales[i]) for i in range(len(trials) - count)
        ):
            continue  # with other numbers above it would be another one: a coincidence
        said = named_factor(subject.scenes, [abs(scale) for scale in scales[:count]])
        if said is not None:
            minus = "" if scales[0] > 0 else "-"
            message = (
                f"A constant is missing at {quoted(write(part))}, or is not the right one: with "
                f"{quoted(minus + said)} times as much there, everything fits."
            )
            return Diagnosis(code="wrong-constant", message=message)
    return None


def _scale(trial: Trial, node: Node, doubled: Node) -> float | None:
    """What the doubled part must be multiplied by; None where no number does, or the part is in no product."""
    here, there = trial.stretched(node), trial.stretched(doubled)
    if here is None or there is None:
        return None
    change: Tensor = there - here
    square = float((change * change).sum())
    if square == 0:
        return None
    more = float((change * (trial.expected - here)).sum()) / square
    return 1 + more if abs(1 + more) > 1e-8 and trial.fits(here + more * change) else None
