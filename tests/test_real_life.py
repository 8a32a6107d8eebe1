"""What other graders' users complain of: cells copied, split, deleted or retyped, metadata gone, a file misnamed.

Every notebook here is a right one to begin with, and must be marked as its author would.
"""

from __future__ import annotations

import copy
import json

import pytest

from grader.intake.collect import collect
from tests.conftest import verdicts
from tests.intake.test_take_in import cell, code, index, strip


@pytest.fixture
def not_right(grade, solved):
    """The verdicts that are not right, of the solved notebook after an edit."""

    def run(edit):
        grading = grade(solved(edit=edit))
        assert grading.grade.status == "graded", grading.grade.reason
        return {name: said for name, said in verdicts(grading).items() if said not in ("exact", "approximate")}

    return run


def test_a_copied_cell_does_not_take_the_place_of_the_first(not_right):
    def edit(notebook):
        again = copy.deepcopy(cell(notebook, "gradients-top"))  # with its id and all
        again["source"] = "dh = dh * 1"
        notebook["cells"].insert(index(notebook, "gradients-bottom"), again)

    assert not_right(edit) == {}


def test_a_copied_locked_cell_does_no_harm(not_right):
    def edit(notebook):
        again = copy.deepcopy(cell(notebook, "forward"))
        again["source"] = "seed = 99\nW = torch.zeros(3, 4)"
        notebook["cells"].insert(index(notebook, "gradients-bottom"), again)

    assert not_right(edit) == {}


def test_a_split_cell_is_as_good_as_a_whole_one(not_right):
    def edit(notebook):
        for name in ("gradients-top", "gradients-bottom"):
            place = index(notebook, name)
            first, *rest = [line for line in "".join(notebook["cells"][place]["source"]).splitlines() if "=" in line]
            notebook["cells"][place]["source"] = first
            notebook["cells"][place + 1 : place + 1] = [code(line) for line in rest]

    assert not_right(edit) == {}


def test_a_deleted_gradients_cell_costs_its_own_gradients_only(not_right):
    missing = not_right(lambda notebook: notebook["cells"].pop(index(notebook, "gradients-bottom")))
    assert missing == dict.fromkeys(["steps/dhpre", "steps/dW", "steps/db"], "missing")


@pytest.mark.parametrize("grade_id", ["imports", "data", "parameters", "forward", "compare-top", "start"])
def test_a_deleted_locked_cell_costs_nothing(not_right, grade_id):
    assert not_right(lambda notebook: notebook["cells"].pop(index(notebook, grade_id))) == {}


def test_merged_cells_that_keep_a_locked_cells_id_keep_their_gradients(not_right):
    def edit(notebook):
        place = index(notebook, "compare-top")
        below = notebook["cells"].pop(place + 1)
        notebook["cells"][place]["source"] = "\n".join(
            "".join(each["source"]) for each in (notebook["cells"][place], below)
        )

    assert not_right(edit) == {}


def test_a_notebook_without_any_metadata_is_no_error(not_right):
    assert not_right(strip) == {}


@pytest.mark.parametrize("name", ["mini-1.ipynb", "Homework FINAL (2).ipynb", "02_something_else.ipynb"])
def test_a_wrong_file_name_is_graded_all_the_same(course, pool, solved, tmp_path, name):
    (tmp_path / "in" / "ada").mkdir(parents=True)
    (tmp_path / "in" / "ada" / name).write_bytes(solved(edit=strip))
    (found,) = collect([tmp_path / "in"], course)
    grading = pool.grade(found.submission())
    assert (grading.grade.student, grading.grade.exercise) == ("ada", "mini")
    assert grading.grade.score == grading.grade.max_score


def test_a_file_of_something_else_is_said_to_be_that(course, pool, tmp_path):
    (tmp_path / "ada.ipynb").write_text(
        json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [code("x = 1")]})
    )
    (found,) = collect([tmp_path], course)
    grading = pool.grade(found.submission())
    assert grading.grade.status == "ungradable"
    assert "hand in the right file" in grading.grade.reason
