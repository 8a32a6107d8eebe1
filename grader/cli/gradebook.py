"""Commands about what was graded: runs, marks by hand, names, the review and the feedback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from grader.choices import Sandbox
from grader.cli.app import EXIT_NOT_RIGHT, FOLDER, GRADEBOOK, app, course_here, open_gradebook
from grader.errors import UsageError


@app.command(epilog="Example:  grader runs graded")
def runs(folder: Annotated[Path, FOLDER], gradebook: Annotated[str | None, GRADEBOOK] = None) -> None:
    """List the gradebook's runs: what was graded, and when."""
    from grader.cli.show_class import show_runs

    with open_gradebook(folder, gradebook) as book:
        show_runs(book.runs())


@app.command(epilog="Example:  grader diff graded")
def diff(
    folder: Annotated[Path, FOLDER],
    old: Annotated[int | None, typer.Argument(metavar="OLD", help="A run's number, as `grader runs` lists it.")] = None,
    new: Annotated[
        int | None,
        typer.Argument(metavar="NEW", help="The run to compare with; by default, the last two are compared."),
    ] = None,
    gradebook: Annotated[str | None, GRADEBOOK] = None,
) -> None:
    """Show whose marks changed from one run to another, and why.

    Exit status: 0 nobody's, 1 somebody's.
    """
    from grader.cli.show_class import show_changes
    from grader.gradebook.diff import changes

    with open_gradebook(folder, gradebook) as book:
        first, second = book.pair(old, new)
        found = changes(book.results(upto=first.id), book.results(upto=second.id))
    show_changes(first, second, found)
    if found:
        raise typer.Exit(EXIT_NOT_RIGHT)


@app.command(epilog='Example:  grader override graded alice 1 --check dlogits --reason "Right idea, one slip."')
def override(
    folder: Annotated[Path, FOLDER],
    student: Annotated[str, typer.Argument(metavar="STUDENT", help="The student.")],
    points: Annotated[float, typer.Argument(metavar="POINTS", help="The points to give instead of the grader's.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="The reason; the student reads it in the report.")],
    check: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this check: dlogits, or PART/dlogits.")
    ] = None,
    part: Annotated[str | None, typer.Option(metavar="PART", help="Only this part, as a whole.")] = None,
    exercise: Annotated[
        str | None, typer.Option(metavar="ID", help="The exercise, if the student has several.")
    ] = None,
    gradebook: Annotated[str | None, GRADEBOOK] = None,
) -> None:
    """Set a mark by hand: for a check, a part or the whole.

    The reports are rewritten.

    It holds for what the student has handed in now: a new notebook is graded on its own.
    """
    from grader.cli.show_class import show_override
    from grader.cohort.changes import override_mark

    if check is not None and part is not None:
        raise UsageError("Give either --check or --part, not both.")
    with open_gradebook(folder, gradebook) as book:
        show_override(override_mark(book, course_here(), folder, student, exercise, check, points, reason, part))


@app.command(epilog="Example:  grader review graded")
def review(
    folder: Annotated[Path | None, FOLDER] = None,
    gradebook: Annotated[str | None, GRADEBOOK] = None,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Serve other machines, too; see docs/review.md.")
    ] = None,
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="The port; 0 takes any free one.")] = 0,
    name: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="A host name that browsers may use; can be repeated.")
    ] = None,
    users: Annotated[Path | None, typer.Option(metavar="FILE", help="The file of users who may log in.")] = None,
    add_user: Annotated[
        str | None, typer.Option(metavar="NAME", help="Add a user to --users; asks for a password.")
    ] = None,
    proxy_header: Annotated[
        str | None, typer.Option(metavar="NAME", help="The header in which a reverse proxy names the user.")
    ] = None,
    proxy: Annotated[str, typer.Option(metavar="ADDRESS", help="The reverse proxy's address.")] = "127.0.0.1",
    sandbox: Annotated[Sandbox, typer.Option(help="The sandbox for code that is graded again.")] = "bwrap",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
) -> None:
    """Review in a browser what needs a person: set marks, comment.

    Press Ctrl-C to stop.
    """
    from grader.cli.review import add_user_to, run_review

    if add_user is not None:
        return add_user_to(users, add_user)
    import grader.review.server  # noqa: F401  (before the gradebook: who lacks both extras is told of the larger)

    if folder is None and gradebook is None:
        raise UsageError("Give the folder that `grader grade --out` wrote, or --gradebook URL.")
    place = gradebook or ""
    if folder is not None:
        from grader.gradebook.location import gradebook_place

        open_gradebook(folder, gradebook).close()
        place = str(gradebook_place(folder, gradebook))
    run_review(
        course_here(), folder, place, host=host, port=port, names=name or [], users=users, proxy_header=proxy_header,
        proxy=proxy, sandbox=sandbox, open_browser=browser,
    )  # fmt: skip


