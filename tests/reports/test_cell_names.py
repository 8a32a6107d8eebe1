"""Report, terminal and tracebacks count cells alike: by their place in the notebook."""

from __future__ import annotations

import json

from grader.records import CellView
from grader.reports.cell_names import cell_name, line_name
from grader.reports.cell_output import as_text
from grader.reports.html import render_report
from grader.reports.student_page import page_of


def place(data, text):
    """`Cell 7, line 2`: where a text stands in a notebook."""
    for number, cell in enumerate(json.loads(data)["cells"], 1):
        for line, written in enumerate("".join(cell["source"]).split("\n"), 1):
            if text in written:
                return f"Cell {number}, line {line}"
    raise AssertionError(text)


def test_a_wrong_line_has_one_place(grade, solved):
    data = solved(("dhsum = (h", "dhsum = 3 * (h"))
    grading = grade(data)
    wanted = place(data, "dhsum = 3 * (h")
    assert page_of(grading).start.place == wanted
    assert wanted in render_report(grading)
    assert wanted in as_text(grading)


def test_tracebacks_have_it_too(grade, solved):
    data = solved(("dhsum = (h", "dhsum = nosuch * (h"))
    grading = grade(data)
    shown = json.dumps([output.content for cell in grading.cells for output in cell.outputs])
    assert place(data, "nosuch") in shown
    assert "In[" not in shown


def test_a_cell_that_is_shown_in_pieces_keeps_its_numbers():
    cells = [
        CellView(source="a\nb", part="p", outputs=[], number=4, label="own"),
        CellView(source="c", part="q", outputs=[], number=4, first_line=7, label="own"),
        CellView(source="", part="q", outputs=[], label="compare"),
        CellView(source="d", part="q", outputs=[]),
    ]
    assert [cell_name(cells, index) for index in range(4)] == [
        "Cell 4, lines 1 to 2",
        "Cell 4, lines 7 to 7",
        "The exercise’s cell compare",
        "Cell 4",  # of a gradebook from before cells had numbers: their order
    ]
    assert line_name(cells, 1, 1) == "Cell 4, line 7"
