"""`grader verify`: the course checks itself."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

from grader.authoring.coverage import giveaways, unchecked_gradients, unkept_gradients, unvaried_parameters
from grader.authoring.release import released_text
from grader.authoring.training_loops import unfair_loops
from grader.choices import Sandbox
from grader.course.catalog import WHOLE_PART
from grader.course.course import Course
from grader.course.exercise import read_own_notebook
from grader.course.reference import Reference
from grader.errors import CourseError, GraderError
from grader.grading.pool import GraderPool
from grader.kernels import KernelKind
from grader.records import VISIBLE, Check, Grade, Submission


def verify_course(course: Course, kernel: KernelKind, sandbox: Sandbox) -> tuple[list[str], list[str]]:
    """Everything that an author can get wrong and a student would suffer from.

    Returns:
        Problems, each a sentence; and facts, what was seen to hold.
    """
    problems: list[str] = _stray_files(course)
    facts: list[str] = []
    with GraderPool(course, kernel, sandbox) as pool:
        for spec in course.catalog.exercises:
            found = exercise_problems(course, spec.id, pool)
            problems += [f"{spec.id}: {problem}" for problem in found]
            if not found:
                points = sum(part.points for part in spec.parts)
                facts.append(f"{spec.id}: the blank scores 0 and the solution {points:g} of {points:g}, in every part.")
    return problems, facts


def exercise_problems(course: Course, exercise_id: str, pool: GraderPool | None) -> list[str]:
    """What is wrong with one exercise; without graders, as far as can be seen without grading."""
    try:
        found = [
            *_packages(course, exercise_id),
            *_out_of_step(course, exercise_id),
            *_hints(course, exercise_id),
            *_contents(course, exercise_id),
        ]
        return [*found, *_marks(course, exercise_id, pool)] if pool is not None else found
    except GraderError as error:
        return [str(error).removeprefix(f"{exercise_id}: ")]


def _packages(course: Course, exercise_id: str) -> list[str]:
    return [
        f"the package {name}, which students may use, isn't installed here; install it where notebooks are graded."
        for name in course.spec(exercise_id).packages
        if not name.isidentifier() or importlib.util.find_spec(name) is None
    ]


def _out_of_step(course: Course, exercise_id: str) -> list[str]:
    path = course.notebook_path(exercise_id)
    if not path.is_file() or path.read_text(encoding="utf-8") != released_text(course, course.spec(exercise_id)):
        return ["the blank doesn't match its solution; run `grader release`."]
    return []


def _contents(course: Course, exercise_id: str) -> list[str]:
    """What is not checked, or given away; then the cases in which the course's own cells fail.

    Raises:
        CourseError: they fail in the visible case.
    """
    exercise, reference = course.exercise(exercise_id), Reference(course.exercise(exercise_id))
    solution = read_own_notebook(course.solution_path(exercise_id))
    visible, *hidden = exercise.cases
    tensors = reference.case(visible)
    problems = [
        *unchecked_gradients(exercise, solution, tensors),
        *unkept_gradients(exercise, tensors),
        *unvaried_parameters(exercise, tensors),
        *giveaways(exercise, solution),
        *unfair_loops(exercise),
    ]
    for case in hidden:
        try:
            reference.case(case)
        except CourseError as error:
            raise CourseError(f"in the hidden case {case.id}, {str(error).removeprefix(f'{exercise_id}: ')}") from error
    return problems


def _hints(course: Course, exercise_id: str) -> list[str]:
    problems = []
    exercise = course.exercise(exercise_id)
    for part in exercise.spec.parts:
        names = exercise.parts[part.id].names
        for name in names:
            if not part.hints.get(name) and not part.hints.get(WHOLE_PART):
                problems.append(f"part {part.id} has no hint for {name}; write one in the catalogue.")
        for name, hints in part.hints.items():
            if name not in (*names, WHOLE_PART):
                problems.append(
                    f"part {part.id} has hints for {name}, which isn't a check; correct the name, or take them out."
                )
            if any(not hint.strip() for hint in hints):
                problems.append(f"part {part.id} has an empty hint for {name}; write it, or take it out.")
    return problems


def _marks(course: Course, exercise_id: str, pool: GraderPool) -> list[str]:
    blank = _grade(course.notebook_path(exercise_id), exercise_id, pool)
    solution = _grade(course.solution_path(exercise_id), exercise_id, pool)
    problems = []
    for grade, what in ((blank, "blank"), (solution, "solution")):
        if grade.status == "ungradable":
            problems.append(f"the {what} can't be graded: {grade.reason}")
    problems += [
        f"the blank earns points for {check.name} ({check.part}); take the answer out of it."
        for check in blank.checks
        if check.points
    ]
    wrong = [check for check in solution.checks if not check.verdict.is_right]
    problems += [_not_right(check) for check in wrong]
    if not (wrong or problems) and not math.isclose(solution.score, course.exercise(exercise_id).max_score):
        why = " ".join(flag.message for flag in solution.flags)
        problems.append(
            f"full marks can't be reached: the solution is right and earns {solution.score:g}. {why}".strip()
        )
    return problems


def _not_right(check: Check) -> str:
    where = "in the visible case" if check.case == VISIBLE else f"in the hidden case {check.case}"
    return (
        f"the solution's {check.name} ({check.part}) is {check.verdict} {where}; correct the answer, or a size or "
        f"number that is fixed in a cell."
    )


def _grade(path: Path, exercise_id: str, pool: GraderPool) -> Grade:
    return pool.grade(Submission(student=path.stem, exercise=exercise_id, data=path.read_bytes())).grade


def _stray_files(course: Course) -> list[str]:
    known = {"catalog.toml"}
    for spec in course.catalog.exercises:
        known |= {f"{spec.id}.ipynb", *spec.files}
    here = [path.name for path in course.exercises.iterdir() if not path.name.startswith((".", "__"))]
    problems = [
        f"exercises/{name} belongs to no exercise of the catalogue; name it in `files`, or move it away."
        for name in sorted(here)
        if name not in known
    ]
    if course.solutions.is_dir():
        solved = {path.name for path in course.solutions.glob("*.ipynb")}
        problems += [
            f"solutions/{name} belongs to no exercise of the catalogue; add an entry, or move it away."
            for name in sorted(solved - known)
        ]
    return problems
