"""Students in the gradebook: their other names, what platforms know them by, who has longer, who is taken out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Column, ColumnElement, Connection, Engine, Select, Table, delete, insert, or_, select, update

from grader.errors import UsageError
from grader.gradebook.late_policy import Extension
from grader.gradebook.schema import extensions, identities, renames, results
from grader.intake.handed_in.owners import Identity
from grader.records import Grade
from grader.timestamps import now

Extensions = Mapping[tuple[str, str | None], Extension]
"""Student and exercise, or None for all of them → the extension that counts."""


class People:
    """The students of a gradebook.

    Args:
        engine: the gradebook's database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def renames(self) -> dict[str, str]:
        """The name that something was handed in under → the student's."""
        with self._engine.connect() as connection:
            return {row.handed_in: row.student for row in connection.execute(select(renames))}

    def remember(self, known: Mapping[str, Sequence[Identity]]) -> None:
        """Keep what platforms know students by."""
        new = {(student, *each) for student, said in known.items() for each in said}
        with self._engine.begin() as connection:
            new -= {tuple(row) for row in connection.execute(select(identities))}
            if new:
                rows = [{"student": student, "kind": kind, "value": value} for student, kind, value in sorted(new)]
                connection.execute(insert(identities), rows)

    def identities(self) -> dict[str, list[Identity]]:
        """Student → what platforms know them by."""
        found: dict[str, list[Identity]] = defaultdict(list)
        with self._engine.connect() as connection:
            for row in connection.execute(select(identities).order_by(identities.c.kind, identities.c.value)):
                found[row.student].append(Identity(row.kind, row.value))
        return dict(found)

    def rename(self, old: str, new: str) -> None:
        """Let all that is, or will be, handed in as `old` count as `new`'s; a student who is there is the same then.

        Raises:
            UsageError: there is no `old`, or both handed in an exercise in the same run and no time says which counts.
        """
        with self._engine.begin() as connection:
            there = select(results.c.run).where(results.c.student == old).limit(1)
            if old == new or connection.execute(there).first() is None:
                raise UsageError(f"The gradebook has no {old!r} to rename: `grader export csv` lists what it has.")
            _settle_clashes(connection, old, new)
            known = {(row.kind, row.value) for row in connection.execute(_of(identities, new))}
            for row in connection.execute(_of(identities, old)).all():
                if (row.kind, row.value) not in known:
                    values = {"student": new, "kind": row.kind, "value": row.value}
                    connection.execute(insert(identities).values(values))
            connection.execute(delete(identities).where(identities.c.student == old))
            for table in (results, extensions, renames):
                connection.execute(update(table).where(table.c.student == old).values(student=new))
            connection.execute(delete(renames).where(renames.c.handed_in.in_([old, new])))
            connection.execute(insert(renames).values(handed_in=old, student=new))

    def remove(self, student: str, exercise: str | None = None) -> list[str]:
        """Take a student's results out, of an exercise or all; the gradings are kept. The exercises that it was.

        Raises:
            UsageError: there are none.
        """
        mine = results.c.student == student
        if exercise is not None:
            mine &= results.c.exercise == exercise
        with self._engine.begin() as connection:
            found = sorted(connection.execute(select(results.c.exercise).where(mine).distinct()).scalars())
            connection.execute(delete(results).where(mine))
        if not found:
            what = repr(student) + (f" for {exercise}" if exercise is not None else "")
            raise UsageError(f"The gradebook has nothing of {what}: `grader export csv` lists what it has.")
        return found

    def excused(self, grades: Sequence[Grade]) -> frozenset[tuple[str, str]]:
        """Who is excused from which of the exercises that these grades are of, and handed in nothing for it."""
        extended = extensions_in(self._engine, None)
        students = {student for student, _ in extended}
        asked = {(student, grade.exercise) for grade in grades if grade.max_score > 0 for student in students}
        there = {(grade.student, grade.exercise) for grade in grades}
        return frozenset(pair for pair in asked - there if _excuses(extended, *pair))

    def extend(self, student: str, exercise: str | None, extension: Extension) -> None:
        """Keep until when a student has for an exercise, or for all."""
        due = extension.due.isoformat() if extension.due is not None else None
        row = {"student": student, "exercise": exercise, "due": due, "reason": extension.reason, "made": now("seconds")}
        with self._engine.begin() as connection:
            connection.execute(insert(extensions).values(row))


def extension_for(extended: Extensions, student: str, exercise: str) -> Extension | None:
    """The extension that counts for a student's exercise: its own, or else the one for all."""
    return extended.get((student, exercise), extended.get((student, None)))


def _excuses(extended: Extensions, student: str, exercise: str) -> bool:
    found = extension_for(extended, student, exercise)
    return found is not None and found.due is None


def called(column: Column[str], students: Sequence[str]) -> ColumnElement[bool]:
    """Whether a column has the name of one of the students, or one that was replaced by it."""
    replaced = select(renames.c.handed_in).where(renames.c.student.in_(students))
    return or_(column.in_(students), column.in_(replaced))


def extensions_in(engine: Engine, student: str | None) -> Extensions:
    """The extensions that count, of one student or all."""
    query = select(extensions).order_by(extensions.c.id)
    if student is not None:
        query = query.where(extensions.c.student == student)
    with engine.connect() as connection:
        return {
            (row.student, row.exercise): Extension(
                due=datetime.fromisoformat(row.due) if row.due is not None else None, reason=row.reason
            )
            for row in connection.execute(query)
        }


def _of(table: Table, student: str) -> Select[tuple[object, ...]]:
    return select(table).where(table.c.student == student)


def _settle_clashes(connection: Connection, old: str, new: str) -> None:
    """Where both have a result of one run for one exercise, keep that of what was handed in last."""
    mine = {(row.run, row.exercise): row for row in connection.execute(_of(results, new))}
    both = [
        (row, mine[row.run, row.exercise])
        for row in connection.execute(_of(results, old))
        if (row.run, row.exercise) in mine
    ]
    for one, other in both:
        if one.submitted is None or other.submitted is None or one.submitted == other.submitted:
            raise UsageError(
                f"{old!r} and {new!r} both handed in {one.exercise}, and no time says which counts: remove one first, "
                f"with `grader remove DIR {old!r} --exercise {one.exercise}`."
            )
        earlier = min(one, other, key=lambda row: datetime.fromisoformat(row.submitted))
        same = (results.c.run == earlier.run) & (results.c.exercise == earlier.exercise)
        connection.execute(delete(results).where(same & (results.c.student == earlier.student)))
