"""The files of an output folder: a report and a JSON for each submission, and the pages about all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from grader.course.course import Course
from grader.files import folder_names, safe_name, write_file
from grader.gradebook.gradebook import Gradebook
from grader.records import Grade, Grading
from grader.reports.cohort_page import CohortRow, Group
from grader.reports.html import render_index, render_report
from grader.reports.json_csv_junit import grade_json, grades_csv, junit_pieces, totals_csv


def report_paths(grade: Grade, names: Mapping[str, str]) -> tuple[str, str]:
    """Where a submission's report and JSON lie below the output folder; `names` are the students' `folder_names`."""
    stem = f"{names[grade.student]}/{safe_name(grade.exercise)}"
    return f"{stem}.html", f"{stem}.json"


def is_written(grade: Grade, folder: Path, names: Mapping[str, str]) -> bool:
    """Whether the folder has the files of this very grade; the JSON is written after the report."""
    try:
        return (folder / report_paths(grade, names)[1]).read_text(encoding="utf-8") == grade_json(grade)
    except OSError:
        return False


def write_grading(grading: Grading, folder: Path, course: Course, names: Mapping[str, str]) -> None:
    """Write one student's report and JSON."""
    page, data = report_paths(grading.grade, names)
    write_file(folder / page, render_report(grading, course.templates))
    write_file(folder / data, grade_json(grading.grade))


def write_cohort(
    grades: Sequence[Grade], book: Gradebook, course: Course, folder: Path, similar: Sequence[Group]
) -> None:
    """Write the pages that are about all submissions together; `grades` are the gradebook's, as they count."""
    excused = book.people.excused(grades)
    names = folder_names(grade.student for grade in grades)
    rows = [CohortRow(grade=grade, path=_report_in(folder, grade, names)) for grade in grades]
    write_file(folder / "index.html", render_index(rows, similar, course.templates, course.catalog.titles, excused))
    write_file(folder / "grades.csv", grades_csv(grades))
    write_file(folder / "totals.csv", totals_csv(grades, excused))
    write_file(folder / "junit.xml", junit_pieces(grades))


def _report_in(folder: Path, grade: Grade, names: Mapping[str, str]) -> str | None:
    """Where the report lies; None where this folder has none, because it was graded into another."""
    path = report_paths(grade, names)[0]
    return path if (folder / path).is_file() else None
