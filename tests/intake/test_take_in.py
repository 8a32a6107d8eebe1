"""Fitting a submission to the exercise: whose cell is whose, what comes from the release, and what is said of it."""

from __future__ import annotations

import copy
import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.course.course import Course
from grader.errors import NothingMatches
from grader.intake.matching import understand
from grader.intake.take_in import guess_exercise, take_in
from grader.notebook.file import read_notebook
from tests.conftest import HERE

NOTEBOOKS = HERE / "notebooks"
FOREIGN = {
    "nbformat": 4,
    "nbformat_minor": 4,
    "metadata": {},
    "cells": [
        {"cell_type": "code", "metadata": {}, "source": "import pandas as pd\npd.DataFrame()", "outputs": []},
        {"cell_type": "markdown", "metadata": {}, "source": "dscaled = dhsum = dh = 1"},
    ],
}


@pytest.fixture
def mini(course):
    return course.exercise("mini")


@pytest.fixture
def take(mini, solved):
    """Take in the solved notebook after an edit: `take(lambda cells: …)`, `cells` by grade_id and in order."""

    def run(*replacements, edit=lambda notebook: None):
        return take_in(solved(*replacements, edit=edit), mini)

    return run


def index(notebook, grade_id):
    ids = [cell["metadata"].get("nbgrader", {}).get("grade_id") for cell in notebook["cells"]]
    return ids.index(grade_id)


def cell(notebook, grade_id):
    return notebook["cells"][index(notebook, grade_id)]


def code(source, **metadata):
    return {"cell_type": "code", "metadata": metadata, "source": source, "outputs": [], "execution_count": None}


def strip(notebook):
    """What some editors leave of a notebook: no ids, none of our metadata."""
    notebook["metadata"] = {}
    for each in notebook["cells"]:
        each.pop("id", None)
        each["metadata"] = {}


def labels(intake):
    return [cell.label for cell in intake.cells]


def own(intake):
    return [cell for cell in intake.cells if cell.student]


def plan(intake):
    """All of a plan but the SOLUTION marks, which the scenario files don't have."""
    return [
        (cell.label, cell.role, cell.part, cell.student, [x for x in cell.source.splitlines() if "SOLUTION" not in x])
        for cell in intake.cells
    ]


# --- the plan


def test_the_plan_of_an_ordinary_submission(take, mini):
    intake = take()
    assert labels(intake) == [cell.grade_id for cell in mini.cells]
    assert [cell.label for cell in own(intake)] == ["gradients-top", "gradients-bottom", "train"]
    assert [(cell.role, cell.part) for cell in own(intake)] == [
        ("gradients", "steps"), ("gradients", "steps"), ("gradients", "training"),
    ]  # fmt: skip
    assert "dhsum = (h * dscaled)" in own(intake)[0].source
    assert intake.notes == []


def test_a_locked_cell_comes_from_the_release_whatever_the_student_made_of_it(take, mini):
    def edit(notebook):
        cell(notebook, "data")["source"] = "def cmp(s, dt, t): print('exact: True')"
        cell(notebook, "forward")["source"] = ""

    intake = take(edit=edit)
    assert plan(intake) == plan(take())
    assert intake.notes == [
        "Cell 3 is locked and had been changed: the original was run instead.",
        "The locked cell forward was missing: the original was run in its place.",
    ]


def test_a_locked_cell_with_other_white_space_is_not_called_changed(take):
    def edit(notebook):
        forward = cell(notebook, "forward")
        forward["source"] = "".join(forward["source"]).replace(" = ", "  =  ") + "\n\n"

    assert take(edit=edit).notes == []


@pytest.mark.parametrize("grade_id", ["imports", "parameters", "forward", "compare-top", "start", "look"])
def test_a_deleted_locked_cell_is_back_in_its_place(take, grade_id):
    intake = take(edit=lambda notebook: notebook["cells"].pop(index(notebook, grade_id)))
    assert plan(intake) == plan(take())
    assert intake.notes == [f"The locked cell {grade_id} was missing: the original was run in its place."]


def test_a_deleted_gradients_cell_is_named_and_nothing_takes_its_place(take):
    intake = take(edit=lambda notebook: notebook["cells"].pop(index(notebook, "gradients-bottom")))
    assert labels(intake) == [label for label in labels(take()) if label != "gradients-bottom"]
    assert intake.notes == ["The cell gradients-bottom is missing, and so is what it should assign."]


def test_two_gradients_cells_merged_into_one_are_no_missing_cell(take):
    def edit(notebook):
        bottom = notebook["cells"].pop(index(notebook, "gradients-bottom"))
        top = cell(notebook, "gradients-top")
        top["source"] = "\n".join(["".join(top["source"]), "".join(bottom["source"])])

    assert take(edit=edit).notes == []


