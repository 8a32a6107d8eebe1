"""Slips with a tensor that is used more than once: a contribution missing, doubled, alone, or with a factor."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from grader.diagnosis.case_view import NOTHING, Scene
from grader.diagnosis.formula.bindings import additions, adds_gradients_to, is_assigned_anew
from grader.diagnosis.formula.formula import changed_values
from grader.diagnosis.guesses.elementwise import ratio_along
from grader.diagnosis.subject import Guess, Predict, Subject
from grader.diagnosis.words import named_factor, quoted


def missing(subject: Subject) -> Iterator[Guess]:
    """One contribution is not there, or only one of several is."""
    known = subject.known_consumers
    if len(subject.consumers) < 2:
        return
    overwritten = _assigned_anew(subject)
    for consumer in known:
        if (misnamed := _meant_for_the_gradient(subject)) is not None:
            yield Guess("forward-changed", misnamed, _without(consumer))
        if overwritten is not None and len(subject.consumers) == 2:
            yield Guess("overwritten", overwritten, _without(consumer))
        yield Guess(
            "path-missing",
            f"{quoted(subject.name)} is used more than once in the forward pass, and the path through "
            f"{quoted(consumer)} is missing here: every use sends a contribution back, and they add up.",
            _without(consumer),
        )
    if len(subject.consumers) > 2:
        for consumer in known:
            yield Guess(
                "only-one-path",
                overwritten
                or f"Only the path through {quoted(consumer)} is here, and {quoted(subject.name)} is used in "
                f"{len(subject.consumers)} places of the forward pass: the contributions of all of them add up.",
                _alone(consumer),
            )


def missing_further_up(subject: Subject) -> Iterator[Guess]:
    """In a gradient that takes several steps at once: one of the tensors in between sends nothing back."""
    own = subject.first.own
    between = [name for name in subject.first.descendants if name not in own and name != "loss"]
    if set(subject.known_consumers) == set(subject.consumers) or any(scene.is_faint for scene in subject.scenes):
        return
    for name in sorted(between, key=list(subject.first.forward).index):
        message = (
            f"One of the ways on which {quoted(subject.name)} acts on the loss is left out: the one through "
            f"{quoted(name)}. Every way sends a contribution back."
        )
        for silent in (False, True):
            yield Guess("path-missing", message, _cut(name, None, silent=silent))
            for consumer in subject.first.reference.consumers[name]:
                if len(subject.first.reference.consumers[name]) > 1:
                    yield Guess("path-missing", message.replace(quoted(name), f"{quoted(name)} and {quoted(consumer)}"),
                                _cut(name, consumer, silent=silent))  # fmt: skip


def _cut(name: str, consumer: str | None, *, silent: bool) -> Predict:
    """The value with one tensor's gradient, or what one of its consumers gives to it, taken as zero.

    `silent` takes the gradients that are zero anyway as left out too, as most short formulas do.
    """

    def predict(scene: Scene) -> Tensor:
        zero = {key: tensor * 0 for key, tensor in scene.reference.gradients.items()
                if silent and float(tensor.abs().max()) < NOTHING and key not in scene.own}  # fmt: skip
        rest = scene.chained[name] * 0
        if consumer is not None:
            others = {key: tensor for key, tensor in scene.own.items() if key != name}
            above = Scene(name, rest, scene.reference, others, scene.exported, scene.tolerance)
            rest = above.expected - above.paths[consumer]
        return scene.reference.chained({**scene.own, **zero, name: rest})[scene.name]

    return predict


def _assigned_anew(subject: Subject) -> str | None:
    """What to say where a later `dX = …` throws away what an earlier line had put into `dX`."""
    if not is_assigned_anew(subject.sources, subject.gradient):
        return None
    return (
        f"{quoted(subject.gradient + ' =')} is there twice, and the second one throws away what the first had found: "
        "contributions of several uses are added to each other."
    )


def _meant_for_the_gradient(subject: Subject) -> str | None:
    """What to say where a contribution was added to the tensor of the forward pass, not to its gradient."""
    if subject.name not in changed_values(subject.first) or not adds_gradients_to(subject.sources, subject.name):
        return None
    return (
        f"A line adds to {quoted(subject.name)}, a tensor of the forward pass, what belongs to "
        f"{quoted(subject.gradient)}: that contribution is missing here, and every later line that uses "
        f"{quoted(subject.name)} meets a changed value."
    )


def _without(consumer: str) -> Predict:
    return lambda scene: scene.expected - scene.paths[consumer]


def _alone(consumer: str) -> Predict:
    return lambda scene: scene.paths[consumer]


def _twice(consumer: str) -> Predict:
    return lambda scene: scene.expected + scene.paths[consumer]


def doubled(subject: Subject) -> Iterator[Guess]:
    """One contribution counted twice, where the lines do add up more terms than the tensor has uses."""
    if additions(subject.sources, subject.gradient) <= len(subject.consumers):
        return
    for consumer in subject.known_consumers:
        yield Guess(
            "path-twice",
            f"The path through {quoted(consumer)} is counted twice: {quoted(subject.name)} is used there once.",
            _twice(consumer),
        )


def scaled(subject: Subject) -> Iterator[Guess]:
    """One contribution with a wrong sign or a wrong constant factor, the others right."""
    if len(subject.consumers) < 2:
        return
    for consumer in subject.known_consumers:
        ratios = [_share(scene, consumer) for scene in subject.scenes]
        found = [ratio for ratio in ratios if ratio]
        if len(found) < len(ratios) or len({ratio > 0 for ratio in found}) > 1:
            continue
        name = named_factor(subject.scenes, [abs(ratio) for ratio in found])
        if name is None:
            continue
        path = f"the path through {quoted(consumer)}"
        if found[0] < 0 and name == "1":
            message = f"The sign of one contribution is flipped: look at {path}, the rest is right."
        else:
            minus = " and has the wrong sign" if found[0] < 0 else ""
            message = f"One contribution, {path}, is {quoted(name)} times what it should be{minus}; the rest is right."
        yield Guess("path-sign" if found[0] < 0 and name == "1" else "path-factor", message, _with_share(consumer))


def _share(scene: Scene, consumer: str) -> float | None:
    path = scene.paths[consumer]
    return ratio_along(scene, scene.expected - path, path)


def _with_share(consumer: str) -> Predict:
    def predict(scene: Scene) -> Tensor:
        path = scene.paths[consumer]
        return scene.expected + ((_share(scene, consumer) or 0.0) - 1) * path

    return predict
