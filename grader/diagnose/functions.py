"""The derivative of one function where the line holds another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from grader.diagnose.scene import summed
from grader.diagnose.steps import Change, changed, elementwise_steps
from grader.diagnose.subject import Guess, Subject
from grader.diagnose.words import quoted

FROM_OUTPUT: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": lambda output: 1 - output**2,
    "the logistic function": lambda output: output * (1 - output),
    "the exponential": lambda output: output,
}
"""Derivatives that are written with the output, and so are easily taken for one another."""


def another_function(subject: Subject) -> Iterator[Guess]:
    """The derivative of tanh for a logistic function, and the like."""
    for consumer in elementwise_steps(subject):
        if subject.first.shape != subject.first.forward[consumer].shape:
            continue  # a function of one tensor keeps its shape
        for function, derivative in FROM_OUTPUT.items():
            yield Guess(
                "another-function",
                f"This is the derivative of {function}, written with its output {quoted(consumer)}, and "
                f"{quoted(consumer)} is computed by another function: differentiate that one.",
                changed(consumer, _with(consumer, derivative)),
            )


def _with(consumer: str, derivative: Callable[[Tensor], Tensor]) -> Change:
    return lambda scene, step: summed(step.cotangent * derivative(scene.forward[consumer]), scene.shape)
