"""Ten thousand damaged files: each is planned, or refused with a clear sentence; never a traceback."""

from __future__ import annotations

import copy
import json
import random

import pytest

from grader.errors import SubmissionError
from grader.intake.take_in import take_in
from grader.notebook.file import read_notebook
from tests.conftest import verdicts
from tests.lecture import cmp_line, stream

INPUTS = 10_000
ODD_VALUES = [None, True, -1, 1e308, "", "x", [], {}, [None], {"a": 1}, ["dh = 1\n", 3], "\x00", "ü" * 50, [[[]]]]
ODD_SOURCES = [
    "dh = (", "!ls\ndh = 1", "%%bash\nls", "for", "dh = dh = 1; dW = 2", "def dh(): global dW; dW = 1", "d" * 300,
    "while True: dh = 1", "dh: int = 3", "(dh := 4)", "with x as dh: pass", "dh[0] += 1", "class dh: pass", "\\",
    "'''", "lambda: (yield)", "\x0c dh = 1", "async def f(): await g()", "dh = 1 # é\r\ndW = 2\r",
    "if 1:\n\tdh = 1\n        x",
    "import dh", "from . import dW", "@dh\ndef f(): pass", "cmp('h', dh, h); cmp('W', dW, W)", "del dh", "%time dh = 1",
    "<<<<<<< HEAD", ">>> dh = 1\n... dh", "match dh:\n  case 1: pass", "try:\n  dh = 1\nexcept* E: pass", "x = 1" * 50,
    "for step in range(9):\n  h = 1\n  dW = h\n  lr = .1\n  p -= lr * dW", "return dh", "\ud800", "f'{dh!r:>{w}}'",
]  # fmt: skip


def damaged_bytes(data: bytes, chance: random.Random) -> bytes:
    """The file with bytes changed, cut out, doubled or put in."""
    raw = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place, length = chance.randrange(len(raw)), chance.randint(1, 30)
        match chance.randrange(5):
            case 0:
                raw[place] = chance.randrange(256)
            case 1:
                del raw[place : place + length]
            case 2:
                raw[place:place] = raw[place : place + length]
            case 3:
                raw[place:place] = chance.choice([b"<<<<<<< HEAD\n", b"{", b"]", b'"', b"\\ud800", b"\xff", b"null,"])
            case _:
                raw = raw[: max(1, place)] if chance.random() < 0.2 else raw
    return bytes(raw)


def damaged_tree(notebook: dict, chance: random.Random) -> bytes:
    """The notebook with values replaced by odd ones anywhere in it, and cells with odd sources and outputs."""
    tree = copy.deepcopy(notebook)
    for _ in range(chance.randint(1, 4)):
        if isinstance(tree.get("cells"), list) and tree["cells"] and chance.random() < 0.6:
            cell = chance.choice(tree["cells"])
            if isinstance(cell, dict):
                cell["source"] = chance.choice(ODD_SOURCES)
                cell["metadata"] = {} if chance.random() < 0.5 else cell.get("metadata")
                cell["outputs"] = stream(cmp_line("h", approximate=True)) if chance.random() < 0.3 else []
            continue
        node: object = tree
        while isinstance(node, dict | list) and node:
            key = chance.choice(list(node)) if isinstance(node, dict) else chance.randrange(len(node))
            if chance.random() < 0.3 or not isinstance(node[key], dict | list):
                node[key] = copy.deepcopy(chance.choice(ODD_VALUES))
                break
            node = node[key]
    return json.dumps(tree).encode()


@pytest.fixture
def inputs(solved):
    data = solved()
    notebook = json.loads(data)
    bare = copy.deepcopy(notebook)
    for cell in bare["cells"]:
        cell["metadata"] = {}
    compact = json.dumps(bare).encode()

    def make(number):
        chance = random.Random(number)
        if number % 2:
            return damaged_bytes(data if chance.random() < 0.5 else compact, chance)
        return damaged_tree(notebook if chance.random() < 0.5 else bare, chance)

    return make


def understood(data, exercise):
    """Whether the file was planned; where not, the refusal is one sentence or two that say what to do."""
    try:
        intake = take_in(data, exercise)
    except SubmissionError as error:
        text = str(error)
        assert text.endswith(".")
        assert "\n" not in text
        assert 20 < len(text) < 400
        return False
    locked = [cell.label for cell in intake.cells if not cell.student]
    assert locked == [cell.grade_id for cell in exercise.cells if cell.role != "gradients"]
    return True


def test_some_damaged_files_are_planned_or_refused(course, inputs):
    found = [understood(inputs(number), course.exercise("mini")) for number in range(300)]
    assert 50 < sum(found) < 290


@pytest.mark.slow
def test_ten_thousand_damaged_files_are_planned_or_refused(course, inputs):
    found = [understood(inputs(number), course.exercise("mini")) for number in range(INPUTS)]
    assert INPUTS / 5 < sum(found) < INPUTS


@pytest.mark.slow
def test_a_sample_of_damaged_files_is_graded_to_the_end(inputs, grade):
    for number in range(0, 60, 2):
        grading = grade(inputs(number))
        assert grading.grade.status == "ungradable" or len(verdicts(grading)) == len(grading.grade.checks) > 0
        assert "The grader itself failed" not in (grading.grade.reason or "")


@pytest.mark.parametrize("source", ODD_SOURCES)
def test_any_source_in_a_cell_is_planned(course, solved, source):
    def edit(notebook):
        for cell in notebook["cells"]:
            if cell["metadata"]["grader"]["role"] == "gradients":
                cell.update(source=source, metadata={})

    data = solved(edit=edit)
    assert read_notebook(data).cells
    understood(data, course.exercise("mini"))
