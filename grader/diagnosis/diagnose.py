"""Why a gradient is wrong: hypotheses, simplest first, each tried on every case that speaks.

A diagnosis is reported only where it gives the student's very numbers, to float64 tolerance, in all of those cases.
To add one, write a function in the module of its kind in `slips/`, put it into `slips/catalogue.py` where it is no more
complicated than its neighbours, and describe its code in `docs/diagnoses.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from grader.diagnosis import observed
from grader.diagnosis.gradient_lines import GradientLines
from grader.diagnosis.missing import raised_behind, unknown_name, why_missing
from grader.diagnosis.repair.changed_afterwards import changed_through
from grader.diagnosis.repair.constants import scaled_shape
from grader.diagnosis.repair.own_gradient_names import in_a_stand_in
from grader.diagnosis.repair.repair import repair
from grader.diagnosis.slips.catalogue import MADE, MADE_OTHERWISE, MADE_TWICE
from grader.diagnosis.wrong_tensor import WrongTensor
from grader.marking.case_values import CaseValues
from grader.marking.near_zero import Trial
from grader.marking.verdicts import PartMarks
from grader.notebook.gradient_names import gradient_of
from grader.records import FURTHER_UP, Check, Diagnosis, Verdict

OBSERVATIONS: tuple[observed.Observation, ...] = (
    observed.dtype,
    observed.not_finite,
    observed.hard_coded,
    observed.fixed_numbers,
)
"""What is seen rather than computed."""


def explained(check: Check, marks: PartMarks, where: GradientLines) -> Check:
    """A check with the reason why its gradient is wrong or missing, where one is found."""
    if check.verdict is Verdict.MISSING:
        diagnosis = why_missing(marks, check.name) or raised_behind(marks, check.name, where)
        told = diagnosis is not None and diagnosis.code != "unknown-name"
        return msgspec.structs.replace(check, diagnosis=diagnosis, remark=None if told else check.remark)
    if check.verdict is not Verdict.WRONG:
        return check
    if check.name in marks.part.checks.values:
        value = marks.part.visible.exported[check.name].tensor if check.name in marks.part.visible.exported else None
        return msgspec.structs.replace(check, diagnosis=observed.value_not_finite(check.name, value))
    slip = marks.slip_by_symmetry(check.name) if marks.right_by_value(check.name) else None
    found = unknown_name(marks, check.name)
    if found is None:
        found = _diagnosis(marks, where, check.name) if slip is None else _by_symmetry(marks, where, check.name, slip)
    return msgspec.structs.replace(check, diagnosis=found)


def _diagnosis(marks: PartMarks, where: GradientLines, name: str) -> Diagnosis | None:
    """The simplest slip that explains a wrong gradient, in every hidden float64 case that speaks of it; or None.

    The line on its own is looked at first: one step, with full-rank random numbers above it and nothing in the way.
    """
    cases = marks.combined.speaking(name)
    wrong = WrongTensor(marks, where, name, cases)
    if marks.combined.visible_only(name) and (found := observed.hard_coded(wrong)):
        return found
    alone = WrongTensor(marks, where, name, marks.detached(name))
    if alone.scenes and not alone.follows and (found := _why(alone)) is not None:
        return found
    if wrong.scenes and wrong.follows:
        return _earlier(wrong, cases)
    return _why(wrong)


def _by_symmetry(marks: PartMarks, where: GradientLines, name: str, slip: Trial) -> Diagnosis:
    """What is wrong with a line whose value is right only because the true gradient is zero."""
    wrong = WrongTensor(marks, where, name, marks.tried_again(slip))
    found = _computed(wrong) if wrong.scenes else None
    message = f"{slip.slip} {found.message}" if found is not None else slip.slip
    return Diagnosis(code="right-by-symmetry", message=message)


def _earlier(wrong: WrongTensor, cases: Sequence[CaseValues]) -> Diagnosis | None:
    """Where the mistake is: in a gradient on the way, which the student computes though no check asks for it."""
    above = wrong.first.descendants
    for other in wrong.first.own:
        if other in above and gradient_of(other) not in wrong.marks.part.checks.gradients:
            earlier = WrongTensor(wrong.marks, wrong.where, gradient_of(other), cases)
            if earlier.scenes and not earlier.follows:
                found = _why(earlier)
                if found is not None:
                    return Diagnosis(code=found.code, message=f"{FURTHER_UP}. {found.message}")
                why = f"`{gradient_of(other)}` is not what follows from your gradients above it."
                return Diagnosis(code="further-up", message=f"{FURTHER_UP}. {why}")
    return None


def _why(wrong: WrongTensor) -> Diagnosis | None:
    """The first hypothesis that explains a tensor which does not follow from what is above it."""
    for observe in OBSERVATIONS:
        found = observe(wrong)
        if found is not None:
            return found
    if not wrong.scenes or not any(scene.clear for scene in wrong.scenes):
        return None
    return _computed(wrong) or observed.whole_numbers(wrong) or observed.hidden_by_float32(wrong)


def _computed(wrong: WrongTensor) -> Diagnosis | None:
    if (found := changed_through(wrong)) is not None:
        return found
    for family in MADE:
        for guess in family(wrong):
            if not wrong.budget.spend():
                return None
            if wrong.explains(guess):
                return guess.diagnosis
    if (found := in_a_stand_in(wrong, _computed) or repair(wrong)) is not None:
        return found
    others = (guess for family in MADE_OTHERWISE for guess in family(wrong))
    found = next((guess.diagnosis for guess in others if wrong.explains(guess)), None)
    shown = (scaled_shape(wrong, guess) for family in MADE_TWICE for guess in family(wrong))
    return found or next(filter(None, shown), None)
