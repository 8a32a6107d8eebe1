"""Right programs, which the benchmarks change: the solutions, and other right ways to write them (`variants/`)."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from functools import cache

from benchmarks.operators import written
from tests.workbench import EXERCISE, ROOT


def solution_cells(exercise: str = EXERCISE) -> dict[str, str]:
    """grade_id → source of the solution's gradients cells."""
    notebook = json.loads((ROOT / "solutions" / f"{exercise}.ipynb").read_text(encoding="utf-8"))
    return {
        cell["metadata"]["nbgrader"]["grade_id"]: "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["metadata"]["grader"]["role"] == "gradients"
    }


@cache
def variants(exercise: str = EXERCISE) -> dict[str, dict[str, str]]:
    """Every right solution: grade_id → source. Cells that a variant does not write are left out of it."""
    found = {"solution": solution_cells(exercise)}
    for path in sorted((ROOT / "benchmarks" / "variants" / exercise).glob("*.txt")):
        pieces = path.read_text(encoding="utf-8").split("# %% ")[1:]
        found[path.stem] = {piece.split("\n", 1)[0].strip(): piece.split("\n", 1)[1] for piece in pieces}
    return found


def blocks(sources: Sequence[str], checked: Sequence[str]) -> dict[str, str]:
    """Checked name → the statements that compute it from the other checked names and the forward pass."""
    statements = [node for source in sources for node in straight(source)]
    inner = {word for node in statements for word in written(node)} - set(checked)
    found = {}
    for name in checked:
        wanted, before = {name}, set[str]()
        while wanted != before:
            before = set(wanted)
            for node in statements:
                if written(node) & wanted:
                    wanted |= {child.id for child in ast.walk(node) if isinstance(child, ast.Name)} & inner
        found[name] = "\n".join(ast.unparse(node) for node in statements if written(node) & wanted)
    return found


def straight(source: str) -> list[ast.stmt]:
    """The statements of a cell, those in a `with` taken out of it."""
    body = ast.parse(source).body
    return [child for node in body for child in (node.body if isinstance(node, ast.With) else [node])]
