"""The right numbers, arranged otherwise than in the tensor: in other places, or not summed yet."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from grader.diagnose.scene import Scene
from grader.diagnose.subject import Guess, Subject
from grader.diagnose.words import quoted, shape_text


def unsummed(subject: Subject) -> Iterator[Guess]:
    """A gradient for each element of a dimension that the tensor does not have (a matrix for each example)."""
    here, wanted = list(subject.first.student.shape), list(subject.first.shape)
    extra = len(here) - len(wanted)
    if extra > 0:
        yield Guess(
            "sum-missing",
            f"{quoted(subject.gradient)} has the shape {shape_text(here)}, so it holds a tensor of the shape "
            f"{shape_text(wanted)} for each element of its first {'dimension' if extra == 1 else 'dimensions'}. "
            f"{quoted(subject.name)} serves them all, and what is used several times adds up.",
            lambda scene: _if_right(scene, _summed(scene, extra), scene.expected),
        )


def misplaced(subject: Subject) -> Iterator[Guess]:
    """The numbers of the right tensor, in other places: a view or reshape where dimensions change their order."""
    yield Guess(
        "places-mixed",
        f"All the numbers of {quoted(subject.gradient)} are right, and they stand in the wrong places. view and reshape "
        "only cut the same row of numbers anew; dimensions change their order by transpose or permute alone. Undo the "
        "steps of the forward pass one by one, the last of them first.",
        lambda scene: _if_right(scene, _sorted(scene.student), _sorted(scene.expected)),
    )


def _if_right(scene: Scene, found: Tensor | None, expected: Tensor) -> Tensor | None:
    """The student's value as it is, if what was made of it is what it should be."""
    same = found is not None and found.shape == expected.shape and scene.tolerance.holds(found, expected)
    return scene.student if same else None


def _summed(scene: Scene, extra: int) -> Tensor | None:
    return scene.student.sum(tuple(range(extra))) if scene.student.dim() > extra else None


def _sorted(tensor: Tensor) -> Tensor:
    return tensor.flatten().sort().values
