"""`grader verify`: the course checks itself."""

from __future__ import annotations

from pathlib import Path

from grader.course import Course
from grader.errors import GraderError
from grader.grade import Submission
from grader.pool import GraderPool, KernelKind, SandboxKind
from grader.records import Grade
from grader.release import released_text


def verify_course(course: Course, kernel: KernelKind, sandbox: SandboxKind) -> tuple[list[str], list[str]]:
    """Everything that an author can get wrong and a student would suffer from.

    Returns:
        Problems, each a sentence; and facts, what was seen to hold.
    """
    problems: list[str] = _stray_files(course)
    facts: list[str] = []
    with GraderPool(course, kernel, sandbox) as pool:
        for spec in course.catalog.exercises:
            try:
                found = [*_out_of_step(course, spec.id), *_hints(course, spec.id), *_marks(course, spec.id, pool)]
            except GraderError as error:
                found = [str(error)]
            problems += [f"{spec.id}: {problem}" for problem in found]
            if not found:
                points = sum(part.points for part in spec.parts)
                facts.append(f"{spec.id}: the blank scores 0 and the solution {points:g} of {points:g}, in every part.")
    return problems, facts


def _out_of_step(course: Course, exercise_id: str) -> list[str]:
    released = course.notebook_path(exercise_id).read_text(encoding="utf-8")
    if released != released_text(course, course.spec(exercise_id)):
        return ["the blank is out of step with its solution; run `grader release`."]
    return []


def _hints(course: Course, exercise_id: str) -> list[str]:
    problems = []
    exercise = course.exercise(exercise_id)
    for part in exercise.spec.parts:
        names = exercise.parts[part.id].names
        for name in names:
            if not part.hints.get(name):
                problems.append(f"part {part.id} has no hint for {name}.")
        for name, hints in part.hints.items():
            if name not in names:
                problems.append(f"part {part.id} has hints for {name}, which is no check.")
            if any(not hint.strip() for hint in hints):
                problems.append(f"part {part.id} has an empty hint for {name}.")
    return problems


def _marks(course: Course, exercise_id: str, pool: GraderPool) -> list[str]:
    blank = _grade(course.notebook_path(exercise_id), exercise_id, pool)
    solution = _grade(course.solution_path(exercise_id), exercise_id, pool)
    problems = []
    for grade, what in ((blank, "blank"), (solution, "solution")):
        if grade.status == "ungradable":
            problems.append(f"the {what} can't be graded: {grade.reason}")
    problems += [f"the blank earns points for {check.name} ({check.part})." for check in blank.checks if check.points]
    problems += [
        f"the solution's {check.name} ({check.part}) is {check.verdict}."
        for check in solution.checks
        if not check.verdict.is_right
    ]
    return problems


def _grade(path: Path, exercise_id: str, pool: GraderPool) -> Grade:
    return pool.grade(Submission(student=path.stem, exercise=exercise_id, data=path.read_bytes())).grade


def _stray_files(course: Course) -> list[str]:
    known = {"catalog.toml"}
    for spec in course.catalog.exercises:
        known |= {f"{spec.id}.ipynb", *spec.files}
    here = [path.name for path in course.exercises.iterdir() if not path.name.startswith((".", "__"))]
    problems = [
        f"exercises/{name} belongs to no exercise of the catalogue." for name in sorted(here) if name not in known
    ]
    if course.solutions.is_dir():
        solved = {path.name for path in course.solutions.glob("*.ipynb")}
        problems += [
            f"solutions/{name} belongs to no exercise of the catalogue." for name in sorted(solved - known)
        ]  # fmt: skip
    return problems
