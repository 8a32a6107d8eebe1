"""Every place that grades go to is told the same points, maxima and totals."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest

from grader.cohort.csv_file import read_roster
from grader.cohort.export import export_grades
from grader.course.catalog import Late, Terms
from grader.errors import UsageError
from grader.gradebook.late_policy import Attempt, with_standing
from grader.records import Check, Flag, Grade, Verdict
from grader.reports.gradescope_json import gradescope_json
from grader.reports.json_csv_junit import grades_csv, grades_json, junit_xml, totals_csv
from grader.reports.lms_csv import canvas_csv, moodle_csv
from grader.reports.roster import Roster
from grader.wording import rounded

THIRD = 26 / 3
"""Points whose decimals have no end."""


def grade(student: str, exercise: str = "01_mini", *, points: Sequence[float] = (THIRD, 0.1 + 0.2, 0.0)) -> Grade:
    verdicts = [Verdict.EXACT, Verdict.CARRIED, Verdict.WRONG]
    checks = [
        Check(part="p", name=name, verdict=verdict, points=earned, max_points=THIRD)
        for name, verdict, earned in zip("abc", verdicts, points, strict=True)
    ]
    return Grade(
        student=student, exercise=exercise, status="graded", score=rounded(sum(points)), max_score=sum([THIRD] * 3),
        checks=checks, flags=[Flag(code="unchecked", message="Look.")], cpu_seconds=0.1, wall_seconds=0.2,
    )  # fmt: skip


def ungradable(student: str, exercise: str = "01_mini") -> Grade:
    return msgspec.structs.replace(
        grade(student, exercise), status="ungradable", reason="It is empty.", checks=[], flags=[], score=0.0
    )


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


# --- agreement --------------------------------------------------------------------------------------------------------


def test_points_and_maxima_are_written_as_a_person_would_and_the_same_everywhere():
    given = grade("ann")
    (line,) = rows(grades_csv([given]))
    possible, canvas = rows(canvas_csv([given]).text)
    (moodle,) = rows(moodle_csv([given]).text)
    gradescope = json.loads(gradescope_json(given))
    (back,) = msgspec.json.decode(grades_json([given]), type=list[Grade])
    cases = ET.fromstring(junit_xml([given])).iter("testcase")
    junit = [{one.get("name"): one.get("value") for one in case.iter("property")} for case in cases]

    scores = [line["score"], canvas["01_mini"], moodle["01_mini"], gradescope["score"], back.score]
    assert {float(score) for score in scores} == {given.score} == {8.97}
    assert canvas["01_mini"] == moodle["01_mini"] == line["score"] == "8.97"
    maxima = [line["max_score"], possible["01_mini"], back.max_score]
    assert {float(maximum) for maximum in maxima} == {given.max_score}
    suite = {one.get("name"): one.get("value") for one in ET.fromstring(junit_xml([given]))[0][0]}
    assert (float(suite["score"]), float(suite["max_score"])) == (given.score, given.max_score)
    assert [case["points"] for case in junit] == ["8.67", "0.3", "0"]
    assert [test["score"] for test in gradescope["tests"]] == [8.67, 0.3, 0.0]


def test_what_is_taken_off_for_lateness_is_taken_off_everywhere_and_no_check_loses_points():
    terms = Terms(due=datetime(2026, 12, 4, tzinfo=UTC), late=Late(percent_a_day=7), weight=2.5)
    late = Attempt(submission="x", grade=grade("ann"), submitted="2026-12-04T00:00:01+00:00")
    given = with_standing([late], "x", terms)
    assert given.score == 8.34
    (reason,) = given.standing.reasons

    (line,) = rows(grades_csv([given]))
    _, canvas = rows(canvas_csv([given]).text)
    (moodle,) = rows(moodle_csv([given]).text)
    (total,) = rows(totals_csv([given]))
    gradescope = json.loads(gradescope_json(given))
    (back,) = msgspec.json.decode(grades_json([given]), type=list[Grade])
    properties, *cases = ET.fromstring(junit_xml([given]))[0]
    suite = {one.get("name"): one.get("value") for one in properties}
    scores = [line["score"], canvas["01_mini"], moodle["01_mini"], total["01_mini"], gradescope["score"], back.score]
    assert {float(score) for score in [*scores, suite["score"]]} == {given.score}
    assert float(total["total_percent"]) == pytest.approx(100 * given.score / given.max_score, abs=0.005)
    assert reason == line["standing"] == suite["standing"] == back.standing.reasons[0]
    assert reason in gradescope["output"]
    points = [sum(test["score"] for test in gradescope["tests"]), sum(check.points for check in back.checks)]
    points.append(sum(float(case.find("properties")[1].get("value")) for case in cases))
    assert {round(each, 2) for each in points} == {float(line["earned"])} == {grade("ann").score}


def test_a_submission_that_could_not_be_graded_is_an_empty_cell_and_no_zero():
    _, ann, ben = rows(canvas_csv([grade("ann"), ungradable("ben")]).text)
    assert (ann["01_mini"] != "", ben["01_mini"]) == (True, "")
    assert rows(moodle_csv([ungradable("ben")]).text)[0]["01_mini"] == ""
    assert "could not be graded" in json.loads(gradescope_json(ungradable("ben")))["output"]


def test_a_column_for_each_exercise_and_a_row_for_each_student():
    found = rows(canvas_csv([grade("ann"), grade("ann", "02_more"), grade("ben", "02_more")]).text)
    assert [row["Student"].strip() for row in found] == ["Points Possible", "ann", "ben"]
    assert [bool(row["01_mini"]) for row in found] == [True, True, False]


@pytest.mark.parametrize("name", ["=1+1", '@SUM("A1")', "+1", "-1", "\t=1"])
@pytest.mark.parametrize("export", [canvas_csv, moodle_csv])
def test_no_name_becomes_a_formula(name, export):
    for row in csv.reader(export([grade(name)]).text.splitlines()):
        assert not any(cell.startswith(("=", "@", "+", "-", "\t")) for cell in row)


# --- rosters ----------------------------------------------------------------------------------------------------------

CANVAS = """\ufeffStudent,ID,SIS User ID,SIS Login ID,Section,01_mini (4711),Final Score
    Points Possible,,,,,10,
