"""Why a gradient is wrong: hypotheses, simplest first, each tried on every case that speaks.

A diagnosis is reported only where it gives the student's very numbers, to float64 tolerance, in all of those cases.
To add one, write a function in the module of its family, put it into `FAMILIES` where its simplicity belongs, and
describe its code in `docs/diagnoses.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grader.diagnose import evidence, factors, functions, names, paths, rows, steps, values
from grader.diagnose.afterwards import changed_through
from grader.diagnose.missing import why_missing
from grader.diagnose.repair import repair
from grader.diagnose.stand_ins import in_a_stand_in
from grader.diagnose.subject import Family, Subject
from grader.diagnose.words import quoted
from grader.records import FURTHER_UP, Diagnosis

if TYPE_CHECKING:
    from grader.marking import PartMarks
    from grader.part_case import PartCase

__all__ = ["diagnose", "why_missing"]

OBSERVATIONS: tuple[evidence.Observation, ...] = (
    evidence.dtype,
    evidence.not_finite,
    evidence.hard_coded,
    evidence.fixed_numbers,
)
"""What is seen rather than computed."""

FAMILIES: tuple[Family, ...] = (
    evidence.upstream_changed,
    evidence.two_names,
    values.zeros,
    values.sign,
    values.transposed,
    paths.doubled,
    names.value_for_gradient,
    values.factor,
    paths.missing,
    paths.missing_further_up,
    names.too_early,
    steps.left_out,
    functions.another_function,
    names.another_value,
    paths.scaled,
    steps.sums,
    steps.passed_on,
    steps.row_left_out,
    factors.factors,
    rows.rows,
    rows.copies,
    names.stale_upstream,
)
"""What is computed, simplest first: the first that explains the numbers is reported."""


def diagnose(marks: PartMarks, name: str) -> Diagnosis | None:
    """The simplest slip that explains a wrong gradient in every hidden float64 case that speaks of it.

    Args:
        marks: the marks of the part.
        name: the student's name of a gradient whose verdict is `wrong` (`dlogits`).

    Returns:
        The diagnosis, or None: none is better than a wrong one.
    """
    cases = marks.speaking(name)
    subject = Subject(marks, name, cases)
    if subject.scenes and subject.follows:
        return _earlier(marks, subject, cases)
    return _why(subject)


def diagnose_step(marks: PartMarks, name: str, message: str, replayed: PartCase) -> Diagnosis:
    """What is wrong with a line whose value is right only because the true gradient is zero.

    Args:
        marks: the marks of the part.
        name: the student's name of the gradient.
        message: how it came out.
        replayed: the part with other numbers further up, of which the line makes something wrong.
    """
    subject = Subject(marks, name, [replayed])
    found = _computed(subject) if subject.scenes else None
    return Diagnosis(code="right-by-symmetry", message=f"{message} {found.message}" if found is not None else message)


def _earlier(marks: PartMarks, subject: Subject, cases: list[PartCase]) -> Diagnosis | None:
    """Where the mistake is: in a gradient on the way, which the student computes though no check asks for it."""
    above = subject.first.descendants
    for other in subject.first.own:
        if other in above and f"d{other}" not in marks.checks.gradients:
            earlier = Subject(marks, f"d{other}", cases)
            if earlier.scenes and not earlier.follows:
                found = _why(earlier)
                if found is not None:
                    return Diagnosis(code=found.code, message=f"{FURTHER_UP} {found.message}")
                why = f"{quoted(f'd{other}')} is not what follows from your gradients above it."
                return Diagnosis(code="further-up", message=f"{FURTHER_UP} {why}")
    return None


def _why(subject: Subject) -> Diagnosis | None:
    """The first hypothesis that explains a tensor which does not follow from what is above it."""
    for observe in OBSERVATIONS:
        found = observe(subject)
        if found is not None:
            return found
    if not subject.scenes or not any(scene.clear for scene in subject.scenes):
        return None
    return _computed(subject) or evidence.whole_numbers(subject) or evidence.hidden_by_float32(subject)


def _computed(subject: Subject) -> Diagnosis | None:
    if (found := changed_through(subject)) is not None:
        return found
    for family in FAMILIES:
        for guess in family(subject):
            if not subject.budget.spend():
                return None
            if subject.explains(guess):
                return guess.diagnosis
    return in_a_stand_in(subject, _computed) or repair(subject)
