"""How far a command is, on stderr: a spinner or a bar, which no thread moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from grader.records import Grade
from grader.reports.terminal import error_console


@contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner on stderr, of signs that every terminal has, while something takes longer than a moment."""
    with error_console.status(what, spinner="line"):
        yield


@contextmanager
def working_on(what: str, steps: int) -> Iterator[Callable[[str], None]]:
    """A bar on stderr over a few steps, of which `what` is the first; call what it yields with the next one's name.

    Nothing in it moves between two steps: that would take a thread, and with one the process can't be forked.
    """
    columns = (BarColumn(20), TextColumn("{task.description}"))
    with _bar(*columns) as progress:
        task = progress.add_task(what, total=steps)

        def step(name: str) -> None:
            progress.update(task, advance=1, description=name, refresh=True)

        progress.refresh()
        yield step


@contextmanager
def grading_progress(total: int) -> Iterator[Callable[[Grade], None]]:
    """A progress bar on stderr with rate and time left; call what it yields with each finished grade.

    It moves when a grade is there, and has no thread, as `working_on`.
    """
    columns = (
        TextColumn("grading"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with _bar(*columns) as progress:
        task = progress.add_task("grading", total=total, rate="")
        progress.refresh()

        def done(grade: Grade) -> None:
            progress.advance(task)
            speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
            progress.update(task, rate=f"{speed:.1f}/s" if speed else "", refresh=True)

        yield done


def _bar(*columns: ProgressColumn) -> Progress:
    """A bar that a terminal shows and then forgets; in a log it isn't even drawn."""
    shown = error_console.is_terminal
    return Progress(*columns, console=error_console, transient=True, auto_refresh=False, disable=not shown)
