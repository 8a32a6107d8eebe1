"""The grades that count: with the marks that were set by hand, under the terms of the run; and the comments on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import Engine, ScalarSelect, func, select

from grader.course.catalog import Terms
from grader.gradebook.late_policy import Attempt, with_standing
from grader.gradebook.overrides import with_overrides
from grader.gradebook.people import extension_for, extensions_in
from grader.gradebook.review_log import ReviewLog
from grader.gradebook.review_records import SubmissionKey
from grader.gradebook.schema import gradings, results, runs
from grader.records import Comment, Grade, Override

_ByHand = Mapping[SubmissionKey, list[Override]]
"""A submission → its overrides, in the order in which they were made."""
_TermsOfRuns = Mapping[int, Mapping[str, Terms]]
"""Run and exercise → its terms, where it has any."""


def last_run(upto: int | None) -> ScalarSelect[int | None]:
    """The last run, up to `upto`, with a result for the same student and exercise as the query's row of `results`."""
    other = results.alias()
    query = select(func.max(other.c.run)).where(other.c.student == results.c.student)
    query = query.where(other.c.exercise == results.c.exercise)
    return (query if upto is None else query.where(other.c.run <= upto)).correlate(results).scalar_subquery()


class EffectiveGrades:
    """Makes of a submission's grade the one that counts; of one student, or of all.

    The terms are those of the run that a result is of. An exercise's weight is that of the last run that has the
    exercise, so that it is the same for all.

    Args:
        engine: the database.
        run: the only run whose results are asked for; None where they are of many.
        upto: the last run to look at; by default `run`, or all.
        student: whose results are asked for; None for everybody's.
    """

    def __init__(self, engine: Engine, run: int | None, upto: int | None, student: str | None) -> None:
        upto = run if upto is None else upto
        log = ReviewLog(engine)
        self._set_by_hand, self._comments = _overrides(log, student), _comments(log, student)
        self._terms, self._extended = _terms(engine, run, upto), extensions_in(engine, student)
        self._weights = _weights(engine, self._terms, upto) if run is None else {}
        several = {
            exercise
            for its in self._terms.values()
            for exercise, each in its.items()
            if each.attempts is not None or each.counts == "best"
        }
        self._attempts = _attempts(engine, upto, sorted(several), student, self._set_by_hand) if several else {}

    def of(self, run: int, submission: str, submitted: str | None, grade: Grade) -> Grade:
        """The grade that counts.

        Args:
            run: the run of the result.
            submission: the digest of what was handed in.
            submitted: when it was handed in.
            grade: what the grader gave.
        """
        key = SubmissionKey(grade.student, grade.exercise, submission)
        grade = with_overrides(grade, self._set_by_hand.get(key, []))
        if key in self._comments:
            grade = msgspec.structs.replace(grade, comments=self._comments[key])
        attempts = self._attempts.get((grade.student, grade.exercise), [])
        alike = [each for each in attempts if each.grade.max_score == grade.max_score]
        if all(each.submission != submission for each in alike):
            alike.append(Attempt(submission=submission, grade=grade, submitted=submitted))
        terms = self._terms.get(run, {}).get(grade.exercise, Terms())
        terms = msgspec.structs.replace(terms, weight=self._weights.get(grade.exercise, terms.weight))
        return with_standing(alike, submission, terms, extension_for(self._extended, grade.student, grade.exercise))


def _terms(engine: Engine, run: int | None, upto: int | None) -> _TermsOfRuns:
    query = select(runs.c.id, runs.c.terms).where(runs.c.terms.is_not(None))
    if run is not None:
        query = query.where(runs.c.id == run)
    elif upto is not None:
        query = query.where(runs.c.id <= upto)
    with engine.connect() as connection:
        return {row.id: msgspec.json.decode(row.terms, type=dict[str, Terms]) for row in connection.execute(query)}


def _weights(engine: Engine, terms: _TermsOfRuns, upto: int | None) -> dict[str, float]:
    """Exercise → its weight in the last run that has it."""
    query = select(results.c.exercise, func.max(results.c.run).label("run")).group_by(results.c.exercise)
    if upto is not None:
        query = query.where(results.c.run <= upto)
    with engine.connect() as connection:
        last = {row.exercise: row.run for row in connection.execute(query)}
    return {exercise: terms.get(run, {}).get(exercise, Terms()).weight for exercise, run in last.items()}


def _attempts(
    engine: Engine, upto: int | None, exercises: Sequence[str], student: str | None, set_by_hand: _ByHand
) -> dict[tuple[str, str], list[Attempt]]:
    """Student and exercise → what was graded up to a run, each content once, in the order of the runs."""
    columns = (results.c.student, results.c.exercise, gradings.c.submission, gradings.c.grade, results.c.submitted)
    query = select(*columns).join_from(results, gradings, results.c.grading == gradings.c.id)
    query = query.where(results.c.exercise.in_(exercises), gradings.c.status == "graded")
    if upto is not None:
        query = query.where(results.c.run <= upto)
    if student is not None:
        query = query.where(results.c.student == student)
    found: dict[tuple[str, str], dict[str, Attempt]] = {}
    with engine.connect() as connection:
        for row in connection.execute(query.order_by(results.c.run)):
            made = set_by_hand.get(SubmissionKey(row.student, row.exercise, row.submission), [])
            grade = with_overrides(msgspec.json.decode(row.grade, type=Grade), made)
            grade = msgspec.structs.replace(grade, student=row.student)
            attempt = Attempt(submission=row.submission, grade=grade, submitted=row.submitted)
            found.setdefault((row.student, row.exercise), {})[row.submission] = attempt  # the newest, in its place
    return {key: list(attempts.values()) for key, attempts in found.items()}


def _overrides(log: ReviewLog, student: str | None) -> _ByHand:
    """The overrides of one student, or all."""
    found: dict[SubmissionKey, list[Override]] = {}
    for mark in log.marks(student):
        found.setdefault(mark.of, []).append(mark.override)
    return found


def _comments(log: ReviewLog, student: str | None) -> Mapping[SubmissionKey, list[Comment]]:
    """What students are to read; what colleagues wrote for each other isn't among it."""
    found: dict[SubmissionKey, list[Comment]] = {}
    for note in log.notes(student):
        if note.kind == "comment":
            found.setdefault(note.of, []).append(note.comment)
    return found
