"""The student's own formula, changed in one place until it is right: then that place is what is wrong.

A change counts only where the unchanged formula gives the student's numbers in every case, and the changed one gives
what the chain rule gives: in every case, and also with random numbers put in place of the gradients from above. So
tensors whose gradient is nearly zero are no easier to explain than others. Where no one change does, two are tried that
are often made together: one in one place, and a constant for the whole; or constants for two terms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import takewhile

from torch import Tensor

from grader.diagnosis.case_view import Scene
from grader.diagnosis.formula.expression import shown
from grader.diagnosis.formula.node import Node, name, parts, use
from grader.diagnosis.repair.changed_afterwards import spoiled
from grader.diagnosis.repair.constants import said_of, scaled, wrong_scale, wrong_terms
from grader.diagnosis.slips.catalogue import UNDONE, UNDONE_FROM_AFAR
from grader.diagnosis.slips.edit import Candidate, Context, Edit, edits
from grader.diagnosis.wrong_tensor import WrongTensor
from grader.notebook.gradient_names import gradient_of, tensor_of
from grader.records import Diagnosis

MAX_GIVEN = 1 << 14
"""Elements of a tensor that may be put in a formula: not the whole data set."""
MAX_OWN = 12
"""Intermediate names of a student's that may be put elsewhere."""


def repair(wrong: WrongTensor) -> Diagnosis | None:
    """What is wrong with the student's formula, where one change makes it right, or two that often come together.

    Gradients that are not further up, but beside (`dbngain` in a formula for `dhprebn`), are taken as they are first;
    then their own formulas are written out, for the mistake may be there.
    """
    above = {*map(gradient_of, wrong.first.descendants)}
    leaves = wrong.leaves
    below = leaves.intersection(map(gradient_of, wrong.first.forward)) - above
    for taken in (leaves, leaves - below):
        made = wrong.program(taken).formulas
        node = wrong.formula or made.get(wrong.gradient)
        if node is None or (taken is leaves and _spoiled(wrong, node, below)):
            continue
        found = _repaired(wrong, node, taken, made)
        if found is not None or not _named(node, below):
            return found  # the second formula would be the same
    return None


def _named(node: Node, names: Set[str]) -> Set[str]:
    return {part.value for part in parts(node) if part.op == "name"} & names


def _spoiled(wrong: WrongTensor, node: Node, below: Set[str]) -> bool:
    """Whether a gradient from beside, which the formula uses, is not what it should be: then the fault may be there."""
    own, chained, holds = wrong.first.own, wrong.first.chained, wrong.first.tolerance.holds
    return any(name in own and not holds(own[name], chained[name]) for name in map(tensor_of, _named(node, below)))


def _repaired(wrong: WrongTensor, node: Node, leaves: frozenset[str], made: Mapping[str, Node]) -> Diagnosis | None:
    trials = [*wrong.scenes, *(scene.with_random_upstream() for scene in wrong.scenes[:2])]
    given = [trial.value(node, keep=True) for trial in trials]
    real = list(zip(wrong.scenes, given, strict=False))
    if not all(scene.fits(value) for scene, value in real):
        return spoiled(wrong, node) if all(trial.is_right(trial.stretched(node)) for trial in trials) else None
    if wrong.first.is_faint and not wrong.first.descendants & set(wrong.first.own):
        return None  # nothing can be put in place of what arrives, and anything that cancels would be right
    return _searched(wrong, _context(wrong, node, leaves, made), trials)


def _searched(wrong: WrongTensor, context: Context, trials: Sequence[Scene]) -> Diagnosis | None:
    """The first change that makes a formula right, or constant; else constants for two terms; else a change and one."""
    node = context.formula
    nearly: list[Edit] = []
    found = _first_right(wrong, edits(UNDONE, context), trials, nearly)
    if found is not None:
        return found
    slips = wrong_terms(wrong, node, trials)
    if len(slips) == 1:
        return said_of(slips)
    found = wrong_scale(wrong, node, trials) or _first_right(
        wrong, edits(UNDONE_FROM_AFAR, context.further), trials, nearly
    )
    if found is not None or slips:
        return found or said_of(slips)
    return next(filter(None, (scaled(wrong, edit, trials) for edit in nearly)), None)


def _first_right(
    wrong: WrongTensor, changed: Iterator[Edit], trials: Sequence[Scene], nearly: list[Edit]
) -> Diagnosis | None:
    """The first of the changes that is right; those that are a constant times what is right are put into `nearly`."""
    first, *rest = trials
    for edit in takewhile(lambda _: wrong.budget.spend(), changed):
        found = first.stretched(edit.formula)
        if first.is_right(found):
            if all(trial.is_right(trial.stretched(edit.formula)) for trial in rest):
                return edit.diagnosis
        elif first.scale_of(found) is not None:
            nearly.append(edit)
    return None


# --- what may be put in


def _context(wrong: WrongTensor, node: Node, leaves: frozenset[str], made: Mapping[str, Node]) -> Context:
    """What may be put into a formula; near is what it names, what stands beside its tensor, and the student's own."""
    found = list(_candidates(wrong, leaves, made))
    uses = wrong.first.reference.consumers
    beside = {name for name, consumers in uses.items() if set(consumers) & set(wrong.consumers)}
    tensors = {wrong.name, *wrong.consumers, *beside}
    labels = {part.value for part in parts(node) if part.op == "name"} | tensors | set(map(gradient_of, tensors))
    own = {one.label for one in found if one.node.op == "use" or not one.value.is_floating_point()}
    near = [one for one in found if one.label in labels | own]
    return Context(node, wrong.first, near, [one for one in found if one.label not in labels | own])


def _candidates(wrong: WrongTensor, leaves: frozenset[str], made: Mapping[str, Node]) -> Iterator[Candidate]:
    """The forward pass, the gradients, indices, and the student's own intermediate names.

    Of a list, an element may be computed from the list's others.
    """
    first = wrong.first
    if wrong.name in first.reference.lists:
        leaves |= {wrong.gradient}
    for label, value in first.names.items():
        if label in leaves and isinstance(value, Tensor) and _of_use(label, value, first):
            yield Candidate(label, name(label), value)
    own = [(label, node) for label, node in made.items() if label not in leaves and label != wrong.gradient]
    for label, node in own[:MAX_OWN]:
        made_here = first.value(node)
        if made_here is not None and made_here.dim() and not _named(node, {wrong.gradient}):
            yield Candidate(shown(label), use(label, node), made_here)


def _of_use(label: str, value: Tensor, scene: Scene) -> bool:
    """What a formula may be tried with: the forward pass and what it was given, indices included, and the gradients."""
    if label in map(gradient_of, scene.forward):
        return tensor_of(label) in scene.own  # not what an earlier part has left under the name
    given = label in scene.reference.constants or label in scene.reference.sequences
    return label in scene.forward or (given and value.dim() > 0 and value.numel() <= MAX_GIVEN)
