"""`grader export`: grades in the format of another place, and the autograder for Gradescope."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grader.choices import By, Export, Sandbox
from grader.cli.app import EXIT_UNGRADED, FOLDER, GRADEBOOK, app, course_here, open_gradebook, warn
from grader.cli.encoding import write_data
from grader.errors import UsageError


@app.command(epilog="Example:  grader export canvas graded --roster canvas-gradebook.csv --out import.csv")
def export(
    format_: Annotated[Export, typer.Argument(metavar="FORMAT", help="One of those above.")],
    folder: Annotated[Path | None, FOLDER] = None,
    out: Annotated[Path | None, typer.Option(metavar="PATH", help="The file to write, or Gradescope's folder.")] = None,
    roster: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Canvas's or Moodle's own export, to find each student's row.")
    ] = None,
    exercise: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this exercise; gradescope-autograder needs one.")
    ] = None,
    sandbox: Annotated[Sandbox, typer.Option(help="For gradescope-autograder: the sandbox.")] = "bwrap",
    gradebook: Annotated[str | None, GRADEBOOK] = None,
    by: Annotated[By, typer.Option(help="For csv, canvas and moodle: a column for each of these.")] = "exercise",
    run: Annotated[
        int | None, typer.Option(metavar="N", help="Only this run's results; `grader runs` has the numbers.")
    ] = None,
) -> None:
    """Write everybody's grades in the format of another place.

    Without --out they are printed.

    FORMAT is csv, totals, json, junit, canvas, moodle, gradescope (a results.json for each submission), or
    gradescope-autograder (the zip that grades on Gradescope; it needs no DIR).

    Exit status: 0 all written; 3 the roster has no row for some student (the others are written).
    """
    if format_ == "gradescope-autograder":
        _export_autograder(exercise, sandbox, out)
        return
    from grader.cohort.export import export_grades

    if folder is None:
        raise UsageError("Give the folder that `grader grade --out` wrote: grader export FORMAT DIR.")
    with open_gradebook(folder, gradebook) as book:
        everybody = list(book.grades())
        grades = everybody if run is None else list(book.grades(run))
        grades = [grade for grade in grades if exercise in (None, grade.exercise)]
        excused = {(student, of) for student, of in book.people.excused(everybody) if exercise in (None, of)}
        text, unknown = export_grades(format_, grades, roster, out, book.people.identities(), by, excused)
    if text is not None:
        write_data(text)
    if unknown:
        named = ", ".join(map(repr, unknown))
        warn(f"the roster has no row, or several, for {named}.")
        raise typer.Exit(EXIT_UNGRADED)


def _export_autograder(exercise: str | None, sandbox: Sandbox, out: Path | None) -> None:
    from grader.cohort.gradescope import Settings, autograder_zip
    from grader.files import write_file

    if exercise is None or out is None:
        raise UsageError("Say which exercise the autograder is for and where it goes: --exercise ID --out FILE.zip.")
    write_file(out, autograder_zip(course_here(), Settings(exercise=exercise, sandbox=sandbox)))
