"""Slips in a loop over steps in time: only some of them are there, or another step's element is taken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from torch import Tensor

from grader.diagnosis.case_view import Scene
from grader.diagnosis.factor_names import Named, named_sizes
from grader.diagnosis.formula.node import AT, Node, number
from grader.diagnosis.guess import Guess
from grader.diagnosis.slips.edit import Change, Context
from grader.diagnosis.wrong_tensor import WrongTensor

# --- made in the right step


def some_steps(wrong: WrongTensor) -> Iterator[Guess]:
    """Of what every step in time sends, only the first step's, or the last one's, is here, or each has a factor."""
    lists = wrong.first.reference.lists
    for consumer in wrong.known_consumers if wrong.name not in lists else ():
        if consumer not in lists or wrong.first.forward[consumer].dim() < 2:
            continue
        every = f"`{wrong.name}` is used at every step, and every use sends a contribution back: they add up."
        for place, which in ((0, "first"), (-1, "last")):
            for code, what, share in (("only-one-path", "all there is", 1.0), ("path-missing", "missing", 0.0)):
                message = f"What the {which} step sends is {what}. {every}"
                yield Guess(code, message, partial(_steps, consumer, {place: share}, 1 - share))
        for label, numbers in _growing(wrong, consumer):
            yield Guess(
                "constant-factor",
                f"At every step, the whole sum so far is multiplied by `{label}`. The other numbers are right.",
                partial(_grown, consumer, dict(zip(wrong.scenes, numbers, strict=True))),
            )


def _growing(wrong: WrongTensor, consumer: str) -> Iterator[Named]:
    """By what a sum may be multiplied at every step: what it is called, and the number in each case."""
    scenes = wrong.scenes
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


# --- undone in a formula


def another_step(node: Node, context: Context) -> Iterator[Change]:
    """In a loop another element of a list: of the step before, or after, or of the very step that the loop is in."""
    if node.op != "pick" or node.value != (AT,):
        return
    text = "Everything fits except {}: the one of another step belongs there. Which step uses which?"
    here = [Node("name", value=counter) for counter in context.counters]
    for place in [node.args[1], *(here if node.args[1].op == "number" else ())] if here else ():
        for shift in (0, 1, -1) if place is not node.args[1] else (1, -1):
            moved = place + number(shift) if shift else place
            yield Node("pick", (node.args[0], moved), (AT,)), "wrong-neighbour", text, node
