"""`grader export`: the gradebook's grades, written where they go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from grader.choices import By, Format
from grader.cohort.csv_file import read_roster
from grader.errors import UsageError
from grader.files import folder_names, safe_name, write_file
from grader.records import Grade
from grader.reports.breakdown import broken_down, points_csv
from grader.reports.gradescope_json import gradescope_json
from grader.reports.json_csv_junit import grades_csv, grades_json, junit_xml, totals_csv
from grader.reports.lms_csv import NOBODY, Known, canvas_csv, moodle_csv
from grader.reports.totals import Excused

_WHOLE: dict[str, Callable[[Sequence[Grade]], str]] = {"csv": grades_csv, "junit": junit_xml, "json": grades_json}
_BY_QUESTION = ("csv", "canvas", "moodle")
_BY_ROSTER = ("canvas", "moodle")


def export_grades(
    kind: Format,
    grades: Sequence[Grade],
    roster: Path | None,
    out: Path | None,
    known: Known = NOBODY,
    by: By = "exercise",
    excused: Excused = frozenset(),
) -> tuple[str | None, list[str]]:
    """Write grades in a format to `out`, or hand back their text where there is no `out`.

    Returns:
        The text to print, None where it was written; and the students of whom the roster knows nothing.

    Raises:
        UsageError: a file can't be read or written, or the options don't fit the format.
    """
    if roster is not None and kind not in _BY_ROSTER:
        raise UsageError(f"--roster is for {' and '.join(_BY_ROSTER)}: leave it out for {kind}.")
    if by != "exercise":
        if kind not in _BY_QUESTION:
            raise UsageError(f"--by is for {', '.join(_BY_QUESTION)}: leave it out for {kind}.")
        grades = broken_down(grades, by)
        pieces = {grade.exercise for grade in grades}
        excused = {
            (student, piece) for student, exercise in excused for piece in pieces if piece.startswith(f"{exercise}/")
        }
    if kind == "gradescope":
        if out is None:
            raise UsageError("Gradescope takes a results.json for each submission: name a folder with --out.")
        folders = folder_names(grade.student for grade in grades)
        for grade in grades:
            write_file(
                out / folders[grade.student] / safe_name(grade.exercise) / "results.json", gradescope_json(grade)
            )
        return None, []
    unknown: list[str] = []
    if kind in _BY_ROSTER:
        read = read_roster(roster) if roster is not None else None
        exported = canvas_csv(grades, read, known, excused) if kind == "canvas" else moodle_csv(grades, read, known)
        text, unknown = exported
    elif kind == "totals":
        text = totals_csv(grades, excused)
    else:
        text = points_csv(grades) if by != "exercise" else _WHOLE[kind](grades)
    if out is None:
        return text, unknown
    write_file(out, text)
    return None, unknown
