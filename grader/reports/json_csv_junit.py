"""The Grade as files: JSON, CSV and JUnit. Pure functions of records; the HTML is in `html.py`."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from grader.records import Check, Comment, Grade, Standing, Verdict, count_verdicts
from grader.reports.totals import Excused, totals
from grader.reports.verdict_text import explain
from grader.safe_text import safe_text
from grader.wording import in_points

_NONE = Standing(earned=0.0)


def grade_json(grade: Grade) -> str:
    """The Grade as `docs/grade.schema.json` describes it."""
    return msgspec.json.format(msgspec.json.encode(grade), indent=2).decode() + "\n"


def grades_json(grades: Sequence[Grade]) -> str:
    """A list of Grades, each as `docs/grade.schema.json` describes it."""
    return msgspec.json.format(msgspec.json.encode(list(grades)), indent=2).decode() + "\n"


def grades_csv(grades: Sequence[Grade]) -> str:
    """One row a submission: student, exercise, status, score, maximum, verdict counts, flags, reason, and so on.

    The score is what counts; `earned` is the submission's own, `weight` the exercise's in the total.
    """
    rows: list[list[Cell]] = []
    for grade in grades:
        flags = " ".join(sorted({flag.code for flag in grade.flags}))
        row: list[Cell] = [grade.student, grade.exercise, grade.status, grade.score, grade.max_score]
        row += [*count_verdicts(grade.checks).values(), flags, grade.reason]
        rows.append([*row, *_standing_cells(grade), commented(grade)])
    columns = ["student", "exercise", "status", "score", "max_score", *Verdict, "flags", "reason", *_STANDING]
    return csv_text([*columns, "comments"], rows)


_STANDING = ["weight", "earned", "submitted", "late_percent", "attempt", "counted", "standing"]


def _standing_cells(grade: Grade) -> list[Cell]:
    standing = grade.standing or Standing(earned=grade.score)
    said = [standing.weight, standing.earned, standing.submitted, standing.late_percent]
    return [*said, standing.attempt, standing.counted, " ".join(standing.reasons)]


def totals_csv(grades: Sequence[Grade], excused: Excused = frozenset()) -> str:
    """A row for each student: the score of every exercise, and the total in per cent by the exercises' weights."""
    exercises = sorted({grade.exercise for grade in grades if grade.max_score > 0})
    rows: list[list[Cell]] = []
    for one in totals(grades, excused):
        cells = {**dict.fromkeys(one.excused, "excused"), **one.scores}
        rows.append([one.student, *map(cells.get, exercises), one.percent])
    return csv_text(["student", *exercises, "total_percent"], rows)


Cell = str | float | None


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table as CSV. A stranger's text is no formula, and has no line end, at which some readers would end the row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(map(_csv_cell, row) for row in rows)
    return text.getvalue()


def _csv_cell(cell: Cell) -> str:
    if cell is None:
        return ""
    return safe_text(cell, "csv") if isinstance(cell, str) else in_points(cell)


def commented(grade: Grade) -> str:
    """What people wrote to the student, in a line: a cell of a table has no more."""
    return " / ".join(placed(comment) for comment in grade.comments)


def placed(comment: Comment) -> str:
    """A comment in one line, after what it is about."""
    text = " ".join(comment.text.split())
    if comment.line is not None and comment.cell is not None:
        return f"Cell {comment.cell}, line {comment.line}: {text}"
    where = comment.name or (f"Part {comment.part}" if comment.part is not None else None)
    return f"{where}: {text}" if where is not None else text


def junit_xml(grades: Iterable[Grade]) -> str:
    """A JUnit report: one suite a submission, one case a check. Could not be checked is an error, not a failure."""
    return "".join(junit_pieces(grades))


def junit_pieces(grades: Iterable[Grade]) -> Iterator[str]:
    """The same, suite by suite: that of ten thousand submissions is as large as all else that is kept of them."""
    yield '<?xml version="1.0" encoding="utf-8"?>\n<testsuites name="grader">\n'
    for grade in grades:
        suite = _suite(grade)
        ET.indent(suite, level=1)
        yield f"  {ET.tostring(suite, encoding='unicode')}\n"
    yield "</testsuites>\n"


def _suite(grade: Grade) -> ET.Element:
    suite = ET.Element("testsuite", name=_xml(f"{grade.student}/{grade.exercise}"))
    cases = [_case(suite, grade, check) for check in grade.checks]
    if grade.status == "ungradable":
        case = ET.SubElement(suite, "testcase", classname=_xml(_suite_name(grade)), name="can be graded")
        cases.append(ET.SubElement(case, "error", message=_xml(grade.reason or "")))
    for kind in ("failure", "error"):
        suite.set(f"{kind}s", str(sum(found is not None and found.tag == kind for found in cases)))
    properties = ET.Element("properties")
    suite.insert(0, properties)
    for name, value in (("score", in_points(grade.score)), ("max_score", in_points(grade.max_score)),
                        *(("comment", _xml(placed(comment))) for comment in grade.comments),
                        *(("standing", _xml(reason)) for reason in (grade.standing or _NONE).reasons)):  # fmt: skip
        ET.SubElement(properties, "property", name=name, value=value)
    suite.set("tests", str(len(cases)))
    suite.set("time", f"{grade.wall_seconds:.3f}")
    return suite


def _case(suite: ET.Element, grade: Grade, check: Check) -> ET.Element | None:
    case = ET.SubElement(suite, "testcase", classname=_xml(f"{_suite_name(grade)}.{check.part}"), name=_xml(check.name))
    properties = ET.SubElement(case, "properties")
    for name, value in (("verdict", check.verdict.value), ("points", in_points(check.points)),
                        ("max_points", in_points(check.max_points))):  # fmt: skip
        ET.SubElement(properties, "property", name=name, value=value)
    kind = {Verdict.WRONG: "failure", Verdict.MISSING: "failure", Verdict.UNCHECKED: "error"}.get(check.verdict)
    if kind is None:
        return None
    return ET.SubElement(case, kind, message=_xml(explain(check)), type=check.verdict.value)


def _suite_name(grade: Grade) -> str:
    return f"{grade.student}.{grade.exercise}".replace("/", "-")


def _xml(text: str) -> str:
    """Text that XML can hold."""
    return safe_text(text, "xml")
