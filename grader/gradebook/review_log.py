"""What people do by hand: marks, comments, what they settled, and what they took back. Rows are only ever added.

A row counts until it is withdrawn, so nothing is lost and everything can be undone. Who writes says which mark they
saw last; if another stands there by now, nothing is written (`Changed`).
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, Select, Table, and_, exists, func, insert, not_, select
from sqlalchemy.exc import IntegrityError, OperationalError

from grader.errors import UsageError
from grader.gradebook.people import People, called
from grader.gradebook.review_records import Action, Changed, Mark, Note, Source, SubmissionKey
from grader.gradebook.schema import notes, overrides, withdrawn
from grader.records import Override
from grader.timestamps import now
from grader.wording import points

_TABLES: dict[Source, Table] = {"overrides": overrides, "notes": notes}
_BUSY = (
    "Nothing was saved: another program is writing to the gradebook, and SQLite takes one writer at a time. "
    "Try again, or keep the gradebook in PostgreSQL."
)


class ReviewLog:
    """The gradebook's tables of what people did by hand.

    Args:
        engine: the gradebook's database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._people = People(engine)

    # --- reading ----------------------------------------------------------------------------------------------------

    def marks(self, student: str | None = None) -> list[Mark]:
        """The marks that were not taken back, in the order in which they were made; of one student, or of all."""
        return [_mark(row, of) for row, of in self._rows("overrides", student)]

    def numbers(self) -> dict[tuple[str, str, str], int]:
        """Student, exercise and time → the number of the mark that was set then."""
        return {(mark.of.student, mark.of.exercise, mark.override.at): mark.id for mark in self.marks()}

    def notes(self, student: str | None = None) -> list[Note]:
        """The notes that were not taken back, in the order in which they were made; of one student, or of all."""
        return [_note(row, of) for row, of in self._rows("notes", student)]

    def latest(self) -> tuple[int, int, int]:
        """The numbers of the last rows: what is new since is in later ones."""
        with self._engine.connect() as connection:
            last = [connection.execute(select(func.max(each.c.id))).scalar() for each in (overrides, notes, withdrawn)]
        return (last[0] or 0, last[1] or 0, last[2] or 0)

    def students_since(self, latest: tuple[int, int, int]) -> set[str]:
        """The students about whom something was written after `latest`."""
        found: set[str] = set()
        with self._engine.connect() as connection:
            for table, last in zip((overrides, notes, withdrawn), latest, strict=True):
                found |= {row.student for row in connection.execute(select(table.c.student).where(table.c.id > last))}
        renamed = self._people.renames()
        return {renamed.get(student, student) for student in found}

    def last_action(self, by: str, since: str) -> Action | None:
        """What somebody did last, not before `since`, and has not taken back."""
        found: list[tuple[str, Source, Sequence[Row[Any]]]] = []
        with self._engine.connect() as connection:
            for source, table in _TABLES.items():
                mine = _standing(source, table).where(table.c.author == by, table.c.made >= since)
                last = connection.execute(mine.order_by(table.c.id.desc()).limit(1)).first()
                if last is not None:
                    found.append((last.made, source, connection.execute(mine.where(table.c.made == last.made)).all()))
        if not found:
            return None
        _, source, rows = max(found, key=lambda each: each[0])
        of = _of(rows[0], self._people.renames())
        item = rows[0].item if source == "notes" and rows[0].kind == "settled" else None
        return Action(source, [row.id for row in rows], of, _label(source, rows), item)

    def _rows(self, source: Source, student: str | None) -> Iterator[tuple[Row[Any], SubmissionKey]]:
        """Rows, each with the submission that it is about."""
        table = _TABLES[source]
        query = _standing(source, table).order_by(table.c.id)
        if student is not None:
            query = query.where(called(table.c.student, [student]))
        renamed = self._people.renames() if student is None else {}
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                yield row, _of(row, renamed if student is None else {row.student: student})

    # --- writing ----------------------------------------------------------------------------------------------------

    def set_mark(self, of: SubmissionKey, override: Override, seen: int | None = None) -> int:
        """Keep a mark; it is on the disk when this returns. The number of its row.

        Args:
            of: the submission.
            override: the mark.
            seen: the number of the mark that stood there when this one was decided on, 0 for the grader's own; None
                takes whatever stands there.

        Raises:
            Changed: another one stands there.
        """
        with self._writing(of) as connection:
            if seen is not None:
                c = overrides.c
                here = and_(called(c.student, [of.student]), c.exercise == of.exercise, c.submission == of.submission)
                place = and_(c.part.is_not_distinct_from(override.part), c.name.is_not_distinct_from(override.name))
                query = _standing("overrides", overrides).where(here, place).order_by(c.id.desc()).limit(1)
                standing = connection.execute(query).first()
                if (standing.id if standing is not None else 0) != seen:
                    raise Changed(_mark(standing, of) if standing is not None else None)
            row = {
                **msgspec.structs.asdict(of),
                "part": override.part,
                "name": override.name,
                "points": override.points,
                "reason": override.reason,
                "made": override.at,
                "author": override.by,
            }
            return int(connection.execute(insert(overrides).values(row).returning(overrides.c.id)).one().id)

    def add_notes(self, added: Iterable[Note]) -> list[int]:
        """Keep notes, all of them or none, as one action; the numbers of their rows."""
        added = list(added)
        if not added:
            return []
        when = now()
        with self._writing(added[0].of) as connection:
            made = [insert(notes).values({**_row_of(note), "made": when}).returning(notes.c.id) for note in added]
            return [int(connection.execute(each).one().id) for each in made]

    def withdraw(self, source: Source, rows: Sequence[int], by: str | None) -> list[SubmissionKey]:
        """Take rows back; the submissions that they were about. Those that were taken back already are left out."""
        table, done, renamed = _TABLES[source], [], self._people.renames()
        for number in rows:
            with self._engine.connect() as connection:
                row = connection.execute(select(table).where(table.c.id == number)).first()
            if row is None:
                continue
            of = _of(row, renamed)
            values = {"source": source, "row": number, "student": of.student, "author": by, "made": now()}
            try:
                with self._writing(of) as connection:
                    connection.execute(insert(withdrawn).values(values))
            except IntegrityError:  # somebody was quicker
                continue
            done.append(of)
        return done

    @contextmanager
    def _writing(self, of: SubmissionKey) -> Iterator[Connection]:
        """A transaction in which nobody else writes about this student and exercise."""
        try:
            with self._engine.connect().execution_options(immediate=True) as connection, connection.begin():
                if connection.dialect.name == "postgresql":
                    lock = zlib.crc32(f"{of.student}\0{of.exercise}".encode("utf-8", "replace"))
                    connection.execute(select(func.pg_advisory_xact_lock(lock)))
                yield connection
        except OperationalError as error:
            if "locked" not in str(error):
                raise
            raise UsageError(_BUSY) from error


