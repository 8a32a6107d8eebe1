"""What of a submission's points counts: pure functions of grades, times and the catalogue's terms.

Verdicts and the points of checks stay as they are. Only the score is lowered, or taken from another attempt, and the
reasons are kept beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from grader.course.catalog import Terms
from grader.records import Grade, Record, Standing
from grader.wording import in_points, rounded

_DAY = timedelta(days=1)


class Attempt(Record, frozen=True):
    """One of a student's submissions for an exercise: its content's digest, its grade after overrides, its time."""

    submission: str
    grade: Grade
    submitted: str | None


class Extension(Record, frozen=True):
    """Until when somebody has, and why; without a time being late is excused, and handing in nothing is."""

    due: datetime | None
    reason: str

    def terms(self, terms: Terms) -> Terms:
        """An exercise's terms for who has this."""
        if self.due is None:
            return msgspec.structs.replace(terms, late=None)
        return msgspec.structs.replace(terms, due=self.due)

    def said(self) -> str:
        """What a report says of it."""
        until = (
            f"You have until {self.due.isoformat(' ', 'minutes')}" if self.due is not None else "Being late is excused"
        )
        return f"{until}: {self.reason.rstrip('.')}."


def with_standing(
    attempts: Sequence[Attempt], submission: str, terms: Terms, extension: Extension | None = None
) -> Grade:
    """The grade of one of a student's attempts, with the score that counts for the exercise.

    Args:
        attempts: this and the student's other graded submissions for the exercise, the oldest first.
        submission: the digest of the one whose grade is wanted.
        terms: the exercise's.
        extension: what the student has of them, if anything; it says nothing where there is no due date.
    """
    reasons = []
    if extension is not None and terms.due is not None:
        terms, reasons = extension.terms(terms), [extension.said()]
    number = next(n for n, attempt in enumerate(attempts, 1) if attempt.submission == submission)
    this = attempts[number - 1]
    if terms == Terms() or this.grade.status == "ungradable":
        return this.grade
    scores = [_on_time_score(attempt, terms) for attempt in attempts]
    reasons += _lateness(this, terms)
    counted = None
    if terms.attempts is not None or terms.counts == "best":
        counted = number if _set_by_hand(this.grade) else _counted(scores, number, terms)
        reasons = [*reasons, _said(number, counted, scores[counted - 1], terms)]
    standing = Standing(
        earned=this.grade.score,
        weight=terms.weight,
        due=terms.due.isoformat() if terms.due is not None else None,
        submitted=this.submitted,
        late_percent=_late_percent(this, terms),
        attempt=number if counted is not None else None,
        counted=counted,
        reasons=reasons,
    )
    return msgspec.structs.replace(this.grade, score=scores[(counted or number) - 1], standing=standing)


def _on_time_score(attempt: Attempt, terms: Terms) -> float:
    return rounded(attempt.grade.score * (100 - _late_percent(attempt, terms)) / 100)


def _late_percent(attempt: Attempt, terms: Terms) -> float:
    """What is taken off: nothing from a score that a person has set, who knew when it was handed in."""
    if terms.late is None or _set_by_hand(attempt.grade):
        return 0.0
    return min(terms.late.percent_a_day * _days_late(attempt, terms), terms.late.at_most)


def _set_by_hand(grade: Grade) -> bool:
    return any(override.part is None and override.name is None for override in grade.overrides)


def _days_late(attempt: Attempt, terms: Terms) -> int:
    """The days of 24 hours that had begun since the due date; 0 in time, in the grace, and where no time is known."""
    if terms.due is None or attempt.submitted is None:
        return 0
    after = datetime.fromisoformat(attempt.submitted).astimezone(UTC) - terms.due.astimezone(UTC)
    grace = timedelta(minutes=terms.late.grace_minutes if terms.late is not None else 0)
    return max(math.ceil(after / _DAY), 0) if after > grace else 0


def _lateness(attempt: Attempt, terms: Terms) -> list[str]:
    if terms.due is None:
        return []
    if attempt.submitted is None:
        return ["It is not known when this was handed in, so nothing is taken off for being late."]
    days = _days_late(attempt, terms)
    if not days:
        return []
    percent, due = _late_percent(attempt, terms), terms.due.isoformat(" ", "minutes")
    taken = (
        f"{percent:g} % of the {in_points(attempt.grade.score)} points are taken off"
        if percent
        else "nothing is taken off"
    )
    return [f"This was handed in late, on day {days} after it was due ({due}): {taken}."]


def _counted(scores: Sequence[float], number: int, terms: Terms) -> int:
    """The number of the attempt that counts; of several best ones the first."""
    allowed = scores[: terms.attempts]
    if terms.counts == "best":
        return allowed.index(max(allowed)) + 1
    return min(number, len(allowed))


def _said(number: int, counted: int, score: float, terms: Terms) -> str:
    of = ""
    if terms.attempts is not None:
        first = "only the first counts" if terms.attempts == 1 else f"the first {terms.attempts} count"
        of = f" of {terms.attempts}" if number <= terms.attempts else f" ({first})"
    best = ", the best" if terms.counts == "best" else ""
    which = "it counts" if counted == number else f"attempt {counted} counts"
    return f"Attempt {number}{of}: {which}{best}, with {in_points(score)} points."
