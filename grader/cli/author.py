"""Commands of an author, and the one that tries the sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grader.choices import Sandbox
from grader.cli.app import EXIT_NOT_RIGHT, Kernel, app, course_here
from grader.errors import UsageError


@app.command(epilog="Example:  grader new 08_my_layer")
def new(
    name: Annotated[str | None, typer.Argument(metavar="[NN_NAME]", help="The exercise's name: 08_my_layer.")] = None,
    course: Annotated[
        Path | None, typer.Option("--course", metavar="DIR", help="Make a course of your own, with one exercise.")
    ] = None,
) -> None:
    """Add an exercise to this course, or make a course of your own.

    The exercise is a solution notebook and its catalogue entry, and grades as it is.

    With --course: make a course in a folder of its own. A file that is there already is left as it is.
    """
    from grader.authoring.scaffold import FIRST, new_course, new_exercise
    from grader.cli.show import show_files
    from grader.course.course import find_own_course
    from grader.reports.terminal import console

    kept: list[Path] = []
    if course is not None:
        made, kept = new_course(course, name if name is not None else FIRST)
    elif name is not None:
        made = new_exercise(find_own_course(Path.cwd()), name)
    else:
        raise UsageError("Say what to make: `grader new NN_name`, or `grader new --course DIR`.")
    show_files(made, kept)
    console.print("Next: `grader release` makes the blank, and `grader verify` checks the course.")


@app.command(epilog="Example:  grader release")
def release() -> None:
    """Make the blank notebooks from the solutions.

    Run it after every change to a solution or the catalogue.
    """
    from grader.authoring.release import released_text
    from grader.cli.progress import working
    from grader.files import write_file
    from grader.reports.terminal import say_whole

    course = course_here()
    for spec in course.catalog.exercises:
        with working(f"releasing {spec.id}"):
            text = released_text(course, spec)
        path = course.notebook_path(spec.id)
        changed = not path.exists() or path.read_text(encoding="utf-8") != text
        if changed:
            write_file(path, text)
        say_whole(f"{'wrote' if changed else 'unchanged'} {path}")


@app.command(epilog="Example:  grader verify")
def verify(
    kernel: Annotated[Kernel, typer.Option(help="Fork kernels from a warm template, or start new ones.")] = "snapshot",
    sandbox: Annotated[Sandbox, typer.Option(help="The sandbox for the course's code.")] = "bwrap",
) -> None:
    """Check the course: blanks score 0, solutions full marks.

    Exit status: 0 all is well, 1 something is not.
    """
    from grader.authoring.verify import verify_course
    from grader.cli.progress import working
    from grader.reports.terminal import say_whole

    with working("verifying"):
        problems, facts = verify_course(course_here(), kernel, sandbox)
    for line in (*facts, *problems):
        say_whole(line)
    if problems:
        raise typer.Exit(EXIT_NOT_RIGHT)


@app.command(epilog="Example:  grader doctor")
def doctor() -> None:
    """Try each of the sandbox's guarantees on this machine.

    Exit status: 0 all hold, 1 some don't.
    """
    from grader.cli.progress import working
    from grader.cli.show import show_guarantees
    from grader.kernels.doctor import examine

    with working("trying each guarantee"):
        guarantees = examine()
    show_guarantees(guarantees)
    if not all(guarantee.held for guarantee in guarantees):
        raise typer.Exit(EXIT_NOT_RIGHT)
