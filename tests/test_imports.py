"""Imports point one way: errors, records ← catalogue, sandbox ← stages ← grade ← cohort ← command line."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "grader"

LAYERS: list[set[str]] = [
    {"errors", "records", "paths", "version", "own_process"},
    {"catalog", "syntax", "notebook", "sandbox", "pictures", "explain", "naming", "totals"},
    {
        "exercise",
        "progress",
        "gradebook",
        "tensors",
        "compare",
        "kernels",
        "graph_svg",
        "dataflow",
        "pieces",
        "given",
        "sharing",
        "giveaway",
    },
    {"released", "mending"},
    {"parting", "ordering", "copies"},
    {"matching"},
    {"shows"},
    {"saved_cmp", "remarks", "stretches", "understanding"},
    {"course", "intake", "reference", "client", "hints", "doctor", "layout"},
    {"release", "plan", "workspace", "scaffold", "reset", "watching", "todo", "spread", "methods"},
    {"replay", "similarity", "coverage", "agreement"},
    {"execute", "report", "report_page", "report_cohort", "renderers", "part_case"},
    {"exports", "github"},
    {"near_zero", "part_cases"},
    {"stopped", "short_floats"},
    {"deciding"},
    {"marking", "diagnose", "autograd_use", "live"},
    {"evidence", "grade"},
    {"pool", "collect"},
    {"items", "checking", "verify"},
    {"batch", "terminal", "plugin"},
    {"worker", "cell_output"},
    {"live_helper", "magics"},
    {"dask_workers"},
    {"cluster"},
    {"cohort", "roster"},
    {"export", "gradescope"},
    {"cli"},
    {"__main__", "__init__"},
]
"""A module imports only from layers above its own, or from its own layer where the table below says so."""

WITHIN: set[tuple[str, str]] = {
    ("report", "report_page"), ("report", "report_cohort"), ("records", "errors"), ("paths", "errors"),
    ("marking", "diagnose"), ("diagnose", "marking"), ("grade", "evidence"),
}  # fmt: skip
"""Imports inside a layer: a façade on its helpers."""

STAGES = {"intake", "execute", "marking", "evidence", "report"}
"""The stages of grading one submission hand each other records; only `grade` knows them all."""


def module_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("grader"):
            parts = (node.module or "").split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("grader.")}
    return found


FILES = sorted(path for path in PACKAGE.rglob("*.py") if "inkernel" not in path.parts and "inside" not in path.parts)


def test_every_module_has_its_layer():
    known = set().union(*LAYERS)
    assert {module_of(path) for path in FILES} <= known


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    module = module_of(path)
    wrong = {
        name
        for name in imports_of(path) - {module}
        if level[name] > level[module] or (level[name] == level[module] and (module, name) not in WITHIN)
    }
    assert not wrong, f"{module} must not import {sorted(wrong)}"


def test_the_kernels_side_imports_nothing_of_ours():
    for folder in ("inkernel", "kernels/inside"):
        for path in (PACKAGE / folder).glob("*.py"):
            assert not imports_of(path) - {"kernels"}, path
