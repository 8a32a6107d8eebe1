"""`grader feedback`: what students get, laid out as the place that it goes back to wants it.

Moodle's and Canvas's names of files, and Gradescope's of folders, say whose a submission is. They are taken from where
the notebook lay when it was graded; where it has no such name, that platform's zip can't hold it, and it is named.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePath

from grader.course.course import Course
from grader.files import folder_names, safe_name, write_file
from grader.gradebook.gradebook import Gradebook
from grader.intake.handed_in.platform_names import canvas, moodle
from grader.records import Comment, Grade, Record
from grader.reports.html import render_report
from grader.reports.json_csv_junit import Cell, csv_text

_GRADESCOPE = re.compile(r"submission_\d+")


class Written(Record, frozen=True):
    """What was written: the number of reports, and for each zip how many it holds and whom it lacks."""

    folder: Path
    reports: int
    zips: Mapping[str, tuple[int, list[str]]]


def write_feedback(book: Gradebook, course: Course, folder: Path) -> Written:
    """Write everybody's report, a zip for each platform, and `comments.csv`.

    Raises:
        UsageError: `folder` can't be written to.
    """
    results = {(each.grade.student, each.grade.exercise): each for each in book.results()}
    archives = {name: io.BytesIO() for name in _PLACES}
    folders = folder_names(student for student, _ in results)
    held: dict[str, int] = dict.fromkeys(_PLACES, 0)
    lacks: dict[str, list[str]] = {name: [] for name in _PLACES}
    for grading in book.gradings():
        grade = grading.grade
        page = render_report(grading, course.templates)
        write_file(folder / folders[grade.student] / f"{safe_name(grade.exercise)}.html", page)
        path = results[grade.student, grade.exercise].path
        for name, place in _PLACES.items():
            inside = place(PurePath(path), grade.exercise) if path is not None else None
            if inside is None:
                lacks[name].append(grade.student)
                continue
            held[name] += 1
            with zipfile.ZipFile(archives[name], "a", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(zipfile.ZipInfo(inside), page.encode("utf-8", "replace"), zipfile.ZIP_DEFLATED)
    for name, data in archives.items():
        if held[name]:
            write_file(folder / f"{name}.zip", data.getvalue())
        else:
            (folder / f"{name}.zip").unlink(missing_ok=True)
    write_file(folder / "comments.csv", comments_csv(result.grade for result in results.values()))
    return Written(folder, len(results), {name: (held[name], lacks[name]) for name in _PLACES})


def moodle_place(path: PurePath, exercise: str) -> str | None:
    """Moodle's "upload multiple feedback files": `Ann Lee_123_assignsubmission_file_/…`, as its download was."""
    for part in path.parts[::-1]:
        found = moodle(part)
        if found is not None:
            return f"{found['folder']}_/{safe_name(exercise)}.html"
    return None


def canvas_place(path: PurePath, exercise: str) -> str | None:
    """Canvas's "upload submissions": the name that the file had in its download, which holds the two numbers."""
    return f"{path.stem}.html" if canvas(path.name) and not moodle(path.name) else None


def gradescope_place(path: PurePath, exercise: str) -> str | None:
    """The folders of Gradescope's export: `assignment_1_export/submission_2/…`."""
    for number, part in enumerate(path.parts[:-1]):
        if _GRADESCOPE.fullmatch(part):
            export = path.parts[number - 1] if number and path.parts[number - 1].endswith("_export") else None
            return "/".join(filter(None, [export, part, f"{safe_name(exercise)}.html"]))
    return None


_PLACES: Mapping[str, Callable[[PurePath, str], str | None]] = {
    "moodle": moodle_place,
    "canvas": canvas_place,
    "gradescope": gradescope_place,
}


def comments_csv(grades: Iterable[Grade]) -> str:
    """A row for each comment: whose, about what, and what it says."""
    columns = ["student", "exercise", "part", "check", "cell", "line", "comment", "by", "at"]
    rows = [[grade.student, grade.exercise, *_cells(each)] for grade in grades for each in grade.comments]
    return csv_text(columns, rows)


def _cells(comment: Comment) -> list[Cell]:
    return [comment.part, comment.name, comment.cell, comment.line, comment.text, comment.by, comment.at]
