"""Commands of a student at work. Nothing here imports torch before a tensor is touched."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grader.cli.app import EXIT_NOT_RIGHT, EXIT_UNGRADED, app, course_here
from grader.errors import UsageError

if TYPE_CHECKING:
    from grader.course.course import Course


@app.command("list", epilog="Example:  grader list")
def list_() -> None:
    """List the exercises, what is right so far, and what to do next.

    What is right is what the last `grader check` of each notebook in this folder found.
    """
    from grader.cli.show_student import show_statuses
    from grader.student.next_step import exercise_statuses, next_step

    course = course_here()
    found = exercise_statuses(course, Path.cwd())
    show_statuses(found, next_step(found, course.catalog))


@app.command(epilog="Example:  grader init my-backprop")
def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make, or to complete.")]) -> None:
    """Make a folder to work in: the blank notebooks and their files.

    A file that is there already is left as it is.
    """
    from grader.cli.show import show_files
    from grader.cli.show_student import check_command
    from grader.reports.terminal import say_whole
    from grader.student.init import make_workspace

    course = course_here()
    made, kept = make_workspace(course, folder)
    show_files(made, kept)
    first = folder / f"{course.catalog.ids[0]}.ipynb"
    say_whole(f"Next: work on {first}, save it, then `{check_command(first)}`.")


@app.command(epilog="Example:  grader reset 01_backprop_ninja/training")
def reset(
    target: Annotated[
        str, typer.Argument(metavar="EXERCISE[/PART]", help="Their names in `grader list`; a part's title is one, too.")
    ],
    notebook: Annotated[
        Path | None, typer.Argument(metavar="[NOTEBOOK]", help="By default the exercise's notebook in this folder.")
    ] = None,
) -> None:
    """Make a part of a notebook blank again, or all of it.

    Your notebook is first copied to a file beside it.
    """
    from grader.reports.terminal import console, say_whole
    from grader.student.reset import reset

    path, kept = reset(course_here(notebook), target, notebook, Path.cwd())
    say_whole(f"kept your notebook as {kept}")
    say_whole(f"reset {target} in {path}")
    console.print("If it is open in an editor, reload it from disk.")


@app.command(epilog="Example:  grader check 01_backprop_ninja.ipynb --hint")
def check(
    notebook: Annotated[Path, typer.Argument(metavar="NOTEBOOK", help="Your notebook.")],
    hint: Annotated[
        bool, typer.Option("--hint", help="Also open the next hint for the first gradient to fix.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also show how each cell was understood, and why.")
    ] = False,
    exercise: Annotated[
        str | None, typer.Option(metavar="ID", help="The exercise, if the notebook doesn't say.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Check again after every save, until Ctrl-C.")] = False,
) -> None:
    """Check your own notebook: which gradients are wrong, and why.

    Exit status: 0 everything is right, 1 something is not there or not right, 3 the notebook can't be graded.
    With --watch: 0 when it is stopped.
    """
    from grader.cli.progress import working_on
    from grader.cli.show_student import show_hints, show_next, way_to_hints
    from grader.reports.terminal import show_grading

    course = course_here(notebook)
    if watch:
        if hint:
            raise UsageError("--hint and --watch don't go together: ask for a hint in another terminal.")
        return _watch(course, notebook, exercise)
    with working_on("loading PyTorch", steps=4) as step:
        from grader.student.check import check_notebook

        grading = check_notebook(course, notebook, exercise, step)
    if explain:
        from grader.cli.show_student import show_understanding
        from grader.student.check import explain_notebook

        if cells := explain_notebook(course, notebook, exercise):
            show_understanding(cells)
    show_grading(grading, None if hint else way_to_hints(notebook))
    if grading.grade.status == "ungradable":
        raise typer.Exit(EXIT_UNGRADED)
    if hint:
        from grader.student.hints import next_hint

        show_hints(next_hint(course.spec(grading.grade.exercise), grading.grade, notebook.absolute().parent))
    if not all(check.verdict.is_right for check in grading.grade.checks):
        raise typer.Exit(EXIT_NOT_RIGHT)
    show_next(course.catalog, grading.grade.exercise)


def _watch(course: Course, notebook: Path, exercise: str | None) -> None:
    from grader.cli.show_student import show_recheck, way_to_hints
    from grader.reports.terminal import console
    from grader.student.check import watch_notebook

    def once(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would break off the cleaning up
        raise KeyboardInterrupt

    before = None
    with contextlib.suppress(KeyboardInterrupt):
        signal.signal(signal.SIGINT, once)
        console.print(f"Watching {notebook}: save it to check it, press Ctrl-C to stop.", markup=False, highlight=False)
        with contextlib.closing(watch_notebook(course, notebook, exercise)) as seen:
            for grading, seconds in seen:
                show_recheck(before, grading, seconds, f"{way_to_hints(notebook)} in another terminal")
                before = grading
    console.print("Stopped watching.")
