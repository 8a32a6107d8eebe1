"""A mark set by hand: checked, and put in place of the grader's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from grader.errors import UsageError
from grader.records import Check, Grade, Override
from grader.timestamps import now
from grader.wording import rounded


def with_overrides(grade: Grade, set_by_hand: Sequence[Override]) -> Grade:
    """The grade with these marks in place of the grader's; of two for the same check, part or whole the later counts.

    One that names a check or part that is no longer there, or is worth less now than was given, is left out: the
    exercise has changed. The score is the sum of the parts' points, or what was set for it; a part's are the sum of its
    checks', or what was set for it. A submission that could not be graded counts as graded once its score was set.
    """
    last = {(override.part, override.name): override for override in set_by_hand}
    applied: list[Override] = []
    checks = []
    for check in grade.checks:
        override = last.get((check.part, check.name))
        if override is not None and override.points <= check.max_points:
            applied.append(msgspec.structs.replace(override, was=check.points))
            check = msgspec.structs.replace(check, points=override.points)
        checks.append(check)
    parts: dict[str, float] = {}
    for part in dict.fromkeys(check.part for check in checks):
        override = last.get((part, None))
        own = [check for check in checks if check.part == part]
        if override is not None and override.points <= sum(check.max_points for check in own):
            applied.append(msgspec.structs.replace(override, was=sum(check.points for check in own)))
            parts[part] = override.points
    score = sum(check.points for check in checks if check.part not in parts) + sum(parts.values())
    whole = last.get((None, None))
    if whole is not None and whole.points <= grade.max_score:
        applied.append(msgspec.structs.replace(whole, was=score))
        score = whole.points
        grade = msgspec.structs.replace(grade, status="graded", reason=None)
    if not applied:
        return grade
    score = rounded(score)
    return msgspec.structs.replace(grade, checks=checks, score=score, overrides=applied)


def new_override(
    grade: Grade, check: str | None, points: float, reason: str, *, part: str | None = None, by: str | None = None
) -> Override:
    """A mark for a check (`NAME` or `PART/NAME`), for a `part`, or without either for the whole submission.

    Raises:
        UsageError: there is no such check or part, or it can't be worth that.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise UsageError("An override needs a reason: the student reads it in the report.")
    found = _check_named(grade, check) if check is not None else None
    if found is not None:
        what, was, most = f"{check}", found.points, found.max_points
        part = found.part
    elif part is not None:
        own = [each for each in grade.checks if each.part == part]
        if not own:
            raise UsageError(f"There is no part {part!r} in this submission for {grade.exercise}.")
        what, was, most = f"part {part}", grade.points_of(part), sum(each.max_points for each in own)
    else:
        what, was, most = "this submission", grade.score, grade.max_score
    if not (math.isfinite(points) and 0 <= points <= most):
        raise UsageError(f"{points:g} points can't be given: {what} is worth 0 to {most:g}.")
    name = found.name if found is not None else None
    return Override(points=points, was=was, reason=reason, at=now(), part=part, name=name, by=by)


def _check_named(grade: Grade, wanted: str) -> Check:
    found = [check for check in grade.checks if wanted in (check.name, f"{check.part}/{check.name}")]
    if len(found) == 1:
        return found[0]
    if not found:
        names = ", ".join(dict.fromkeys(check.name for check in grade.checks)) or "none, it could not be graded"
        raise UsageError(f"There is no check {wanted!r} in {grade.exercise}; its checks are {names}.")
    choices = " or ".join(f"{check.part}/{check.name}" for check in found)
    raise UsageError(f"There are {len(found)} checks {wanted!r}: say {choices}.")
