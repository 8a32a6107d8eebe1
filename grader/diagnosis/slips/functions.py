"""Functions taken for each other: the derivative of another one, or none where there should be one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from torch import Tensor

from grader.diagnosis.case_view import Scene
from grader.diagnosis.formula.node import Node
from grader.diagnosis.guess import Guess
from grader.diagnosis.slips.edit import Change, Context
from grader.diagnosis.wrong_tensor import WrongTensor

# --- made in the right step


FROM_OUTPUT: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "tanh": ("Tanh", lambda output: 1 - output**2),
    "the logistic function": ("Sigmoid", lambda output: output * (1 - output)),
    "the exponential": ("Exp", lambda output: output),
}
"""Function → what autograd calls it, and its derivative: written with the output, and so easily taken for another."""


def another_function(wrong: WrongTensor) -> Iterator[Guess]:
    """The derivative of tanh for a logistic function, and the like."""
    for consumer in wrong.elementwise_steps:
        if wrong.first.shape != wrong.first.forward[consumer].shape:
            continue  # a function of one tensor keeps its shape
        if wrong.first.made_by(consumer).startswith(("Pow", "Sqrt", "Rsqrt")):
            yield Guess(
                "wrong-power",
                f"This is the power itself, `{consumer}`, where its derivative belongs: there the exponent comes "
                "down as a factor, and becomes smaller by one.",
                partial(_derived, consumer, lambda output: output),
            )
        for function, (operation, derivative) in FROM_OUTPUT.items():
            if not all(scene.made_by(consumer).startswith(operation) for scene in wrong.scenes):
                yield Guess(
                    "another-function",
                    f"This is the derivative of {function}, written with its output `{consumer}`, and `{consumer}` is "
                    "computed by another function: differentiate that one.",
                    partial(_derived, consumer, derivative),
                )


def _derived(consumer: str, derivative: Callable[[Tensor], Tensor], scene: Scene) -> Tensor | None:
    return scene.with_path(consumer, scene.cotangents[consumer] * derivative(scene.forward[consumer]))


Arrived = Callable[[Tensor, Tensor], Tensor]
"""What stands for the upstream times tanh's derivative, from tanh's output and the upstream."""
TANH: tuple[tuple[str, str, Arrived], ...] = (
    ("local-derivative-missing", "is missing as a factor", lambda output, arrived: arrived),
    ("upstream-missing", "is here alone: what arrives from above multiplies it", lambda output, _: 1 - output**2),
    ("wrong-power", "is not `1 - {0}`", lambda output, arrived: (1 - output) * arrived),
    ("wrong-power", "is not `1 - {0}**3`", lambda output, arrived: (1 - output**3) * arrived),
    ("constant-missing", "is not `-{0}**2`", lambda output, arrived: -(output**2) * arrived),
    ("operands-swapped", "is not `1 - 2**{0}`", lambda output, arrived: (1 - 2**output) * arrived),
    ("wrong-neighbour", "is not `1 - d{0}**2`", lambda output, arrived: (1 - arrived**2) * arrived),
    ("another-function", "is not that of a logistic function", lambda output, arrived: output * (1 - output) * arrived),
)  # fmt: skip
"""The code, what is said of the derivative, and what is computed in place of the right product."""


def on_the_way(wrong: WrongTensor) -> Iterator[Guess]:
    """A tanh between two tensors that have a name, differentiated otherwise, where its argument has none."""
    steps = wrong.elementwise_steps
    for consumer in wrong.known_consumers:
        if consumer in ("loss", *steps) or not wrong.first.made_by(consumer).startswith("Tanh"):
            continue
        for code, text, arrived in TANH:
            what = text.format(consumer)
            message = f"`{consumer}` is a tanh, and on the way to `{wrong.gradient}` its derivative {what}."
            yield Guess(code, message, partial(_arrives_otherwise, consumer, arrived))


def _arrives_otherwise(consumer: str, arrived: Arrived, scene: Scene) -> Tensor | None:
    output = scene.forward[consumer]
    return scene.with_arrived(consumer, arrived(output, scene.cotangents[consumer]) / (1 - output**2))


def row_left_out(wrong: WrongTensor) -> Iterator[Guess]:
    """A softmax differentiated as if each element acted on its own place alone."""
    for consumer in wrong.known_consumers if len(wrong.consumers) == 1 else ():
        if consumer == "loss" or not all(_is_softmax(scene, consumer) for scene in wrong.scenes):
            continue
        message = (
            f"An element of `{wrong.name}` acts on every element of its row of `{consumer}`, because the "
            "row adds up to one: where one grows, the others shrink. Here only"
        )
        for part, power in _OWN_PLACE:
            yield Guess("row-missing", f"{message} {part}", partial(_without_row, consumer, power))


_OWN_PLACE = (
    ("a part of what comes back from the row is there: a sum over it is missing.", 0),
    ("what comes back from its own place is there: all places of the row send something, and add up.", 1),
)


def _is_softmax(scene: Scene, name: str) -> bool:
    return scene.shape == scene.forward[name].shape and scene.made_by(name).startswith("SoftmaxBackward")


def _without_row(consumer: str, power: int, scene: Scene) -> Tensor:
    output = scene.forward[consumer]
    return output * (1 - output) ** power * scene.cotangents[consumer]


# --- undone in a formula


FUNCTIONS = ("sigmoid", "tanh", "exp")
"""Those whose derivative, or whose loss's, is written with what they give."""


def functions(node: Node, _: Context) -> Iterator[Change]:
    """A function that is missing around a name, or another one in the place of one."""
    if node.op in ("name", "use"):
        text = "A function is missing around {}: what the forward pass makes of it belongs here."
        for function in FUNCTIONS:
            yield Node(function, (node,)), "function-missing", text, node
    elif node.op in FUNCTIONS:
        text = "A different function belongs in place of {}: look at the forward pass."
        for function in FUNCTIONS:
            if function != node.op:
                yield Node(function, node.args), "another-function", text, node
