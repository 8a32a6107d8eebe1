"""The student's own formula, changed in one place until it is right: then that place is what is wrong.

A change counts only where the unchanged formula gives the student's numbers in every case, and the changed one gives
what the chain rule gives: in every case, and also with random numbers put in place of the gradients from above. So
tensors whose gradient is nearly zero are no easier to explain than others.
"""

from __future__ import annotations

from itertools import islice

import torch
from torch import Tensor

from grader.compare import conformed
from grader.diagnose.edits import edits
from grader.diagnose.evidence import sharing, two_names_message
from grader.diagnose.expression import Environment, Node, Unsupported, Value, evaluate
from grader.diagnose.formula import changed_values, formula, leaf_names, meanings, parts
from grader.diagnose.scene import Scene
from grader.diagnose.sources import changed_in_place, is_alias, is_written_after
from grader.diagnose.subject import Subject
from grader.diagnose.words import quoted
from grader.records import Diagnosis

MAX_EDITS = 1500
"""Changes that are tried at most: a wrong tensor may not cost more than a fraction of a second."""


class Trial:
    """One case, or one case with random upstream gradients: names, and what the formula should give."""

    def __init__(self, scene: Scene, names: Environment, expected: Tensor) -> None:
        self.scene = scene
        self.names = names
        self.expected = expected
        self.known: dict[Node, Value] = {}

    def value(self, node: Node, *, keep: bool = False) -> Tensor | None:
        """What a formula gives here, or None."""
        try:
            found = evaluate(node, self.names, self.known, keep)
        except Unsupported:
            return None
        return found if isinstance(found, Tensor) else torch.tensor(float(found), dtype=torch.float64)

    def right(self, node: Node) -> bool:
        """Whether a formula gives what it should."""
        found = self.value(node)
        stretched = None if found is None else conformed(found, self.expected.shape)
        return stretched is not None and self.scene.tolerance.holds(stretched, self.expected)


def repair(subject: Subject) -> Diagnosis | None:
    """What is wrong with the student's formula, where one change makes it right.

    Gradients that are not further up, but beside (`dbngain` in a formula for `dhprebn`), are taken as they are first;
    then their own formulas are written out, for the mistake may be there.
    """
    above = {f"d{name}" for name in subject.first.descendants}
    leaves = leaf_names(subject.scenes, subject.gradient)
    below = {
        name for name in leaves if name.startswith("d") and name[1:] in subject.first.forward and name not in above
    }
    for taken in (leaves, leaves - below):
        node = formula(subject.gradient, subject.sources, taken)
        if taken is leaves and node is not None and _spoiled(subject, node, below):
            continue
        found = _repaired(subject, node, taken) if node is not None else None
        if found is not None:
            return found
    return None


def changed_through(subject: Subject) -> Diagnosis | None:
    """The formula is right, and the tensor was changed in place under another name that it shares its memory with."""
    others = [other for other in sharing(subject) if changed_in_place(subject.sources, {subject.gradient, f"d{other}"})]
    node = formula(subject.gradient, subject.sources, leaf_names(subject.scenes, subject.gradient)) if others else None
    if node is None or not all(Trial(scene, meanings(scene), scene.expected).right(node) for scene in subject.scenes):
        return None
    gradient, other = quoted(subject.gradient), quoted(f"d{others[0]}")
    if is_alias(subject.sources, subject.gradient, f"d{others[0]}"):
        return Diagnosis(code="two-names", message=two_names_message(subject.gradient, f"d{others[0]}"))
    message = (
        f"The line of {gradient} is right, but {gradient} and {other} are views of the same memory, as view, reshape, "
        "expand and .T make them: a change made in place to one of them, with += or an index, changes both."
    )
    return Diagnosis(code="view-changed", message=message)


def _spoiled(subject: Subject, node: Node, below: set[str]) -> bool:
    """Whether a gradient from beside, which the formula uses, is not what it should be: then the fault may be there."""
    used = {part.value for part in parts(node) if part.op == "name"} & below
    scene = subject.first
    return any(
        not scene.tolerance.holds(scene.own[name[1:]], scene.chained[name[1:]])
        for name in used
        if name[1:] in scene.own
    )


def _repaired(subject: Subject, node: Node, leaves: frozenset[str]) -> Diagnosis | None:
    trials = [Trial(scene, meanings(scene), scene.expected) for scene in subject.scenes]
    trials += [_random_trial(scene) for scene in subject.scenes[:2]]
    given = [trial.value(node, keep=True) for trial in trials]
    real = list(zip(subject.scenes, given, strict=False))
    if not all(scene.fits(value) for scene, value in real):
        if not all(trial.right(node) for trial in trials):
            return None
        return _forward_changed(subject, node) or _changed_later(subject)
    first, *rest = trials
    if first.scene.is_faint and not first.scene.descendants & set(first.scene.own):
        return None  # nothing can be put in place of what arrives, and anything that cancels would be right
    names = {key: value for key, value in first.names.items() if key in leaves and _of_use(key, first.scene)}
    for edit in islice(edits(node, names, _factors(first)), MAX_EDITS):
        if first.right(edit.formula) and all(trial.right(edit.formula) for trial in rest):
            return Diagnosis(code=edit.code, message=edit.message)
    return None


def _forward_changed(subject: Subject, node: Node) -> Diagnosis | None:
    """The formula is right for the forward pass as it was, and its tensors are not what they were."""
    used = {part.value for part in parts(node) if part.op == "name"}
    for name in sorted(used & set(changed_values(subject.first))):
        names = [{**meanings(scene), name: changed_values(scene).get(name, 0)} for scene in subject.scenes]
        trials = [Trial(scene, known, scene.expected) for scene, known in zip(subject.scenes, names, strict=True)]
        if all(scene.fits(trial.value(node)) for scene, trial in zip(subject.scenes, trials, strict=True)):
            message = (
                f"The formula is right, but {quoted(name)} is no longer what the forward pass computed: one of your "
                "lines changed it, or gave its name to something else."
            )
            return Diagnosis(code="forward-changed", message=message)
    return None


def _changed_later(subject: Subject) -> Diagnosis | None:
    if not is_written_after(subject.sources, subject.gradient):
        return None
    message = (
        f"The line that computes {quoted(subject.gradient)} is right, and its tensor was changed afterwards: look for "
        "a later line that writes into it, perhaps under another name."
    )
    return Diagnosis(code="changed-later", message=message)


def _random_trial(scene: Scene) -> Trial:
    """Random gradients from above, the same numbers every time."""
    generator = torch.Generator().manual_seed(len(scene.name))
    own = {
        name: torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
        for name, tensor in scene.own.items()
        if name in scene.descendants
    }
    names = {**meanings(scene), **{f"d{name}": tensor for name, tensor in own.items()}}
    return Trial(scene, names, scene.reference.chained(own)[scene.name])


def _of_use(name: str, scene: Scene) -> bool:
    """What a formula may be tried with: the forward pass and the gradients."""
    return name in scene.forward or (name.startswith("d") and name[1:] in scene.own)


def _factors(trial: Trial) -> list[str]:
    sizes = {size for tensor in trial.scene.forward.values() for size in tensor.shape if size > 2}
    found = [name for name, value in trial.names.items() if type(value) is int and value in sizes]
    return sorted(found, key=len)[:1] + [name for name in sorted(found, key=len)[1:] if name != "batch_size"][:2]
