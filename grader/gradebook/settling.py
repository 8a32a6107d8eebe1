"""Reading what a run's grades come to: the marks that were set by hand, then the run's terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
from sqlalchemy import Engine, select

from grader.catalog import Terms
from grader.gradebook.overrides import with_overrides
from grader.gradebook.schema import gradings, overrides, results, runs
from grader.gradebook.standing import Attempt, with_standing
from grader.records import Grade, Override

_ByHand = Mapping[tuple[str, str, str], list[Override]]
"""Student, exercise and submission → its overrides, in the order in which they were made."""


def settler(engine: Engine, run: int, student: str | None = None) -> Callable[[str, str | None, Grade], Grade]:
    """What makes of a submission's grade the one that counts in a run; of one student, or of all.

    It takes the submission's digest, when it was handed in, and the grade as the grader gave it.
    """
    set_by_hand, terms = _overrides(engine, student), _terms(engine, run)
    several = [exercise for exercise, each in terms.items() if each.attempts is not None or each.counts == "best"]
    earlier = _attempts(engine, run, several, student, set_by_hand) if several else {}

    def settle(submission: str, submitted: str | None, grade: Grade) -> Grade:
        grade = with_overrides(grade, set_by_hand.get((grade.student, grade.exercise, submission), []))
        attempts = earlier.get((grade.student, grade.exercise), [])
        alike = [each for each in attempts if each.grade.max_score == grade.max_score]
        if all(each.submission != submission for each in alike):
            alike.append(Attempt(submission=submission, grade=grade, submitted=submitted))
        return with_standing(alike, submission, terms.get(grade.exercise, Terms()))

    return settle


def _terms(engine: Engine, run: int) -> dict[str, Terms]:
    with engine.connect() as connection:
        text = connection.execute(select(runs.c.terms).where(runs.c.id == run)).scalar()
    return msgspec.json.decode(text, type=dict[str, Terms]) if text else {}


def _attempts(
    engine: Engine, run: int, exercises: Sequence[str], student: str | None, set_by_hand: _ByHand
) -> dict[tuple[str, str], list[Attempt]]:
    """Student and exercise → what was graded up to this run, each content once, in the order of the runs."""
    columns = (gradings.c.student, gradings.c.exercise, gradings.c.submission, gradings.c.grade, results.c.submitted)
    query = select(*columns).join_from(results, gradings, results.c.grading == gradings.c.id)
    query = query.where(results.c.run <= run, gradings.c.exercise.in_(exercises), gradings.c.status == "graded")
    if student is not None:
        query = query.where(gradings.c.student == student)
    found: dict[tuple[str, str], dict[str, Attempt]] = {}
    with engine.connect() as connection:
        for row in connection.execute(query.order_by(results.c.run)):
            made = set_by_hand.get((row.student, row.exercise, row.submission), [])
            grade = with_overrides(msgspec.json.decode(row.grade, type=Grade), made)
            attempt = Attempt(submission=row.submission, grade=grade, submitted=row.submitted)
            found.setdefault((row.student, row.exercise), {})[row.submission] = attempt  # the newest, in its place
    return {key: list(attempts.values()) for key, attempts in found.items()}


def _overrides(engine: Engine, student: str | None) -> _ByHand:
    """The overrides of one student, or all."""
    found: dict[tuple[str, str, str], list[Override]] = {}
    query = select(overrides).order_by(overrides.c.id)
    if student is not None:
        query = query.where(overrides.c.student == student)
    with engine.connect() as connection:
        for row in connection.execute(query):
            made = Override(points=row.points, was=0.0, reason=row.reason, at=row.made, part=row.part, name=row.name)
            found.setdefault((row.student, row.exercise, row.submission), []).append(made)
    return found
