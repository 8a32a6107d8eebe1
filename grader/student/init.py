"""A student's workspace: the blank notebooks and the files they read, in a folder of the student's own."""

from __future__ import annotations

import shutil
from pathlib import Path

from grader.course.course import Course
from grader.errors import CourseError, UsageError


def make_workspace(course: Course, folder: Path) -> tuple[list[Path], list[Path]]:
    """Copy what a student needs into `folder`; what is there already is never touched.

    Returns:
        The files written, and the files kept.

    Raises:
        UsageError: the folder can't be written to.
        CourseError: a file of the course is missing.
    """
    wanted: dict[str, Path] = {}
    for spec in course.catalog.exercises:
        wanted[f"{spec.id}.ipynb"] = path = course.notebook_path(spec.id)
        if not path.is_file():
            raise CourseError(f"Exercise {spec.id} has no blank notebook: run `grader release`.")
        wanted |= course.files(spec)
    made, kept = [], []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, source in wanted.items():
            target = folder / name
            if target.exists() or target.is_symlink():
                kept.append(target)
                continue
            shutil.copyfile(source, target)
            made.append(target)
    except OSError as error:
        raise UsageError(
            f"The folder {str(folder)!r} can't be written to ({error.strerror}): choose another."
        ) from error
    return made, kept
