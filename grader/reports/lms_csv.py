"""Grades in the formats of the places that grades go to. Pure functions of records and of a roster's rows.

A submission that could not be graded has an empty cell, never a zero, wherever the format has room for the difference.
Numbers are written in full (`repr`), so that totals agree across all formats to the last digit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from grader.errors import UsageError
from grader.records import Check, Grade, Record
from grader.reports.json_csv_junit import commented, csv_text, number, placed
from grader.reports.verdict_text import explain

CANVAS_COLUMNS = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
_CANVAS_KEYS = ("SIS Login ID", "SIS User ID", "ID", "Student")
_MOODLE_KEYS = ("Email address", "ID number", "Username", "Full name")
_POINTS_POSSIBLE = "Points Possible"


class Roster(Record, frozen=True):
    """A CSV file that a learning platform exported: its header, and its rows by column."""

    columns: list[str]
    rows: list[dict[str, str]]


class Exported(NamedTuple):
    """A CSV text, and the students for whom it has no row."""

    text: str
    unknown: list[str]


def grades_json(grades: Sequence[Grade]) -> str:
    """A list of Grades, each as `docs/grade.schema.json` describes it."""
    return msgspec.json.format(msgspec.json.encode(list(grades)), indent=2).decode() + "\n"


# --- CSV for a learning platform ------------------------------------------------------------------------------------


def canvas_csv(grades: Sequence[Grade], roster: Roster | None = None) -> Exported:
    """Canvas's gradebook CSV: one column an exercise, and a row with the points possible.

    Args:
        grades: the grades.
        roster: what Canvas itself exported: its rows, and the column of an assignment that is named after an exercise
            (`01_backprop_ninja (1234)`), are used again. Without one, the student's name goes into `SIS Login ID`.

    Raises:
        UsageError: an exercise isn't worth the same for all: it changed, and only some were graded again.
    """
    exercises = _maxima(grades)
    for grade in grades:
        if grade.max_score not in (0, exercises.get(grade.exercise)):
            worth = " and ".join(number(points) for points in sorted({grade.max_score, exercises[grade.exercise]}))
            raise UsageError(
                f"{grade.exercise} was worth {worth} points in different runs, and Canvas has one maximum for all: "
                "grade all submissions again, or export one run with --run N."
            )
    if roster is None:
        rows = {student: {"Student": student, "SIS Login ID": student} for student in _students(grades)}
        columns, unknown = CANVAS_COLUMNS, list[str]()
    else:
        people = [row for row in roster.rows if row.get("Student", "").strip() != _POINTS_POSSIBLE]
        rows, unknown = _rows_of(grades, people, _CANVAS_KEYS)
        columns = [name for name in CANVAS_COLUMNS if name in roster.columns]
    titles = {exercise: _canvas_title(exercise, roster) for exercise in exercises}
    possible = {"Student": f"    {_POINTS_POSSIBLE}"}
    possible |= {titles[exercise]: number(points) for exercise, points in exercises.items()}
    table = [possible, *_filled(grades, rows, titles)]
    return Exported(_csv([*columns, *titles.values()], table), unknown)


def moodle_csv(grades: Sequence[Grade], roster: Roster | None = None) -> Exported:
    """Moodle's grade import: rows keyed by e-mail address or ID number, a column for each exercise.

    An exercise in which somebody wrote comments has a second column with them, for Moodle's "Feedback for".

    Args:
        grades: the grades.
        roster: what Moodle itself exported: its columns that say who it is are written again. Without one, a student's
            name that holds an `@` is an e-mail address, and any other an ID number.
    """
    if roster is None:
        columns, unknown = ["ID number", "Email address"], list[str]()
        rows = {student: {"Email address" if "@" in student else "ID number": student} for student in _students(grades)}
    else:
        people = [_with_full_name(row) for row in roster.rows]
        rows, unknown = _rows_of(grades, people, _MOODLE_KEYS)
        known = ["First name", "Last name", "Username", "ID number", "Email address"]
        columns = [name for name in known if name in roster.columns]
    titles = {exercise: exercise for exercise in _maxima(grades)}
    table = _filled(grades, rows, titles)
    by_student = dict(zip(rows, table, strict=True))
    feedback: dict[str, None] = {}
    for grade in grades:
        if grade.comments and grade.student in by_student and grade.exercise in titles:
            column = f"{grade.exercise} (feedback)"
            feedback[column] = None
            by_student[grade.student][column] = commented(grade)
    return Exported(_csv([*columns, *titles, *sorted(feedback)], table), unknown)


def _maxima(grades: Iterable[Grade]) -> dict[str, float]:
    """Exercise → its points, in the order of the exercises' names; `unknown` ones have no column."""
    found = {grade.exercise: grade.max_score for grade in grades if grade.max_score > 0}
    return dict(sorted(found.items()))


