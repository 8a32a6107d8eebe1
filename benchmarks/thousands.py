"""Thousands of submissions in one run: what the last ones cost beside the first, in time and in memory.

    python -m benchmarks.thousands [COUNT] [--workers N]

The submissions are those that the speed benchmark grades, each with lines of its own in its cells, so that no two are
the same. The benchmark looks every two seconds at how many reports there are, and at the processes (Linux).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import nbformat

from benchmarks.speed.assignment import EXERCISE, read_assignment
from benchmarks.speed.marathon import Stretch, Watched
from benchmarks.speed.measure import LOOK_SECONDS, orphans
from benchmarks.speed.tools import Ours, in_turn

HALF = 90
PLACES = (100, 300, 1_000, 3_000, 10_000)


def hand_in(ours: Ours, place: Path, count: int) -> None:
    """Write so many notebooks, no two alike."""
    answers = {name: nbformat.reads(ours.notebook(name).decode(), as_version=4) for name in set(in_turn(3))}
    for number, name in enumerate(in_turn(count), 1):
        notebook = answers[name]
        lines = []
        for cell in notebook.cells:
            if cell.cell_type == "code" and cell.metadata.get("grader", {}).get("role") == "gradients":
                lines.append((cell, cell.source))
                cell.source += f"\nmine_{number} = {number}"
        (place / f"s{number:05}.ipynb").write_text(nbformat.writes(notebook))
        for cell, source in lines:
            cell.source = source


def main() -> None:
    """Hand in, grade, and print a line a place."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", nargs="?", type=int, default=PLACES[-1])
    parser.add_argument("--workers", type=int, default=2)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="thousands-") as folder:
        ours = Ours(read_assignment(), Path(folder))
        place = Path(folder) / "handed-in"
        place.mkdir()
        hand_in(ours, place, wanted.count)
        command, out = ours.command_on(place, wanted.workers)
        started = time.monotonic()
        run = Watched(command, out, Path(folder))
        while run.look():
            time.sleep(LOOK_SECONDS)
        orphans()
        seconds = time.monotonic() - started
        grades = {path.parent.name: json.loads(path.read_text()) for path in out.glob(f"*/{EXERCISE}.json")}
        graded = sum(grade["status"] == "graded" for grade in grades.values())
        check_marks(grades, wanted.count)
        print(f"{graded} of {wanted.count} graded in {seconds:.0f} s with {wanted.workers} workers")
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
        book = (out / "gradebook.sqlite").stat().st_size / 1e6
        print(f"the output folder holds {size:.0f} MB, {book:.0f} MB of them the gradebook")
        report(run, wanted.count)


def check_marks(grades: dict[str, dict[str, Any]], count: int) -> None:
    """Raises RuntimeError where a grade is missing or the same answer got other marks: then no figure matters."""
    marks: dict[str, Counter[str]] = {}
    students = [f"s{number:05}" for number in range(1, count + 1)]
    if missing := [student for student in students if student not in grades]:
        raise RuntimeError(f"{len(missing)} of {count} submissions have no grade, {missing[0]} is the first")
    for student, name in zip(students, in_turn(count), strict=True):
        verdicts = " ".join(check["verdict"] for check in grades[student]["checks"])
        marks.setdefault(name, Counter())[verdicts] += 1
    if any(len(found) > 1 for found in marks.values()):
        raise RuntimeError(f"the same answers were marked differently: {marks}")


def report(run: Watched, count: int) -> None:
    """A line for each place, and one for what follows the last submission."""
    print("around   submissions/s   CPU s/submission   MB in the command   MB in all processes")
    for each in (*(place for place in PLACES if place < count), count):
        found = Stretch.of(run.around(each - HALF if each == count else each, HALF))
        print(f"{each:6}   {found.throughput:13.2f}   {found.cpu:16.3f}"
              f"   {found.grader / 1e6:17.0f}   {found.everything / 1e6:19.0f}")  # fmt: skip
    whole = [look for look in run.looks if look.done >= count]
    if len(whole) > 1:
        seconds, cpu = whole[-1].clock - whole[0].clock, whole[-1].cpu - whole[0].cpu
        most = max(look.grader for look in whole) / 1e6
        print(f"pages and totals at the end: {seconds:.0f} s, {cpu:.0f} s of CPU, {most:.0f} MB in the command")


if __name__ == "__main__":
    main()
