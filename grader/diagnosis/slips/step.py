"""One step of the chain rule, computed otherwise than it should be."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from grader.diagnosis.case_view import Elementwise, Scene
from grader.diagnosis.subject import Predict, Subject

Recomputed = Callable[[Scene, Elementwise], Tensor | None]
"""What one path's contribution is after a slip, before it is added to the others."""


def elementwise_steps(subject: Subject) -> list[str]:
    """The consumers reached by an elementwise step in every case, whose gradient the student has."""
    return [name for name in subject.known_consumers if all(name in scene.elementwise for scene in subject.scenes)]


def changed(consumer: str, change: Recomputed) -> Predict:
    """The expected value with one path's contribution computed otherwise; None where the shapes don't go together."""
    return lambda scene: scene.with_path(consumer, change(scene, scene.elementwise[consumer]))


def made_by(scene: Scene, name: str) -> str:
    """What autograd calls the operation that made a tensor, `TanhBackward0`; nothing for a leaf."""
    operation = scene.reference.members(name)[0].grad_fn
    return operation.name() if operation is not None else ""
