"""Grades as the CSV that a learning platform takes back. Pure functions of records and of a roster's rows.

A submission that could not be graded has no mark, never a zero, wherever the format has room for the difference.
Scores have at most two decimals from the start, so they are the same in all formats.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from grader.errors import UsageError
from grader.intake.handed_in.owners import Identity
from grader.records import Grade
from grader.reports.json_csv_junit import commented, csv_text
from grader.reports.roster import POINTS_POSSIBLE, Person, Roster
from grader.reports.totals import Excused
from grader.wording import in_points

CANVAS_COLUMNS = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
_MOODLE_KINDS = ("participant", "first", "last", "full", "login", "number", "email")


Known = Mapping[str, Sequence[Identity]]
"""Student → what platforms know them by."""
NOBODY: Known = {}
_EMPTY: Mapping[tuple[str, str], str] = {}


class Exported(NamedTuple):
    """A CSV text, and the students for whom it has no row."""

    text: str
    unknown: list[str]


def canvas_csv(
    grades: Sequence[Grade], roster: Roster | None = None, known: Known = NOBODY, excused: Excused = frozenset()
) -> Exported:
    """Canvas's gradebook CSV: one column an exercise, and a row with the points possible.

    Args:
        grades: the grades.
        roster: what Canvas itself exported: its rows, and the column of an assignment that is named after an exercise
            (`01_backprop_ninja (1234)`), are used again. Without one, the student's name goes into `SIS Login ID`.
        known: what platforms know the students by. Canvas's own number fills `ID` where there is no roster.
        excused: who handed in nothing and is excused: `EX`, as Canvas has it.

    Raises:
        UsageError: an exercise isn't worth the same for all: it changed, and only some were graded again; or the roster
            has no column by which Canvas would know anybody.
    """
    exercises = _maxima(grades)
    for grade in grades:
        if grade.max_score not in (0, exercises.get(grade.exercise)):
            worth = " and ".join(in_points(points) for points in sorted({grade.max_score, exercises[grade.exercise]}))
            raise UsageError(
                f"{grade.exercise} was worth {worth} points in different runs, and Canvas has one maximum for all: "
                "grade all submissions again, or export one run with --run N."
            )
    excused = {(student, exercise) for student, exercise in excused if exercise in exercises}
    students = list(dict.fromkeys([*_students(grades), *sorted(student for student, _ in excused)]))
    if roster is None:
        rows = {student: _canvas_row(student, known.get(student, [])) for student in students}
        columns, unknown = CANVAS_COLUMNS, list[str]()
    else:
        rows, unknown = _rows_of(students, roster, known)
        columns = _canvas_columns(roster)
    titles = {exercise: _canvas_title(exercise, roster) for exercise in exercises}
    possible = {columns[0]: f"    {POINTS_POSSIBLE}"}
    possible |= {titles[exercise]: in_points(points) for exercise, points in exercises.items()}
    cells = {(student, titles[exercise]): "EX" for student, exercise in excused}
    table = [possible, *_filled(grades, rows, titles, cells)]
    return Exported(_csv([*columns, *titles.values()], table), unknown)


def _canvas_columns(roster: Roster) -> list[str]:
    """The columns that say who it is, as the roster has them: Canvas takes a file only if they end with `Section`.

    They are English in every language of Canvas's, but there may be `LastName` and `FirstName` in place of `Student`.
    """
    if not {"ID", "SIS User ID", "SIS Login ID"} & {*roster.columns}:
        raise UsageError(
            "The roster isn't Canvas's: it has none of the columns ID, SIS User ID and SIS Login ID. Export the "
            "gradebook from Canvas, and give that file."
        )
    columns = roster.columns
    return columns[: columns.index("Section") + 1] if "Section" in columns else CANVAS_COLUMNS


def _canvas_row(student: str, known: Sequence[Identity]) -> dict[str, str]:
    number = next((each.value for each in known if each.kind == "canvas"), None)
    return {"Student": student, **({"ID": number} if number is not None else {"SIS Login ID": student})}


def moodle_csv(grades: Sequence[Grade], roster: Roster | None = None, known: Known = NOBODY) -> Exported:
    """Moodle's grade import: rows keyed by e-mail address or ID number, a column for each exercise.

    An exercise in which somebody wrote comments has a second column with them, for Moodle's "Feedback for".

    Args:
        grades: the grades.
        roster: what Moodle itself exported: its columns that say who it is are written again. An assignment's grading
            worksheet is written again as a whole, with its grades filled in. Without a roster, a student's name that
            holds an `@` is an e-mail address, and any other an ID number.
        known: what platforms know the students by: an address and a number that Gradescope said are used, too.

    Raises:
        UsageError: the roster is a grading worksheet, which is of one assignment, and there are several exercises.
    """
    titles = {exercise: exercise for exercise in _maxima(grades)}
    if roster is None:
        columns, unknown = ["ID number", "Email address"], list[str]()
        rows = {student: _moodle_row(student, known.get(student, [])) for student in _students(grades)}
        return Exported(_with_comments(grades, rows, titles, columns), unknown)
    rows, unknown = _rows_of(_students(grades), roster, known)
    grade_column = next(iter(roster.of_kind("grade")), None)
    if roster.of_kind("participant") and grade_column is not None:
        if len(titles) > 1:
            raise UsageError(
                "This roster is the grading worksheet of one assignment, and there are grades of "
                f"{' and '.join(titles)}: say which with --exercise."
            )
        filled = _filled(grades, rows, dict.fromkeys(titles, grade_column))
        return Exported(_csv(roster.columns, filled), unknown)
    columns = [column for column, kind in roster.kinds.items() if kind in _MOODLE_KINDS]
    return Exported(_with_comments(grades, rows, titles, columns), unknown)


def _with_comments(grades: Sequence[Grade], rows: Mapping[str, dict[str, str]], titles: Mapping[str, str],
                   columns: Sequence[str]) -> str:  # fmt: skip
    """Moodle's file, with a column for the comments on each exercise that has some."""
    table = _filled(grades, rows, titles)
    by_student = dict(zip(rows, table, strict=True))
    feedback: dict[str, None] = {}
    for grade in grades:
        if grade.comments and grade.student in by_student and grade.exercise in titles:
            column = f"{grade.exercise} (feedback)"
            feedback[column] = None
            by_student[grade.student][column] = commented(grade)
    return _csv([*columns, *titles, *sorted(feedback)], table)


