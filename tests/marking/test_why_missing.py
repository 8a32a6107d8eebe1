"""Why a gradient isn't there, where a line above it or a bracket stopped its cell."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def missing(grade, solved):
    """What is said of a gradient of the mini course that is missing, after replacements in the solution."""

    def remark(name, *replacements):
        checks = grade(solved(*replacements)).grade.checks
        check = next(check for check in checks if check.name == name and check.verdict == "missing")
        return check.remark or check.diagnosis.message

    return remark


def place(solved, *replacements, text):
    """`Cell 7, line 2`: where a text stands in the notebook."""
    for number, cell in enumerate(json.loads(solved(*replacements))["cells"], 1):
        for line, written in enumerate("".join(cell["source"]).split("\n"), 1):
            if text in written:
                return f"Cell {number}, line {line}"
    raise AssertionError(text)


def test_an_error_that_stopped_the_cell_is_named_with_its_place(missing, solved):
    slip = ("dscaled = ", "dscaled = nosuch * ")
    assert missing("dscaled", slip) == f"{place(solved, slip, text='nosuch')} stopped with NameError before " + (
        "this was assigned."
    )


def test_an_open_bracket_is_named_with_its_line(missing, solved):
    slip = ("dhsum = (h", "dhsum = ((h")
    where = place(solved, slip, text="((h")
    assert missing("dhsum", slip).startswith(f"{where} isn't valid Python ('(' was never closed)")
