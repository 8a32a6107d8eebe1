"""Which lines give a gradient's name to something else when it was done with."""

from __future__ import annotations

import ast

import pytest

from grader.execution.name_uses import uses_after


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("da = 1\ndb = da\nda = 3", {3: {"da"}}),
        ("da = 1\ncmp('a', da, a)\nda = 3", {3: {"da"}}),
        ("da = 1\nda = 3", {}),
        ("da = 1\ndb = da\nda = 3\ndc = da", {}),
        ("da = 1\ndb = da\nda = 3\nk = da\ndc = k", {}),
        ("da = 1\ndb = da\nda = da + 3", {}),
        ("da = 1\ndb = da\nda += 3", {}),
        ("da = 1\ndb = da\nda = 3\nprint(da)", {3: {"da"}}),
        ("with x:\n    da = 1\n    db = da\nif y:\n    da = 2", {5: {"da"}}),
        ("def f():\n    da = 1\n    db = da\n    da = 2", {}),
    ],
)
def test_a_name_for_something_else(source, found):
    assert uses_after({4: ast.parse(source)}, {"da", "db", "dc"}).get(4, {}) == found


def test_a_name_in_a_cell_further_down():
    cells = {1: ast.parse("da = 1\ndb = da"), 2: ast.parse("da = 2")}
    assert uses_after(cells, {"da", "db"}) == {2: {1: {"da"}}}
