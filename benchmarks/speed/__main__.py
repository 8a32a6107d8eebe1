"""Measures the grader beside its peers, and writes what came of it into `docs/performance.md`.

    python -m benchmarks.speed ENVIRONMENTS [--rounds N] [--long N]

ENVIRONMENTS is the folder that the peers are installed in, each in an environment of its own, once.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.speed.assignment import EXERCISE, read_assignment
from benchmarks.speed.document import Results, write_document
from benchmarks.speed.floor import measure_floor
from benchmarks.speed.kernels import cpu_of_bare_kernels, memory_of_further_kernel
from benchmarks.speed.marathon import LATE, run_marathon
from benchmarks.speed.measure import Used
from benchmarks.speed.tools import REQUIREMENTS, Nbgrader, Otter, Ours, environment, in_turn
from grader.course.course import Course


class Counts(NamedTuple):
    """Submissions in a tool's short and in its long run; what one more costs is the difference, shared out."""

    few: int
    many: int


COUNTS = {"ours": Counts(24, 144), "two": Counts(96, 336), "nbgrader": Counts(3, 9), "otter": Counts(0, 3)}


@dataclass
class Series:
    """One tool's runs, round by round."""

    grade: Callable[[list[str]], Used]
    counts: Counts
    runs: list[tuple[Used, Used]] = field(default_factory=list)

    def go(self) -> None:
        """One round: the short run, then the long one."""
        nothing = Used(0.0, 0.0, 0)
        few = self.grade(in_turn(self.counts.few)) if self.counts.few else nothing
        self.runs.append((few, self.grade(in_turn(self.counts.many))))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environments", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--long", type=int, default=LATE, help="the place late in a long run that is looked at")
    wanted = parser.parse_args()
    programs = {}
    for name in REQUIREMENTS:
        print(f"{name}: environment", flush=True)
        programs[name] = environment(name, wanted.environments)
    with tempfile.TemporaryDirectory(prefix="bench-of-graders-") as folder:
        measure(Path(folder), programs, wanted.rounds, wanted.long)


def measure(folder: Path, programs: dict[str, Path], rounds: int, late: int) -> None:
    """Everything, in turn; `folder` is for what the tools read and write."""
    assignment = read_assignment()
    for name in ("ours", *programs):
        (folder / name).mkdir()
    ours = Ours(assignment, folder / "ours")
    nbgrader = Nbgrader(assignment, folder / "nbgrader", programs["nbgrader"])
    otter = Otter(assignment, folder / "otter", programs["otter"])
    series = {
        "ours": Series(ours.grade, COUNTS["ours"]),
        "two": Series(lambda students: ours.grade(students, workers=2), COUNTS["two"]),
        "nbgrader": Series(nbgrader.grade, COUNTS["nbgrader"]),
        "otter": Series(otter.grade, COUNTS["otter"]),
    }
    exercise = Course(folder / "ours" / "exercises").exercise(EXERCISE)
    loads, floors, bares = [], [], []
    for number in range(1, rounds + 1):
        loads.append(os.getloadavg()[0])
        floors.append(measure_floor(assignment, exercise))
        bares.append(cpu_of_bare_kernels(exercise, ours.notebook("right")))
        for name, one in series.items():
            print(f"round {number}: {name}", flush=True)
            one.go()
    print("kernels", flush=True)
    kernel = memory_of_further_kernel(exercise, ours.notebook("right"))
    print(f"{late} submissions in one run", flush=True)
    early_late = run_marathon(ours, late)
    results = Results(
        {name: (one.counts.few, one.counts.many, one.runs) for name, one in series.items()},
        floors, bares, kernel, early_late, loads,
        len(exercise.cases), REQUIREMENTS,
    )  # fmt: skip
    print(write_document(results))


if __name__ == "__main__":
    main()
