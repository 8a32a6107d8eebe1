"""Why a tensor is missing: the error that stopped its cell, often at a name that the notebook does not have."""

from __future__ import annotations

import ast
import builtins
import re
import unicodedata

from grader.diagnosis.gradient_lines import GradientLines
from grader.execution.execute import CellRun
from grader.marking.outcome import Outcome
from grader.marking.verdicts import PartMarks
from grader.notebook.code import Statement
from grader.notebook.gradient_names import nearest
from grader.notebook.statements import brings_names
from grader.notebook.syntax import imported
from grader.records import Diagnosis
from grader.wording import listed, quoted

_HARMLESS = re.compile(r"(?!.*\]\()[\w ,.:;()\[\]'=+-]{1,160}", re.ASCII)
"""What is repeated of an error's text: the student's code may have made it, and it goes into pages and comments."""
_STRANGE = re.compile(r"invalid (?:non-printable )?character (?:'.' )?\(?U\+([0-9A-F]{4,6})\)?")
MAX_ALLOWED = 6
"""So many of the packages and files that an exercise allows are named."""
MAX_LINE = 80
"""Letters of a student's line that are repeated."""
_UNDEFINED = re.compile(r"name '(\w{1,80})' is not defined")


def why_missing(marks: PartMarks, gradient: str) -> Diagnosis | None:
    """Why there is no tensor for a gradient (the student's name for it), where the student's cells show it."""
    return unknown_name(marks, gradient) or _left_out(marks, gradient) or _stopped(marks, gradient)


def _stopped(marks: PartMarks, gradient: str) -> Diagnosis | None:
    """The error that stopped a cell, said of the first gradient that the cell would have gone on to."""
    for cell, run, line in marks.part.cell_errors:
        left = cell.code.onward(line)
        first = next((found for found in left if any(name in marks.part.checks.names for name in found.binds)), None)
        if first is not None and gradient in first.binds and not _for_want_of_another(marks, first):
            lost = f"neither `{gradient}` nor what comes after it in the cell was computed."
            return Diagnosis(code="stopped-by-error", message=f"{cell.place(line)} raises {_error(run)}, so {lost}")
    return None


def raised_behind(marks: PartMarks, gradient: str, where: GradientLines) -> Diagnosis | None:
    """The error that stopped a cell of ours at a missing gradient, raised in the student's code that makes it."""
    for cell, run in zip(marks.part.cells, marks.part.execution.cells, strict=True):
        stopped = cell.role == "backward" and cell.part == marks.part.part_id and run.status == "error"
        here = stopped and any(gradient in found.binds for found in cell.code.at(run.line or 0))
        if here and (made := where.program.made.get(gradient)) is not None:
            said = f"`{made.code}` raises {_error(run)}, so `{gradient}` was not computed."
            return Diagnosis(code="stopped-by-error", message=said)
    return None


def _left_out(marks: PartMarks, gradient: str) -> Diagnosis | None:
    """The syntax error for which a gradient's line was left out: what is run has `dX = None` in its place."""
    for cell in marks.part.student_cells:
        for line, said in cell.lost.items():
            if any(gradient in statement.binds for statement in cell.code.at(line)):
                why = _python_says(said)
                message = f"{cell.place(line)} isn't valid Python{why} and was left out, so `{gradient}` is None."
                return Diagnosis(code="syntax-error", message=message)
    return None


def _python_says(said: str) -> str:
    """Python's own words on a line as they can be repeated: a strange character is told by its number and its name."""
    if (strange := _STRANGE.fullmatch(said)) is not None:
        seen = "printable" not in said
        kind, anew = ("that Python doesn't know", "it") if seen else ("that can't be seen", "its spaces")
        called = unicodedata.name(chr(int(strange[1], 16)), "").lower()
        return f" (it has a character {kind}, U+{strange[1]}{f' {called}' if called else ''}: retype {anew})"
    return f" ({said})" if said and _HARMLESS.fullmatch(said) else ""


def _for_want_of_another(marks: PartMarks, statement: Statement) -> bool:
    """Whether a statement reads a gradient that is missing itself, so that it is no wonder that it stopped."""
    absent = {name for name, outcome in marks.part.visible.outcomes.items() if outcome is Outcome.ABSENT}
    return bool(absent.intersection(statement.reads).difference(statement.binds))


