"""Gradescope: the autograder's zip, and what runs in its container for each submission.

    python -m grader.cohort.gradescope /autograder

The layout of `/autograder` (`source`, `submission`, `submission_metadata.json`, `results`) is Gradescope's.
"""

from __future__ import annotations

import importlib.metadata
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from grader.choices import Sandbox
from grader.course.course import Course
from grader.errors import CourseError, GraderError
from grader.files import data_dir, write_file
from grader.grading.pool import GraderPool
from grader.grading.ungradable import ungradable
from grader.intake.collect import collect_one
from grader.records import Record
from grader.reports.gradescope_json import gradescope_json

DISTRIBUTION = "backprop-grader"
SETTINGS = "autograder.json"
_CLASS = "; extra == 'class'"
"""How a requirement of the extra ends in a package's metadata."""
_EXECUTABLE = 0o755 << 16
_PLAIN = 0o644 << 16


class Settings(Record, frozen=True):
    """What the zip's maker decided: the exercise, and what confines the submissions."""

    exercise: str
    sandbox: Sandbox


class _User(Record, frozen=True):
    name: str = ""
    email: str = ""


class _Metadata(Record, frozen=True):
    users: list[_User] = []


# --- the zip --------------------------------------------------------------------------------------------------------


def autograder_zip(course: Course, settings: Settings) -> bytes:
    """The zip to upload: this package, the course's exercise, and Gradescope's two scripts.

    It holds no solution. The same input gives the same bytes.

    Raises:
        UsageError: the course has no such exercise.
        CourseError: a file of the course or of the package is missing.
    """
    course.exercise(settings.exercise)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in _contents(course, settings):
            info = zipfile.ZipInfo(name)
            info.external_attr = _EXECUTABLE if name in ("setup.sh", "run_autograder") else _PLAIN
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, data)
    return archive.getvalue()


def _contents(course: Course, settings: Settings) -> Iterator[tuple[str, bytes]]:
    for name in ("setup.sh", "run_autograder"):
        yield name, (data_dir("templates") / "gradescope" / name).read_bytes()
    yield SETTINGS, msgspec.json.encode(settings)
    yield "requirements.txt", "".join(f"{line}\n" for line in _requirements()).encode()
    spec = course.spec(settings.exercise)
    yield "exercises/catalog.toml", (course.exercises / "catalog.toml").read_bytes()
    yield f"exercises/{spec.id}.ipynb", course.notebook_path(spec.id).read_bytes()
    for name, path in course.files(spec).items():
        yield f"exercises/{name}", path.read_bytes()
    package = Path(__file__).resolve().parent.parent
    folders = {"package/grader": package, "package/grader/_data/templates": data_dir("templates")}
    for target, folder in folders.items():
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if path.is_file() and not {"__pycache__", "_data"} & set(inside.parts):
                yield f"{target}/{inside.as_posix()}", path.read_bytes()


def _requirements() -> list[str]:
    """What the package and its extra `class` need.

    With the PyTorch of this very machine: both sides of a comparison should be alike.
    """
    try:
        listed = importlib.metadata.requires(DISTRIBUTION) or []
        torch = importlib.metadata.version("torch").split("+")[0]
    except importlib.metadata.PackageNotFoundError as error:
        raise CourseError(
            f"The package {error.name} is not installed here: install backprop-grader with pip."
        ) from error
    rest = [line.removesuffix(_CLASS) for line in listed if not line.startswith("torch")]
    return [f"torch=={torch}", *(line for line in rest if "extra ==" not in line)]


# --- in the container -----------------------------------------------------------------------------------------------


def run_submission(autograder: Path) -> None:
    """Grade what lies in `submission/` and write `results/results.json`, whatever comes of it."""
    settings = msgspec.json.decode((autograder / "source" / SETTINGS).read_bytes(), type=Settings)
    course = Course(autograder / "source" / "exercises")
    found = collect_one(autograder / "submission", _student(autograder), course, settings.exercise)
    submission = found.submission()
    try:
        with GraderPool(course, "snapshot", settings.sandbox) as pool:
            grading = pool.grade(submission)
    except GraderError as error:
        grading = ungradable(submission, course.spec(settings.exercise), str(error))
    write_file(autograder / "results" / "results.json", gradescope_json(grading.grade))


def _student(autograder: Path) -> str:
    """The names in Gradescope's metadata; a group has several."""
    try:
        metadata = msgspec.json.decode((autograder / "submission_metadata.json").read_bytes(), type=_Metadata)
    except (OSError, msgspec.MsgspecError):
        metadata = _Metadata()
    return ", ".join(user.name or user.email for user in metadata.users) or "student"


if __name__ == "__main__":
    run_submission(Path(sys.argv[1]))
