"""What a person wrote is in the report, once and where it belongs, and in every export that has room for it."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from itertools import product

import msgspec
import pytest

from grader.records import CellView, Comment, Override
from grader.reports.cell_names import has_line
from grader.reports.gradescope_json import gradescope_json
from grader.reports.html import render_report
from grader.reports.json_csv_junit import grade_json, grades_csv, junit_xml
from grader.reports.lms_csv import moodle_csv
from tests.report_samples import PART, SCRIPT, sample_grading

AT = "2026-11-29T12:00:00+00:00"
COMMENTS = [
    Comment("At a line.\nIn two lines.", AT, "tom", cell=2, line=4),
    Comment(f"On dC {SCRIPT}", AT, part=PART, name="dC"),
    Comment("At a part.", AT, part=PART),
    Comment("=Whole()", AT),
    Comment("At a line that is gone.", AT, cell=99, line=1),
    Comment("At a check that is gone.", AT, part="gone", name="dgone"),
]


@pytest.fixture(scope="module")
def grading():
    grading = sample_grading()
    return msgspec.structs.replace(grading, grade=msgspec.structs.replace(grading.grade, comments=COMMENTS))


def test_each_stands_in_the_report_once_and_as_text(grading):
    page = render_report(grading)
    for comment in COMMENTS:
        assert page.count(comment.text.split("<")[0]) == 1, comment.text
    assert SCRIPT not in page
    top, _, rest = page.partition('id="summary"')
    assert "At a part." in top
    assert "At a line that is gone." in top
    assert "At a line.\n" in rest
    assert rest.index("At a line.\n") > rest.index('id="c1-4"')


def test_exports_hold_what_they_have_room_for(grading):
    grades = [grading.grade]
    (row,) = csv.DictReader(grades_csv(grades).splitlines(keepends=True))
    assert row["comments"].split(" / ")[0] == "Cell 2, line 4: At a line. In two lines."
    assert "Part every-gradient: At a part." in row["comments"]
    (row,) = csv.DictReader(moodle_csv(grades).text.splitlines(keepends=True))
    assert "dC: On dC" in row["01_backprop_ninja (feedback)"]
    results = json.loads(gradescope_json(grading.grade))
    (test,) = (test for test in results["tests"] if test["name"] == f"{PART}: dC")
    assert "On dC" in test["output"]
    assert "=Whole()" in results["output"]
    assert "At a check that is gone." in results["output"]
    suite = ET.fromstring(junit_xml(grades)).find("testsuite")
    said = [each.get("value") for each in suite.find("properties") if each.get("name") == "comment"]
    assert len(said) == len(COMMENTS)
    assert json.loads(grade_json(grading.grade))["comments"][0]["by"] == "tom"


def test_a_class_without_comments_has_no_column_for_them_at_moodle():
    assert "feedback" not in moodle_csv([sample_grading().grade]).text


def test_a_parts_mark_is_the_parts_score_in_the_report():
    grading = sample_grading()
    override = Override(3.25, 20.0, "As we agreed.", AT, part=PART, by="tom")
    page = render_report(
        msgspec.structs.replace(grading, grade=msgspec.structs.replace(grading.grade, overrides=[override]))
    )
    assert '<p class="partscore">3.25<span' in page
    assert "Every gradient by hand: 3.25 points in place of the grader’s 20. As we agreed." in page


def test_a_comments_line_is_counted_as_in_the_notebook_also_where_a_cell_is_shown_in_pieces():
    cells = [
        CellView(source="a = 1\nb = 2", part=None, outputs=[], number=7),
        CellView(source="c = 3\nd = 4", part=PART, outputs=[], number=9, first_line=5),
        CellView(source="e = 5", part=PART, outputs=[], label="forward"),
    ]
    found = [place for place in product(range(10), range(8)) if has_line(cells, *place)]
    assert found == [
        (7, 1),
        (7, 2),
        (9, 5),
        (9, 6),
    ]
    grading = sample_grading()
    grade = msgspec.structs.replace(grading.grade, comments=[Comment("Here.", AT, cell=9, line=6)])
    page = render_report(msgspec.structs.replace(grading, grade=grade, cells=cells, evidence=[]))
    assert 'id="c1-2" data-n="6">d = 4\n</span><span class="says comment">' in page