def _moodle_row(student: str, known: Sequence[Identity]) -> dict[str, str]:
    said = {each.kind: each.value for each in known}
    row = {"Email address": said.get("email", ""), "ID number": said.get("sid", "")}
    return row if any(row.values()) else {"Email address" if "@" in student else "ID number": student}


def _maxima(grades: Iterable[Grade]) -> dict[str, float]:
    """Exercise → its points, in the order of the exercises' names; `unknown` ones have no column."""
    found = {grade.exercise: grade.max_score for grade in grades if grade.max_score > 0}
    return dict(sorted(found.items()))


def _students(grades: Iterable[Grade]) -> list[str]:
    return list(dict.fromkeys(grade.student for grade in grades))


def _rows_of(students: Sequence[str], roster: Roster, known: Known) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Student → the roster's row, where exactly one is theirs; and who has none.

    Two who are the same person to the roster have none, either: one's mark would take the place of the other's.
    """
    found = roster.rows_of([Person(student, [*known.get(student, [])]) for student in students])
    taken = Counter(found.values())
    rows = {student: dict(roster.people[place]) for student, place in found.items() if taken[place] == 1}
    return rows, [student for student in students if student not in rows]


def _canvas_title(exercise: str, roster: Roster | None) -> str:
    for column in roster.columns if roster is not None else []:
        if column == exercise or column.startswith(f"{exercise} ("):
            return column
    return exercise


def _filled(
    grades: Iterable[Grade],
    rows: Mapping[str, Mapping[str, str]],
    titles: Mapping[str, str],
    cells: Mapping[tuple[str, str], str] = _EMPTY,
) -> list[dict[str, str]]:
    """The rows with `cells` and the scores.

    Where there is no score, the platform gets back what it had there: to both Canvas and Moodle an empty cell is a mark
    that was taken away (canvas-lms, `gradebook_importer.rb`; Moodle, `grade/import/csv/classes/load_data.php`).
    """
    table = {student: dict(row) for student, row in rows.items()}
    for (student, title), text in cells.items():
        if student in table:
            table[student][title] = text
    for grade in grades:
        if grade.status == "graded" and grade.student in table and grade.exercise in titles:
            table[grade.student][titles[grade.exercise]] = in_points(grade.score)
    return list(table.values())


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> str:
    return csv_text(columns, ([row.get(column) for column in columns] for row in rows))
