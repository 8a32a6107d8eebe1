"""When each submission was handed in, as a CSV file says it: one of ours, or a platform's list of submissions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, tzinfo
from pathlib import Path

from grader.cohort.csv_file import read_csv
from grader.errors import UsageError
from grader.reports.roster import Person, Roster
from grader.timestamps import NotATime, parse_time

_OURS = {"student", "submitted"}
_PLATFORMS = ("submission time", "last modified (submission)", "submitted at", "submitted", "submission_timestamp")
"""How Gradescope, Moodle and others call the time of a submission, in small letters."""


class Times:
    """When each submission was handed in.

    Args:
        path: a CSV file with the columns `student`, `submitted` and perhaps `exercise`; or a platform's, with a column
            for the time and with those that say who it is.
        zone: the time zone of times that say none.
        people: who handed something in, to find them in a platform's list.

    Raises:
        UsageError: it can't be read, lacks a column, or a time in it has no offset or is said twice.
    """

    def __init__(self, path: Path, zone: tzinfo | None = None, people: Sequence[Person] = ()) -> None:
        self._path, self._zone = path, zone
        self._times: dict[tuple[str, str], datetime] = {}
        table = read_csv(path, "file of times")
        small = {column.casefold(): column for column in table.columns}
        if set(small) >= _OURS:
            self._read_ours(table, small)
            return
        column = next((small[name] for name in _PLATFORMS if name in small), None)
        if column is None or not table.kinds:
            raise UsageError(
                f"The file of times {str(path)!r} needs the columns student and submitted in its header. "
                f"It has {', '.join(table.columns)}."
            )
        self._read_platforms(table, column, people)

    def _read_ours(self, table: Roster, columns: dict[str, str]) -> None:
        for line, row in zip(table.lines, table.rows, strict=True):
            said = {name: row[column].strip() for name, column in columns.items()}
            key = (said["student"], said.get("exercise", ""))
            if key in self._times:
                raise UsageError(
                    f"Line {line} of {str(self._path)!r} is the second for {key[0]!r}: keep the one that counts."
                )
            self._times[key] = self._time(said["submitted"], line, columns["submitted"])

    def _read_platforms(self, table: Roster, column: str, people: Sequence[Person]) -> None:
        lines = dict(zip(map(id, table.rows), table.lines, strict=True))
        students = {number: student for student, number in table.rows_of(people).items()}
        for number, row in enumerate(table.people):
            if (text := row[column].strip()) not in ("", "-"):  # who handed in nothing has no time
                time = self._time(text, lines[id(row)], column)
                self._times[students.get(number, table.name(row)), ""] = time

    def _time(self, text: str, line: int, column: str) -> datetime:
        try:
            return parse_time(text, self._zone)
        except NotATime as error:
            raise UsageError(f"Line {line} of {str(self._path)!r}, column {column}: {error}") from error

    def of(self, student: str, exercise: str) -> datetime | None:
        """When a student handed an exercise in; a row without an exercise is for all of them."""
        return self._times.get((student, exercise), self._times.get((student, "")))

    def of_nobody(self, handed_in: Collection[tuple[str, str]]) -> list[str]:
        """The rows that are about none of these students and exercises: the student, or the student and exercise."""
        students = {student for student, _ in handed_in}
        return [
            f"{student!r} ({exercise})" if exercise else repr(student)
            for student, exercise in self._times
            if ((student, exercise) not in handed_in if exercise else student not in students)
        ]
