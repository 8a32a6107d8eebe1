"""Lines that are right, and were spoiled by others: a tensor, or what it was computed from, was changed afterwards."""

from __future__ import annotations

from grader.diagnosis.case_view import Scene
from grader.diagnosis.formula.bindings import changed_since, is_alias
from grader.diagnosis.formula.node import Node, parts
from grader.diagnosis.subject import Subject
from grader.notebook.gradient_names import tensor_of
from grader.records import Diagnosis


def changed_through(subject: Subject) -> Diagnosis | None:
    """The line is right, and the tensor was changed in place under another name that it shares its memory with.

    That it is right is seen from its formula; where that can't be read, from its having become the other's right value.
    """
    own = subject.gradient
    shared = (other for other in _sharing(subject) if changed_since(subject.lines, {own, other}, {own, other}))
    if (other := next(shared, None)) is None:
        return None
    node, alias = subject.program(subject.leaves).formulas.get(own), is_alias(subject.lines, own, other)

    def right(scene: Scene) -> bool:
        if node is not None:
            return scene.is_right(scene.stretched(node))
        return alias and scene.fits(scene.chained[tensor_of(other)])

    if not all(map(right, subject.scenes)):
        return None
    if alias:
        message = (
            f"`{own}` and `{other}` are two names for one tensor, so changing one in place changes both. "
            "A cmp that ran before the change may have said True. A sum makes a new tensor, += doesn't."
        )
        return Diagnosis(code="two-names", message=message)
    message = (
        f"The line of `{own}` is right, but `{own}` and `{other}` share memory, as view, reshape, expand and .T make "
        "no copy: changing one in place, with += or an index, changes both."
    )
    return Diagnosis(code="view-changed", message=message)


def _sharing(subject: Subject) -> list[str]:
    """The gradients that used the same memory as this one."""
    exported = subject.first.exported if subject.scenes else {}
    if subject.gradient not in exported:
        return []
    own = exported[subject.gradient].note.shares or subject.gradient
    names = [name for name, found in exported.items() if (found.note.shares or name) == own]
    return [name for name in names if name != subject.gradient and tensor_of(name) in subject.first.forward]


def spoiled(subject: Subject, node: Node) -> Diagnosis | None:
    """What happened to a tensor whose formula is right, and does not give its numbers."""
    return _forward_changed(subject, node) or _changed_later(subject)


def _forward_changed(subject: Subject, node: Node) -> Diagnosis | None:
    """The formula is right for the forward pass as it was, and its tensors are not what they were."""
    if any(scene.reference.drifts for scene in subject.scenes):
        return None  # a step that trains on a wrong gradient changes the next one's forward pass, and no line does
    used = {part.value for part in parts(node) if part.op == "name"}
    for name in sorted(used & set(subject.first.rebound)):
        if all(name in scene.rebound and scene.fits(scene.value(node, {name: scene.rebound[name]}))
               for scene in subject.scenes):  # fmt: skip
            otherwise = subject.marks.remarks.given_otherwise(subject.gradient)
            message = (
                f"The formula is right, but {otherwise}." if otherwise is not None else
                f"The formula is right, but `{name}` is no longer what the forward pass computed: one of your "
                "lines changed it, or reused its name."
            )  # fmt: skip
            return Diagnosis(code="forward-changed", message=message)
    return None


def _changed_later(subject: Subject) -> Diagnosis | None:
    own = {subject.gradient}
    if subject.marks.cell_errors or not changed_since(subject.lines, own):
        return None  # where an error stopped a cell, a later line may be just what is wanting
    if subject.marks.checks.values and not changed_since(subject.lines, own, own):
        return None  # a training loop writes into its parameters, and one that ends too early has other numbers, too
    message = (
        f"The line that computes `{subject.gradient}` is right, but its tensor was changed afterwards: look for "
        "a later line that writes into it, perhaps under another name."
    )
    return Diagnosis(code="changed-later", message=message)
