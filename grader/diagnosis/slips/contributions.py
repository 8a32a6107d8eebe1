"""Slips with a tensor that is used more than once: a contribution missing, doubled, alone, or with a factor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from grader.diagnosis.case_view import NOTHING, Scene
from grader.diagnosis.chain_rule import MAX_USES
from grader.diagnosis.formula.bindings import adds_gradients_to, is_assigned_anew
from grader.diagnosis.formula.node import Node
from grader.diagnosis.slips.edit import EMPTY, Candidate, Change, Context
from grader.diagnosis.subject import Guess, Subject
from grader.diagnosis.words import Named, named_factor, named_sizes
from grader.wording import listed

# --- made in the right step


def missing(subject: Subject) -> Iterator[Guess]:
    """One contribution is not there, or only one of several is."""
    uses = len(subject.consumers)
    if uses < 2:
        return
    overwritten = (
        f"`{subject.gradient} =` is there twice, and the second one throws away what the first had found: "
        "contributions of several uses add up."
        if is_assigned_anew(subject.lines, subject.gradient) else None
    )  # fmt: skip
    taken = () if subject.marks.checks.values else subject.first.rebound  # a training loop binds them in every round
    added_to_value = (
        f"A line adds to `{subject.name}`, a tensor of the forward pass, what belongs to `{subject.gradient}`: that "
        f"contribution is missing here, and later lines use a changed `{subject.name}`."
        if subject.name in subject.first.rebound and adds_gradients_to(subject.lines, subject.name, taken) else None
    )  # fmt: skip
    for consumer in subject.known_consumers:
        code, message = (
            ("forward-changed", added_to_value) if added_to_value is not None else
            ("overwritten", overwritten) if overwritten is not None and uses == 2 else
            ("path-missing", f"`{subject.name}` is used more than once in the forward pass, but "
                             f"{_path(subject, consumer)} is missing here: every use sends a contribution back, and "
                             "they add up.")
        )  # fmt: skip
        yield Guess(code, message, partial(_times, consumer, 0.0))
    for consumer in subject.known_consumers if uses > 2 else ():
        yield Guess(
            "only-one-path",
            overwritten
            or f"Only the path through `{consumer}` is here, but `{subject.name}` is used in {uses} places in the "
            "forward pass, and all their contributions add up.",
            partial(lambda consumer, scene: scene.paths[consumer], consumer),
        )


def missing_further_up(subject: Subject) -> Iterator[Guess]:
    """In a gradient that takes several steps at once: one of the tensors in between sends nothing back."""
    unknown = subject.first.descendants.difference(subject.first.own, ["loss"])
    if set(subject.known_consumers) == set(subject.consumers) or any(scene.is_faint for scene in subject.scenes):
        return
    for name in [name for name in subject.first.forward if name in unknown]:
        uses = subject.first.at(name).consumers
        for silent in (False, True):
            for consumer in [None, *(uses if len(uses) > 1 else [])]:
                way = f"through `{name}`" if consumer is None else f"through `{name}` and `{consumer}`"
                if consumer == name:
                    way = f"from one element of `{name}` to the next"
                message = (
                    f"One of the paths from `{subject.name}` to the loss is left out: the one {way}. "
                    "Every path sends a contribution back."
                )
                yield Guess("path-missing", message, partial(_cut, name, consumer, silent))


def _cut(name: str, consumer: str | None, silent: bool, scene: Scene) -> Tensor:
    """The value with one tensor's gradient, or what one of its consumers gives to it, taken as zero.

    `silent` takes the gradients that are zero anyway as left out too, as most short formulas do.
    """
    zero = {key: tensor * 0 for key, tensor in scene.reference.gradients.items()
            if silent and float(tensor.abs().max()) < NOTHING and key not in scene.own}  # fmt: skip
    rest = scene.chained[name] * 0
    if consumer is not None:
        above = scene.at(name)
        rest = above.expected - above.paths[consumer]
    return scene.reference.chained({**scene.own, **zero, name: rest})[scene.name]


def scaled(subject: Subject) -> Iterator[Guess]:
    """One contribution with a wrong sign or a wrong constant factor, the others right."""
    for consumer in subject.known_consumers if len(subject.consumers) > 1 else ():
        said = named_factor(subject.scenes, [_share(scene, consumer) for scene in subject.scenes])
        if said is None:
            continue
        path = _path(subject, consumer)
        code, message = (
            ("path-sign", f"One contribution has the wrong sign: look at {path}; the rest is right.")
            if said.negative and said.name == "1" else
            ("path-factor", f"One contribution, {path}, {said.said}; the rest is right.")
        )  # fmt: skip
        yield Guess(code, message, partial(_times, consumer, None))


def _path(subject: Subject, consumer: str) -> str:
    own = consumer == subject.name
    return f"the path from one element of `{consumer}` to another" if own else f"the path through `{consumer}`"


def steps(subject: Subject) -> Iterator[Guess]:
    """Of what every step in time sends, only the first step's, or the last one's, is here, or each has a factor."""
    lists = subject.first.reference.lists
    for consumer in subject.known_consumers if subject.name not in lists else ():
        if consumer not in lists or subject.first.forward[consumer].dim() < 2:
            continue
        every = f"`{subject.name}` is used at every step, and every use sends a contribution back: they add up."
        for place, which in ((0, "first"), (-1, "last")):
            for code, what, share in (("only-one-path", "all there is", 1.0), ("path-missing", "missing", 0.0)):
                message = f"What the {which} step sends is {what}. {every}"
                yield Guess(code, message, partial(_steps, consumer, {place: share}, 1 - share))
        for label, numbers in _growing(subject, consumer):
            yield Guess(
                "constant-factor",
                f"At every step, the whole sum so far is multiplied by `{label}`. The other numbers are right.",
                partial(_grown, consumer, dict(zip(subject.scenes, numbers, strict=True))),
            )


def _growing(subject: Subject, consumer: str) -> Iterator[Named]:
    """By what a sum may be multiplied at every step: what it is called, and the number in each case."""
    scenes = subject.scenes
    yield from ((label, [number] * len(scenes)) for label, number in (("-1", -1.0), ("2", 2.0), ("1/2", 0.5)))
    for label, sizes in named_sizes(scenes, [scenes[0].forward[consumer].shape[1]])[:1]:
        yield label, sizes
        yield f"1/{label}", [1 / size for size in sizes]


def _grown(consumer: str, numbers: Mapping[Scene, float], scene: Scene) -> Tensor | None:
    """The value after a loop from the last step to the first that multiplies the sum so far each time."""
    count = len(scene.forward[consumer])
    return _steps(consumer, {place: numbers[scene] ** (place + 1) for place in range(count)}, 0.0, scene)


def _steps(consumer: str, shares: Mapping[int, float], others: float, scene: Scene) -> Tensor | None:
    """The value with a share of what each element of a list sends."""
    weighted = others * scene.cotangents[consumer]
    for place, share in shares.items():
        weighted[place] = share * scene.cotangents[consumer][place]
    return scene.with_arrived(consumer, weighted)


def _share(scene: Scene, consumer: str) -> float:
    """How many times what it should be a contribution is, were all others right."""
    return scene.ratio(scene.expected - scene.paths[consumer], scene.paths[consumer]) or 0.0


def _times(consumer: str, share: float | None, scene: Scene) -> Tensor | None:
    """The value with so many times a contribution; as many as there are if not given."""
    return scene.with_path(consumer, (_share(scene, consumer) if share is None else share) * scene.paths[consumer])


# --- each use for itself, also within one line


_ORDER = ("first", "second", "third", "fourth")
_GONE, _FLIPPED = "is missing", "has the wrong sign"


def uses(subject: Subject) -> Iterator[Guess]:
    """Every contribution multiplied by a number of its own, which may be zero."""
    consumers = subject.known_consumers or subject.consumers
    if len(consumers) < len(subject.consumers):
        return
    labels = [label for one in consumers for label in _labels(subject.name, one, len(subject.first.uses(one)))]
    pieces = {scene: [piece for one in consumers for piece in scene.uses(one)] for scene in subject.scenes}
    if not 1 < len(labels) <= MAX_USES or {len(those) for those in pieces.values()} != {len(labels)}:
        return  # a loop of the forward pass may use it as often as the case is large
    factors = {scene: found for scene, those in pieces.items() if (found := _factors(scene, those)) is not None}
    if len(factors) < len(pieces):
        return
    words = [_said(subject.scenes, numbers) for numbers in zip(*factors.values(), strict=True)]
    said = [each for each in words if each is not None]
    if len(said) < len(labels):
        return
    code = {frozenset([_GONE]): "path-missing", frozenset([_FLIPPED]): "path-sign"}.get(frozenset(said) - {""})
    off = [f"{label} {each}" for label, each in zip(labels, said, strict=True) if each]
    message = (
        f"`{subject.name}` is used {len(labels)} times, and every use sends a contribution back. Of these, "
        f"{listed(off, MAX_USES)}."
    )
    yield Guess(code or "path-factor", message, lambda scene: _joined(pieces[scene], factors[scene]))


def _joined(pieces: Sequence[Tensor], factors: Sequence[float]) -> Tensor:
    return torch.stack([factor * piece for factor, piece in zip(factors, pieces, strict=True)]).sum(0)


def _labels(name: str, consumer: str, count: int) -> list[str]:
    """How the contributions of one consumer are called: it may use a tensor at several places of its line."""
    if count == 1:
        return [f"the one through `{consumer}`"]
    return [f"the one of the {place} `{name}` in the line of `{consumer}`" for place in _ORDER[:count]]


def _factors(scene: Scene, pieces: Sequence[Tensor]) -> list[float] | None:
    """The numbers by which contributions are multiplied in the student's tensor; None where they are alike."""
    table = torch.stack([piece.flatten() for piece in pieces], 1)
    if scene.student.numel() != len(table) or int(torch.linalg.matrix_rank(table)) < len(pieces):
        return None
    found: list[float] = torch.linalg.lstsq(table, scene.student.reshape(-1, 1)).solution.flatten().tolist()
    return found


