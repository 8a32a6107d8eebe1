"""Constants that are missing in a student's formula, or are not the right ones.

They are found, not tried: of one part of a formula by what doubling it changes, of the terms of a sum as those by which
they must be multiplied to add up to what is expected. With random gradients from above they must be the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from grader.diagnosis.case_view import Scene, nearest
from grader.diagnosis.factor_names import named_factor
from grader.diagnosis.formula.expression import write
from grader.diagnosis.formula.node import Node, exchanged, number, parts
from grader.diagnosis.guess import Guess
from grader.diagnosis.slips.edit import Edit
from grader.diagnosis.wrong_tensor import WrongTensor
from grader.records import Diagnosis
from grader.wording import quoted

MAX_TERMS = 6
MAX_SLIPS = 2
TWO = "Two slips come together here"
INDEPENDENT = 1e-6
"""Terms that are nearer than this to adding up to nothing have no constants of their own."""
ZERO = 1e-8
_DISTRIBUTES = ("sum", "mean", "transpose", "reshape", "like", "unsqueeze", "flatten", "same", "expand")


def wrong_scale(wrong: WrongTensor, node: Node, trials: Sequence[Scene]) -> Diagnosis | None:
    """The largest part of a formula that has to be a constant times what it is, if there is one.

    `trials` has one for each case, then those with random gradients.
    """
    for part in parts(node):
        if part.op in ("name", "number"):
            continue
        if not wrong.budget.spend():
            return None
        doubled = _doubled(node, part)
        scales = _steady(wrong, (_scale(trial, node, doubled) for trial in trials))
        said = named_factor(wrong.scenes, scales) if scales is not None else None
        if said is not None:
            message = (
                f"A constant is missing at {quoted(write(part))}, or is wrong: with "
                f"{quoted('-' * said.negative + said.name)} times as much there, everything fits."
            )
            return Diagnosis(code="wrong-constant", message=message)
    return None


def _doubled(node: Node, part: Node) -> Node:
    return exchanged(node, part, number(2) * part)


def _scale(trial: Scene, node: Node, doubled: Node) -> float | None:
    """What the doubled part must be multiplied by; None where no number does, or the part is in no product."""
    here, share = trial.stretched(node), _share(trial, node, doubled)
    more = nearest(trial.expected - here, share) if here is not None and share is not None else None
    if here is None or share is None or more is None:
        return None
    return 1 + more if abs(1 + more) > ZERO and trial.is_right(here + more * share) else None


def _share(trial: Scene, node: Node, doubled: Node) -> Tensor | None:
    """What a formula gains where a part of it is doubled: in a product or a sum, what it holds of that part."""
    here, there = trial.stretched(node), trial.stretched(doubled)
    return there - here if here is not None and there is not None else None


def scaled(wrong: WrongTensor, edit: Edit, trials: Sequence[Scene]) -> Diagnosis | None:
    """A change that makes a formula right but for one constant, the same whatever arrives from above."""
    scales = _steady(wrong, (trial.scale_of(trial.stretched(edit.formula)) for trial in trials))
    return _both(wrong, edit.diagnosis, [1 / scale for scale in scales]) if scales is not None else None


def scaled_shape(wrong: WrongTensor, guess: Guess) -> Diagnosis | None:
    """A slip that the shape shows, and one constant for the whole."""
    made = [guess.predict(scene) for scene in wrong.scenes]
    pairs = [(scene, value) for scene, value in zip(wrong.scenes, made, strict=True)
             if value is not None and value.shape == scene.student.shape != scene.shape]  # fmt: skip
    if len(pairs) < len(made):
        return None
    scales = _steady(wrong, (nearest(scene.student, value) for scene, value in pairs))
    if scales is None or not all(scene.fits(k * value) for k, (scene, value) in zip(scales, pairs, strict=True)):
        return None
    return _both(wrong, guess.diagnosis, scales)


def _both(wrong: WrongTensor, found: Diagnosis, factors: Sequence[float]) -> Diagnosis | None:
    """A slip, and the factors in each case that are another, where these have a name."""
    said = named_factor(wrong.scenes, factors, numbers=False)
    return said and Diagnosis(code=found.code, message=f"{TWO}. {found.message} And the whole {said.said}.")


def _steady(wrong: WrongTensor, scales: Iterable[float | None]) -> list[float] | None:
    """The constant in each case, where there is one for every trial, they have one sign, and are no coincidence.

    With random gradients from above it must be the same one. No more are asked for than that takes.
    """
    found: list[float] = []
    for scale in scales:
        if not scale or (found and (scale > 0) != (found[0] > 0)):
            return None
        found.append(scale)
    cases = len(wrong.scenes)
    return found[:cases] if _same(found[cases:], found) else None


def _same(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(abs(a - b) <= 1e-7 * max(1.0, abs(a)) for a, b in zip(one, other, strict=False))


# --- terms of a sum


def wrong_terms(wrong: WrongTensor, node: Node, trials: Sequence[Scene]) -> list[Diagnosis]:
    """The terms that are a constant times what they should be, where these are one or two; arguments as above."""
    terms = list(dict.fromkeys(islice(_terms(node), MAX_TERMS + 1)))
    if not 1 < len(terms) <= MAX_TERMS:
        return []
    scales: list[list[float]] = []
    for trial in trials:
        found = _scales(node, terms, trial)
        if found is None:
            return []
        scales.append(found)
    cases = len(wrong.scenes)
    steady = all(map(_same, scales[cases:], scales))
    slips = _slips(wrong, terms, scales[:cases]) if steady else None
    return slips if slips is not None and len(slips) <= MAX_SLIPS else []


def said_of(slips: Sequence[Diagnosis]) -> Diagnosis:
    """What is said of wrong terms."""
    text = " and ".join(slip.message for slip in slips)
    message = f"{TWO}: {text}." if len(slips) > 1 else f"{text[0].upper()}{text[1:]}: the rest of the sum fits."
    return Diagnosis(code=slips[0].code, message=message)


def _terms(node: Node) -> Iterator[Node]:
    """The terms that a formula adds up; one where it is no sum."""
    if node.op in ("add", "sub"):
        for side in node.args:
            yield from _terms(side)
        return
    through = node.args if node.op in ("neg", "use", "mul", "div", *_DISTRIBUTES) else ()
    sides = [list(islice(_terms(side), MAX_TERMS + 1)) for side in through]  # a name's formula may double many times
    place = next((place for place, side in enumerate(sides) if len(side) > 1), None)
    yield from [node] if place is None or (place > 0 and node.op != "mul") else sides[place]


def _scales(node: Node, terms: Sequence[Node], trial: Scene) -> list[float] | None:
    """What each term must be multiplied by here; None where no such numbers exist, or more than one set of them."""
    columns = [_share(trial, node, _doubled(node, term)) for term in terms]
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
    return scales.tolist() if trial.is_right((matrix @ scales).view(trial.expected.shape)) else None


def _slips(wrong: WrongTensor, terms: Sequence[Node], scales: Sequence[Sequence[float]]) -> list[Diagnosis] | None:
    """What is wrong with single terms, then with the whole; None where a constant has no name."""
    per_term = list(zip(*scales, strict=True))
    common = _common(per_term)
    slips: list[Diagnosis | None] = []
    for term, found in zip(terms, per_term, strict=True):
        relative = [scale / whole if whole else 0.0 for scale, whole in zip(found, common, strict=True)]
        slips += _slip(wrong, f"the term {quoted(write(term))}", relative, "term-factor", "term-sign")
    slips += _slip(wrong, f"the whole of `{wrong.gradient}`", common, "constant-factor", "sign-flipped")
    return None if None in slips else [slip for slip in slips if slip is not None]


def _common(scales: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """The constant of most terms, signs aside: that of the whole; 1 where no two terms share one."""
    sizes = [tuple(round(abs(scale), 7) for scale in term) for term in scales]
    most, times = Counter(sizes).most_common(1)[0]
    sharing = [term for term, size in zip(scales, sizes, strict=True) if size == most]
    if times < 2:
        return (1.0,) * len(most)
    negative = sum(term[0] < 0 for term in sharing)
    return next(term for term in sharing if (term[0] < 0) == (2 * negative > len(sharing)))


def _slip(wrong: WrongTensor, what: str, scales: Sequence[float], factor: str, sign: str) -> Iterator[Diagnosis | None]:
    """Nothing where the constant is one; None where it has no name."""
    if _same(scales, [1.0] * len(scales)):
        return
    if all(abs(scale) < ZERO for scale in scales):
        yield Diagnosis(code="term-too-many", message=f"{what} does not belong here")
        return
    inverse = [1 / scale if abs(scale) >= ZERO else None for scale in scales]
    said = named_factor(wrong.scenes, inverse, numbers=False)
    code = sign if said is not None and said.name == "1" else factor
    yield Diagnosis(code=code, message=f"{what} {said.said}") if said is not None else None
