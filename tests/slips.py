"""Slips in our solutions, marked and diagnosed in this process: what grading says of a part, without a kernel."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from benchmarks.programs import solution_cells
from grader.diagnosis.gradient_lines import GradientLines
from grader.records import Check
from tests.workbench import Workbench, checks_of

Slip = tuple[str, str, str]
"""A part, a piece of its answer, and what stands in its place."""


@functools.cache
def bench(exercise: str) -> Workbench:
    """An exercise's workbench, with the solution in the parts that aren't tried."""
    return Workbench(solution_cells(exercise), exercise)


class Slipped:
    """The parts that slips were put into, each marked for itself: the parts before it are right.

    Attributes:
        checks: `part/name` → the check.
    """

    def __init__(self, exercise: str, *slips: Slip) -> None:
        self.checks: dict[str, Check] = {}
        self._lines: dict[str, str | None] = {}
        for part in dict.fromkeys(part for part, _, _ in slips):
            self._mark(bench(exercise), part, [(old, new) for of, old, new in slips if of == part])

    def _mark(self, bench: Workbench, part: str, replacements: Sequence[tuple[str, str]]) -> None:
        sources = dict(bench.solution)
        for old, new in replacements:
            hits = [cell for cell in bench.cells(part) if old in sources[cell]]
            assert sum(sources[cell].count(old) for cell in hits) == 1, old
            sources[hits[0]] = sources[hits[0]].replace(old, new)
        marks, _, _ = bench.mark(part, sources)
        where = GradientLines(marks.part)
        for name, check in checks_of(marks).items():
            self.checks[f"{part}/{name}"] = check
            place = where.statement(name)
            if place is not None:
                cell, line = place
                self._lines[f"{part}/{name}"] = marks.part.cells[cell].source.splitlines()[line - 1].strip()

    @property
    def wrong(self) -> dict[str, str | None]:
        """`part/name` → the code of its diagnosis, of what is neither right nor carried."""
        return {
            name: check.diagnosis.code if check.diagnosis else None
            for name, check in self.checks.items()
            if not (check.verdict.is_right or check.verdict == "carried")
        }

    @property
    def cost(self) -> float:
        """The points that they cost."""
        return sum(check.max_points - check.points for check in self.checks.values())

    def line(self, name: str) -> str | None:
        """The text of the line that the report points at."""
        return self._lines.get(name)
