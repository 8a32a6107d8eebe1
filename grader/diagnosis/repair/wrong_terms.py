"""A formula that is a sum: which of its terms are off by a constant, be it two of them at once.

The constants are found, not tried: those by which the terms must be multiplied to add up to what is expected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from grader.diagnosis.formula.expression import Node, write
from grader.diagnosis.repair.trial import Trial
from grader.diagnosis.subject import Subject
from grader.diagnosis.words import named_factor, quoted
from grader.records import Diagnosis

MAX_TERMS = 6
MAX_SLIPS = 2
TWO = "Two slips come together here"
INDEPENDENT = 1e-6
"""Terms that are nearer than this to adding up to nothing have no constants of their own."""
_DISTRIBUTES = ("sum", "mean", "transpose", "reshape", "like", "unsqueeze", "flatten", "same", "expand")


class Term(NamedTuple):
    """A term as the student wrote it, and as it takes part in the whole, brackets multiplied out."""

    written: Node
    whole: Node


class Slip(NamedTuple):
    """What is wrong with a term, or with the whole."""

    code: str
    message: str


def wrong_terms(subject: Subject, node: Node, trials: Sequence[Trial]) -> Diagnosis | None:
    """The terms that are a constant times what they should be, two slips at most.

    Args:
        subject: the tensor.
        node: its formula.
        trials: a trial for each case, then those with random gradients.
    """
    terms = terms_of(node)
    if not 1 < len(terms) <= MAX_TERMS:
        return None
    scales: list[list[float]] = []
    for trial in trials:
        found = _scales(terms, trial)
        if found is None:
            return None
        scales.append(found)
    count = len(subject.scenes)
    if any(not _same(scales[count + i], scales[i]) for i in range(len(trials) - count)):
        return None  # with other numbers above it would be others: a coincidence
    slips = _slips(subject, terms, scales[:count])
    if slips is None or not 0 < len(slips) <= MAX_SLIPS:
        return None
    text = " and ".join(slip.message for slip in slips)
    message = f"{TWO}: {text}." if len(slips) > 1 else f"{text[0].upper()}{text[1:]}: the rest of the sum fits."
    return Diagnosis(code=slips[0].code, message=message)


def terms_of(node: Node) -> list[Term]:
    """The terms that a formula adds up; one where it is no sum."""
    found = list(islice(_terms(node), MAX_TERMS + 1))
    return found if len(found) <= MAX_TERMS else [Term(node, node)]


def _terms(node: Node) -> Iterator[Term]:
    if node.op in ("add", "sub"):
        left, right = node.args
        yield from _terms(left)
        for term in _terms(right):
            yield term if node.op == "add" else Term(term.written, Node("neg", (term.whole,)))
        return
    through = node.args if node.op in ("neg", "use", "mul", "div", *_DISTRIBUTES) else ()
    sides = [list(islice(_terms(side), MAX_TERMS + 1)) for side in through]  # a name's formula may double many times
    place = next((place for place, side in enumerate(sides) if len(side) > 1), None)
    if place is None or (place > 0 and node.op != "mul"):
        yield Term(node, node)
        return
    for term in sides[place]:
        arguments = (*node.args[:place], term.whole, *node.args[place + 1 :])
        whole = term.whole if node.op == "use" else Node(node.op, arguments, node.value)
        yield Term(term.written, whole)


def _scales(terms: Sequence[Term], trial: Trial) -> list[float] | None:
    """What each term must be multiplied by here; None where no such numbers exist, or more than one set of them."""
    columns = [trial.stretched(term.whole) for term in terms]
    given = [column.flatten() for column in columns if column is not None and bool(torch.isfinite(column).all())]
    if len(given) < len(terms):
        return None
    matrix = torch.stack(given, dim=1).to(torch.float64)
    lengths = matrix.norm(dim=0)
    if float(lengths.min()) == 0 or float(trial.expected.abs().max()) == 0:
        return None
    unit = matrix / lengths
    gram = unit.T @ unit
    if float(torch.linalg.eigvalsh(gram).min()) < INDEPENDENT:
        return None
    scales: Tensor = torch.linalg.solve(gram, unit.T @ trial.expected.flatten()) / lengths
    fits = trial.scene.tolerance.holds((matrix @ scales).view(trial.expected.shape), trial.expected)
    return scales.tolist() if fits else None


def _same(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(abs(a - b) <= 1e-7 * max(1.0, abs(a)) for a, b in zip(one, other, strict=True))


def _slips(subject: Subject, terms: Sequence[Term], scales: Sequence[Sequence[float]]) -> list[Slip] | None:
    """What is wrong with single terms, then with the whole; None where a constant has no name."""
    per_term = list(zip(*scales, strict=True))
    common = _common(per_term)
    slips = []
    for term, found in zip(terms, per_term, strict=True):
        relative = [scale / whole if whole else 0.0 for scale, whole in zip(found, common, strict=True)]
        if not _same(relative, [1.0] * len(relative)):
            slips.append(
                _slip(subject, f"the term {quoted(write(term.written))}", relative, "term-factor", "term-sign")
            )
    if not _same(common, [1.0] * len(common)):
        whole = f"the whole of {quoted(subject.gradient)}"
        slips.append(_slip(subject, whole, common, "constant-factor", "sign-flipped"))
    return None if any(slip is None for slip in slips) else [slip for slip in slips if slip is not None]


def _common(scales: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """The constant of most terms, signs aside: that of the whole; 1 where no two terms share one."""
    sizes = [tuple(round(abs(scale), 7) for scale in term) for term in scales]
    most, times = Counter(sizes).most_common(1)[0]
    sharing = [term for term, size in zip(scales, sizes, strict=True) if size == most]
    if times < 2:
        return (1.0,) * len(most)
    negative = sum(term[0] < 0 for term in sharing)
    return next(term for term in sharing if (term[0] < 0) == (2 * negative > len(sharing)))


def _slip(subject: Subject, what: str, scales: Sequence[float], factor: str, sign: str) -> Slip | None:
    if all(abs(scale) < 1e-8 for scale in scales):
        return Slip("term-too-many", f"{what} does not belong here")
    if any(abs(scale) < 1e-8 for scale in scales) or len({scale > 0 for scale in scales}) > 1:
        return None
    said = named_factor(subject.scenes, [1 / abs(scale) for scale in scales], numbers=False)
    if said is None:
        return None
    if said == "1":
        return Slip(sign, f"{what} has the wrong sign")
    minus = ", with the wrong sign" if scales[0] < 0 else ""
    return Slip(factor, f"{what} is {quoted(said)} times what it should be{minus}")
