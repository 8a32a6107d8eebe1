"""How far along a submission's kernels are when they begin."""

from __future__ import annotations

import sys

import pytest

from grader.execution.plan import plan_steps, probe_parts
from grader.intake.take_in import take_in
from tests.conftest import verdicts
from tests.kernel_runs import run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="snapshots need Linux")

SETUP = 2
"""Cells of the mini course's setup; below them are its parameters, these put in, and the first forward pass."""


@pytest.fixture
def starts(pool, course):
    """Notebook → where its two kernels begin."""
    grader = pool._grader("mini")

    def begin(data: bytes):
        references = grader.references()
        grader.agree()
        grader.begin(references)
        cells = take_in(data, grader.exercise).cells
        steps = plan_steps(cells, probe_parts(grader.exercise, references["visible"]))
        return grader.kernels.visible(cells, steps), grader.kernels.hidden(cells, steps)

    return begin


def with_a_cell_above(grade_id, source):
    def edit(notebook):
        ids = [cell["metadata"].get("nbgrader", {}).get("grade_id") for cell in notebook["cells"]]
        cell = {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None}
        notebook["cells"].insert(ids.index(grade_id), cell)

    return edit


@pytest.mark.parametrize(
    ("above", "visible", "hidden"),
    [
        (None, (SETUP, SETUP + 3), (SETUP, SETUP + 4)),
        ("gradients-bottom", (SETUP, SETUP + 3), (SETUP, SETUP + 4)),
        ("forward", (SETUP, SETUP), (SETUP, SETUP)),
    ],
)
def test_they_begin_below_the_locked_cells_that_come_first(starts, solved, grade, above, visible, hidden):
    edit = with_a_cell_above(above, "import torch\nbatch = 3 if 'W' in globals() else 4") if above else lambda _: None
    data = solved(edit=edit)
    found = starts(data)
    assert [(start.setup, start.steps) for start in found] == [visible, hidden]
    assert len(found[0].outputs) == visible[1] - (visible[1] > SETUP)
    assert set(verdicts(grade(data)).values()) == {"exact", "approximate"}


def test_a_kernel_of_the_visible_case_knows_no_other(starts, solved):
    look = "import grader_probe; print(len(grader_probe._begun), seed, batch_size)"
    visible, hidden = starts(solved())
    assert run(visible.source, look).text == "0 3 6\n"
    assert run(hidden.source, look.partition(", seed")[0] + ")").text == "4\n"
