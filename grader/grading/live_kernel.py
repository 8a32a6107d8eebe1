"""A running kernel's tensors in the place of those that its cells give when they are run again.

`%check` judges what the student sees: the live tensors. Hidden cases can only be computed from code, so the cells that
were executed are run again, in the exercise's order, as `grader check` would run them. Where the kernel holds what that
gives, nothing needs to be said. Where it holds another value, that value is judged on the visible case, the hidden
cases have no say, and a remark tells the student.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import msgspec
import torch

from grader.course.exercise import Exercise
from grader.course.part_reference import PartReference
from grader.execution.execute import Execution
from grader.execution.tensors import Export, StudentTensor
from grader.intake.matching import match_cells
from grader.notebook.code import Code
from grader.notebook.file import read_notebook
from grader.records import Check, Record

RTOL, ATOL = 1e-4, 1e-5
"""What the order of float32 sums may change between two runs of the same code."""

_OWN_LINE = re.compile(r"^(\s*)(?:!|%(?!%)|\w+\s*=\s*!).*$", re.MULTILINE)
"""Shell lines and line magics: what they did is done, and is not done again behind the student's back."""


class Ran(Record, frozen=True):
    """A cell that the kernel has executed. `id` is the notebook's id of the cell, where the front end told it."""

    source: str
    id: str | None = None


class Live(Record, frozen=True):
    """What a kernel holds: its tensors by name, and for each checked name the part whose cell bound it last."""

    tensors: Export
    owners: dict[str, str] = {}


class History(Record, frozen=True):
    """What a kernel has executed, as a notebook, and `Live.owners`."""

    notebook: bytes
    owners: dict[str, str]


class Placed(Record, frozen=True):
    """The execution with the live tensors in their places, and the remarks on those that differ, by part and name."""

    execution: Execution
    remarks: dict[tuple[str, str], str]
    alone: dict[str, list[str]]
    """Part → the names whose live value no hidden case speaks of."""


def read_history(ran: Sequence[Ran], exercise: Exercise) -> History:
    """The executed cells as a notebook in the exercise's order, a later version of a cell in place of an earlier one.

    A cell that belongs to no cell of the exercise stays behind the one that it was executed after.
    """
    ids = {cell.grade_id for cell in exercise.cells}
    nodes = []
    for cell in ran:
        source = _OWN_LINE.sub(r"\1pass", cell.source)
        if source.replace("pass", "").strip():
            marks = {"nbgrader": {"grade_id": cell.id}} if cell.id in ids else {}
            nodes.append({"cell_type": "code", "metadata": marks, "source": source, "outputs": []})
    notebook = read_notebook(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": nodes}).encode())
    matches = match_cells(notebook.cells, exercise)
    places: list[int] = []
    for match in matches:
        places.append(match if match is not None else (places[-1] if places else -1))
    codes = [Code(cell.source) for cell in notebook.cells]
    kept = [index for index in range(len(codes)) if not _superseded(index, codes, matches)]
    kept.sort(key=lambda index: places[index])
    owners = {}
    for code, match in zip(codes, matches, strict=True):
        part = exercise.cells[match].part if match is not None and exercise.cells[match].role == "gradients" else None
        if part is not None:
            owners.update(dict.fromkeys(code.binds, part))
    notebook.cells = [notebook.cells[index] for index in kept]
    return History(json.dumps(notebook).encode(), owners)


def _superseded(index: int, codes: Sequence[Code], matches: Sequence[int | None]) -> bool:
    """Whether a later execution of the same cell binds all that this one does."""
    code, match = codes[index], matches[index]
    later = [codes[other] for other in range(index + 1, len(codes)) if matches[other] == match]
    if match is None:
        return any(other.source == code.source for other in later)
    return any(set(code.binds) <= set(other.binds) for other in later)


def place(
    live: Live, execution: Execution, exercise: Exercise, references: Mapping[str, PartReference],
) -> Placed:  # fmt: skip
    """Put the live tensors in the place of what the cells gave when they were run again.

    Args:
        live: the kernel's tensors.
        execution: what came of running the cells again.
        exercise: the exercise.
        references: part id → reference of the visible case.
    """
    remarks: dict[tuple[str, str], str] = {}
    alone: dict[str, list[str]] = {}
    visible = dict(execution.visible)
    trained = [part for part, checks in exercise.parts.items() if checks.values]
    rebound = {name for part in trained for name in references[part].forward}
    for part, checks in exercise.parts.items():
        again = visible.get(part, {})
        mine = {
            name: found
            for name in checks.gradients
            if _owner(name, live, exercise) == part
            and (found := live.tensors.get(name)) is not None
            and found.note.kind == "tensor"
            and not _same(found, again.get(name))
        }
        if not mine or checks.values:
            continue  # a training loop goes further in the kernel than in the visible case
        if not _same_forward(live.tensors, references[part], rebound):
            text = (
                "Your kernel's forward pass is not the exercise's (another seed or size, or cells that were not run "
                "again), so your cells were run on the exercise's own."
            )
            remarks.update({(part, name): text for name in mine})
            continue
        visible[part] = {**again, **mine}
        text = (
            "This is about the value in your kernel alone: your cells, run again in order, don't give it. Restart the "
            "kernel and run all, to have it checked with the hidden sizes, too."
        )
        remarks.update({(part, name): text for name in mine})
        alone[part] = list(mine)
    return Placed(msgspec.structs.replace(execution, visible=visible), remarks, alone)


def remarked(check: Check, remarks: Mapping[tuple[str, str], str]) -> Check:
    """The check with its remark about the kernel, if there is one."""
    text = remarks.get((check.part, check.name))
    return check if text is None else msgspec.structs.replace(check, remark=text)


def _owner(name: str, live: Live, exercise: Exercise) -> str | None:
    """The part that the kernel's value of a name belongs to; where no cell tells, the first that asks for it."""
    first = next((part for part, checks in exercise.parts.items() if name in checks.gradients), None)
    return live.owners.get(name, first)


def _same(found: StudentTensor, again: StudentTensor | None) -> bool:
    if again is None or found.tensor is None or again.tensor is None or found.shape != again.shape:
        return False
    return _close(found.tensor, again.tensor)


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    one, other = one.to(torch.float64), other.to(torch.float64)
    finite = other[torch.isfinite(other)]  # a list has NaN where an element is missing
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(one, other, rtol=RTOL, atol=ATOL * max(scale, 1e-30), equal_nan=True)


def _same_forward(tensors: Export, reference: PartReference, rebound: set[str]) -> bool:
    """Whether the kernel's forward pass is the exercise's own, but for the names that a training loop binds again."""
    for name, expected in reference.forward.items():
        found = tensors.get(name)
        if name in rebound or found is None or found.tensor is None:
            continue
        if found.shape != list(expected.shape) or not _close(found.tensor, expected):
            return False
    return True
