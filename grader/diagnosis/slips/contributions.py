"""Slips with a tensor that is used more than once: a contribution missing, doubled, alone, or with a factor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from grader.diagnosis.case_view import NOTHING, Scene
from grader.diagnosis.chain_rule import MAX_USES
from grader.diagnosis.factor_names import named_factor
from grader.diagnosis.formula.bindings import adds_gradients_to, is_assigned_anew
from grader.diagnosis.formula.node import Node
from grader.diagnosis.guess import Guess
from grader.diagnosis.slips.edit import EMPTY, Candidate, Change, Context
from grader.diagnosis.wrong_tensor import WrongTensor
from grader.wording import listed

# --- made in the right step


def missing(wrong: WrongTensor) -> Iterator[Guess]:
    """One contribution is not there, or only one of several is."""
    uses = len(wrong.consumers)
    if uses < 2:
        return
    overwritten = (
        f"`{wrong.gradient} =` is there twice, and the second one throws away what the first had found: "
        "contributions of several uses add up."
        if is_assigned_anew(wrong.lines, wrong.gradient) else None
    )  # fmt: skip
    taken = () if wrong.marks.part.checks.values else wrong.first.rebound  # a training loop binds them in every round
    added_to_value = (
        f"A line adds to `{wrong.name}`, a tensor of the forward pass, what belongs to `{wrong.gradient}`: that "
        f"contribution is missing here, and later lines use a changed `{wrong.name}`."
        if wrong.name in wrong.first.rebound and adds_gradients_to(wrong.lines, wrong.name, taken) else None
    )  # fmt: skip
    for consumer in wrong.known_consumers:
        code, message = (
            ("forward-changed", added_to_value) if added_to_value is not None else
            ("overwritten", overwritten) if overwritten is not None and uses == 2 else
            ("path-missing", f"`{wrong.name}` is used more than once in the forward pass, but "
                             f"{_path(wrong, consumer)} is missing here: every use sends a contribution back, and "
                             "they add up.")
        )  # fmt: skip
        yield Guess(code, message, partial(_times, consumer, 0.0))
    for consumer in wrong.known_consumers if uses > 2 else ():
        yield Guess(
            "only-one-path",
            overwritten
            or f"Only the path through `{consumer}` is here, but `{wrong.name}` is used in {uses} places in the "
            "forward pass, and all their contributions add up.",
            partial(lambda consumer, scene: scene.paths[consumer], consumer),
        )


def missing_further_up(wrong: WrongTensor) -> Iterator[Guess]:
    """In a gradient that takes several steps at once: one of the tensors in between sends nothing back."""
    unknown = wrong.first.descendants.difference(wrong.first.own, ["loss"])
    if set(wrong.known_consumers) == set(wrong.consumers) or any(scene.is_faint for scene in wrong.scenes):
        return
    for name in [name for name in wrong.first.forward if name in unknown]:
        uses = wrong.first.at(name).consumers
        for silent in (False, True):
            for consumer in [None, *(uses if len(uses) > 1 else [])]:
                way = f"through `{name}`" if consumer is None else f"through `{name}` and `{consumer}`"
                if consumer == name:
                    way = f"from one element of `{name}` to the next"
                message = (
                    f"One of the paths from `{wrong.name}` to the loss is left out: the one {way}. "
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


def scaled(wrong: WrongTensor) -> Iterator[Guess]:
    """One contribution with a wrong sign or a wrong constant factor, the others right."""
    for consumer in wrong.known_consumers if len(wrong.consumers) > 1 else ():
        said = named_factor(wrong.scenes, [_share(scene, consumer) for scene in wrong.scenes])
        if said is None:
            continue
        path = _path(wrong, consumer)
        code, message = (
            ("path-sign", f"One contribution has the wrong sign: look at {path}; the rest is right.")
            if said.negative and said.name == "1" else
            ("path-factor", f"One contribution, {path}, {said.said}; the rest is right.")
        )  # fmt: skip
        yield Guess(code, message, partial(_times, consumer, None))


def _path(wrong: WrongTensor, consumer: str) -> str:
    own = consumer == wrong.name
    return f"the path from one element of `{consumer}` to another" if own else f"the path through `{consumer}`"


def _share(scene: Scene, consumer: str) -> float:
    """How many times what it should be a contribution is, were all others right."""
    return scene.ratio(scene.expected - scene.paths[consumer], scene.paths[consumer]) or 0.0


def _times(consumer: str, share: float | None, scene: Scene) -> Tensor | None:
    """The value with so many times a contribution; as many as there are if not given."""
    return scene.with_path(consumer, (_share(scene, consumer) if share is None else share) * scene.paths[consumer])


# --- each use for itself, also within one line


_ORDER = ("first", "second", "third", "fourth")
_GONE, _FLIPPED = "is missing", "has the wrong sign"


def uses(wrong: WrongTensor) -> Iterator[Guess]:
    """Every contribution multiplied by a number of its own, which may be zero."""
    consumers = wrong.known_consumers or wrong.consumers
    if len(consumers) < len(wrong.consumers):
        return
    labels = [label for one in consumers for label in _labels(wrong.name, one, len(wrong.first.uses(one)))]
    pieces = {scene: [piece for one in consumers for piece in scene.uses(one)] for scene in wrong.scenes}
    if not 1 < len(labels) <= MAX_USES or {len(those) for those in pieces.values()} != {len(labels)}:
        return  # a loop of the forward pass may use it as often as the case is large
    factors = {scene: found for scene, those in pieces.items() if (found := _factors(scene, those)) is not None}
    if len(factors) < len(pieces):
        return
    words = [_said(wrong.scenes, numbers) for numbers in zip(*factors.values(), strict=True)]
    said = [each for each in words if each is not None]
    if len(said) < len(labels):
        return
    code = {frozenset([_GONE]): "path-missing", frozenset([_FLIPPED]): "path-sign"}.get(frozenset(said) - {""})
    off = [f"{label} {each}" for label, each in zip(labels, said, strict=True) if each]
    message = (
        f"`{wrong.name}` is used {len(labels)} times, and every use sends a contribution back. Of these, "
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