@functools.cache
def _standing(source: Source, table: Table) -> Select[Any]:
    back = exists().where(withdrawn.c.source == source, withdrawn.c.row == table.c.id)
    return select(table).where(not_(back))


def _of(row: Row[Any], renamed: Mapping[str, str]) -> SubmissionKey:
    """The submission that a row is about, under the student's name that counts now; rows keep the one they had."""
    return SubmissionKey(renamed.get(row.student, row.student), row.exercise, row.submission)


def _mark(row: Row[Any], of: SubmissionKey) -> Mark:
    override = Override(row.points, 0.0, row.reason, row.made, row.part, row.name, row.author)
    return Mark(row.id, of, override)


def _note(row: Row[Any], of: SubmissionKey) -> Note:
    where = {"item": row.item, "part": row.part, "name": row.name, "cell": row.cell, "line": row.line}
    return Note(of=of, kind=row.kind, text=row.text, id=row.id, by=row.author, at=row.made, **where)


def _row_of(note: Note) -> dict[str, Any]:
    said = {name: getattr(note, name) for name in ("kind", "item", "part", "name", "cell", "line", "text")}
    return {**msgspec.structs.asdict(note.of), **said, "author": note.by}


_LABELS: Mapping[str, str] = {
    "comment": "the comment for",
    "internal": "the internal note on",
    "settled": "“settled” for",
    "disputed": "“disputed” for",
}


def _label(source: Source, rows: Sequence[Row[Any]]) -> str:
    """An action in words: the mark of 1 point for ann, the comment for 12 students."""
    students = list(dict.fromkeys(row.student for row in rows))
    who = students[0] if len(students) == 1 else f"{len(students)} students"
    if source == "overrides":
        where = rows[0].name or (f"part {rows[0].part}" if rows[0].part else "the whole")
        return f"the mark of {points(rows[0].points)} for {where} of {who}"
    return f"{_LABELS[rows[0].kind]} {who}"
