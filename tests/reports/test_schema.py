"""`docs/grade.schema.json` describes the JSON that the grader writes.

`python -m tests.reports.test_schema` writes it anew.
"""

from __future__ import annotations

import json

import jsonschema
import msgspec
import pytest

from grader.grading.ungradable import ungradable
from grader.records import SCHEMA_VERSION, Grade, Submission
from grader.reports.json_csv_junit import grade_json
from tests.conftest import ROOT

SCHEMA = ROOT / "docs" / "grade.schema.json"


def schema_text():
    """The schema of the records as they are now."""
    schema = msgspec.json.schema(Grade)
    for definition in schema["$defs"].values():  # line breaks and, before Python 3.13, indentation
        definition["description"] = " ".join(definition["description"].split())
    schema["$defs"]["Grade"]["properties"]["schema_version"]["const"] = SCHEMA_VERSION
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps({**head, **schema}, indent=2, ensure_ascii=False) + "\n"


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_file_is_in_step_with_the_records():
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), (
        "run `python -m tests.reports.test_schema`, and read the change"
    )


@pytest.mark.parametrize("mistake", [("dhsum = (h", "dhsum = 3 * (h"), ("dhsum = (h", "dhsum = None\n(h")])
def test_a_real_grade_is_valid(validator, grade, solved, mistake):
    written = json.loads(grade_json(grade(solved(mistake)).grade))
    validator.validate(written)
    assert {check["verdict"] for check in written["checks"]} > {"exact"}


def test_a_submission_that_can_not_be_graded_is_valid(validator, course):
    grading = ungradable(Submission(student="s", exercise="mini"), course.spec("mini"), "The file is empty.")
    validator.validate(json.loads(grade_json(grading.grade)))


@pytest.mark.parametrize(
    "change",
    [{"schema_version": SCHEMA_VERSION + 1}, {"status": "fine"}, {"score": "29"}, {"checks": [{}]}, {"flags": None}],
)
def test_what_is_no_grade_is_refused(validator, course, change):
    grading = ungradable(Submission(student="s", exercise="mini"), course.spec("mini"), "The file is empty.")
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**json.loads(grade_json(grading.grade)), **change})


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(), encoding="utf-8")
