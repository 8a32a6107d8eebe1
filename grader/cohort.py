"""Many submissions: having them graded, and writing what `grader grade` promises to write."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from grader.cluster import Workers
from grader.collect import Found, safe_name
from grader.errors import UsageError
from grader.records import Grade, Grading
from grader.renderers import grade_json, grades_csv, junit_xml
from grader.report import render_index, render_report
from grader.report_cohort import CohortRow


def grade_cohort(
    found: Sequence[Found], workers: Workers, folder: Path, done: Callable[[Grade], None] = lambda _: None
) -> list[Grade]:
    """Grade every submission and write its report, its JSON, and then the cohort's pages into `folder`.

    Args:
        found: what was handed in.
        workers: who grades it.
        folder: where to write; made where it is missing.
        done: is called with each grade as soon as its files are written.

    Raises:
        UsageError: `folder` can't be written to.
    """
    grades: list[Grade] = []

    def finished(grading: Grading) -> None:
        write_grading(grading, folder)
        grades.append(grading.grade)
        done(grading.grade)

    try:
        workers.grade(found, finished)
    finally:  # an interrupted run leaves the pages of what it did
        grades.sort(key=lambda grade: (grade.student, grade.exercise))
        write_cohort(grades, folder)
    return grades


def report_paths(grade: Grade) -> tuple[str, str]:
    """Where a submission's report and JSON lie below the output folder."""
    stem = f"{safe_name(grade.student)}/{safe_name(grade.exercise)}"
    return f"{stem}.html", f"{stem}.json"


def write_grading(grading: Grading, folder: Path) -> None:
    """Write one student's report and JSON."""
    page, data = report_paths(grading.grade)
    write_file(folder / page, render_report(grading))
    write_file(folder / data, grade_json(grading.grade))


def write_cohort(grades: Sequence[Grade], folder: Path) -> None:
    """Write the pages that are about all submissions together."""
    rows = [CohortRow(grade=grade, path=report_paths(grade)[0]) for grade in grades]
    write_file(folder / "index.html", render_index(rows))
    write_file(folder / "grades.csv", grades_csv(grades))
    write_file(folder / "junit.xml", junit_xml(grades))


def write_file(path: Path, text: str) -> None:
    """Write a whole file or nothing: a grader that is killed leaves no half of one.

    Raises:
        UsageError: it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(text, encoding="utf-8", errors="replace")
        draft.replace(path)
    except OSError as error:
        raise UsageError(f"{str(path)!r} can't be written ({error.strerror}): choose another --out folder.") from error
