"""`grader grade`. Nothing here imports torch before there is something to grade."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from grader.choices import Sandbox
from grader.cli.app import (
    EXIT_NOT_RIGHT,
    EXIT_STOPPED,
    EXIT_UNGRADED,
    GRADEBOOK,
    Kernel,
    app,
    course_here,
    open_gradebook,
    warn,
)
from grader.errors import UsageError


@app.command(epilog="Example:  grader grade submissions/ --out graded --fail-under 50")
def grade(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Notebooks, or folders or zips of them.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the reports, JSON, CSV and JUnit files go.")],
    exercise: Annotated[
        str | None, typer.Option(metavar="ID", help="The exercise that all the notebooks are for.")
    ] = None,
    kernel: Annotated[Kernel, typer.Option(help="Fork kernels from a warm template, or start new ones.")] = "snapshot",
    sandbox: Annotated[Sandbox, typer.Option(help="The sandbox for the submissions' code.")] = "bwrap",
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Most processes that grade; by default one per core.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Grade on the dask cluster of this scheduler: tcp://….")
    ] = None,
    gradebook: Annotated[str | None, GRADEBOOK] = None,
    times: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Submission times: columns student, submitted, exercise.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="NAME", help="The time zone for times in --times without one: Europe/Berlin.")
    ] = None,
    roster: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="The class list: gives students' names, shows who handed in nothing."),
    ] = None,
    names: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Which name is which student: columns name, student.")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Finds the student in a file's path: (?P<student>[a-z]+).")
    ] = None,
    time_factor: Annotated[
        float | None, typer.Option(metavar="N", help="Multiply the catalogue's time limits by N, on a slow machine.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Grade only what has changed, or everything.")
    ] = True,
    fail_under: Annotated[
        float | None, typer.Option(metavar="PERCENT", min=0, max=100, help="Exit with 1 if a score is below this.")
    ] = None,
) -> None:
    """Grade submissions: notebooks, folders, a platform's download.

    A folder holds <student>.ipynb or <student>/<exercise>.ipynb.

    Exit status: 0 all graded, whatever the marks; 1 --fail-under not met; 2 the command line is wrong; 3 some
    submission could not be graded (the others are, and are written).
    """
    from grader.cohort.arrivals import Naming, arrive
    from grader.execution.time_limits import FACTOR
    from grader.execution.time_limits import time_factor as factor_in_force
    from grader.grading.workers import Workers, open_workers
    from grader.intake.found import Found

    if workers is not None and scheduler is not None:
        raise UsageError("--workers starts processes here, --scheduler uses a cluster's: give one of the two.")
    if time_factor is not None:
        os.environ[FACTOR] = str(time_factor)
    factor_in_force()  # refuses what is no number, before anything is graded
    course = course_here()
    naming = Naming(pattern=pattern, names=names, roster=roster, times=times, timezone=timezone)
    arrivals = arrive(paths, course, exercise, naming)

    def graders(left: Sequence[Found]) -> AbstractContextManager[Workers]:
        return opened or open_workers(course, left, kernel, sandbox, workers, scheduler)

    opened: AbstractContextManager[Workers] | None = None
    try:
        with contextlib.ExitStack() as stack:
            if not resume or (gradebook is None and not out.exists()):  # all is left to be graded: so begin already
                opened = contextlib.nullcontext(stack.enter_context(graders(arrivals.found)))
            from grader.cli.progress import grading_progress
            from grader.cli.show_class import show_cohort, show_remarks, show_without_submission
            from grader.cohort.naming import handed_in_csv, without_submission
            from grader.cohort.run import grade_cohort
            from grader.files import write_file
            from grader.reports.github_actions import report_run

            book = stack.enter_context(open_gradebook(out, gradebook, make=True))
            if renames := book.people.renames():
                arrivals = arrivals.under(renames)
            show_remarks(arrivals.said)
            found, submitted = arrivals.found, arrivals.submitted
            book.people.remember(arrivals.identities())
            write_file(out / "handed-in.csv", handed_in_csv(found, arrivals.times))
            with grading_progress(len(found)) as done:
                grades = grade_cohort(found, course, book, out, graders, resume=resume, submitted=submitted, done=done)
            paths_by_key = {(item.student, item.exercise): item.path for item in found}
            for command in report_run(book.gradings(), paths_by_key, os.environ):
                print(command)
            show_cohort(grades, out)
            if arrivals.roster is not None:
                known = book.people.identities()
                everybody = list(book.grades())
                students = {each.student: known.get(each.student, []) for each in everybody}
                excused = {student for student, _ in book.people.excused(everybody)}
                show_without_submission(without_submission(arrivals.roster, students), excused)
    except KeyboardInterrupt:
        warn("stopped; what was graded so far has been written.")
        raise typer.Exit(EXIT_STOPPED) from None
    if any(grade.status == "ungradable" for grade in grades):
        raise typer.Exit(EXIT_UNGRADED)
    if fail_under is not None and any(100 * grade.score < fail_under * grade.max_score for grade in grades):
        raise typer.Exit(EXIT_NOT_RIGHT)
