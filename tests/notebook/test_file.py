"""Reading notebooks: every format that Jupyter saved, every file that is none, and never a traceback."""

from __future__ import annotations

import copy
import json
import re

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import grader.notebook.file
from grader.errors import SubmissionError, UnreadableNotebook
from grader.notebook.file import grade_id_of, grader_metadata, part_of, read_notebook, role_of
from tests.conftest import HERE

NOTEBOOKS = HERE / "notebooks"
MINI = json.loads((HERE / "courses" / "mini" / "solutions" / "mini.ipynb").read_text())
CODE = {"cell_type": "code", "metadata": {}, "source": "x = 1", "outputs": [], "execution_count": None}


def notebook(*cells, **top) -> bytes:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells), **top}).encode()


def mini_sources() -> list[str]:
    return ["".join(cell["source"]) for cell in MINI["cells"]]


# --- what is read


@pytest.mark.parametrize("minor", range(6))
@pytest.mark.parametrize("kernelspec", [True, False])
@pytest.mark.parametrize("ids", [True, False])
def test_every_minor_format_with_or_without_kernelspec_and_ids(minor, kernelspec, ids):
    raw = copy.deepcopy(MINI)
    raw["nbformat_minor"] = minor
    if not kernelspec:
        del raw["metadata"]["kernelspec"]
    if not ids:
        for cell in raw["cells"]:
            del cell["id"]
    found = read_notebook(json.dumps(raw).encode())
    nbformat.validate(found)
    assert (found.nbformat, found.nbformat_minor) == (4, 5)
    assert [cell.source for cell in found.cells] == mini_sources()
    if ids:
        assert [cell.id for cell in found.cells] == [cell["id"] for cell in raw["cells"]]


def test_format_3_is_read_and_keeps_what_marks_the_cells():
    found = read_notebook((NOTEBOOKS / "format_3.ipynb").read_bytes())
    nbformat.validate(found)
    named = {grade_id_of(cell): cell for cell in found.cells}
    assert "dhsum = (h * dscaled)" in named["gradients-top"].source
    assert role_of(named["gradients-top"]) == "gradients"
    assert part_of(named["train"]) == "training"


def test_a_later_minor_format_is_read():
    assert len(read_notebook(notebook(CODE, nbformat_minor=9)).cells) == 1


@pytest.mark.parametrize("minor", [None, "5", -1, 10**30, True, 4.0])
def test_a_strange_minor_format_is_read(minor):
    assert read_notebook(notebook(CODE, nbformat_minor=minor)).nbformat_minor == 5


def test_a_byte_order_mark_is_no_obstacle():
    assert len(read_notebook(b"\xef\xbb\xbf" + notebook(CODE)).cells) == 1


def test_repeated_and_illegal_ids_are_replaced_and_no_cell_is_lost():
    ids = ["same", "cell-2", "same", "cell-0", "cell-1", "not allowed!", "", 7, None, "x" * 65]
    found = read_notebook(notebook(*({**CODE, "id": id_, "source": str(id_)} for id_ in ids)))
    nbformat.validate(found)
    assert len({cell.id for cell in found.cells}) == len(ids)
    assert [cell.source for cell in found.cells] == [str(id_) for id_ in ids]
    assert found.cells[0].id == "same"


def test_cells_that_break_the_schema_are_mended():
    cells = [
        {"cell_type": "heading", "source": "old", "metadata": {}},
        {"cell_type": None},
        {"cell_type": "code", "source": ["a = 1\n", 7, "b = 2"], "metadata": None, "outputs": "none", "oddity": 1},
        "not a cell",
        None,
        {"cell_type": "code", "source": {"text": "x"}, "metadata": [], "outputs": ["o", {"output_type": "stream"}]},
        {"cell_type": "markdown"},
    ]
    found = read_notebook(notebook(*cells))
    assert [cell.cell_type for cell in found.cells] == ["raw", "raw", "code", "code", "markdown"]
    assert [cell.source for cell in found.cells] == ["old", "", "a = 1\nb = 2", "", ""]
    assert all(isinstance(cell.metadata, dict) for cell in found.cells)


@pytest.mark.parametrize(
    ("metadata", "role", "part", "grade_id"),
    [
        ({"grader": {"role": "forward", "part": "steps"}, "nbgrader": {"grade_id": "f"}}, "forward", "steps", "f"),
        ({}, None, None, None),
        ({"grader": "forward", "nbgrader": ["f"]}, None, None, None),
        ({"grader": {"role": "boss", "part": 3}, "nbgrader": {"grade_id": 5}}, None, None, None),
        ({"grader": {"role": ["forward"], "part": None}, "nbgrader": {"grade_id": ""}}, None, None, None),
    ],
)
def test_what_a_cell_says_of_itself_is_believed_only_where_it_makes_sense(metadata, role, part, grade_id):
    cell = read_notebook(notebook({**CODE, "metadata": metadata})).cells[0]
    assert (role_of(cell), part_of(cell), grade_id_of(cell)) == (role, part, grade_id)
    assert isinstance(grader_metadata(cell), dict)


