"""Whose marks differ between two runs, and why: pure functions of their results."""

from __future__ import annotations

from collections.abc import Iterable

from grader.gradebook.results import Result
from grader.records import Check, Grade, Record


class CheckChange(Record, frozen=True):
    """A check whose points changed; None where it wasn't there. The words are verdicts, or that it was set by hand."""

    part: str
    name: str
    before: str | None
    after: str | None
    points_before: float | None
    points_after: float | None


class Change(Record, frozen=True):
    """A submission whose marks changed. A score is None where there was no submission or it could not be graded."""

    student: str
    exercise: str
    before: float | None
    after: float | None
    why: list[str]
    checks: list[CheckChange]


def changes(old: Iterable[Result], new: Iterable[Result]) -> list[Change]:
    """The submissions whose score or whose points for some check differ, by student and exercise."""
    before = {(result.grade.student, result.grade.exercise): result for result in old}
    after = {(result.grade.student, result.grade.exercise): result for result in new}
    found = []
    for student, exercise in sorted(before.keys() | after.keys()):
        first, second = before.get((student, exercise)), after.get((student, exercise))
        checks = _check_changes(first, second) if first and second else []
        if checks or _score(first) != _score(second) or first is None or second is None:
            found.append(Change(student, exercise, _score(first), _score(second), _why(first, second), checks))
    return found


def _score(result: Result | None) -> float | None:
    return None if result is None or result.grade.status == "ungradable" else result.grade.score


def _why(old: Result | None, new: Result | None) -> list[str]:
    """What differs between the two that a grade depends on."""
    if old is None:
        return ["was not there before"]
    if new is None:
        return ["is no longer there"]
    why = []
    if old.key.submission != new.key.submission:
        why.append("another notebook was handed in")
    if old.key.exercise_version != new.key.exercise_version:
        why.append("the exercise changed")
    if old.key.grader_version != new.key.grader_version:
        why.append(f"the grader changed from {old.key.grader_version} to {new.key.grader_version}")
    if old.grade.overrides != new.grade.overrides:
        why += [f"set by hand: {override.reason}" for override in new.grade.overrides] or ["no longer set by hand"]
    if _reasons(old) != _reasons(new):
        why += _reasons(new) or ["nothing is taken off any more, and no other attempt counts"]
    for grade, when in ((old.grade, "before"), (new.grade, "now")):
        if grade.status == "ungradable":
            why.append(f"could not be graded {when}: {grade.reason}")
    return why or ["the same notebook, exercise and grader gave a different result: a time limit, perhaps"]


def _reasons(result: Result) -> list[str]:
    standing = result.grade.standing
    return [] if standing is None else [reason.removesuffix(".") for reason in standing.reasons]


def _check_changes(old: Result, new: Result) -> list[CheckChange]:
    before = {(check.part, check.name): check for check in old.grade.checks}
    after = {(check.part, check.name): check for check in new.grade.checks}
    found = []
    for part, name in dict.fromkeys([*before, *after]):
        first, second = before.get((part, name)), after.get((part, name))
        points = [None if check is None else check.points for check in (first, second)]
        if points[0] != points[1]:
            words = _words(old.grade, first), _words(new.grade, second)
            found.append(CheckChange(part, name, *words, *points))
    return found


def _words(grade: Grade, check: Check | None) -> str | None:
    if check is None:
        return None
    by_hand = any((override.part, override.name) == (check.part, check.name) for override in grade.overrides)
    return "set by hand" if by_hand else check.verdict.value
