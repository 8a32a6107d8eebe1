"""Grades broken down: one for each part of an exercise, or each check, for places that have a column for each."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from grader.choices import By
from grader.records import Check, Grade
from grader.reports.json_csv_junit import csv_text


def broken_down(grades: Sequence[Grade], by: By) -> list[Grade]:
    """A grade for each part or check of the grades, under the name `exercise/part` or `exercise/part/check`.

    Their scores are the checks' points, which know nothing of lateness. Of what could not be graded each part and
    check could not be.
    """
    if by == "exercise":
        return list(grades)
    maxima: dict[str, dict[str, float]] = {}
    for grade in grades:
        for name, checks in _groups(grade, by).items():
            maxima.setdefault(grade.exercise, {})[name] = sum(check.max_points for check in checks)
    return [
        _piece(grade, name, maximum, _groups(grade, by).get(name, []))
        for grade in grades
        for name, maximum in maxima.get(grade.exercise, {}).items()
    ]


def _groups(grade: Grade, by: By) -> dict[str, list[Check]]:
    found: dict[str, list[Check]] = {}
    for check in grade.checks:
        name = f"{grade.exercise}/{check.part}" + (f"/{check.name}" if by == "check" else "")
        found.setdefault(name, []).append(check)
    return found


def _piece(grade: Grade, name: str, maximum: float, checks: list[Check]) -> Grade:
    points = sum(check.points for check in checks)
    return msgspec.structs.replace(
        grade, exercise=name, checks=checks, flags=[], score=points, max_score=maximum, standing=None, overrides=[]
    )


def points_csv(grades: Sequence[Grade]) -> str:
    """A row for each student, and a column for each exercise, part or check; an empty cell where none is known."""
    titles = list(dict.fromkeys(grade.exercise for grade in grades))
    rows: dict[str, dict[str, float]] = {}
    for grade in grades:
        cells = rows.setdefault(grade.student, {})
        if grade.status == "graded":
            cells[grade.exercise] = grade.score
    return csv_text(["student", *titles], ([student, *map(cells.get, titles)] for student, cells in rows.items()))
