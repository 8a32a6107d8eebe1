"""A mistake in a gradient that the student computes on the way under a name of their own (`grad_hpreact`).

Which gradient it stands for is found from what follows: given it as the gradient of that tensor, the chain rule makes
of it just what the student has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from grader.diagnosis.case_view import Scene
from grader.diagnosis.formula.expression import shown
from grader.diagnosis.wrong_tensor import WrongTensor
from grader.marking.tolerance import conformed
from grader.notebook.gradient_names import gradient_of
from grader.records import FURTHER_UP, Diagnosis
from grader.wording import quoted

MAX_TRIED = 60
"""Pairs of a name and a tensor that are tried at most."""

Why = Callable[[WrongTensor], Diagnosis | None]
"""Finds what is wrong with one tensor."""


def in_a_stand_in(wrong: WrongTensor, why: Why) -> Diagnosis | None:
    """What is wrong with a gradient of a name of the student's own, where that explains this one."""
    leaves = wrong.leaves
    asked = {*map(gradient_of, wrong.first.forward)}
    tried = 0
    for label, node in wrong.program(leaves).versions:
        if label in leaves or label in asked or label == wrong.gradient:
            continue
        values = [scene.value(node) for scene in wrong.scenes]
        given = [value for value in values if value is not None and value.dim() and value.is_floating_point()]
        same = all(scene.fits(value) for scene, value in zip(wrong.scenes, given, strict=False))
        if len(given) < len(values) or same:  # another name for the tensor itself is none on the way
            continue
        for other in _unasked(wrong, given):
            tried += 1
            if tried > MAX_TRIED:
                return None
            pairs = zip(wrong.scenes, given, strict=True)
            inner = [replace(scene.at(other), student=value, changed={}) for scene, value in pairs]
            if not all(_explains(scene, one) for scene, one in zip(wrong.scenes, inner, strict=True)):
                continue
            found = why(wrong.instead(label, other, inner, node))
            if found is not None:
                name = shown(label)
                where = f"{FURTHER_UP}, in" if wrong.checked else "It is in"
                text = f"{where} {quoted(name)}. {found.message.replace(label, name)}"
                return Diagnosis(code=found.code, message=text)
            break  # of the tensors that it may stand for the nearest: for others it is a coincidence
    return None


def _unasked(wrong: WrongTensor, given: list[Tensor]) -> list[str]:
    """The tensors further up, of the values' shape, whose gradient the student has under no name of the exercise."""
    return [
        name
        for name in wrong.first.forward
        if name in wrong.first.descendants
        and name not in wrong.first.own
        and all(conformed(value, scene.forward[name].shape) is not None
                for scene, value in zip(wrong.scenes, given, strict=True))
    ]  # fmt: skip


def _explains(scene: Scene, inner: Scene) -> bool:
    """Whether a tensor is what the chain rule makes of the student's value for the gradient of another."""
    if inner.in_shape is None or inner.fits(inner.expected):
        return False
    return scene.fits(scene.reference.chained({**scene.own, inner.name: inner.in_shape})[scene.name])