def test_a_copied_gradients_cell_is_run_too_in_order(take):
    def edit(notebook):
        again = copy.deepcopy(cell(notebook, "gradients-top"))
        again["source"] = "dh = 2"
        notebook["cells"].insert(index(notebook, "gradients-bottom"), again)

    intake = take(edit=edit)
    assert [cell.source for cell in own(intake) if cell.label == "gradients-top"][1] == "dh = 2"
    assert intake.notes == ["Cells 6 and 8 are copies of one cell: all were run, in order."]


def test_the_students_own_cells_stay_where_they_are(take):
    def edit(notebook):
        notebook["cells"].insert(0, code("first = 1"))
        notebook["cells"].insert(index(notebook, "gradients-bottom"), code("helper = 2"))
        notebook["cells"].append(code("last = 3"))

    intake = take(edit=edit)
    position = {cell.source: number for number, cell in enumerate(intake.cells)}
    assert position["first = 1"] == labels(intake).index("parameters") - 1  # the setup is run already, always
    assert position["helper = 2"] == labels(intake).index("gradients-bottom") - 1
    assert position["last = 3"] == len(intake.cells) - 1
    mine = {cell.source: cell for cell in own(intake)}
    assert [(mine[name].part, mine[name].role) for name in ("first = 1", "helper = 2", "last = 3")] == [
        (None, None), ("steps", None), ("training", None),
    ]  # fmt: skip


def test_text_and_empty_cells_are_not_run(take):
    def edit(notebook):
        notebook["cells"][0:0] = [code("  \n"), {"cell_type": "raw", "metadata": {}, "source": "x = 1"}]
        notebook["cells"].append({"cell_type": "markdown", "metadata": {}, "source": "y = 1"})

    assert plan(take(edit=edit)) == plan(take())


@pytest.mark.parametrize("kind", ["markdown", "raw"])
def test_an_answers_cell_that_was_turned_into_text_is_run(take, kind):
    def edit(notebook):
        top = cell(notebook, "gradients-top")
        top["cell_type"] = kind
        del top["outputs"], top["execution_count"]
        cell(notebook, "forward")["cell_type"] = kind  # the release's own is run anyway

    intake = take(edit=edit)
    assert [each.part for each in intake.cells if each.label == "gradients-top"] == ["steps"]
    assert any(
        f"gradients-top, had been turned into a text cell ({kind}): it was run as code." in note
        for note in intake.notes
    )
    assert not any("gradients-top is missing" in note for note in intake.notes)


def test_an_attempt_that_was_kept_as_text_stays_text(take):
    def edit(notebook):
        kept = copy.deepcopy(cell(notebook, "gradients-top"))
        notebook["cells"].insert(0, {**kept, "cell_type": "markdown", "source": "dscaled = 0"})

    intake = take(edit=edit)
    assert not any("dscaled = 0" in each.source for each in intake.cells)
    assert intake.notes == []


def test_the_students_order_is_kept(take):
    def edit(notebook):
        bottom = notebook["cells"].pop(index(notebook, "gradients-bottom"))
        notebook["cells"].insert(index(notebook, "gradients-top"), bottom)

    intake = take(edit=edit)
    assert [cell.label for cell in own(intake)] == ["gradients-bottom", "gradients-top", "train"]
    assert labels(intake).index("forward") < labels(intake).index("gradients-bottom")


# --- without our metadata


@pytest.mark.parametrize("scenario", ["format_3", "stripped_4_0"])
def test_the_plan_is_the_same_from_other_formats(scenario, take, mini):
    intake = take_in((NOTEBOOKS / f"{scenario}.ipynb").read_bytes(), mini)
    assert plan(intake) == plan(take())
    assert intake.notes == []


def test_a_stripped_notebook_is_planned_as_if_it_were_not(take):
    assert plan(take(edit=strip)) == plan(take())


def test_of_two_equal_locked_cells_none_is_said_to_be_missing(course, tmp_path):
    shutil.copytree(HERE / "courses" / "mini", tmp_path, dirs_exist_ok=True)
    for folder in ("exercises", "solutions"):
        path = tmp_path / folder / "mini.ipynb"
        notebook = json.loads(path.read_text())
        top, bottom = cell(notebook, "compare-top"), cell(notebook, "compare-bottom")
        bottom["source"] = top["source"]
        path.write_text(json.dumps(notebook))
    again = Course(tmp_path / "exercises").exercise("mini")
    notebook["cells"] = [each for each in notebook["cells"] if each["metadata"]["grader"]["role"] != "reference"]
    strip(notebook)
    intake = take_in(json.dumps(notebook).encode(), again)
    assert intake.notes == []
    assert labels(intake) == [cell.grade_id for cell in again.cells]


def test_equal_text_needs_no_likeness(take, monkeypatch):
    monkeypatch.setattr("grader.intake.matching.SIMILAR", 2.0)
    assert plan(take(edit=strip)) == plan(take())