# --- what is refused, and in which words


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b" \n\t ", "is empty"),
        (b"hello", "isn't JSON"),
        (notebook(CODE)[:-30], "isn't JSON"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "isn't text"),
        (notebook(CODE).decode().encode("utf-16"), "isn't text"),
        (b"PK\x03\x04 a zip file", "isn't JSON"),
        (b"[1, 2]", "not a notebook"),
        (b"null", "not a notebook"),
        (b'"nbformat"', "not a notebook"),
        (b"{}", "not a notebook"),
        (b'{"nbformat": "4"}', "not a notebook"),
        (b'{"nbformat": true}', "not a notebook"),
        (b'{"nbformat": 4.5}', "not a notebook"),
        (notebook(CODE, nbformat=5), "format 5"),
        (notebook(CODE, nbformat=2), "format 2"),
        (notebook(CODE, nbformat=-1), "format -1"),
        (b'{"nbformat": 4}', "damaged"),
        (notebook(cells={}), "damaged"),
        (b'{"nbformat": 3, "cells": []}', "damaged"),
        (b'{"nbformat": 3, "worksheets": [7]}', "damaged"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (notebook(*[CODE] * 2001), "damaged"),
    ],
)
def test_what_is_no_notebook_is_refused_in_a_sentence(data, said):
    with pytest.raises(UnreadableNotebook) as caught:
        read_notebook(data)
    message = str(caught.value)
    assert said in message
    assert message.endswith(".")
    assert "\n" not in message


def test_conflict_markers_are_named():
    with pytest.raises(UnreadableNotebook, match="git conflict markers"):
        read_notebook((NOTEBOOKS / "conflict_markers.ipynb").read_bytes())


def test_a_conflict_marker_inside_a_cell_is_the_students_text():
    found = read_notebook(notebook({**CODE, "source": "'''\n<<<<<<< HEAD\n'''"}))
    assert "<<<<<<<" in found.cells[0].source


def test_too_large_a_file_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(grader.notebook.file, "MAX_BYTES", 2**20)
    assert read_notebook(notebook(CODE) + b" " * (2**20 - 1000))
    with pytest.raises(UnreadableNotebook, match="has 3 MB and the limit is 1 MB: clear the outputs"):
        read_notebook(notebook(CODE) + b" " * 3 * 2**20)


# --- anything at all

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def paths(node, prefix=()):
    """Every place in a JSON document, as the keys that lead there."""
    yield prefix
    if isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from paths(child, (*prefix, key))


FORMAT_3 = json.loads((NOTEBOOKS / "format_3.ipynb").read_text())
PLACES = {"4": (MINI, list(paths(MINI))), "3": (FORMAT_3, list(paths(FORMAT_3)))}


def mutated(document, edits):
    document = copy.deepcopy(document)
    for path, value in edits:
        node = document
        try:
            for key in path[:-1]:
                node = node[key]
            if value is Ellipsis:
                del node[path[-1]]
            else:
                node[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier edit took the place away
    return document


def test_deep_nesting_is_no_traceback():
    for depth in (100, 900, 3000, 30_000):
        deep = b'{"nbformat": 4, "metadata": {"deep": ' + b"[" * depth + b"]" * depth + b'}, "cells": []}'
        holds(deep)


def holds(data: bytes) -> None:
    """The contract: a valid list of cells with texts and ids of their own, or `UnreadableNotebook`."""
    try:
        found = read_notebook(data)
    except UnreadableNotebook as error:
        said = str(error)
    else:
        said = "It was read."
        nodes_are_sound(found)
    assert re.fullmatch(r"[^\n]+\.", said)


def nodes_are_sound(found: nbformat.NotebookNode) -> None:
    assert all(isinstance(cell.source, str) and isinstance(cell.metadata, dict) for cell in found.cells)
    assert len({cell.id for cell in found.cells}) == len(found.cells)
    for cell in found.cells:
        role_of(cell), part_of(cell), grade_id_of(cell)


fuzz = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@fuzz
@given(st.sampled_from("34").flatmap(
    lambda major: st.tuples(
        st.just(major),
        st.lists(st.tuples(st.sampled_from(PLACES[major][1][1:]), st.just(...) | values), min_size=1, max_size=4),
    )
))  # fmt: skip
def test_a_mutated_notebook_is_a_notebook_or_unreadable(chosen):
    major, edits = chosen
    holds(json.dumps(mutated(PLACES[major][0], edits)).encode())


TEXT = json.dumps(MINI).encode()


@fuzz
@given(st.lists(st.tuples(st.integers(0, len(TEXT)), st.integers(0, 40), st.binary(max_size=12)), max_size=4))
def test_mutated_bytes_are_a_notebook_or_unreadable(edits):
    data = TEXT
    for start, length, inserted in edits:
        data = data[:start] + inserted + data[start + length :]
    holds(data)


@fuzz
@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_notebook_or_unreadable(data):
    holds(data)


@fuzz
@given(st.lists(st.tuples(st.sampled_from(PLACES["4"][1][1:]), st.just(...) | values), min_size=1, max_size=4))
def test_intake_of_a_mutated_notebook_is_a_plan_or_a_sentence(course, edits):
    from grader.intake.take_in import take_in

    try:
        intake = take_in(json.dumps(mutated(MINI, edits)).encode(), course.exercise("mini"))
    except SubmissionError:
        return
    locked = [cell.label for cell in intake.cells if not cell.student]
    assert locked == [cell.grade_id for cell in course.exercise("mini").cells if cell.role != "gradients"]


def test_half_a_character_is_replaced_and_a_whole_one_is_not():
    cell = {**CODE, "source": ["x = '\ud83e'  # \ud83e\udd14"], "metadata": {"\udfff": "\ud800"}}
    data = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}).encode()
    assert b"\\ud83e" in data
    (read,) = read_notebook(data).cells
    assert read.source == "x = '\ufffd'  # \U0001f914"
    assert read.metadata == {"\ufffd": "\ufffd"}
