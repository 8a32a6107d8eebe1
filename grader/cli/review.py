"""`grader review` and `grader feedback` at the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from grader.errors import UsageError
from grader.reports.terminal import console, say_whole
from grader.wording import listed

if TYPE_CHECKING:
    from grader.cohort.feedback import Written
    from grader.course.course import Course


def run_review(course: Course, folder: Path | None, gradebook: str, **options: Any) -> None:
    """Serve the review until Ctrl-C.

    Raises:
        UsageError: see `serve`.
    """
    from grader.review.server import Options, serve

    serve(Options(folder=folder, gradebook=gradebook, **options), course, _say)
    console.print("Stopped; everything that was saved is in the gradebook.")


def _say(address: str) -> None:
    say_whole(f"Review: {address}")
    console.print("Press Ctrl-C to stop.")


def add_user_to(users: Path | None, name: str) -> None:
    """Ask for a password, twice, and add a user.

    Raises:
        UsageError: no file is given, or see `Users.add`.
    """
    if users is None:
        raise UsageError("Say to which file: --users FILE --add-user NAME.")
    from grader.review.users import Users

    known = Users(users)
    known.add(name, typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    say_whole(f"added {name} to {users}")


def show_feedback(written: Written) -> None:
    """What was written, and whom a zip lacks."""
    say_whole(f"wrote {written.reports} reports to {written.folder}")
    for name, (held, lacks) in written.zips.items():
        if held:
            without = f", without {listed([repr(each) for each in lacks], 5)}" if lacks else ""
            say_whole(f"wrote {name}.zip: {held} reports{without}")
    if not any(held for held, _ in written.zips.values()):
        console.print(
            "No zip for Moodle, Canvas or Gradescope: the notebooks don't have the names of their downloads.",
            soft_wrap=True,
        )