def _said(scenes: Sequence[Scene], numbers: Sequence[float]) -> str | None:
    """What is said of a contribution that has these factors; nothing of a right one, None where they have no name."""
    if all(abs(number) < NOTHING for number in numbers):
        return _GONE
    factor = named_factor(scenes, numbers, numbers=False)
    return factor and ("" if factor == ("1", False) else factor.said)


# --- undone in a formula


def terms_too_many(node: Node, _: Context) -> Iterator[Change]:
    """A term too many; one of two numbers (`h**(2 + 1)`) is a wrong number instead."""
    text = "The term {} does not belong here, or is here twice."
    if node.op in ("add", "sub") and any(argument.op != "number" for argument in node.args):
        yield node.args[0], "term-too-many", text, node.args[1]
    if node.op == "add":
        yield node.args[1], "term-too-many", text, node.args[0]


def terms(node: Node, context: Context) -> Iterator[Change]:
    """A term that is missing somewhere: anything that has a name, or what the loss makes of it."""
    if node.op in EMPTY and node.op != "number":
        return
    here = context.value(node)
    for one in [*context.near, *context.elements, *context.columns, *context.probabilities]:
        term = _as_term(one, here, node)
        if term is not None:
            text = f"A term is missing beside {{}}: `{one.label}` takes part there, too."
            yield node + term, "term-missing", text, node
            yield node - term, "term-missing", text, node


def _as_term(candidate: Candidate, here: Tensor | None, node: Node) -> Node | None:
    """A tensor itself; for an index into the rows of what is here, a one in the place that it names in each row."""
    value = candidate.value
    if value.is_floating_point():
        return candidate.node
    rows = here is not None and here.dim() > 1 and value.shape == here.shape[:-1] and value.dtype is torch.int64
    return Node("one_hot", (candidate.node, Node("size", (node,), -1))) if rows else None
