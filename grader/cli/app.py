"""What all commands share: the application, options, exit statuses, and where a course and a gradebook are found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from grader.errors import UsageError

if TYPE_CHECKING:
    from grader.course.course import Course
    from grader.gradebook.gradebook import Gradebook

app = typer.Typer(
    name="grader",
    help="Grades notebooks in which students write backpropagation by hand, and says which line is wrong and why.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

FOLDER = typer.Argument(metavar="DIR", help="The folder that `grader grade --out` wrote.")
GRADEBOOK = typer.Option(metavar="URL", help="The gradebook: a file, or postgresql://…; by default DIR's own.")

Kernel = Literal["snapshot", "cold"]

EXIT_NOT_RIGHT = 1
EXIT_USAGE = 2
EXIT_UNGRADED = 3
EXIT_STOPPED = 130


def open_gradebook(folder: Path, url: str | None, *, make: bool = False) -> Gradebook:
    """The gradebook of an output folder, or the one at `url`; `make` makes the folder, and remembers the URL in it.

    Raises:
        UsageError: there is none, or it can't be opened.
    """
    from grader.gradebook.gradebook import Gradebook
    from grader.gradebook.location import gradebook_place, remember_place

    place = gradebook_place(folder, url)
    if make:
        from grader.files import make_folder

        make_folder(folder)
    if isinstance(place, Path) and not make and not place.is_file():
        raise UsageError(f"There is no gradebook {str(place)!r}: give the folder that `grader grade --out` wrote.")
    book = Gradebook(place)
    if make and url is not None:
        remember_place(folder, url)
    return book


def course_here(beside: Path | None = None) -> Course:
    """The course that a file lies in, or else the current folder, or else the package's own."""
    from grader.course.course import find_course

    return find_course(*([beside.absolute().parent] if beside is not None else []), Path.cwd())


def warn(said: str) -> None:
    """A sentence on stderr."""
    from grader.safe_text import safe_text

    print(f"grader: {safe_text(said, 'terminal')}", file=sys.stderr)
