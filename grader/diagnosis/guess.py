"""A slip that may explain a wrong tensor, and what the tensor would be after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from grader.diagnosis.case_view import Scene
from grader.diagnosis.chain_rule import Elementwise
from grader.records import Diagnosis

Predict = Callable[[Scene], Tensor | None]


class Guess(NamedTuple):
    """A slip that may explain a wrong tensor.

    `predict` gives what the student's tensor would be after it, or None where the slip makes no sense.
    """

    code: str
    message: str
    predict: Predict

    @property
    def diagnosis(self) -> Diagnosis:
        """The guess as it is reported."""
        return Diagnosis(code=self.code, message=self.message)


Recomputed = Callable[[Scene, Elementwise], Tensor | None]
"""What one path's contribution is after a slip, before it is added to the others."""


def with_path_changed(consumer: str, change: Recomputed) -> Predict:
    """The expected value with one path's contribution computed otherwise; None where the shapes don't go together."""
    return lambda scene: scene.with_path(consumer, change(scene, scene.elementwise[consumer]))
