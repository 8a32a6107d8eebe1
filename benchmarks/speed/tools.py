"""The three tools, each with the same assignment, grading the same students."""

from __future__ import annotations

import copy
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from benchmarks.speed.assignment import (
    EXERCISE,
    GRADER,
    TOP,
    Assignment,
    filled_in,
    gradients_compared,
    make_course,
)
from benchmarks.speed.measure import Used, run
from grader.notebook.file import grade_id_of, role_of

REQUIREMENTS = {"nbgrader": "nbgrader==0.9.6", "otter": "otter-grader==7.0.0"}
"""The peers, in the versions that are compared with."""
BESIDE = ["torch", "numpy", "matplotlib", "ipykernel"]


def environment(name: str, folder: Path) -> Path:
    """The `bin` folder of a tool's own environment, made when it is first asked for."""
    home = folder.absolute() / name  # programs are run in folders of their own
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        constraints = ["--constraint", str(TOP / "constraints.txt")]  # the one place that pins torch
        subprocess.run([*pip, *constraints, REQUIREMENTS[name], *BESIDE], check=True)
        (home / "complete").touch()
    return home / "bin"


STUDENTS = ("right", "sign", "unfinished")


def in_turn(count: int) -> list[str]:
    """So many submissions: the students' again and again."""
    return [STUDENTS[number % len(STUDENTS)] for number in range(count)]