@app.command(epilog="Example:  grader feedback graded")
def feedback(
    folder: Annotated[Path, FOLDER],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write it; by default DIR/feedback.")] = None,
    gradebook: Annotated[str | None, GRADEBOOK] = None,
) -> None:
    """Write the feedback: a folder for each student, and zips.

    The zips are for Moodle, Canvas and Gradescope. The comments are also in a CSV file.
    """
    from grader.cli.review import show_feedback
    from grader.cohort.feedback import write_feedback

    with open_gradebook(folder, gradebook) as book:
        show_feedback(write_feedback(book, course_here(), out if out is not None else folder / "feedback"))


@app.command(epilog="Example:  grader rename graded s17 'Ann Ash'")
def rename(
    folder: Annotated[Path, FOLDER],
    old: Annotated[str, typer.Argument(metavar="OLD", help="The student's current name.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new name; if it exists already, the two are merged.")],
    gradebook: Annotated[str | None, GRADEBOOK] = None,
) -> None:
    """Rename a student, or merge two, without grading again.

    It holds for later runs, too.
    """
    from grader.cli.show_class import show_grades
    from grader.cohort.changes import rename_student

    with open_gradebook(folder, gradebook) as book:
        show_grades(rename_student(book, course_here(), folder, old, new))


@app.command(epilog="Example:  grader remove graded template")
def remove(
    folder: Annotated[Path, FOLDER],
    student: Annotated[str, typer.Argument(metavar="STUDENT", help="The student.")],
    exercise: Annotated[str | None, typer.Option(metavar="ID", help="Only those for this exercise.")] = None,
    gradebook: Annotated[str | None, GRADEBOOK] = None,
) -> None:
    """Take a student's submissions out of the class.

    The gradings stay in the gradebook, but count nowhere.
    """
    from grader.cli.show_class import show_remarks
    from grader.cohort.changes import remove_student

    with open_gradebook(folder, gradebook) as book:
        removed = remove_student(book, course_here(), folder, student, exercise)
    show_remarks([f"removed {student}: {', '.join(removed)}"])


@app.command(epilog='Example:  grader extend graded alice --until 2026-12-11T23:59:00+01:00 --reason "She was ill."')
def extend(
    folder: Annotated[Path, FOLDER],
    student: Annotated[str, typer.Argument(metavar="STUDENT", help="The student.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="The reason; the student reads it in the report.")],
    until: Annotated[str | None, typer.Option(metavar="TIME", help="The new due date, with its UTC offset.")] = None,
    excuse: Annotated[bool, typer.Option("--excuse", help="Excuse lateness, and handing in nothing.")] = False,
    exercise: Annotated[str | None, typer.Option(metavar="ID", help="For this exercise only.")] = None,
    gradebook: Annotated[str | None, GRADEBOOK] = None,
) -> None:
    """Give a student a later due date, or excuse lateness.

    Nothing is graded again, and the last extension counts. What an excused student doesn't hand in is left out of the
    total.
    """
    from grader.cli.show_class import show_grades, show_remarks
    from grader.cohort.changes import extend_due_date
    from grader.timestamps import NotATime, parse_time

    if (until is None) is not excuse:
        raise UsageError("Give either --until or --excuse.")
    try:
        due = parse_time(until) if until is not None else None
    except NotATime as error:
        raise UsageError(f"--until: {error}") from error
    with open_gradebook(folder, gradebook) as book:
        grades = extend_due_date(book, course_here(), folder, student, exercise, due, reason)
    show_grades(grades)
    if not grades:
        show_remarks([f"The gradebook has nothing of {student!r} yet. The extension will count as soon as it has."])


@app.command(epilog="Example:  grader overrides graded --undo 3")
def overrides(
    folder: Annotated[Path, FOLDER],
    undo: Annotated[int | None, typer.Option(metavar="NUMBER", help="Take back the mark with this number.")] = None,
    gradebook: Annotated[str | None, GRADEBOOK] = None,
) -> None:
    """List the marks that were set by hand, or take one back."""
    from grader.cli.show_class import show_grades, show_overrides
    from grader.cohort.changes import undo_override

    with open_gradebook(folder, gradebook) as book:
        if undo is not None:
            show_grades([undo_override(book, course_here(), folder, undo)])
        else:
            show_overrides([grade for grade in book.grades() if grade.overrides], book.log.numbers())
