"""The gradebook: every grading that was ever made, kept in a database, and the marks that a person set by hand.

A grading belongs to a student, an exercise, and the key `(submission, exercise_version, grader_version)`. It is added
once and never changed; the database refuses to. A run's results point at gradings, made in it or in an earlier run.

What counts for a student and an exercise is their last result, whichever run it is of: runs add to what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType

import msgspec
from sqlalchemy import Connection, Row, Select, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from grader.course.catalog import Terms
from grader.errors import UsageError
from grader.gradebook.effective_grades import EffectiveGrades, last_run
from grader.gradebook.engine import open_engine
from grader.gradebook.people import People, called
from grader.gradebook.results import GradingKey, Result, Run
from grader.gradebook.review_log import ReviewLog
from grader.gradebook.schema import extensions, gradings, renames, results, runs
from grader.gradebook.stored_grading import decoded, packed, unpacked
from grader.records import Check, Grade, Grading
from grader.timestamps import now
from grader.version import grader_version

_Settle = Callable[[Grade], Grade]
"""What makes of a grade the one that counts."""
_OWNER = (results.c.run, results.c.student, results.c.exercise, gradings.c.submission, results.c.submitted)


class Gradebook:
    """A database of gradings; a context manager.

    Args:
        url: an SQLAlchemy URL (`sqlite:///…`, `postgresql://…`), or the path of an SQLite file.

    Raises:
        UsageError: it can't be opened.
    """

    def __init__(self, url: str | Path) -> None:
        self._engine = open_engine(url)
        self.log = ReviewLog(self._engine)
        self.people = People(self._engine)

    def __enter__(self) -> Gradebook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if isinstance(error, SQLAlchemyError):
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise UsageError(f"The gradebook can't be used: {reason}. Nothing in it was changed.") from error

    def close(self) -> None:
        """Close the connections to the database."""
        self._engine.dispose()

    # --- reading ----------------------------------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """All runs, the oldest first."""
        count = select(func.count()).where(results.c.run == runs.c.id).scalar_subquery()
        with self._engine.connect() as connection:
            shown = [column for column in runs.c if column.name != "terms"]
            rows = connection.execute(select(*shown, count.label("results")).order_by(runs.c.id))
            return [Run(**row._mapping) for row in rows]

    def run(self, number: int | None = None) -> Run:
        """A run by its number; by default the last finished one, or the last where none is finished.

        Raises:
            UsageError: there is no such run.
        """
        found = [run for run in self.runs() if number in (None, run.id)]
        if not found:
            which = f"run {number}" if number is not None else "run"
            raise UsageError(f"The gradebook has no {which}: `grader runs` lists what it has.")
        return next((run for run in reversed(found) if run.finished is not None), found[-1])

    def pair(self, old: int | None = None, new: int | None = None) -> tuple[Run, Run]:
        """Two runs to compare: those named; by default the last finished one, and the finished one before the other.

        Raises:
            UsageError: there are no such two.
        """
        second = self.run(new)
        if old is not None:
            return self.run(old), second
        before = [run for run in self.runs() if run.id < second.id and run.finished is not None]
        if not before:
            raise UsageError(f"There is nothing to compare run {second.id} with: it is the first that was finished.")
        return before[-1], second

    def size(self) -> tuple[int, int, int]:
        """The number of the last run, and how many results there are, and changes of names and due dates."""
        with self._engine.connect() as connection:
            last = connection.execute(select(func.max(runs.c.id))).scalar()
            counts = [
                connection.execute(select(func.count()).select_from(table)).scalar() or 0
                for table in (results, renames, extensions)
            ]
        return last or 0, counts[0], counts[1] + counts[2]

    def students_of(self, run: int) -> set[str]:
        """The students who have a result in this run or a later one."""
        query = select(results.c.student).where(results.c.run >= run).distinct()
        with self._engine.connect() as connection:
            return {row.student for row in connection.execute(query)}

    def grades(self, run: int | None = None) -> Iterator[Grade]:
        """Each grade as it counts, by student and exercise: overrides and the terms of its run applied.

        Those of one run; without it everybody's last, which is what pages and exports show. `Grade.score` is the total.

        Raises:
            UsageError: there is no such run.
        """
        return (result.grade for result in self.results(run))

    def results(self, run: int | None = None, upto: int | None = None, student: str | None = None) -> Iterator[Result]:
        """As `grades`, each with its key; with `upto` everybody's last as it was when that run had ended."""
        columns = (gradings.c.grade, gradings.c.exercise_version, gradings.c.grader_version, results.c.path)
        shared: dict[bytes, Check] = {}
        for row, settled in self._results(select(*_OWNER, *columns), run, upto, student):
            grade = settled(decoded(row.grade, row.student, shared))
            key = GradingKey(row.submission, row.exercise_version, row.grader_version)
            yield Result(grade=grade, key=key, path=row.path)

    def gradings(self, student: str | None = None, exercise: str | None = None) -> Iterator[Grading]:
        """Everybody's last grading as it counts, with all that reports show; of one student or exercise, or of all."""
        query = select(*_OWNER, gradings.c.grading)
        if exercise is not None:
            query = query.where(results.c.exercise == exercise)
        for row, settled in self._results(query, None, None, student):
            yield _settled(unpacked(row.grading, row.student), settled)

    def _results(
        self, query: Select[tuple[object, ...]], run: int | None, upto: int | None, student: str | None
    ) -> Iterator[tuple[Row, _Settle]]:  # type: ignore[type-arg]
        self.run(run)
        if student is not None:
            query = query.where(results.c.student == student)
        query = query.join_from(results, gradings, results.c.grading == gradings.c.id)
        query = query.where(results.c.run == (run if run is not None else last_run(upto)))
        effective = EffectiveGrades(self._engine, run, upto, student)
        with self._engine.connect().execution_options(yield_per=50) as connection:
            for row in connection.execute(query.order_by(results.c.student, results.c.exercise)):
                yield row, partial(effective.of, row.run, row.submission, row.submitted)

    def students(self) -> list[str]:
        """Everybody of whom there is a result."""
        with self._engine.connect() as connection:
            return list(connection.scalars(select(results.c.student).distinct().order_by(results.c.student)))

    # --- writing ----------------------------------------------------------------------------------------------------

    def start(self, folder: Path, terms: Mapping[str, Terms] | None = None) -> int:
        """A new run that writes into `folder`, under these terms of the exercises; its number."""
        row = {"folder": str(folder.absolute()), "started": now("seconds"), "grader_version": grader_version()}
        said = {exercise: each for exercise, each in (terms or {}).items() if each != Terms()}
        if said:
            row["terms"] = msgspec.json.encode(said).decode()
        with self._engine.begin() as connection:
            (number,) = connection.execute(insert(runs).values(row).returning(runs.c.id)).one()
        return int(number)

    def finish(self, run: int) -> None:
        """Every submission of the run has its result."""
        with self._engine.begin() as connection:
            connection.execute(update(runs).where(runs.c.id == run).values(finished=now("seconds")))

    def known(self, students: Sequence[str], exercise: str, key: GradingKey) -> int | None:
        """The number of the last grading with this key that is to be had again: one that could be made at all.

        Args:
            students: the student, and whose gradings are the student's too: the others of a group.
            exercise: the exercise.
            key: what the grade depends on.
        """
        c = gradings.c
        mine = (
            called(c.student, students),
            c.exercise == exercise,
            c.status == "graded",
            c.submission == key.submission,
        )
        same = (c.exercise_version == key.exercise_version, c.grader_version == key.grader_version)
        with self._engine.connect() as connection:
            return connection.execute(select(func.max(c.id)).where(*mine, *same)).scalar()

    def take_over(
        self, run: int, grading: int, student: str, submitted: datetime | None = None, path: str | None = None
    ) -> Grading:
        """Make an earlier grading this run's result for a student, too; the grading as it counts."""
        with self._engine.begin() as connection:
            data = connection.execute(select(gradings.c.grading).where(gradings.c.id == grading)).scalar_one()
            found = unpacked(data, student)
            when = _add_result(connection, run, grading, found, submitted, path)
        return self._as_it_counts(run, found, when)

    def add(self, run: int, grading: Grading, submitted: datetime | None = None, path: str | None = None) -> Grading:
        """Keep a grading as this run's result; it is on the disk when this returns. The grading as it counts.

        Args:
            run: the run's number.
            grading: what was made.
            submitted: when it was handed in; without it, what was said of this very content last is kept.
            path: the notebook's file.
        """
        grade = grading.grade
        row = {
            "student": grade.student,
            "exercise": grade.exercise,
            "submission": grading.submission,
            "exercise_version": grading.exercise_version,
            "grader_version": grader_version(),
            "made": now("seconds"),
            "status": grade.status,
            "score": grade.score,
            "max_score": grade.max_score,
            "grade": msgspec.json.encode(grade).decode(),
            "grading": packed(grading),
        }
        with self._engine.begin() as connection:
            (number,) = connection.execute(insert(gradings).values(row).returning(gradings.c.id)).one()
            when = _add_result(connection, run, number, grading, submitted, path)
        return self._as_it_counts(run, grading, when)

    def _as_it_counts(self, run: int, grading: Grading, submitted: str | None) -> Grading:
        effective = EffectiveGrades(self._engine, run, None, grading.grade.student)
        return _settled(grading, partial(effective.of, run, grading.submission, submitted))


def _add_result(
    connection: Connection, run: int, number: int, grading: Grading, submitted: datetime | None, path: str | None
) -> str | None:
    """Add a run's result, the grading of this number; when it was handed in, as far as that is known."""
    student, exercise = grading.grade.student, grading.grade.exercise
    when = submitted.isoformat() if submitted is not None else None
    if when is None:
        query = select(results.c.submitted).join_from(results, gradings, results.c.grading == gradings.c.id)
        query = query.where(results.c.student == student, results.c.exercise == exercise)
        query = query.where(gradings.c.submission == grading.submission, results.c.submitted.is_not(None))
        when = connection.execute(query.order_by(results.c.run.desc()).limit(1)).scalar()
    values = {"run": run, "student": student, "exercise": exercise, "grading": number, "submitted": when, "path": path}
    connection.execute(insert(results).values(values))
    return when


def _settled(grading: Grading, settle: _Settle) -> Grading:
    return msgspec.structs.replace(grading, grade=settle(grading.grade))
