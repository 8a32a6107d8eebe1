"""The student's own formula, changed in one place until it is right: then that place is what is wrong.

A change counts only where the unchanged formula gives the student's numbers in every case, and the changed one gives
what the chain rule gives: in every case, and also with random numbers put in place of the gradients from above. So
tensors whose gradient is nearly zero are no easier to explain than others. Where no one change does, two are tried that
are often made together: one in one place, and a constant for the whole; or constants for two terms.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import NamedTuple

from torch import Tensor

from grader.diagnosis.case_view import Scene
from grader.diagnosis.formula.expression import Node, name, use
from grader.diagnosis.formula.formula import formulas, leaf_names, parts
from grader.diagnosis.repair.additions import (
    exchanges,
    factors,
    functions,
    intermediates,
    ones,
    searched,
    terms,
    written_out,
)
from grader.diagnosis.repair.changed_afterwards import spoiled
from grader.diagnosis.repair.edits import Candidate, Edit, fewer, within
from grader.diagnosis.repair.trial import Trial, trials_of
from grader.diagnosis.repair.wrong_scale import wrong_scale
from grader.diagnosis.repair.wrong_terms import TWO, wrong_terms
from grader.diagnosis.subject import Subject
from grader.diagnosis.words import named_factor, quoted, shown
from grader.records import Diagnosis

MAX_SIZES = 8
"""Sizes that are tried in place of another number, besides the first."""
MAX_WEIGHTS = 4
"""Numbers with a name that may be a factor in the loss."""
MAX_FACTORS = 3
"""Of these, so many are tried as a missing factor."""
MAX_GIVEN = 1 << 14
"""Elements of a tensor that may be put in a formula: not the whole data set."""
MAX_OWN = 12
"""Intermediate names of a student's that may be put elsewhere."""


def repair(subject: Subject) -> Diagnosis | None:
    """What is wrong with the student's formula, where one change makes it right, or two that often come together.

    Gradients that are not further up, but beside (`dbngain` in a formula for `dhprebn`), are taken as they are first;
    then their own formulas are written out, for the mistake may be there.
    """
    above = {f"d{name}" for name in subject.first.descendants}
    leaves = leaf_names(subject.scenes, subject.gradient)
    below = {
        name for name in leaves if name.startswith("d") and name[1:] in subject.first.forward and name not in above
    }
    for taken in (leaves, leaves - below):
        made = formulas(subject.sources, taken)
        node = subject.formula or made.get(subject.gradient)
        if node is None or (taken is leaves and _spoiled(subject, node, below)):
            continue
        found = _repaired(subject, node, taken, made)
        if found is not None or not _named(node, below):
            return found  # the second formula would be the same
    return None


def _named(node: Node, names: set[str]) -> set[str]:
    return {part.value for part in parts(node) if part.op == "name"} & names


def _spoiled(subject: Subject, node: Node, below: set[str]) -> bool:
    """Whether a gradient from beside, which the formula uses, is not what it should be: then the fault may be there."""
    scene = subject.first
    return any(
        not scene.tolerance.holds(scene.own[name[1:]], scene.chained[name[1:]])
        for name in _named(node, below)
        if name[1:] in scene.own
    )


def _repaired(subject: Subject, node: Node, leaves: frozenset[str], made: Mapping[str, Node]) -> Diagnosis | None:
    trials = trials_of(subject.scenes)
    given = [trial.value(node, keep=True) for trial in trials]
    real = list(zip(subject.scenes, given, strict=False))
    if not all(scene.fits(value) for scene, value in real):
        return spoiled(subject, node) if all(trial.right(node) for trial in trials) else None
    first = trials[0]
    if first.scene.is_faint and not first.scene.descendants & set(first.scene.own):
        return None  # nothing can be put in place of what arrives, and anything that cancels would be right
    candidates = _near_first(subject, node, _candidates(subject, first, leaves, made))
    found = _searched(subject, node, trials, candidates)
    if found is None and (turned := _turned(node, first)) is not None:
        found = _searched(subject, turned, trials, candidates)
        message = (
            f"{TWO}: rows and columns are exchanged in the end, and before that another. {found and found.message}"
        )
        found = found and Diagnosis(code=found.code, message=message)
    return found


def _searched(subject: Subject, node: Node, trials: Sequence[Trial], candidates: Candidates) -> Diagnosis | None:
    """The first change that makes a formula right, or constant; else constants for two terms; else a change and one."""
    scaled: list[Edit] = []
    found = _first_right(subject, _edits(node, trials[0], candidates), trials, scaled)
    if found is not None:
        return found
    terms_off = wrong_terms(subject, node, trials)
    if terms_off is not None and not terms_off.message.startswith(TWO):
        return terms_off
    found = wrong_scale(subject, node, trials) or _first_right(
        subject, _far_edits(node, trials[0], candidates), trials, scaled
    )
    return found or terms_off or next(filter(None, (_scaled(subject, edit, trials) for edit in scaled)), None)


def _first_right(
    subject: Subject, edits: Iterator[Edit], trials: Sequence[Trial], scaled: list[Edit]
) -> Diagnosis | None:
    """The first of the changes that is right; those that are a constant times what is right are put into `scaled`."""
    first, *rest = trials
    for edit in takewhile(lambda _: subject.budget.spend(), edits):
        found = first.stretched(edit.formula)
        if first.fits(found):
            if all(trial.right(edit.formula) for trial in rest):
                return Diagnosis(code=edit.code, message=str(edit.message))
        elif first.scale_of(found) is not None:
            scaled.append(edit)
    return None


