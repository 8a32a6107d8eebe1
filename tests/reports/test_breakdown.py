"""A column for each part or check, in CSV and in a platform's import."""

from __future__ import annotations

import csv
import io

import pytest

from grader.cohort.export import export_grades
from grader.errors import UsageError
from tests.reports.test_exports import grade, ungradable


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


GRADES = [grade("ann"), grade("ann", "02_more", points=(1.0, 2.0, 3.0)), ungradable("ben")]


def test_every_check_has_its_points():
    text, _ = export_grades("csv", GRADES, None, None, by="check")
    ann, ben = rows(text)
    assert list(ann) == ["student", *(f"{id_}/p/{name}" for id_ in ("01_mini", "02_more") for name in "abc")]
    assert [float(ann[f"01_mini/p/{name}"]) for name in "abc"] == [8.67, 0.3, 0.0]
    assert [ann[f"02_more/p/{name}"] for name in "abc"] == ["1", "2", "3"]
    assert set(ben.values()) == {"ben", ""}  # not known, and no zero


def test_canvas_has_a_column_and_a_maximum_for_each():
    text, unknown = export_grades("canvas", GRADES, None, None, by="check")
    possible, ann, ben = rows(text)
    assert possible["01_mini/p/a"] == "8.67"
    assert (ann["01_mini/p/a"], ben["01_mini/p/a"], unknown) == ("8.67", "", [])
    text, _ = export_grades("canvas", GRADES, None, None, by="part")
    assert float(rows(text)[1]["02_more/p"]) == 6


def test_it_is_for_tables_alone():
    with pytest.raises(UsageError, match="--by is for csv, canvas, moodle"):
        export_grades("junit", GRADES, None, None, by="part")
