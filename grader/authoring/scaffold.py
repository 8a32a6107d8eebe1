"""`grader new`: an exercise that already grades, or a course to put it in.

Nothing that is there is ever changed, but for the catalogue: an entry is added at its end.
"""

from __future__ import annotations

import json
import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from grader.course.course import Course
from grader.errors import CourseError, UsageError
from grader.files import data_dir, replace_file

FIRST = "01_first"
"""The first exercise of a new course, unless another name is given."""
_NAME = re.compile(r"\d\d_[a-z][a-z0-9_]*")
_COURSE_FILES = {
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "requirements.txt": "requirements.txt",
    "verify.yml": ".github/workflows/verify.yml",
    "templates.md": "templates/README.md",
}
"""File in `templates/new/course/` → where it goes in a course."""


def new_exercise(course: Course, name: str) -> list[Path]:
    """Add an exercise called `name` at the end of a course: its solution notebook, and its entry in the catalogue.

    Returns:
        The files written.

    Raises:
        UsageError: the name isn't one for an exercise, is taken, or the course can't be written to.
        CourseError: the catalogue is broken, or has a form to whose end nothing can be added.
    """
    _check_name(name)
    if name in course.catalog.ids:
        raise UsageError(f"The catalogue already has an exercise {name!r}: choose a different name.")
    solution, catalog = course.solution_path(name), course.exercises / "catalog.toml"
    for path in (solution, course.notebook_path(name)):
        if path.exists() or path.is_symlink():
            raise UsageError(f"There is already a file {str(path)!r}: choose a different name.")
    before = catalog.read_bytes()
    added = before + (b"\n" if before.endswith(b"\n") else b"\n\n") + _filled("entry.toml", name)
    try:
        tomllib.loads(added.decode())
    except tomllib.TOMLDecodeError as error:
        raise CourseError(
            f"Nothing can be added at the end of {catalog} ({error}): write the entry yourself."
        ) from error
    _write_new(solution, _filled("exercise.ipynb", name))
    try:
        replace_file(catalog, added)
    except OSError as error:
        solution.unlink()
        raise _unwritable(catalog, error) from error
    return [solution, catalog]


def new_course(folder: Path, name: str = FIRST) -> tuple[list[Path], list[Path]]:
    """Make a course of its own in `folder`, with one exercise; other files that are there are kept as they are.

    Returns:
        The files written, and the files kept.

    Raises:
        UsageError: the folder holds a course already, can't be written to, or `name` isn't one for an exercise.
    """
    _check_name(name)
    catalog = folder / "exercises" / "catalog.toml"
    if catalog.exists():
        raise UsageError(f"{str(folder)!r} already holds a course: go there and add to it with `grader new NN_name`.")
    wanted = {folder / target: _filled(f"course/{source}", name) for source, target in _COURSE_FILES.items()}
    wanted[folder / "solutions" / f"{name}.ipynb"] = _filled("exercise.ipynb", name)
    wanted[catalog] = _filled("course/catalog.toml", name) + _filled("entry.toml", name)  # last: it makes it a course
    made, kept = [], []
    for path, data in wanted.items():
        if path.exists() or path.is_symlink():
            kept.append(path)
        else:
            _write_new(path, data)
            made.append(path)
    return made, kept


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} isn't a name for an exercise: use two digits, an underscore and lower-case letters, as in "
            "08_my_layer."
        )


def _filled(template: str, name: str) -> bytes:
    """A file of `templates/new/` with the exercise's name, its title and the package's version put in."""
    text = (data_dir("templates") / "new" / template).read_text(encoding="utf-8")
    title = name[3:].strip("_").replace("_", " ").capitalize()
    for mark, value in (("NEW_NAME", name), ("NEW_TITLE", title), ("NEW_REQUIREMENT", _requirement())):
        text = text.replace(mark, value)
    return text.encode()


def _requirement() -> str:
    """The line by which pip installs the package that runs now: its repository and commit, as pip has recorded them.

    Where it came from a folder or a file of this machine, a comment that asks for such a line.
    """
    try:
        package = distribution("backprop-grader")
    except PackageNotFoundError as error:
        raise CourseError("The package backprop-grader is not installed here: install it with pip.") from error
    recorded = json.loads(package.read_text("direct_url.json") or "{}")  # PEP 610
    source = recorded.get("vcs_info", {})
    if source.get("vcs") == "git" and recorded["url"].startswith("https://"):
        return f"backprop-grader[class] @ git+{recorded['url']}@{source['commit_id']}"
    made_by = f"(this was made by version {package.version})"
    return f"# backprop-grader[class] @ git+https://ADDRESS-OF-ITS-REPOSITORY    {made_by}"


def _write_new(path: Path, data: bytes) -> None:
    """Write a file that isn't there; whoever makes it in this very moment keeps theirs."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{str(path)!r} can't be written ({error.strerror}): check its permissions.")
