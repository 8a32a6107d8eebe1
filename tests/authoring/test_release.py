"""Releasing: what a student gets, and what an author is told."""

from __future__ import annotations

import json
import re

import nbformat
import pytest

from grader.authoring.release import derive_checks, release, released_text
from grader.course.catalog import Part
from grader.course.exercise import read_own_notebook
from grader.errors import CourseError
from grader.notebook.file import role_of


def solution(course):
    return read_own_notebook(course.solution_path("mini"))


def cell(notebook, grade_id):
    return next(cell for cell in notebook.cells if cell.metadata.nbgrader.grade_id == grade_id)


def test_the_released_notebook_on_disk_is_in_step(course):
    assert course.notebook_path("mini").read_text() == released_text(course, course.spec("mini"))


def test_an_answer_becomes_stubs_with_shapes(course):
    blank = release(course.spec("mini"), solution(course), course)
    assert (
        cell(blank, "gradients-top").source == "dscaled = None  # (6, 4)\ndhsum = None  # (6, 1)\ndh = None  # (6, 4)"
    )
    assert "        dW = None  # (3, 4)\n        db = None  # (4,)\n" in cell(blank, "train").source
    nbformat.validate(blank)


def test_no_answer_and_no_reference_cell_is_left(course):
    blank = release(course.spec("mini"), solution(course), course)
    text = "\n".join(cell.source for cell in blank.cells)
    assert "SOLUTION" not in text
    assert "x.T @ dhpre" not in text
    assert all(role_of(cell) != "reference" for cell in blank.cells)
    metadata = json.dumps(blank.metadata)
    assert "x.T @ dhpre" not in metadata


def test_checks_are_derived_from_the_answer(course):
    parts = course.exercise("mini").parts
    assert parts["steps"].gradients == ["dscaled", "dhsum", "dh", "dhpre", "dW", "db"]
    assert parts["training"].names == ["dW", "db", "W", "b"]
    assert parts["training"].upstream == []


def test_upstream_is_what_an_answer_reads_and_does_not_compute():
    part = Part(id="p", title="", points=1)
    checks = derive_checks(part, ["dhprebn = bngain * dhpreact"], ["hprebn", "hpreact", "bngain"], None)
    assert checks.gradients == ["dhprebn"]
    assert checks.upstream == ["dhpreact"]


def test_a_part_that_checks_nothing_is_refused():
    with pytest.raises(CourseError, match="assigns no gradient"):
        derive_checks(Part(id="p", title="", points=1), ["x = 1"], ["h"], None)


def test_a_part_may_have_values_alone():
    """An optimiser is given its gradients: what it makes of them is all that there is to check."""
    checks = derive_checks(Part(id="p", title="", points=1, values=["w"]), ["def step(w, dw): return w - dw"], [], None)
    assert checks.names == ["w"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("### BEGIN SOLUTION", "# here", "needs its answer between"),
        ("loss.backward()", "pass", "no loss on which backward"),
        ("h = torch.tanh(hpre)", "h = torch.tanch(hpre)", "cell forward fails with AttributeError"),
        (
            "torch.Generator().manual_seed(seed)",
            "### BEGIN SOLUTION\ntorch.Generator()\n### END SOLUTION",
            "fails with|not a gradients cell",
        ),
    ],
)
def test_an_authors_mistake_is_a_sentence(course, old, new, message):
    broken = solution(course)
    for node in broken.cells:
        node.source = node.source.replace(old, new)
    with pytest.raises(CourseError, match=message):
        release(course.spec("mini"), broken, course)


def test_releasing_leaves_the_solution_as_it_was(course):
    before = solution(course)
    again = solution(course)
    release(course.spec("mini"), again, course)
    assert again == before


# --- files as authors' editors and other tools leave them


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n", "\r\n"),
        ("### BEGIN SOLUTION", "### BEGIN SOLUTION  \t"),
        ("### BEGIN SOLUTION", "###\tBEGIN SOLUTION"),
        ("### END SOLUTION", "###END SOLUTION "),
    ],
)
def test_line_ends_tabs_and_trailing_spaces_change_nothing(course, tmp_path, old, new):
    text = json.loads(course.solution_path("mini").read_text())
    for each in text["cells"]:
        each["source"] = "".join(each["source"]).replace(old, new)
    path = tmp_path / "mini.ipynb"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(text).encode())
    blank = release(course.spec("mini"), read_own_notebook(path), course)
    assert [each.source for each in blank.cells] == [
        each.source for each in release(course.spec("mini"), solution(course), course).cells
    ]


def test_a_pasted_picture_is_handed_out_with_its_text(course, tmp_path):
    text = json.loads(course.solution_path("mini").read_text())
    picture = {"image.png": {"image/png": "iVBORw0KGgo="}}
    next(each for each in text["cells"] if each["cell_type"] == "markdown")["attachments"] = picture
    path = tmp_path / "mini.ipynb"
    path.write_text(json.dumps(text))
    blank = release(course.spec("mini"), read_own_notebook(path), course)
    assert [each.attachments for each in blank.cells if "attachments" in each] == [picture]
    nbformat.validate(blank)


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("# BEGIN SOLUTION", "otter's marker '# BEGIN SOLUTION'; put the answer between ### BEGIN SOLUTION"),
        ("dscaled = 1  # SOLUTION", "otter's marker 'dscaled = 1  # SOLUTION'"),
        ("# BEGIN QUESTION", "otter's marker '# BEGIN QUESTION'"),
        ("### BEGIN HIDDEN TESTS\nassert dscaled.sum() == 3\n### END HIDDEN TESTS", "nbgrader's marker"),
        ("### BEGIN MARK SCHEME", "nbgrader's marker '### BEGIN MARK SCHEME'; delete it and what it encloses"),
    ],
)
@pytest.mark.parametrize("grade_id", ["gradients-top", "forward"])
def test_another_tools_marker_is_named_as_what_it_is(course, marker, said, grade_id):
    notebook = solution(course)
    found = cell(notebook, grade_id)
    found.source = f"{marker}\n{found.source}"
    with pytest.raises(CourseError, match=re.escape(said)):
        release(course.spec("mini"), notebook, course)