def _students(grades: Iterable[Grade]) -> list[str]:
    return list(dict.fromkeys(grade.student for grade in grades))


def _rows_of(
    grades: Iterable[Grade], people: Sequence[Mapping[str, str]], keys: Sequence[str]
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Student → the roster's row, where exactly one has the name in one of the columns `keys`; and who has none.

    Two who are the same person to the roster have none, either: one's mark would take the place of the other's.
    """
    called: dict[str, dict[str, list[int]]] = {key: {} for key in keys}
    for key, by_name in called.items():
        for place, row in enumerate(people):
            by_name.setdefault(_plain(row.get(key, "")), []).append(place)
    found: dict[str, int] = {}
    students = _students(grades)
    for student in students:
        name = _plain(student)
        matches = next((by_name[name] for by_name in called.values() if name and name in by_name), [])
        if len(matches) == 1:
            found[student] = matches[0]
    taken = Counter(found.values())
    rows = {student: dict(people[place]) for student, place in found.items() if taken[place] == 1}
    return rows, [student for student in students if student not in rows]


def _plain(name: str) -> str:
    return name.strip().casefold()


def _with_full_name(row: Mapping[str, str]) -> dict[str, str]:
    return {**row, "Full name": f"{row.get('First name', '')} {row.get('Last name', '')}"}


def _canvas_title(exercise: str, roster: Roster | None) -> str:
    for column in roster.columns if roster is not None else []:
        if column == exercise or column.startswith(f"{exercise} ("):
            return column
    return exercise


def _filled(
    grades: Iterable[Grade], rows: Mapping[str, Mapping[str, str]], titles: Mapping[str, str]
) -> list[dict[str, str]]:
    """The rows with their scores; what the platform itself held in these columns is not ours to hand back."""
    table = {
        student: {column: text for column, text in row.items() if column not in titles.values()}
        for student, row in rows.items()
    }
    for grade in grades:
        if grade.status == "graded" and grade.student in table and grade.exercise in titles:
            table[grade.student][titles[grade.exercise]] = number(grade.score)
    return list(table.values())


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    return csv_text(columns, ([row.get(column) for column in columns] for row in rows))


# --- Gradescope -----------------------------------------------------------------------------------------------------


def gradescope_json(grade: Grade) -> str:
    """Gradescope's `results.json` for one submission: a test for each check, and the whole Grade as extra data."""
    results: dict[str, Any] = {
        "score": grade.score,
        "output": _summary(grade),
        "output_format": "text",
        "visibility": "visible",
        "tests": [_gradescope_test(check, grade) for check in grade.checks],
        "extra_data": {"grade": grade},
    }
    return msgspec.json.format(msgspec.json.encode(results), indent=2).decode() + "\n"


def _summary(grade: Grade) -> str:
    if grade.status == "ungradable":
        lines = [f"This submission could not be graded, so its 0 points mean nothing yet. {grade.reason}"]
        return "\n".join([*lines, *map(placed, grade.comments)])
    lines = [f"{number(grade.score)} of {number(grade.max_score)} points."]
    lines += grade.standing.reasons if grade.standing is not None else []
    names = {(check.part, check.name) for check in grade.checks}
    lines += [placed(comment) for comment in grade.comments if (comment.part, comment.name) not in names]
    return "\n".join(lines + [flag.message for flag in grade.flags])


def _gradescope_test(check: Check, grade: Grade) -> dict[str, Any]:
    said = [each.text for each in grade.comments if (each.part, each.name) == (check.part, check.name)]
    return {
        "name": f"{check.part}: {check.name}",
        "score": check.points,
        "max_score": check.max_points,
        "status": "passed" if check.points == check.max_points else "failed",
        "output": "\n".join([explain(check), *said]),
        "output_format": "text",
        "visibility": "visible",
    }
