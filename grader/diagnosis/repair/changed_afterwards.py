"""Lines that are right, and were spoiled by others: a tensor, or what it was computed from, was changed afterwards."""

from __future__ import annotations

from grader.diagnosis.formula.bindings import changed_in_place, is_alias, is_written_after
from grader.diagnosis.formula.expression import Node
from grader.diagnosis.formula.formula import changed_values, formula, leaf_names, meanings, parts
from grader.diagnosis.guesses.observed import sharing, two_names_message
from grader.diagnosis.repair.trial import Trial
from grader.diagnosis.subject import Subject
from grader.diagnosis.words import quoted
from grader.records import Diagnosis


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


def spoiled(subject: Subject, node: Node) -> Diagnosis | None:
    """What happened to a tensor whose formula is right, and does not give its numbers.

    Args:
        subject: the tensor.
        node: its formula.
    """
    return _forward_changed(subject, node) or _changed_later(subject)


def _forward_changed(subject: Subject, node: Node) -> Diagnosis | None:
    """The formula is right for the forward pass as it was, and its tensors are not what they were."""
    if any(scene.reference.drifts for scene in subject.scenes):
        return None  # a step that trains on a wrong gradient changes the next one's forward pass, and no line does
    used = {part.value for part in parts(node) if part.op == "name"}
    for name in sorted(used & set(changed_values(subject.first))):
        names = [{**meanings(scene), name: changed_values(scene).get(name, 0)} for scene in subject.scenes]
        trials = [Trial(scene, known, scene.expected) for scene, known in zip(subject.scenes, names, strict=True)]
        if all(scene.fits(trial.value(node)) for scene, trial in zip(subject.scenes, trials, strict=True)):
            otherwise = subject.marks.given_otherwise(subject.gradient)
            message = (
                f"The formula is right, but {otherwise}." if otherwise is not None else
                f"The formula is right, but {quoted(name)} is no longer what the forward pass computed: one of your "
                "lines changed it, or gave its name to something else."
            )  # fmt: skip
            return Diagnosis(code="forward-changed", message=message)
    return None


def _changed_later(subject: Subject) -> Diagnosis | None:
    if subject.marks.cell_errors or not is_written_after(subject.sources, subject.gradient):
        return None  # where an error stopped a cell, a later line may be just what is wanting
    if subject.marks.checks.values and not changed_in_place(subject.sources, {subject.gradient}):
        return None  # a training loop writes into its parameters, and one that ends too early has other numbers, too
    message = (
        f"The line that computes {quoted(subject.gradient)} is right, and its tensor was changed afterwards: look for "
        "a later line that writes into it, perhaps under another name."
    )
    return Diagnosis(code="changed-later", message=message)
