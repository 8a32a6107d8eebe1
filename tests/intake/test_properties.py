"""Whatever is done to a right notebook's cells: a right gradient is right or missing afterwards, never wrong.

Cells are dropped, moved, split, merged, renamed and given other cells' metadata. A step is moved as a whole: to cut
one in two is to make it wrong in the student's own notebook too.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.errors import NothingMatches
from grader.intake.take_in import take_in
from grader.notebook.code import Code
from grader.records import Submission
from tests.lecture import STEPS, Lecture

EXERCISE = "01_backprop_ninja"
ALL, TRAIN = "every-gradient", "training"

WHOLE = {
    **STEPS,
    "dcounts": "dcounts = counts_sum_inv * dprobs + dcounts_sum",
    "dlogits": "dlogits = dnorm_logits + F.one_hot(logits.max(1).indices, logits.shape[1]) * dlogit_maxes",
    "dbndiff": "dbndiff = bnvar_inv * dbnraw + 2 * bndiff * dbndiff2",
    "dhprebn": "dhprebn = dbndiff + dbnmeani / n",
    "dC": "dC = torch.zeros_like(C).index_add_(0, Xb.flatten(), demb.reshape(-1, C.shape[1]))",
}
"""Every step in one statement: one that is left half done, for want of what it needs, is wrong in any notebook."""

Edit = Callable[[list[dict], random.Random, list[dict]], None]


def drop(cells, chance, released):
    cells.pop(chance.randrange(len(cells)))


def move(cells, chance, released):
    cells.insert(chance.randrange(len(cells)), cells.pop(chance.randrange(len(cells))))


def merge(cells, chance, released):
    number = chance.randrange(len(cells) - 1)
    first, second = cells[number], cells.pop(number + 1)
    first["source"] = f"{first['source']}\n{second['source']}"


def split(cells, chance, released):
    """Cut a cell between two steps of exercise 1, or between two statements of any other cell."""
    number = chance.randrange(len(cells))
    source = cells[number]["source"]
    found = [f"\n{source}".find(f"\n{step}\n") for step in WHOLE.values()]
    places = [place for place in found if place >= 0]
    if not places:
        lines = source.split("\n")
        body = Code(source).tree.body if "softmax" not in source else []
        places = [len("\n".join(lines[: node.lineno - 1])) for node in body if isinstance(node, ast.Assign)]
    if places:
        place = chance.choice(places)
        cells[number : number + 1] = [{**cells[number], "source": source[:place]},
                                      {**cells[number], "source": source[place:]}]  # fmt: skip


def rename(cells, chance, released):
    chance.choice(cells)["id"] = f"renamed-{chance.randrange(1000)}"


def retag(cells, chance, released):
    tagged, node = chance.choice(cells), chance.choice(released)
    tagged["metadata"] = {"nbgrader": dict(node["metadata"]["nbgrader"]), "grader": dict(node["metadata"]["grader"])}


EDITS: list[Edit] = [drop, move, move, merge, split, split, rename, retag]


def mutated(seed: int, steps: int, released) -> Lecture:
    """A right notebook after some edits, in exercise 1's single cell or with a cell for each step."""
    lecture = Lecture()
    lecture.cells["gradients"] = "\n".join(WHOLE.values())
    if seed % 2:
        lecture.split("gradients", *WHOLE.values())

    def edit(notebook):
        chance = random.Random(seed)
        notebook["nbformat_minor"] = 5
        cells = notebook["cells"]
        for number, cell in enumerate(cells):
            cell["source"] = "".join(cell["source"])
            cell["id"] = f"cell-{number}"
        for _ in range(steps):
            if len(cells) > 2:
                chance.choice(EDITS)(cells, chance, released)

    lecture.finish = edit
    return lecture


@pytest.fixture(scope="module")
def released(exercise):
    return [node for node in exercise.notebook.cells if node.cell_type == "code"]


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**9), steps=st.integers(1, 12))
def test_of_a_mutated_notebook_every_step_is_run_once_and_nothing_spoils_the_forward_pass(
    exercise, released, seed, steps
):
    lecture = mutated(seed, steps, released)
    handed_in = "\n".join("".join(c["source"]) for c in lecture.notebook()["cells"] if c["cell_type"] == "code")
    try:
        cells = take_in(lecture.data(), exercise).cells
    except NothingMatches:
        assert not any(step in handed_in for step in WHOLE.values())
        return
    assert [cell.label for cell in cells if not cell.student] == [
        cell.grade_id for cell in exercise.cells if cell.role != "gradients"
    ]
    mine = [cell for cell in cells if cell.student]
    for name, step in WHOLE.items():
        wanted = f"\n{step}\n" in f"\n{handed_in}\n"
        assert sum(f"\n{step}\n" in f"\n{cell.source}\n" for cell in mine) == wanted, name
    parts = [cell.part for cell in cells if cell.role == "gradients"]
    assert sorted(parts, key=TRAIN.__eq__) == parts  # the training loop comes last
    for cell in mine:
        bound = {
            target.id
            for node in cell.code.tree.body
            if isinstance(node, ast.Assign)
            for target in ast.walk(node)
            if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store)
        }
        assert not bound & {"n", "n_hidden", "batch_size", "max_steps", "C", "W1", "Xb", "emb", "h", "logits"}


@pytest.mark.slow
def test_a_right_line_is_never_called_wrong_after_any_edits(released, real_pool):
    wrong = {}
    for seed in range(10):
        data = mutated(seed, 2 + seed % 9, released).data()
        grade = real_pool.grade(Submission(student="student", exercise=EXERCISE, data=data)).grade
        wrong |= {(seed, c.part, c.name): c for c in grade.checks if c.verdict == "wrong"}
    assert not wrong
