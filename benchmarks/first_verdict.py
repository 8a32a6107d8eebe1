"""One notebook from a cold start: `grader check` and `grader grade` beside nbgrader and the imports that all need.

    python -m benchmarks.first_verdict ENVIRONMENTS [--rounds N] [--few N …]

ENVIRONMENTS is the folder that nbgrader is installed in, in an environment of its own, as for `benchmarks.speed`. The
notebook is that benchmark's: part 1 of exercise 01, all right. In each round every command runs once, in turn; ratios
are those of a round. With `--few`, classes of so many are graded, too: by one worker, by two, by as many as we choose.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.speed.assignment import EXERCISE, GRADER, read_assignment
from benchmarks.speed.measure import Used, median, run
from benchmarks.speed.tools import Nbgrader, Ours, environment, in_turn

BARE = "import torch, matplotlib.pyplot, IPython, ipykernel"
"""What no grader of such notebooks can do without."""
IMPORTS, CHECK, GRADE, NBGRADER = "the bare imports", "grader check", "grader grade", "nbgrader autograde"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environments", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--few", type=int, nargs="*", default=[], metavar="N", help="sizes of small classes")
    wanted = parser.parse_args()
    programs = environment("nbgrader", wanted.environments)
    with tempfile.TemporaryDirectory(prefix="first-verdict-") as folder:
        commands = _commands(Path(folder), programs, wanted.few)
        used: dict[str, list[Used]] = {name: [] for name in commands}
        print(f"{os.cpu_count()} cores; load average before each round:", end="")
        for _ in range(wanted.rounds):
            print(f" {os.getloadavg()[0]:.1f}", end="", flush=True)
            for name, command in commands.items():
                used[name].append(command())
    print("\n")
    _print(used)


def _commands(folder: Path, programs: Path, few: list[int]) -> dict[str, Callable[[], Used]]:
    """Name → what runs it once."""
    assignment = read_assignment()
    for name in ("ours", "nbgrader"):
        (folder / name).mkdir()
    ours = Ours(assignment, folder / "ours")
    nbgrader = Nbgrader(assignment, folder / "nbgrader", programs)
    notebook = folder / "ours" / f"{EXERCISE}.ipynb"
    notebook.write_bytes(ours.notebook("right"))
    commands: dict[str, Callable[[], Used]] = {
        IMPORTS: lambda: run([sys.executable, "-c", BARE], folder),
        CHECK: lambda: run([GRADER, "check", str(notebook)], folder / "ours"),
        GRADE: lambda: ours.grade(["right"]),
        NBGRADER: lambda: nbgrader.grade(["right"]),
    }
    for count in few:
        for workers in (1, 2, None):
            name = f"grader grade, {count} notebooks, --workers {workers or '(ours to choose)'}"
            commands[name] = lambda count=count, workers=workers: ours.grade(in_turn(count), workers)  # type: ignore[misc]
    return commands


def _print(used: dict[str, list[Used]]) -> None:
    print("| | wall, s | CPU, s | wall by nbgrader's | CPU by nbgrader's | CPU by the imports' |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, runs in used.items():
        row = [f"{median(one.wall for one in runs):.1f}", f"{median(one.cpu for one in runs):.1f}"]
        for what, beside in (("wall", NBGRADER), ("cpu", NBGRADER), ("cpu", IMPORTS)):
            pairs = zip(runs, used[beside], strict=True)
            row.append(f"{median(getattr(one, what) / getattr(other, what) for one, other in pairs):.2f}")
        print(f"| {name} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
