"""Imports point one way, from package to package and without a circle from module to module."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "grader"

ROOMS = (
    "",  # the modules at the root
    "notebook",
    "course",
    "kernels",
    "intake",
    "execution",
    "marking",
    "diagnosis",
    "reports",
    "grading",
    "gradebook",
    "cohort",
    "review",
    "student",
    "authoring",
    "cli",
)
"""A package imports only from those above it and from itself. The order is that of the data."""

DOORS = {"__init__", "__main__"}
"""The package's own two front doors, which lead to everything."""

INSIDE = ("kernels/inside", "kernels/probe")
"""What is run inside of a kernel or a sandbox, where the package isn't there."""


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else ""


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {
    module_of(path): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if not any(path.is_relative_to(PACKAGE / folder) for folder in INSIDE)
}


def imports_of(path: Path) -> set[str]:
    """The modules of the package that a module imports anywhere in it, for its types alone too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "grader":
            module = node.module or ""
            inner = {f"{module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else module for name in inner}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "grader"}
    return found


def test_every_room_is_a_package_and_every_package_a_room():
    found = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name[0] not in "_."}
    assert found == {*ROOMS} - {""}


@pytest.mark.parametrize("module", [module for module in FILES if FILES[module].parent != PACKAGE or
                                    FILES[module].stem not in DOORS])  # fmt: skip
def test_imports_point_one_way(module):
    room = ROOMS.index(room_of(module))
    wrong = {name for name in imports_of(FILES[module]) if ROOMS.index(room_of(name)) > room}
    assert not wrong, f"{module} must not import {sorted(wrong)}"


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: imports_of(path) - {module} for module, path in FILES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


BEHIND_INTAKE = ROOMS[ROOMS.index("execution") : ROOMS.index("grading")]
PARSERS = {"parse", "parse_plain", "syntax_error", "dissect"}


@pytest.mark.parametrize("module", [module for module in FILES if room_of(module) in BEHIND_INTAKE])
def test_a_students_text_is_parsed_at_intake_and_by_no_later_stage(module):
    """Later stages read the `Code` that a planned cell carries. What they write themselves, they make a `Code` of."""
    nodes = list(ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))))
    imported = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    called = {node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "ast"}
    assert not (imported | called) & PARSERS


def test_the_kernels_side_imports_nothing_of_ours():
    for folder in INSIDE:
        for path in (PACKAGE / folder).glob("*.py"):
            assert {room_of(name) for name in imports_of(path)} <= {"kernels"}, path
