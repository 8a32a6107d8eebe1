"""What the end of a long run takes: the pages about all submissions together, for more and more of them.

    python -m benchmarks.cohort [COUNT...]

Grades the examples once, and fills a gradebook with as many students as asked for: the examples' gradings, each under a
name of its own and with a line of its own. Each count is then gone through in a process of its own, which prints the
seconds of CPU and the memory that it took beyond what it had before (the highest resident set size; Linux).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from grader.cohort.report_files import write_cohort
from grader.cohort.similarity import similar
from grader.course.course import Course
from grader.gradebook.gradebook import Gradebook
from grader.grading.pool import GraderPool
from grader.intake.collect import collect
from grader.records import Grading

TOP = Path(__file__).parents[1]
EXERCISES = TOP / "exercises"
COUNTS = (100, 1_000, 10_000)


def example_gradings() -> list[Grading]:
    """The examples, graded."""
    course = Course(EXERCISES)
    with GraderPool(course, "snapshot", "bwrap") as pool:
        return [pool.grade(found.submission()) for found in collect([TOP / "examples"], course, None)]


def students(examples: list[Grading], count: int) -> Iterator[Grading]:
    """So many students' gradings."""
    for number in range(count):
        grading = examples[number % len(examples)]
        cells = [
            msgspec.structs.replace(cell, source=f"{cell.source}\nanswer_{number} = {number}")
            if cell.part is not None
            else cell
            for cell in grading.cells
        ]
        grade = msgspec.structs.replace(grading.grade, student=f"{grading.grade.student}-{number:05}")
        yield msgspec.structs.replace(grading, grade=grade, cells=cells, submission=f"{number:064x}")


def fill(folder: Path, examples: list[Grading], count: int) -> None:
    """A gradebook with one run."""
    with Gradebook(folder / "gradebook.db") as book:
        run = book.start(folder)
        for grading in students(examples, count):
            book.add(run, grading)
        book.finish(run)


def write(folder: Path) -> None:
    """Write the pages of a gradebook's run, and print what it took."""
    course = Course(EXERCISES)
    for id_ in course.catalog.ids:
        course.exercise(id_)  # read in any run before its first submission
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident size so far is the present one
    before, started = highest(), time.process_time()
    with Gradebook(folder / "gradebook.db") as book:
        grades = list(book.grades())
        write_cohort(grades, book, course, folder, similar(book, course))
    used = highest() - before
    sizes = " ".join(f"{name} {(folder / name).stat().st_size / 2**20:.1f} MB" for name in ("index.html", "junit.xml"))
    print(f"{len(grades)} submissions: {time.process_time() - started:.1f} s of CPU, {used / 1024:.0f} MB; {sizes}")


def highest() -> int:
    """This process's highest resident set size, in kB."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def main() -> None:
    """Measure each count."""
    if sys.argv[1:2] == ["--write"]:
        return write(Path(sys.argv[2]))
    examples = example_gradings()
    for count in map(int, sys.argv[1:] or COUNTS):
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), examples, count)
            subprocess.run([sys.executable, "-m", "benchmarks.cohort", "--write", folder], check=True, cwd=TOP)


if __name__ == "__main__":
    main()