"Ash, Ann",17,s17,ann,A,,88
"Box, Ben",18,s18,ben@example.org,B,3,77
"""


def roster(tmp_path, text: str) -> Roster:
    path = tmp_path / "roster.csv"
    path.write_text(text, encoding="utf-8")
    return read_roster(path)


def test_canvas_gets_its_own_rows_and_columns_back(tmp_path):
    given = roster(tmp_path, CANVAS)
    text, unknown = canvas_csv([grade("ANN"), grade("s18"), grade("eve")], given)
    assert text.splitlines()[0] == "Student,ID,SIS User ID,SIS Login ID,Section,01_mini (4711)"
    found = {row["ID"]: row for row in rows(text)}
    assert float(found["17"]["01_mini (4711)"]) == float(found["18"]["01_mini (4711)"]) == grade("ann").score
    assert found["18"]["Student"] == "Box, Ben"
    assert unknown == ["eve"]


def test_where_there_is_no_mark_canvas_gets_its_own_back_for_an_empty_cell_takes_it_away(tmp_path):
    text, _ = canvas_csv([ungradable("s18"), grade("s18", "02_more"), grade("ann")], roster(tmp_path, CANVAS))
    found = {row["ID"]: row for row in rows(text)}
    assert (found["18"]["01_mini (4711)"], found["17"]["01_mini (4711)"]) == ("3", "8.97")
    assert (found["18"]["02_more"], found["17"]["02_more"]) == ("8.97", "")


def test_who_is_excused_is_so_in_canvas_too(tmp_path):
    excused = {("cy", "01_mini"), ("s18", "01_mini"), ("ann", "09_never_graded")}
    _, ann, cy, s18 = rows(canvas_csv([grade("ann")], None, {}, excused).text)
    assert [cy["SIS Login ID"], s18["SIS Login ID"]] == ["cy", "s18"]
    assert [row["01_mini"] for row in (ann, cy, s18)] == ["8.97", "EX", "EX"]
    text, unknown = canvas_csv([grade("ann")], roster(tmp_path, CANVAS), {}, excused)
    assert {row["ID"]: row["01_mini (4711)"] for row in rows(text)}["18"] == "EX"
    assert unknown == ["cy"]
    text, _ = export_grades("canvas", [grade("ann")], None, None, {}, "part", excused)
    assert [row["01_mini/p"] for row in rows(text)][1:] == ["8.97", "EX", "EX"]


CANVAS_LAYOUTS = {
    "with every number": "Student,ID,SIS User ID,SIS Login ID,Integration ID,Root Account,Section",
    "without SIS numbers": "Student,ID,SIS Login ID,Section",
    "first and last names": "LastName,FirstName,ID,SIS User ID,SIS Login ID,Section",
}


@pytest.mark.parametrize("layout", CANVAS_LAYOUTS)
@pytest.mark.parametrize("separator", [",", ";"])
def test_each_layout_of_canvas_comes_back_as_canvas_takes_it(tmp_path, layout, separator):
    """As `gradebook_exporter.rb` of canvas-lms writes it; `gradebook_importer.rb` looks for the same columns."""
    header = CANVAS_LAYOUTS[layout].split(",")
    ann = {"Student": "Ash, Ann", "LastName": "Ash", "FirstName": "Ann", "ID": "17", "SIS Login ID": "ann"}
    test = {"Student": "Student, Test", "LastName": "Student", "FirstName": "Test", "ID": "99", "SIS Login ID": "x"}
    lines = [[*header, "01_mini (4711)", "Current Score"], [*[""] * len(header), "Manual Posting", ""]]
    lines += [["    Points Possible", *[""] * (len(header) - 1), "10", "(read only)"]]
    lines += [[*(person.get(column, "") for column in header), "", ""] for person in (ann, test)]
    text = "\n".join(separator.join(f'"{cell}"' for cell in line) for line in lines)
    given = roster(tmp_path, text)
    assert [given.name(row) for row in given.people] == ["Ash, Ann" if "Student" in header else "Ann Ash"]
    back, unknown = canvas_csv([grade("Ann Ash")], given)
    assert unknown == []
    assert back.splitlines()[0].split(",") == [*header, "01_mini (4711)"]
    possible, row = rows(back)
    assert (possible[header[0]], possible["01_mini (4711)"]) == ("    Points Possible", "26")
    assert (row["ID"], row["01_mini (4711)"]) == ("17", "8.97")


def test_a_list_by_which_canvas_would_know_nobody_is_no_roster_for_it(tmp_path):
    with pytest.raises(UsageError, match="The roster isn't Canvas's"):
        canvas_csv([grade("ann")], roster(tmp_path, "Name,Login\nAnn Ash,ann\n"))


def test_two_rows_for_one_name_are_nobodys(tmp_path):
    twice = CANVAS + '"Ash, Ann",19,s19,ann,C,,\n'
    text, unknown = canvas_csv([grade("ann")], roster(tmp_path, twice))
    assert (unknown, len(rows(text))) == (["ann"], 1)


def test_an_exercise_that_is_not_worth_the_same_for_all_is_said():
    other = msgspec.structs.replace(grade("ben"), max_score=30.0)
    with pytest.raises(UsageError, match=r"01_mini was worth 26 and 30 points .* --run N"):
        canvas_csv([grade("ann"), other])


def test_two_names_for_one_row_are_both_said_and_neither_takes_the_others_place(tmp_path):
    given = roster(tmp_path, CANVAS)
    text, unknown = canvas_csv([grade("ann"), grade("s17", points=(0.0, 0.0, 0.0)), grade("s18")], given)
    assert (unknown, [row["ID"] for row in rows(text)]) == (["ann", "s17"], ["", "18"])


def test_moodle_is_keyed_by_mail_or_number(tmp_path):
    text, unknown = moodle_csv([grade("ann@example.org"), grade("1742")])
    assert [(row["Email address"], row["ID number"]) for row in rows(text)] == [("ann@example.org", ""), ("", "1742")]
    given = roster(tmp_path, "First name,Last name,ID number,Email address\nAnn,Ash,17,ann@example.org\n")
    for student in ("ann@example.org", "17", "ann ash"):
        text, unknown = moodle_csv([grade(student)], given)
        (row,) = rows(text)
        assert (row["ID number"], float(row["01_mini"]), unknown) == ("17", grade("x").score, [])


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b'a,b\n"x'])
def test_a_roster_that_is_none_is_said(tmp_path, data):
    path = tmp_path / "roster.csv"
    path.write_bytes(data)
    if data.startswith(b"a"):
        assert read_roster(path).rows == [{"a": "x", "b": ""}]
        return
    with pytest.raises(UsageError, match="export it again"):
        read_roster(path)
    with pytest.raises(UsageError, match=r"missing\.csv"):
        read_roster(tmp_path / "missing.csv")
