"""Where a course lies on disk, and its exercises by id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from grader.course.catalog import Catalog, ExerciseSpec, read_catalog
from grader.course.exercise import Exercise, read_own_notebook
from grader.errors import CourseError, UsageError
from grader.files import data_dir


class Course:
    """A folder with `catalog.toml`, the released notebooks and their files.

    Args:
        exercises: that folder. `solutions/`, where there is one, lies beside it.
    """

    def __init__(self, exercises: Path) -> None:
        self.exercises = exercises.resolve()  # the reference works in a folder of its own
        self._loaded: dict[str, Exercise] = {}

    @cached_property
    def catalog(self) -> Catalog:
        """The catalogue, read once."""
        return read_catalog(self.exercises / "catalog.toml")

    @property
    def solutions(self) -> Path:
        """The instructor's folder of solution notebooks; a student's machine has none."""
        return self.exercises.parent / "solutions"

    @property
    def templates(self) -> Path:
        """The folder of templates that take the place of the package's; it need not be there."""
        return self.exercises.parent / "templates"

    def spec(self, exercise_id: str) -> ExerciseSpec:
        """The catalogue's entry of an exercise.

        Raises:
            UsageError: the catalogue has no such exercise.
        """
        for spec in self.catalog.exercises:
            if spec.id == exercise_id:
                return spec
        raise UsageError(f"There is no exercise {exercise_id!r}: give one of {', '.join(self.catalog.ids)}.")

    def exercise(self, exercise_id: str) -> Exercise:
        """An exercise, loaded once.

        Raises:
            UsageError: the catalogue has no such exercise.
            CourseError: its notebook or one of its files is missing or broken.
        """
        if exercise_id not in self._loaded:
            spec = self.spec(exercise_id)
            notebook = read_own_notebook(self.notebook_path(exercise_id))
            self._loaded[exercise_id] = Exercise(spec, notebook, self.files(spec))
        return self._loaded[exercise_id]

    def notebook_path(self, exercise_id: str) -> Path:
        """Where the released notebook lies."""
        return self.exercises / f"{exercise_id}.ipynb"

    def solution_path(self, exercise_id: str) -> Path:
        """Where the solution notebook lies."""
        return self.solutions / f"{exercise_id}.ipynb"

    def files(self, spec: ExerciseSpec) -> dict[str, Path]:
        """The files that an exercise's notebook reads, by name: beside the notebook, or in the course's top folder.

        Raises:
            CourseError: one of them is in neither place.
        """
        found = {}
        for name in spec.files:
            candidates = [self.exercises / name, self.exercises.parent / name]
            path = next((candidate for candidate in candidates if candidate.is_file()), None)
            if path is None:
                raise CourseError(f"Exercise {spec.id} needs {name}: put it beside the notebook or in the top folder.")
            found[name] = path
        return found

    def packed(self, exercise_ids: Iterable[str]) -> dict[str, bytes]:
        """All that grading these exercises needs, file name → content: what `unpacked_course` makes a course of.

        Raises:
            CourseError: one of the files is missing.
        """
        paths = {"catalog.toml": self.exercises / "catalog.toml"}
        for exercise_id in exercise_ids:
            exercise = self.exercise(exercise_id)
            paths |= {f"{exercise_id}.ipynb": self.notebook_path(exercise_id), **exercise.files}
        return {name: path.read_bytes() for name, path in paths.items()}


def unpacked_course(files: Mapping[str, bytes], folder: Path) -> Course:
    """The course that `Course.packed` made `files` of, laid out in an empty folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return Course(folder)


def find_course(*starts: Path) -> Course:
    """The course that the first of `starts` lies in that lies in any (`exercises/catalog.toml`, upwards).

    Else it is the one that came with the package.
    """
    return next(filter(None, map(_course_around, starts)), None) or Course(data_dir("exercises"))


def find_own_course(start: Path) -> Course:
    """The course that `start` lies in, to be changed.

    Raises:
        UsageError: it lies in none.
    """
    course = _course_around(start)
    if course is None:
        raise UsageError("This folder isn't part of a course: go to yours, or make one with `grader new --course DIR`.")
    return course


def _course_around(start: Path) -> Course | None:
    for folder in (start, *start.parents):
        if (folder / "exercises" / "catalog.toml").is_file():
            return Course(folder / "exercises")
    return None
