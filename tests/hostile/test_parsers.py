"""Sources that are long or deep: all that is done with them takes time with their length, or a sentence ends it.

Time itself is not measured here, where others work beside: what is counted are the steps of the interpreter.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Callable

import pytest

from grader.cohort.similarity import LONG, Own, _groups
from grader.errors import UnreadableNotebook
from grader.intake.take_in import take_in
from grader.notebook.code import Code
from grader.notebook.file import MAX_CODE, MAX_STATEMENTS, read_notebook
from grader.notebook.statements import dissect
from grader.notebook.syntax import segments
from grader.reports.github_actions import line_in
from tests.conftest import MINI
from tests.hostile.arena import Arena, place

SOURCES: dict[str, Callable[[int], str]] = {
    "assignments": lambda size: "\n".join(f"a{number} = {number}" for number in range(size)),
    "one line": lambda size: "; ".join(f"a{number} = {number}" for number in range(size)),
    "calls": lambda size: "abs(1)\n" * size,
    "functions": lambda size: "\n".join(f"def f{number}(x): return x" for number in range(size)),
    "targets": lambda size: " = ".join(f"a{number}" for number in range(size)) + " = 1",
    "list": lambda size: f"a = [{'1, ' * size}]",
    "text": lambda size: f"a = '''{'x' * size}'''",
    "lines of text": lambda size: f"a = '''{chr(10) * size}'''",
    "comments": lambda size: "# x\n" * size,
    "magics": lambda size: "%pwd\n" * size,
}


def steps(action: Callable[[], object]) -> int:
    """How many Python lines and C functions it ran."""
    count = 0

    def counting(*_: object) -> object:
        nonlocal count
        count += 1
        return counting

    before = sys.getprofile()
    sys.setprofile(counting)
    try:
        action()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("kind", SOURCES)
def test_a_cell_is_taken_apart_in_steps_that_grow_with_its_length(kind):
    def taken_apart(size: int) -> int:
        source = SOURCES[kind](size)
        return steps(lambda: (dissect(source), Code(source).statements))

    taken_apart(10)
    assert taken_apart(1600) < 5 * taken_apart(400) + 1000


@pytest.mark.parametrize(
    "source", ["a = 1\nb = 'é'; c = (1,\n 2)\r\nd='\f'\re = 3", "if 1:\n  a = '''\n\né'''\n", "ü = 'a' 'b'"]
)
def test_a_nodes_text_is_what_python_says(source):
    text_of = segments(source)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt | ast.expr)]
    assert [text_of(node) for node in nodes] == [ast.get_source_segment(source, node) for node in nodes]


@pytest.mark.parametrize("indent", [1, None])
def test_a_line_is_found_in_a_notebook_of_lines_that_are_all_alike(indent):
    alike = ["x = 1\n"] * 3000
    text = json.dumps({"cells": [{"source": [*alike, "y"]}, {"source": [*alike[1:], "z = 'ü\\n'"]}]}, indent=indent)
    wanted = "".join(alike[1:]) + "z = 'ü\\n'"
    (row,) = [number for number, row in enumerate(text.splitlines(), 1) if "z = " in row]
    assert line_in(text, wanted, 3000) == row
    assert steps(lambda: line_in(text, wanted, 3000)) < 100_000


@pytest.mark.parametrize(
    "source", ["x = 1\n" * (MAX_STATEMENTS + 2), "x;" * (MAX_STATEMENTS + 2), "#" * (MAX_CODE + 1)]
)
def test_too_much_code_is_a_sentence(source):
    cells = [{"cell_type": "code", "source": source, "metadata": {}, "outputs": [], "execution_count": None}]
    data = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()
    with pytest.raises(UnreadableNotebook, match="delete what you pasted"):
        read_notebook(data)


def test_texts_are_compared_up_to_a_length(monkeypatch):
    compared: list[int] = []
    monkeypatch.setattr("grader.cohort.similarity._links", lambda texts: compared.extend(map(len, texts)) or [])
    _groups([Own(student, MINI, [student * 3_000_000]) for student in "ab"])
    assert compared == [LONG, LONG]


DEEP = {
    "operators": "q = 1" + " + 1" * 2000,
    "many operators": "q = 1" + " + 1" * 100_000,
    "brackets": f"q = {'(' * 190}1{')' * 190}",
    "too many brackets": f"q = {'[' * 5000}{']' * 5000}",
    "signs": f"q = {'-' * 2000}1",
    "attributes": "q = 1" + ".real" * 2000,
    "functions": "\n".join(" " * depth + f"def f{depth}():" for depth in range(95)) + "\n" + " " * 95 + "pass",
    "ifs": "if 1: pass\n" + "elif 1: pass\n" * 2000,
    "lambdas": f"q = {'lambda: ' * 500}1",
}


@pytest.mark.slow
@pytest.mark.parametrize("where", ["end", "own"])
@pytest.mark.parametrize("kind", DEEP)
def test_a_deep_source_is_graded_or_a_sentence(kind: str, where: str, arena: Arena):
    outcome = arena.grade(place(arena.honest, where, DEEP[kind] + "\ndh = 2 * dh if 'dh' in globals() else None\n"))
    grade = outcome.hostile.grade
    assert grade.reason is None or "nested too deeply" in grade.reason
    assert all(neighbour.grade.score == 16 for neighbour in outcome.neighbours)


def test_a_chain_that_python_has_no_room_for_is_a_sentence(arena: Arena):
    chain = "dh = dh" + " + 0" * 2500
    grade = arena.pool.grade(arena.submission("mallory", place(arena.honest, "end", chain))).grade
    assert grade.reason is None or "nested too deeply" in grade.reason
    assert take_in(place(arena.honest, "end", chain), arena.exercise).cells
