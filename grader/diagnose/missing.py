"""Why a tensor is missing: a name that the notebook does not have when it is run from top to bottom."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from grader.diagnose.words import quoted
from grader.execute import CellRun
from grader.records import Diagnosis
from grader.syntax import assigned_names, statements

if TYPE_CHECKING:
    from grader.marking import PartMarks

_UNDEFINED = re.compile(r"name '(\w{1,80})' is not defined")


def unknown_name(marks: PartMarks, gradient: str) -> Diagnosis | None:
    """The name that stopped the statement for a gradient, where nothing before that statement binds it.

    Args:
        marks: the marks of the part.
        gradient: the student's name of a gradient that is missing.
    """
    for index, cell in enumerate(marks.cells):
        run = marks.execution.cells[index]
        if not cell.student or cell.part != marks.part_id or run.error != "NameError" or run.line is None:
            continue
        stopped = [found for found in statements(cell.source) if found.first <= run.line <= found.last]
        name = _undefined(run)
        if name is None or not any(gradient in found.names and name in found.reads for found in stopped):
            continue
        return None if name in marks.checks.names else _said(marks, name)
    return None


def _undefined(run: CellRun) -> str | None:
    """The name that a NameError is about; the text is the kernel's, so it is believed only as far as it is a name."""
    for output in run.outputs:
        match = _UNDEFINED.search(str(output.get("evalue", ""))[:500]) if output.get("ename") == "NameError" else None
        if match and match[1].isidentifier():
            return match[1]
    return None


def _said(marks: PartMarks, name: str) -> Diagnosis:
    later = any(name in assigned_names(cell.source) for cell in marks.cells if cell.student)
    where = "is bound only further down, or in a line that did not run" if later else "is bound nowhere in it"
    message = (
        f"Run from top to bottom, the notebook has no {quoted(name)} here: it {where}. A kernel that has been open for "
        "long may still know a name from a line that is gone: restart it and run all cells."
    )
    return Diagnosis(code="unknown-name", message=message)