def _edits(node: Node, first: Trial, candidates: Candidates) -> Iterator[Edit]:
    """The formulas that one change makes of this one, small changes first; what is put in is near to the step."""
    constants, weights = _sizes(first), _weights(first)
    everything = [*candidates.near, *candidates.far]
    yield from within(node, constants, _rank(node, first))
    yield from searched(node, candidates.near)
    yield from written_out(node, weights)
    yield from factors(node, candidates.near, constants[:MAX_FACTORS], weights)
    yield from intermediates(node, everything, first.value)
    yield from exchanges(node, everything, first.value)
    yield from fewer(node)
    yield from functions(node)
    yield from ones(node)
    yield from terms(node, [*candidates.near, *_probabilities(first.scene)], first.value)


def _far_edits(node: Node, first: Trial, candidates: Candidates) -> Iterator[Edit]:
    """The same with all that is put in from further away."""
    yield from factors(node, candidates.far, [])
    yield from terms(node, candidates.far, first.value)


def _scaled(subject: Subject, edit: Edit, trials: Sequence[Trial]) -> Diagnosis | None:
    """A change that makes a formula right but for one constant, the same whatever arrives from above."""
    scales = [trial.scale(edit.formula) for trial in trials]
    known = [scale for scale in scales if scale]
    count = len(subject.scenes)
    if len(known) < len(scales) or len({scale > 0 for scale in known}) > 1:
        return None
    if any(abs(known[count + i] - known[i]) > 1e-7 * abs(known[i]) for i in range(len(known) - count)):
        return None
    said = named_factor(subject.scenes, [1 / abs(scale) for scale in known[:count]], numbers=False)
    if said is None:
        return None
    whole = "it has the wrong sign" if said == "1" else f"it is {quoted(said)} times what it should be"
    if said != "1" and known[0] < 0:
        whole += ", with the wrong sign"
    message = f"{TWO}. {edit.message} And as a whole {whole}."
    return Diagnosis(code=edit.code, message=message)


def _turned(node: Node, first: Trial) -> Node | None:
    """The formula with rows and columns exchanged, where that gives the shape that it should have."""
    value = first.value(node)
    if (
        value is None
        or value.dim() != 2
        or value.shape == first.expected.shape
        or value.T.shape != first.expected.shape
    ):
        return None
    return node.args[0] if node.op == "transpose" else Node("transpose", (node,))


# --- what may be put in


class Candidates(NamedTuple):
    """What may be put in a formula: what takes part in the step, and all the rest."""

    near: list[Candidate]
    far: list[Candidate]


def _near_first(subject: Subject, node: Node, found: Sequence[Candidate]) -> Candidates:
    """What the formula names, what stands beside its tensor in the forward pass, the student's own names; the rest."""
    uses = subject.first.reference.consumers
    beside = {name for name, consumers in uses.items() if set(consumers) & set(subject.consumers)}
    tensors = {subject.name, *subject.consumers, *beside}
    indices = {one.label for one in found if isinstance(one.value, Tensor) and not one.value.is_floating_point()}
    labels = {part.value for part in parts(node) if part.op == "name"} | tensors | indices
    labels |= {f"d{name}" for name in tensors} | {one.label for one in found if one.node.op == "use"}
    return Candidates([one for one in found if one.label in labels], [one for one in found if one.label not in labels])


def _candidates(subject: Subject, first: Trial, leaves: frozenset[str], made: Mapping[str, Node]) -> list[Candidate]:
    """The forward pass, the gradients, indices, and the student's own intermediate names."""
    scene = first.scene
    found = [Candidate(label, name(label), value) for label, value in first.names.items()
             if label in leaves and _of_use(label, scene)]  # fmt: skip
    own = [(label, node) for label, node in made.items() if label not in leaves and label != subject.gradient]
    for label, node in own[:MAX_OWN]:
        value = first.value(node)
        if value is not None and value.dim() and not _named(node, {subject.gradient}):
            found.append(Candidate(shown(label), use(label, node), value))
    return found


def _of_use(label: str, scene: Scene) -> bool:
    """What a formula may be tried with: the forward pass and what it was given, indices included, and the gradients."""
    if label.startswith("d") and label[1:] in scene.forward:
        return label[1:] in scene.own  # not what an earlier part has left under the name
    value = scene.reference.constants.get(label)
    given = isinstance(value, Tensor) and value.dim() > 0 and value.numel() <= MAX_GIVEN
    return label in scene.forward or given


def _probabilities(scene: Scene) -> list[Candidate]:
    """What a loss may make of the tensor that it is computed from: its softmax, for one that has a row an example."""
    last = [label for label, uses in scene.reference.consumers.items() if uses == ["loss"]]
    return [Candidate(label, Node("softmax", (name(label),), -1), scene.forward[label])
            for label in last if scene.forward[label].dim() > 1]  # fmt: skip


def _sizes(trial: Trial) -> list[str]:
    sizes = {size for tensor in trial.scene.forward.values() for size in tensor.shape if size > 2}
    found = [label for label, value in trial.names.items() if type(value) is int and value in sizes]
    return (
        sorted(found, key=len)[:1]
        + [label for label in sorted(found, key=len)[1:] if label != "batch_size"][:MAX_SIZES]
    )


def _weights(trial: Trial) -> list[str]:
    """The named numbers that are no sizes: what a term of the loss may be weighted with."""
    found = [label for label, value in trial.names.items() if type(value) is float]
    return sorted(found, key=len)[:MAX_WEIGHTS]


def _rank(node: Node, trial: Trial) -> int:
    """The dimensions of the largest tensor that a formula names, two at least."""
    values = [trial.names.get(part.value) for part in parts(node) if part.op == "name"]
    return max([2, *(value.dim() for value in values if isinstance(value, Tensor))])