def test_an_edited_locked_cell_is_known_by_its_likeness(take):
    def edit(notebook):
        source = "".join(cell(notebook, "forward")["source"])
        cell(notebook, "forward")["source"] = source.replace("loss = scaled.mean()", "loss = scaled.mean() * 3 # mine")
        strip(notebook)

    intake = take(edit=edit)
    assert plan(intake) == plan(take())  # and it is not taken for the training loop, which assigns x and h as well
    assert intake.notes == ["Cell 5 is locked and had been changed: the original was run instead."]


def test_of_two_cells_that_could_assign_a_gradient_the_one_in_the_same_part_is_meant(take):
    def edit(notebook):
        notebook["cells"].insert(index(notebook, "look"), code("dW, db = dW * 1, db * 1"))
        notebook["cells"].insert(index(notebook, "compare-bottom"), code("dW = dW + 0\ndb = db + 0"))
        strip(notebook)

    mine = {cell.source: cell for cell in own(take(edit=edit))}
    assert mine["dW, db = dW * 1, db * 1"].part == "training"
    assert mine["dW = dW + 0\ndb = db + 0"].part == "steps"


def test_a_split_gradients_cell_is_known_by_what_its_pieces_assign(take):
    def edit(notebook):
        place = index(notebook, "gradients-top")
        lines = [line for line in "".join(notebook["cells"][place]["source"]).splitlines() if "=" in line]
        notebook["cells"][place : place + 1] = [code(line) for line in lines]
        strip(notebook)

    intake = take(edit=edit)
    assert [cell.label for cell in own(intake)][:3] == ["gradients-top"] * 3
    assert {cell.part for cell in own(intake)[:3]} == {"steps"}


def test_metadata_comes_before_text_and_text_before_content(mini, solved):
    notebook = read_notebook(solved())
    by_id = {cell.grade_id: number for number, cell in enumerate(mini.cells)}
    forward = next(cell.source for cell in mini.cells if cell.grade_id == "forward")
    marked = copy.deepcopy(notebook.cells[0])
    marked.update(cell_type="code", source=forward, metadata={"nbgrader": {"grade_id": "start"}})
    unknown = copy.deepcopy(marked)
    unknown.metadata = {"nbgrader": {"grade_id": "of-another-course"}}
    found = [(reading.match, reading.how) for reading in understand([marked, unknown], mini)]
    assert found == [(by_id["start"], "grade_id"), (by_id["forward"], "text")]


# --- which exercise


def test_a_notebook_of_something_else_is_refused(mini):
    with pytest.raises(NothingMatches, match=r"Nothing in this notebook belongs to mini: .* Use"):
        take_in(json.dumps(FOREIGN).encode(), mini)


def test_the_exercise_is_guessed_from_metadata_or_else_from_content(mini, solved):
    other = lambda notebook: notebook["metadata"].update(grader={"exercise": "another"})  # noqa: E731
    assert guess_exercise(solved(), [mini]) == "mini"
    assert guess_exercise(solved(edit=strip), [mini]) == "mini"
    assert guess_exercise(solved(edit=other), [mini]) == "mini"
    assert guess_exercise(json.dumps(FOREIGN).encode(), [mini]) is None
    assert guess_exercise(solved(), []) is None


# --- whatever students do to it

MINI = json.loads((HERE / "courses" / "mini" / "solutions" / "mini.ipynb").read_text())
CELLS = [cell for cell in MINI["cells"] if cell["metadata"]["grader"]["role"] != "reference"]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(range(len(CELLS))), min_size=1, max_size=2 * len(CELLS)),
    st.sets(st.sampled_from(range(len(CELLS)))),
)
def test_cells_dropped_moved_copied_and_stripped_lose_no_locked_cell_and_no_student_cell(course, order, stripped):
    mini = course.exercise("mini")
    cells = [copy.deepcopy(CELLS[number]) for number in order]
    for number, each in zip(order, cells, strict=True):
        if number in stripped:
            each["metadata"] = {}
    try:
        intake = take_in(json.dumps({**MINI, "cells": cells}).encode(), mini)
    except NothingMatches:
        assert all(CELLS[number]["cell_type"] != "code" for number in order)
        return
    locked = [cell.label for cell in intake.cells if not cell.student]
    assert locked == [cell.grade_id for cell in mini.cells if cell.role != "gradients"]
    handed_in = [cell for cell in cells if cell["cell_type"] == "code"]
    gradients = {"".join(cell["source"]) for cell in CELLS if cell["metadata"]["grader"]["role"] == "gradients"}
    expected = [source for cell in handed_in if (source := "".join(cell["source"])) in gradients]
    loops = [source for source in expected if "max_steps" in source]
    expected = [source for source in expected if source not in loops]
    expected += loops[-1:]  # a training loop is run last, wherever it stands, and of several the last
    assert [cell.source for cell in own(intake)] == expected
