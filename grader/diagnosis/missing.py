"""Why a tensor is missing: the error that stopped its cell, often at a name that the notebook does not have."""

from __future__ import annotations

import ast
import builtins
import re

from grader.diagnosis.words import quoted
from grader.execution.execute import CellRun
from grader.marking.case_outcomes import Outcome
from grader.marking.verdicts import PartMarks
from grader.notebook.syntax import Statement, assigned_names, imported, parse, statements, syntax_error
from grader.records import Diagnosis
from grader.wording import listed

_HARMLESS = re.compile(r"(?!.*\]\()[\w ,.:;()\[\]'=+-]{1,160}", re.ASCII)
"""What is repeated of an error's text: the student's code may have made it, and it goes into pages and comments."""
_UNSEEN = re.compile(r"invalid non-printable character (U\+[0-9A-F]{4,6})")
MAX_ALLOWED = 6
"""So many of the packages and files that an exercise allows are named."""
_UNDEFINED = re.compile(r"name '(\w{1,80})' is not defined")


def why_missing(marks: PartMarks, gradient: str) -> Diagnosis | None:
    """Why there is no tensor, where the student's cells show it.

    Args:
        marks: the marks of the part.
        gradient: the student's name of a gradient that is missing.
    """
    return _unknown_name(marks, gradient) or _left_out(marks, gradient) or _stopped(marks, gradient)


def _stopped(marks: PartMarks, gradient: str) -> Diagnosis | None:
    """The error that stopped a cell, said of the first gradient that the cell would have gone on to."""
    for cell, run, line in marks.cell_errors:
        left = [found for found in statements(cell.source) if found.last >= line]
        first = next((found for found in left if any(name in marks.checks.names for name in found.names)), None)
        if first is not None and gradient in first.names and not _for_want_of_another(marks, first):
            message = (
                f"{cell.place(line)} raises {_error(run)}, so neither `{gradient}` nor what comes after "
                "it in the cell was computed."
            )
            return Diagnosis(code="stopped-by-error", message=message)
    return None


def raised_behind(marks: PartMarks, gradient: str, code: str | None) -> Diagnosis | None:
    """The error that stopped a cell of ours at a gradient, raised in the student's code that it calls.

    Args:
        marks: the marks of the part.
        gradient: a gradient that is missing.
        code: what of the student's makes it; None where there is no such thing yet.
    """
    if code is None:
        return None
    for cell, run in zip(marks.cells, marks.execution.cells, strict=True):
        if cell.role == "backward" and cell.part == marks.part_id and run.status == "error" and run.line is not None:
            stopped = [found for found in statements(cell.source) if found.first <= run.line <= found.last]
            if any(gradient in found.names for found in stopped):
                message = f"`{code}` raises {_error(run)}, so `{gradient}` was not computed."
                return Diagnosis(code="stopped-by-error", message=message)
    return None


def _left_out(marks: PartMarks, gradient: str) -> Diagnosis | None:
    """The syntax error for which a gradient's line was left out: what is run has `dX = None` in its place."""
    for cell in marks.student_cells:
        lines = zip(cell.source.split("\n"), (cell.shown or cell.source).split("\n"), strict=False)
        instead = {number for number, (run, shown) in enumerate(lines, 1) if run != shown and run.endswith("= None")}
        for statement in statements(cell.source):
            if gradient in statement.names and statement.first in instead:
                why = _python_says(cell.shown or cell.source, statement.first)
                where = cell.place(statement.first)
                message = f"{where} isn't valid Python{why} and was left out, so `{gradient}` is None."
                return Diagnosis(code="syntax-error", message=message)
    return None


def _python_says(source: str, line: int) -> str:
    """Python's own words on a line, where its first complaint is of that one: a letter that can't be seen, say."""
    error = syntax_error(source)
    said = (error.msg or "").strip() if error is not None and error.lineno == line else ""
    if (unseen := _UNSEEN.fullmatch(said)) is not None:
        return f" (it has a character that can't be seen, {unseen[1]}: type its spaces anew)"
    return f" ({said})" if said and _HARMLESS.fullmatch(said) else ""


def _for_want_of_another(marks: PartMarks, statement: Statement) -> bool:
    """Whether a statement reads a gradient that is missing itself, so that it is no wonder that it stopped."""
    absent = {name for name, outcome in marks.visible.outcomes.items() if outcome is Outcome.ABSENT}
    return bool(absent.intersection(statement.reads).difference(statement.names))


def _error(run: CellRun) -> str:
    kind = getattr(builtins, run.error or "", None)
    name = run.error if isinstance(kind, type) and issubclass(kind, BaseException) else "an error"
    said = next((str(output.get("evalue", "")) for output in run.outputs if output.get("ename") == run.error), "")
    said = said.strip().removesuffix(".")
    return f"{name} ({said})" if _HARMLESS.fullmatch(said) else str(name)


def _unknown_name(marks: PartMarks, gradient: str) -> Diagnosis | None:
    """The name that stopped the statement for a gradient, where nothing before that statement binds it."""
    for cell, run, line in marks.cell_errors:
        if run.error != "NameError":
            continue
        stopped = [found for found in statements(cell.source) if found.first <= line <= found.last]
        name = _undefined(run)
        if name is None or not any(gradient in found.names and name in found.reads for found in stopped):
            continue
        if failed := _failed_import(marks, name):
            return failed
        return None if name in marks.checks.names else _said(marks, name)
    return None


def _undefined(run: CellRun) -> str | None:
    """The name that a NameError is about; the text is the kernel's, so it is believed only as far as it is a name."""
    for output in run.outputs:
        match = _UNDEFINED.search(str(output.get("evalue", ""))[:500]) if output.get("ename") == "NameError" else None
        if match and match[1].isidentifier():
            return match[1]
    return None


def _failed_import(marks: PartMarks, name: str) -> Diagnosis | None:
    """The import that should have bound a name: intake keeps one that fails from stopping its cell."""
    for cell in marks.cells:
        tree = parse(cell.source) if cell.student else None
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.Import | ast.ImportFrom) and name in imported(node):
                spec = marks.exercise.spec
                allowed = listed([*spec.packages, *spec.files], MAX_ALLOWED)
                message = (
                    f"`{name}` comes from {quoted(ast.unparse(node))}, and that import failed where notebooks "
                    "are graded: a package or file of your own isn't there. Use what the exercise imports itself"
                    f"{f', or what comes with it ({allowed})' if allowed else ''}."
                )
                return Diagnosis(code="import-failed", message=message)
    return None


def _said(marks: PartMarks, name: str) -> Diagnosis:
    later = any(name in assigned_names(cell.source) for cell in marks.cells if cell.student)
    where = "is bound only further down, or in a line that did not run" if later else "is bound nowhere in it"
    message = (
        f"Run from top to bottom, the notebook has no `{name}` here: it {where}. A kernel that has been open for "
        "long may still know a name from a line that is gone: restart it and run all cells."
    )
    return Diagnosis(code="unknown-name", message=message)
