"""`grader export`: the gradebook's grades, written where they go."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from grader.errors import UsageError
from grader.files import folder_names, safe_name, write_file
from grader.records import Grade
from grader.reports.json_csv_junit import grades_csv, junit_xml, totals_csv
from grader.reports.lms_csv import Exported, Roster, canvas_csv, grades_json, gradescope_json, moodle_csv

Format = Literal["csv", "canvas", "moodle", "gradescope", "junit", "json", "totals"]

_WHOLE: dict[str, Callable[[Sequence[Grade]], str]] = {
    "csv": grades_csv,
    "junit": junit_xml,
    "json": grades_json,
    "totals": totals_csv,
}
_BY_ROSTER: dict[str, Callable[[Sequence[Grade], Roster | None], Exported]] = {
    "canvas": canvas_csv,
    "moodle": moodle_csv,
}


def export_grades(
    kind: Format, grades: Sequence[Grade], roster: Path | None, out: Path | None
) -> tuple[str | None, list[str]]:
    """Write grades in a format to `out`, or hand back their text where there is no `out`.

    Returns:
        The text to print, None where it was written; and the students of whom the roster knows nothing.

    Raises:
        UsageError: a file can't be read or written, or the options don't fit the format.
    """
    if roster is not None and kind not in _BY_ROSTER:
        raise UsageError(f"--roster is for {' and '.join(_BY_ROSTER)}: leave it away for {kind}.")
    if kind == "gradescope":
        if out is None:
            raise UsageError("Gradescope wants a results.json for each submission: say into which folder with --out.")
        folders = folder_names(grade.student for grade in grades)
        for grade in grades:
            write_file(
                out / folders[grade.student] / safe_name(grade.exercise) / "results.json", gradescope_json(grade)
            )
        return None, []
    unknown: list[str] = []
    if kind in _BY_ROSTER:
        text, unknown = _BY_ROSTER[kind](grades, read_roster(roster) if roster is not None else None)
    else:
        text = _WHOLE[kind](grades)
    if out is None:
        return text, unknown
    write_file(out, text)
    return None, unknown


def read_roster(path: Path) -> Roster:
    """Read a CSV file with a header.

    Raises:
        UsageError: it can't be read, or has no header.
    """
    return _read(path, "roster")


class Times:
    """When each submission was handed in: a CSV file with the columns `student`, `submitted` and perhaps `exercise`.

    Raises:
        UsageError: it can't be read, lacks a column, or a time in it has no offset or is said twice.
    """

    def __init__(self, path: Path) -> None:
        table = _read(path, "file of times")
        if not {"student", "submitted"} <= set(table.columns):
            raise UsageError(f"The file of times {str(path)!r} needs the columns student and submitted in its header.")
        self._times: dict[tuple[str, str], datetime] = {}
        for line, row in enumerate(table.rows, 2):
            key = (row["student"].strip(), row.get("exercise", "").strip())
            if key in self._times:
                raise UsageError(
                    f"Line {line} of {str(path)!r} is the second for {key[0]!r}: keep the one that counts."
                )
            self._times[key] = _time(row["submitted"].strip(), f"Line {line} of {str(path)!r}")

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


def _time(text: str, where: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{where}: {text!r} is no time; write it as 2026-12-04T23:59:00+01:00.") from error
    if time.tzinfo is None:
        raise UsageError(
            f"{where}: {text!r} has no time zone; write it as 2026-12-04T23:59:00+01:00, or with Z for UTC."
        )
    return time


def _read(path: Path, what: str) -> Roster:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            columns = list(reader.fieldnames or [])
            rows = [{name: value for name, value in row.items() if name is not None} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"The {what} {str(path)!r} can't be read as CSV ({error}): export it again.") from error
    if not columns:
        raise UsageError(f"The {what} {str(path)!r} is empty: export it again, with its header.")
    return Roster(columns=columns, rows=rows)
