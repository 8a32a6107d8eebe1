"""Lines that are right, and were spoiled by others: a tensor, or what it was computed from, was changed afterwards."""

from __future__ import annotations

from grader.diagnosis.case_view import Scene
from grader.diagnosis.formula.bindings import changed_since, is_alias
from grader.diagnosis.formula.node import Node, parts
from grader.diagnosis.wrong_tensor import WrongTensor
from grader.notebook.gradient_names import tensor_of
from grader.records import Diagnosis


def changed_through(wrong: WrongTensor) -> Diagnosis | None:
    """The line is right, and the tensor was changed in place under another name that it shares its memory with.

    That it is right is seen from its formula; where that can't be read, from its having become the other's right value.
    """
    own = wrong.gradient
    shared = (other for other in _sharing(wrong) if changed_since(wrong.lines, {own, other}, {own, other}))
    if (other := next(shared, None)) is None:
        return None
    node, alias = wrong.program(wrong.leaves).formulas.get(own), is_alias(wrong.lines, own, other)

    def right(scene: Scene) -> bool:
        if node is not None:
            return scene.is_right(scene.stretched(node))
        return alias and scene.fits(scene.chained[tensor_of(other)])

    if not all(map(right, wrong.scenes)):
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


def _sharing(wrong: WrongTensor) -> list[str]:
    """The gradients that used the same memory as this one."""
    exported = wrong.first.exported if wrong.scenes else {}
    if wrong.gradient not in exported:
        return []
    own = exported[wrong.gradient].note.shares or wrong.gradient
    names = [name for name, found in exported.items() if (found.note.shares or name) == own]
    return [name for name in names if name != wrong.gradient and tensor_of(name) in wrong.first.forward]


def spoiled(wrong: WrongTensor, node: Node) -> Diagnosis | None:
    """What happened to a tensor whose formula is right, and does not give its numbers."""
    return _forward_changed(wrong, node) or _changed_later(wrong)


def _forward_changed(wrong: WrongTensor, node: Node) -> Diagnosis | None:
    """The formula is right for the forward pass as it was, and its tensors are not what they were."""
    if any(scene.reference.drifts for scene in wrong.scenes):
        return None  # a step that trains on a wrong gradient changes the next one's forward pass, and no line does
    used = {part.value for part in parts(node) if part.op == "name"}
    for name in sorted(used & set(wrong.first.rebound)):
        if all(name in scene.rebound and scene.fits(scene.value(node, {name: scene.rebound[name]}))
               for scene in wrong.scenes):  # fmt: skip
            otherwise = wrong.marks.remarks.given_otherwise(wrong.gradient)
            message = (
                f"The formula is right, but {otherwise}." if otherwise is not None else
                f"The formula is right, but `{name}` is no longer what the forward pass computed: one of your "
                "lines changed it, or reused its name."
            )  # fmt: skip
            return Diagnosis(code="forward-changed", message=message)
    return None


def _changed_later(wrong: WrongTensor) -> Diagnosis | None:
    own = {wrong.gradient}
    if wrong.marks.part.cell_errors or not changed_since(wrong.lines, own):
        return None  # where an error stopped a cell, a later line may be just what is wanting
    if wrong.marks.part.checks.values and not changed_since(wrong.lines, own, own):
        return None  # a training loop writes into its parameters, and one that ends too early has other numbers, too
    message = (
        f"The line that computes `{wrong.gradient}` is right, but its tensor was changed afterwards: look for "
        "a later line that writes into it, perhaps under another name."
    )
    return Diagnosis(code="changed-later", message=message)
