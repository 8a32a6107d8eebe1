"""A mark set by hand: checked, and put in place of the grader's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from grader.errors import UsageError
from grader.records import Check, Grade, Override
from grader.wording import rounded


def with_overrides(grade: Grade, set_by_hand: Sequence[Override]) -> Grade:
    """The grade with these marks in place of the grader's; of two for the same check the later counts.

    One that names a check that is no longer there, or is worth less now than was given, is left out: the exercise has
    changed. The score is the sum of the checks' points, or what was set for it. A submission that could not be graded
    counts as graded once its score was set.
    """
    last = {(override.part, override.name): override for override in set_by_hand}
    applied = []
    checks = []
    for check in grade.checks:
        override = last.get((check.part, check.name))
        if override is not None and override.points <= check.max_points:
            applied.append(msgspec.structs.replace(override, was=check.points))
            check = msgspec.structs.replace(check, points=override.points)
        checks.append(check)
    score = sum(check.points for check in checks)
    whole = last.get((None, None))
    if whole is not None and whole.points <= grade.max_score:
        applied.append(msgspec.structs.replace(whole, was=score))
        score = whole.points
        grade = msgspec.structs.replace(grade, status="graded", reason=None)
    if not applied:
        return grade
    score = rounded(score)
    return msgspec.structs.replace(grade, checks=checks, score=score, overrides=applied)


def new_override(grade: Grade, check: str | None, points: float, reason: str) -> Override:
    """A mark for a check (`NAME` or `PART/NAME`), or without one for the whole submission.

    Raises:
        UsageError: there is no such check, or it can't be worth that.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise UsageError("An override needs a reason: the student reads it in the report.")
    found = _check_named(grade, check) if check is not None else None
    most = found.max_points if found is not None else grade.max_score
    if not (math.isfinite(points) and 0 <= points <= most):
        raise UsageError(f"{points:g} points can't be given: {check or 'this submission'} is worth 0 to {most:g}.")
    return Override(
        points=points,
        was=found.points if found is not None else grade.score,
        reason=reason,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        part=found.part if found is not None else None,
        name=found.name if found is not None else None,
    )


def _check_named(grade: Grade, wanted: str) -> Check:
    found = [check for check in grade.checks if wanted in (check.name, f"{check.part}/{check.name}")]
    if len(found) == 1:
        return found[0]
    if not found:
        names = ", ".join(dict.fromkeys(check.name for check in grade.checks)) or "none, it could not be graded"
        raise UsageError(f"There is no check {wanted!r} in {grade.exercise}; its checks are {names}.")
    choices = " or ".join(f"{check.part}/{check.name}" for check in found)
    raise UsageError(f"There are {len(found)} checks {wanted!r}: say {choices}.")
