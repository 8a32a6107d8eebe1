"""JSON, CSV and JUnit of the same grades."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ET

import msgspec
import pytest

from grader.records import Check, Flag, Grade, Verdict
from grader.reports.json_csv_junit import grade_json, grades_csv, junit_xml

CHECKS = [
    Check(part="p", name="da", verdict=Verdict.EXACT, points=1.0, max_points=1.0, maxdiff=0.0),
    Check(part="p", name="db", verdict=Verdict.WRONG, points=0.0, max_points=1.0, maxdiff=0.5),
    Check(part="p", name="dc", verdict=Verdict.UNCHECKED, points=0.0, max_points=1.0, remark="The kernel died."),
]


def grade(student="ann", **changes):
    base = Grade(
        student=student, exercise="mini", status="graded", score=1.0, max_score=3.0, checks=CHECKS,
        flags=[Flag(code="unchecked", message="m")], cpu_seconds=0.1, wall_seconds=0.2,
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


def test_json_reads_back_as_the_same_grade():
    assert msgspec.json.decode(grade_json(grade()), type=Grade) == grade()


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", " =1+1", "\uff1d1+1", "\u3000=1", "|x"])
def test_no_name_becomes_a_formula(name):
    (row,) = csv.DictReader(grades_csv([grade(name)]).splitlines())
    assert row["student"] == "'" + name


def test_csv_counts_the_verdicts():
    (row,) = csv.DictReader(grades_csv([grade('O\'Neil, "Al"')]).splitlines())
    assert row["student"] == 'O\'Neil, "Al"'
    assert (row["exact"], row["wrong"], row["unchecked"], row["carried"]) == ("1", "1", "1", "0")
    assert row["flags"] == "unchecked"


def test_junit_tells_failures_from_errors():
    (suite,) = ET.fromstring(junit_xml([grade()]))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    assert suite.find("testcase[@name='db']/failure") is not None
    assert suite.find("testcase[@name='dc']/error").get("message").endswith("The kernel died.")


def test_junit_survives_names_that_xml_can_not_hold():
    (suite,) = ET.fromstring(junit_xml([grade("\x00<&\ud800>")]))
    assert suite.get("name") == "\u2400<&\ufffd>/mini"


def test_an_ungradable_submission_is_an_error():
    (suite,) = ET.fromstring(junit_xml([grade(status="ungradable", reason="It is empty.", checks=[])]))
    assert suite.find("testcase/error").get("message") == "It is empty."
    assert (suite.get("tests"), suite.get("errors")) == ("1", "1")
