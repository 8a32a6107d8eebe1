"""Who handed in what: names brought to those of the class, by a pattern, a list, the roster and the gradebook."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from grader.cohort.csv_file import read_csv
from grader.errors import UsageError
from grader.files import as_text
from grader.intake.collect import once_each
from grader.intake.found import Found
from grader.intake.handed_in.names import composed
from grader.intake.handed_in.owners import Identity
from grader.reports.json_csv_junit import Cell, csv_text
from grader.reports.roster import Person, Roster

NamesOf = Callable[[Found], Sequence[str]]
"""A submission → the students whose it is; several are a group."""


def renamed(found: Sequence[Found], naming: NamesOf) -> list[Found]:
    """What was found under the names that `naming` gives; each student once for each exercise."""
    result = []
    for item in found:
        students = list(dict.fromkeys(naming(item)))
        group = students if len(students) > 1 else item.group
        for student in students:
            result.append(msgspec.structs.replace(item, student=student, group=group))
    groups: dict[str, list[str]] = defaultdict(list)  # each member was named on its own
    for item in result:
        if item.group:
            groups[item.shown].append(item.student)
    return once_each(
        msgspec.structs.replace(item, group=list(dict.fromkeys(groups[item.shown]))) if item.group else item
        for item in result
    )


def by_pattern(pattern: str) -> NamesOf:
    """Names by a regular expression with a group `student`, searched for in the file's path; others stay.

    Raises:
        UsageError: it is none, or has no such group.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"--pattern {pattern!r} isn't a regular expression: {error}.") from error
    if "student" not in compiled.groupindex:
        raise UsageError(f"--pattern {pattern!r} needs a group named student: (?P<student>[a-z]+).")

    def naming(item: Found) -> Sequence[str]:
        match = compiled.search(item.shown)
        return [as_text(composed(match["student"]))] if match is not None and match["student"] else [item.student]

    return naming


def by_list(path: Path, found: Sequence[Found]) -> tuple[NamesOf, list[str]]:
    """Names by a CSV file with the columns `name` and `student`, and the names in it that are nobody's here.

    A name is what a submission is called without the list, or what a platform knows its student by. A name in several
    lines is a group: each of its students gets the marks.

    Raises:
        UsageError: it can't be read, or lacks a column.
    """
    table = read_csv(path, "list of names")
    columns = {column.casefold(): column for column in table.columns}
    if not {"name", "student"} <= set(columns):
        raise UsageError(
            f"The list of names {str(path)!r} needs the columns name and student in its header. "
            f"It has {', '.join(table.columns)}."
        )
    students: dict[str, list[str]] = defaultdict(list)
    for row in table.rows:
        if student := row[columns["student"]].strip():
            students[_key(row[columns["name"]])].append(student)

    def keys(item: Found) -> list[str]:
        return [_key(item.student), *(_key(each.value) for each in item.identities)]

    def naming(item: Found) -> Sequence[str]:
        return next((students[key] for key in keys(item) if key in students), [item.student])

    used = {key for item in found for key in keys(item)}
    return naming, [row[columns["name"]] for row in table.rows if _key(row[columns["name"]]) not in used]


def _key(name: str) -> str:
    return composed(name).strip().casefold()


def by_roster(roster: Roster, found: Iterable[Found]) -> tuple[NamesOf, list[str]]:
    """Names as the roster has them, and the students of whom it has no row, or several."""
    people = {item.student: Person(item.student, item.identities) for item in found}
    rows = roster.rows_of(list(people.values()))
    names = names_in(roster)

    def naming(item: Found) -> Sequence[str]:
        return [names[rows[item.student]]] if item.student in rows else [item.student]

    return naming, [student for student in people if student not in rows]


def names_in(roster: Roster) -> list[str]:
    """What each of a roster's people is called; two of one name have something of their own behind it."""
    names = [roster.name(row) for row in roster.people]
    often = Counter(names)
    return [
        f"{name} ({roster.own(row)})" if often[name] > 1 else name
        for name, row in zip(names, roster.people, strict=True)
    ]


def without_submission(roster: Roster, students: Mapping[str, Sequence[Identity]]) -> list[str]:
    """The people of a roster who are none of these students."""
    there = set(roster.rows_of([Person(student, [*known]) for student, known in students.items()]).values())
    return [name for number, name in enumerate(names_in(roster)) if number not in there and name not in students]


def handed_in_csv(found: Sequence[Found], times: Mapping[tuple[str, str], datetime]) -> str:
    """Which file became whose submission, when it was handed in, and what was guessed of it.

    `times` are by student and exercise.
    """
    rows: list[list[Cell]] = []
    for item in found:
        when = times.get((item.student, item.exercise))
        late = "" if item.late is None else "yes" if item.late else "no"
        remarks = "; ".join([*item.remarks, *([item.problem] if item.problem is not None else [])])
        rows.append(
            [item.student, item.exercise, item.shown, when.isoformat() if when is not None else "", late, remarks]
        )
    return csv_text(["student", "exercise", "file", "submitted", "late", "remarks"], rows)