class Ours:
    """`grader grade`: sandboxed kernels, hidden cases, a report and a JSON file for each student."""

    name = "ours"

    def __init__(self, assignment: Assignment, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count(1)
        self._answers = assignment.students()
        make_course(assignment, folder)
        self._blank = nbformat.read(folder / "exercises" / f"{EXERCISE}.ipynb", as_version=4)

    def notebook(self, student: str) -> bytes:
        """What a student hands in."""
        text: str = nbformat.writes(filled_in(self._blank, self._answers[student], grade_id_of))
        return text.encode()

    def command(self, students: Sequence[str], workers: int | None = 1) -> tuple[list[str], Path]:
        """The command that grades these students, whose notebooks it writes, and the folder of its reports."""
        place = self.folder / f"run-{next(self._numbers)}"
        place.mkdir()
        for number, student in enumerate(students, 1):
            (place / f"{number:04}-{student}.ipynb").write_bytes(self.notebook(student))
        return self.command_on(place, workers)

    def command_on(self, place: Path, workers: int | None) -> tuple[list[str], Path]:
        """The command that grades what lies in a folder, and the folder of its reports; None: as many as it chooses."""
        grade = [GRADER, "grade", str(place), "--exercise", EXERCISE]
        out = self.folder / "out" / place.name
        chosen = ["--workers", str(workers)] if workers is not None else []
        return [*grade, *chosen, "--out", str(out)], out

    def grade(self, students: Sequence[str], workers: int | None = 1) -> Used:
        """Grade these students in one run."""
        command, out = self.command(students, workers)
        used = run(command, self.folder)
        reports = list(out.glob(f"*/{EXERCISE}.json"))
        ungraded = [path for path in reports if json.loads(path.read_text())["status"] != "graded"]
        if ungraded or len(reports) != len(students):
            raise RuntimeError(f"{len(reports) - len(ungraded)} of {len(students)} submissions were graded")
        return used


class Nbgrader:
    """`nbgrader autograde`: an assertion a gradient, in the student's own kernel."""

    name = "nbgrader"

    def __init__(self, assignment: Assignment, folder: Path, programs: Path) -> None:
        self.folder = folder
        self._programs = programs
        self._answers = assignment.students()
        self._runs = itertools.count(1)
        source = folder / "source" / "part1"
        source.mkdir(parents=True)
        for name, path in assignment.files.items():
            shutil.copy(path, source / name)
        nbformat.write(_with_tests(assignment.notebook), source / "part1.ipynb")
        (folder / "nbgrader_config.py").write_text("c = get_config()\nc.CourseDirectory.course_id = 'benchmark'\n")
        run(["nbgrader", "generate_assignment", "part1", "--create", "--force"], folder, programs)
        self._blank = nbformat.read(folder / "release" / "part1" / "part1.ipynb", as_version=4)

    def grade(self, students: Sequence[str]) -> Used:
        """Grade these students in one run."""
        prefix = f"run{next(self._runs)}"
        for number, student in enumerate(students, 1):
            place = self.folder / "submitted" / f"{prefix}-{number:03}" / "part1"
            shutil.copytree(self.folder / "release" / "part1", place)
            nbformat.write(filled_in(self._blank, self._answers[student], grade_id_of), place / "part1.ipynb")
        command = ["nbgrader", "autograde", "part1", f"--CourseDirectory.student_id={prefix}-*"]
        return run(command, self.folder, self._programs)

    def scores(self) -> dict[str, float]:
        """Student → points, as the gradebook has them: to see that it did grade."""
        run(["nbgrader", "export"], self.folder, self._programs)
        rows = [row.split(",") for row in (self.folder / "grades.csv").read_text().splitlines()]
        student, score = rows[0].index("student_id"), rows[0].index("score")
        return {row[student]: float(row[score]) for row in rows[1:] if row[score]}


class Otter:
    """`otter run`: an assertion a gradient, in the student's own kernel; one command a submission."""

    name = "otter"

    def __init__(self, assignment: Assignment, folder: Path, programs: Path) -> None:
        self.folder = folder
        self._programs = programs
        self._answers = assignment.students()
        self._runs = itertools.count(1)
        master = folder / "master"
        master.mkdir(parents=True)
        for name, path in assignment.files.items():
            shutil.copy(path, master / name)
        nbformat.write(_otter_source(assignment), master / "part1.ipynb")
        run(["otter", "assign", "master/part1.ipynb", "dist", "--no-run-tests", "--no-pdfs"], folder, programs)
        (self._package,) = (folder / "dist" / "autograder").glob("*.zip")
        self._blank = nbformat.read(folder / "dist" / "student" / "part1.ipynb", as_version=4)

    def grade(self, students: Sequence[str]) -> Used:
        """Grade these students, one command after another."""
        used = []
        for student in students:
            place = self.folder / f"run-{next(self._runs)}"
            place.mkdir()
            nbformat.write(filled_in(self._blank, self._answers[student], _otter_key), place / "part1.ipynb")
            command = ["otter", "run", "part1.ipynb", "-a", str(self._package), "-o", "."]
            used.append(run(command, place, self._programs))
        return Used(sum(one.wall for one in used), sum(one.cpu for one in used), max(one.memory for one in used))


def _with_tests(notebook: NotebookNode) -> NotebookNode:
    """The notebook with one graded, asserting cell for each gradient that a compare cell prints."""
    tested = copy.deepcopy(notebook)
    tested.cells = []
    for cell in notebook.cells:
        tested.cells.append(copy.deepcopy(cell))
        for name in gradients_compared(cell) if cell.cell_type == "code" else ():
            test = nbformat.v4.new_code_cell(_assertion(name))
            test.metadata["nbgrader"] = {
                "schema_version": 3, "grade": True, "locked": True, "solution": False, "grade_id": f"test-{name}",
                "points": 1, "task": False,
            }  # fmt: skip
            tested.cells.append(test)
    return tested


def _assertion(name: str) -> str:
    return f"assert torch.allclose(d{name}, {name}.grad), 'd{name} is not right'"


def _otter_source(assignment: Assignment) -> NotebookNode:
    """Otter's format: raw cells that begin and end each question, its solution and its tests."""
    raw, code = nbformat.v4.new_raw_cell, nbformat.v4.new_code_cell
    cells = [raw(f"# ASSIGNMENT CONFIG\nname: part1\nfiles: {list(assignment.files)}\nexport_cell: false")]
    question = ""
    for cell in assignment.code:
        names = gradients_compared(cell)
        if role_of(cell) == "gradients":
            question = _otter_name(str(grade_id_of(cell)))
            points = len(_tests_after(assignment, cell))
            cells += [raw(f"# BEGIN QUESTION\nname: {question}\npoints: {points}"), raw("# BEGIN SOLUTION")]
            cells += [
                code(f"# {question}\n# BEGIN SOLUTION\n{_answer_of(cell)}\n# END SOLUTION"),
                raw("# END SOLUTION"),
            ]
        elif names and question:
            cells += [raw("# BEGIN TESTS"), *(code(_assertion(name)) for name in names), raw("# END TESTS")]
            cells += [raw("# END QUESTION"), code(cell.source)]
            question = ""
        else:
            cells.append(code(cell.source))
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return notebook


def _answer_of(cell: NotebookNode) -> str:
    return "\n".join(line for line in cell.source.splitlines() if not line.lstrip().startswith("#"))


def _tests_after(assignment: Assignment, gradients: NotebookNode) -> list[str]:
    """The gradients that the compare cell after a gradients cell tests."""
    following = assignment.code[assignment.code.index(gradients) + 1 :]
    return next(names for cell in following if (names := gradients_compared(cell)))


def _otter_name(grade_id: str) -> str:
    return grade_id.replace("-", "_")


def _otter_key(cell: NotebookNode) -> str | None:
    """A blank's gradients cell, told by its first line."""
    first = cell.source.partition("\n")[0] if cell.cell_type == "code" else ""
    return first.removeprefix("# ").replace("_", "-") if first.endswith("_gradients") else None