def _error(run: CellRun) -> str:
    kind = getattr(builtins, run.error or "", None)
    name = run.error if isinstance(kind, type) and issubclass(kind, BaseException) else "an error"
    said = _words(run).strip().removesuffix(".")
    return f"{name} ({said})" if _HARMLESS.fullmatch(said) else str(name)


def _words(run: CellRun) -> str:
    """The text of the error that stopped a cell: the kernel's, so it is believed only as far as it is checked."""
    return next((str(output.get("evalue", "")) for output in run.outputs if output.get("ename") == run.error), "")


def unknown_name(marks: PartMarks, gradient: str) -> Diagnosis | None:
    """The name that stopped a gradient's statement, and that nothing before binds; its own, too: `dbndif += …`."""
    for cell, run, line in marks.part.cell_errors:
        match = _UNDEFINED.search(_words(run)[:500]) if run.error == "NameError" else None
        if match is None or not (name := match[1]).isidentifier():
            continue
        stopped = cell.code.at(line)
        if any(gradient in found.binds and name in found.reads for found in stopped):
            if failed := _failed_import(marks, name):
                return failed
            return None if name in marks.part.checks.names else _from_elsewhere(marks, name) or _said(marks, name)
        if any(name in found.binds for found in stopped) and nearest(name, marks.part.checks.gradients) == gradient:
            message = f"A line adds to `{name}`, which isn't defined. Did you mean `{gradient}`?"
            return Diagnosis(code="unknown-name", message=message)
    return None


def _failed_import(marks: PartMarks, name: str) -> Diagnosis | None:
    """The import that should have bound a name: intake keeps one that fails from stopping its cell."""
    for cell in marks.part.cells:
        for node in ast.walk(cell.code.tree) if cell.student else ():
            if isinstance(node, ast.Import | ast.ImportFrom) and name in imported(node):
                spec = marks.part.exercise.spec
                allowed = listed([*spec.packages, *spec.files], MAX_ALLOWED)
                message = (
                    f"`{name}` comes from {quoted(ast.unparse(node))}, and that import failed: your own packages "
                    "and files aren't there where notebooks are graded. Use what the exercise imports itself"
                    f"{f', or what comes with it ({allowed})' if allowed else ''}."
                )
                return Diagnosis(code="import-failed", message=message)
    return None


def _from_elsewhere(marks: PartMarks, name: str) -> Diagnosis | None:
    """The line that may have bound a name that no line binds: a `%run` that wasn't run, or `from helpers import *`."""
    own = [cell for cell in marks.part.cells if cell.student]
    if any(name in cell.code.binds for cell in own):
        return None
    ours = {_root(node) for cell in marks.part.cells if not cell.student for node in ast.walk(cell.code.tree)}
    for cell in own:
        stars = [
            ast.unparse(node)
            for node in ast.walk(cell.code.tree)
            if isinstance(node, ast.ImportFrom) and imported(node) == ["*"] and _root(node) not in ours
        ]
        magics = [line.strip() for line in (cell.shown or "").split("\n") if brings_names(line)]
        for line in [*stars, *magics]:
            message = (
                f"No line of the notebook defines `{name}`. It may come from {quoted(line[:MAX_LINE])}, but your own "
                "packages and files aren't there where notebooks are graded. Put what you use of it into a cell."
            )
            return Diagnosis(code="import-failed", message=message)
    return None


def _root(node: ast.AST) -> str | None:
    """The package that an import is from."""
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0]
    return node.names[0].name.split(".")[0] if isinstance(node, ast.Import) else None


def _said(marks: PartMarks, name: str) -> Diagnosis:
    later = any(name in cell.code.binds for cell in marks.part.cells if cell.student)
    where = "a line defines it only further down, or did not run" if later else "no line defines it"
    message = (
        f"Run from top to bottom, the notebook has no `{name}` here: {where}. An old kernel may still remember it: "
        "restart it and run all cells."
    )
    return Diagnosis(code="unknown-name", message=message)
