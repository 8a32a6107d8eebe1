"""The command `grader`. Nothing here imports torch before a command touches a tensor."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import grader.startup  # noqa: F401  (before what imports nbformat)
from grader.cli.encoding import make_output_safe, write_data
from grader.errors import GraderError, UsageError
from grader.extras import naming_the_extra

if TYPE_CHECKING:
    from grader.course.course import Course
    from grader.gradebook import Gradebook

app = typer.Typer(
    name="grader",
    help="Grades notebooks in which students write backpropagation by hand, and says which line is wrong and why.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_FOLDER = typer.Argument(metavar="DIR", help="The folder that `grader grade --out` wrote.")
_GRADEBOOK = typer.Option(
    metavar="URL", help="The gradebook's file, or postgresql://…; by default the one that DIR was graded into."
)

Kernel = Literal["snapshot", "cold"]
ExportFormat = Literal["csv", "totals", "canvas", "moodle", "gradescope", "junit", "json", "gradescope-autograder"]
Sandbox = Literal["bwrap", "none"]

EXIT_NOT_RIGHT = 1
EXIT_USAGE = 2
EXIT_UNGRADED = 3
EXIT_STOPPED = 130


@app.command("list", epilog="Example:  grader list")
def list_() -> None:
    """Show the exercises and their parts, what passes in this folder's notebooks, and the next thing to do.

    What passes is what the last `grader check` of each notebook found.
    """
    from grader.cli.show import show_standings
    from grader.student.next_step import next_step, standings

    course = _course()
    found = standings(course, Path.cwd())
    show_standings(found, next_step(found, course.catalog))


@app.command(epilog="Example:  grader init my-backprop")
def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make or to complete.")]) -> None:
    """Make a student's workspace: the blank notebooks and the files they read.

    A file that is there already is left as it is.
    """
    from grader.reports.terminal import console
    from grader.student.init import make_workspace

    made, kept = make_workspace(_course(), folder)
    for path in made:
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)
    for path in kept:
        console.print(f"kept {path}: it was there already", markup=False, highlight=False, soft_wrap=True)


@app.command(epilog="Example:  grader reset training")
def reset(
    target: Annotated[
        str, typer.Argument(metavar="PART_OR_EXERCISE", help="As `grader list` shows it; a part's title will do.")
    ],
    notebook: Annotated[
        Path | None, typer.Argument(metavar="[NOTEBOOK]", help="By default the exercise's own, in this folder.")
    ] = None,
) -> None:
    """Make the cells of a part blank again, or a whole notebook. What was there is kept in a copy beside it."""
    from grader.reports.terminal import console
    from grader.student.reset import reset

    path, kept = reset(_course(notebook), target, notebook, Path.cwd())
    console.print(f"kept your notebook as {kept}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"reset {target} in {path}", markup=False, highlight=False, soft_wrap=True)
    console.print("If it is open in an editor, reload it there from disk.")


@app.command(epilog="Example:  grader check 01_backprop_ninja.ipynb --hint")
def check(
    notebook: Annotated[Path, typer.Argument(metavar="NOTEBOOK", help="Your notebook.")],
    hint: Annotated[
        bool, typer.Option("--hint", help="Also open the next hint for the first gradient to fix.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also say how each cell was understood, and by what.")
    ] = False,
    exercise: Annotated[
        str | None, typer.Option(metavar="ID", help="The exercise, where the file doesn't say.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Check again after every save, until Ctrl-C.")] = False,
) -> None:
    """Check your own notebook: every gradient, what is wrong with it, and where.

    Exit status: 0 everything is right, 1 something is not there or not right, 3 the notebook can't be graded.
    With --watch: 0 when it was stopped.
    """
    from grader.cli.show import show_hints, show_next, way_to_hints, working_on
    from grader.reports.terminal import show_grading

    course = _course(notebook)
    if watch:
        if hint:
            raise UsageError("--hint and --watch don't go together: ask for a hint in another terminal.")
        return _watch(course, notebook, exercise)
    with working_on("loading PyTorch", steps=4) as step:
        from grader.student.check import check_notebook

        grading = check_notebook(course, notebook, exercise, step)
    if explain:
        from grader.cli.show import show_understanding
        from grader.student.check import explain_notebook

        if cells := explain_notebook(course, notebook, exercise):
            show_understanding(cells)
    show_grading(grading, None if hint else way_to_hints(notebook))
    if grading.grade.status == "ungradable":
        raise typer.Exit(EXIT_UNGRADED)
    if hint:
        from grader.student.progress import next_hint

        show_hints(next_hint(course.spec(grading.grade.exercise), grading.grade, notebook.absolute().parent))
    if not all(check.verdict.is_right for check in grading.grade.checks):
        raise typer.Exit(EXIT_NOT_RIGHT)
    show_next(course.catalog, grading.grade.exercise)


def _watch(course: Course, notebook: Path, exercise: str | None) -> None:
    from grader.cli.show import show_recheck, way_to_hints
    from grader.reports.terminal import console
    from grader.student.check import watch_notebook

    def once(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would break off the cleaning up
        raise KeyboardInterrupt

    before = None
    with contextlib.suppress(KeyboardInterrupt):
        signal.signal(signal.SIGINT, once)
        console.print(
            f"Watching {notebook}: save it to have it checked, Ctrl-C ends this.", markup=False, highlight=False
        )
        with contextlib.closing(watch_notebook(course, notebook, exercise)) as seen:
            for grading, seconds in seen:
                show_recheck(before, grading, seconds, f"{way_to_hints(notebook)} in another terminal")
                before = grading
    console.print("Stopped watching.")


@app.command(epilog="Example:  grader grade submissions/ --out graded --fail-under 50")
def grade(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Notebooks, or folders or zips of them.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the reports, JSON, CSV and JUnit files go.")],
    exercise: Annotated[str | None, typer.Option(metavar="ID", help="The exercise that all of them are for.")] = None,
    kernel: Annotated[Kernel, typer.Option(help="Fork kernels from a warm template, or start new ones.")] = "snapshot",
    sandbox: Annotated[Sandbox, typer.Option(help="What confines the submissions' code.")] = "bwrap",
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes that grade; by default one a core.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Grade on the dask cluster of this scheduler: tcp://….")
    ] = None,
    gradebook: Annotated[str | None, _GRADEBOOK] = None,
    times: Annotated[
        Path | None, typer.Option(metavar="CSV", help="When each was handed in: columns student, submitted, exercise.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(metavar="NAME", help="The zone for times in --times that have none: Europe/Berlin.")
    ] = None,
    roster: Annotated[
        Path | None, typer.Option(metavar="CSV", help="The class list: students' names, and who handed in nothing.")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Which name is which student: columns name, student.")
    ] = None,
    pattern: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Where in a file's path the student is: (?P<student>[a-z]+).")
    ] = None,
    time_factor: Annotated[
        float | None, typer.Option(metavar="N", help="Time limits are N times the catalogue's, on a slow machine.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Grade only what changed since it was graded last, or all.")
    ] = True,
    fail_under: Annotated[
        float | None, typer.Option(metavar="PERCENT", min=0, max=100, help="Exit with 1 if a score is below this.")
    ] = None,
) -> None:
    """Grade submissions: a platform's download, or <student>.ipynb, or <student>/<exercise>.ipynb in a folder.

    Exit status: 0 all graded, whatever the marks; 1 --fail-under not met; 2 the command line is wrong; 3 some
    submission could not be graded (the others are, and are written).
    """
    from grader.cohort.arrivals import Naming, arrive
    from grader.execution.time_limits import FACTOR
    from grader.execution.time_limits import time_factor as factor_in_force
    from grader.grading.workers import Workers, open_workers
    from grader.intake.collect import Found

    if workers is not None and scheduler is not None:
        raise UsageError("--workers starts processes here and --scheduler uses others: give one of the two.")
    if time_factor is not None:
        os.environ[FACTOR] = str(time_factor)
    factor_in_force()  # refuses what is no number, before anything is graded
    course = _course()
    naming = Naming(pattern=pattern, names=names, roster=roster, times=times, timezone=timezone)
    arrivals = arrive(paths, course, exercise, naming)

    def graders(left: Sequence[Found]) -> AbstractContextManager[Workers]:
        return opened or open_workers(course, left, kernel, sandbox, workers, scheduler)

    opened: AbstractContextManager[Workers] | None = None
    try:
        with contextlib.ExitStack() as stack:
            if not resume or (gradebook is None and not out.exists()):  # all is left to be graded: so begin already
                opened = contextlib.nullcontext(stack.enter_context(graders(arrivals.found)))
            from grader.cli.show import grading_progress, show_cohort, show_remarks, show_without_submission
            from grader.cohort.naming import handed_in_csv, without_submission
            from grader.cohort.run import grade_cohort
            from grader.files import write_file
            from grader.reports.github_actions import report_run

            book = stack.enter_context(_gradebook(out, gradebook, make=True))
            if renames := book.people.renames():
                arrivals = arrivals.under(renames)
            show_remarks(arrivals.said)
            found, submitted = arrivals.found, arrivals.submitted
            book.people.remember(arrivals.identities())
            write_file(out / "handed-in.csv", handed_in_csv(found))
            with grading_progress(len(found)) as done:
                grades = grade_cohort(found, course, book, out, graders, resume=resume, submitted=submitted, done=done)
            paths_by_key = {(item.student, item.exercise): item.path for item in found}
            for command in report_run(book.gradings(), paths_by_key, os.environ):
                print(command)
            show_cohort(grades, out)
            if arrivals.roster is not None:
                known = book.people.identities()
                students = {each.student: known.get(each.student, []) for each in book.grades()}
                show_without_submission(without_submission(arrivals.roster, students))
    except KeyboardInterrupt:
        _warn("stopped; what was graded so far is written.")
        raise typer.Exit(EXIT_STOPPED) from None
    if any(grade.status == "ungradable" for grade in grades):
        raise typer.Exit(EXIT_UNGRADED)
    if fail_under is not None and any(100 * grade.score < fail_under * grade.max_score for grade in grades):
        raise typer.Exit(EXIT_NOT_RIGHT)


@app.command(epilog="Example:  grader runs graded")
def runs(folder: Annotated[Path, _FOLDER], gradebook: Annotated[str | None, _GRADEBOOK] = None) -> None:
    """List what was graded when: the runs that the gradebook has."""
    from grader.cli.show import show_runs

    with _gradebook(folder, gradebook) as book:
        show_runs(book.runs())


@app.command(epilog="Example:  grader diff graded")
def diff(
    folder: Annotated[Path, _FOLDER],
    old: Annotated[int | None, typer.Argument(metavar="OLD", help="A run's number, as `grader runs` lists it.")] = None,
    new: Annotated[
        int | None, typer.Argument(metavar="NEW", help="Another; by default the last two are taken.")
    ] = None,
    gradebook: Annotated[str | None, _GRADEBOOK] = None,
) -> None:
    """Say whose marks changed between the ends of two runs, and why.

    Exit status: 0 nobody's, 1 somebody's.
    """
    from grader.cli.show import show_changes
    from grader.gradebook.diff import changes

    with _gradebook(folder, gradebook) as book:
        first, second = book.pair(old, new)
        found = changes(book.results(upto=first.id), book.results(upto=second.id))
    show_changes(first, second, found)
    if found:
        raise typer.Exit(EXIT_NOT_RIGHT)


@app.command(epilog='Example:  grader override graded alice 1 --check dlogits --reason "Right idea, one slip."')
def override(
    folder: Annotated[Path, _FOLDER],
    student: Annotated[str, typer.Argument(metavar="STUDENT", help="Whose mark.")],
    points: Annotated[float, typer.Argument(metavar="POINTS", help="The points to give in place of the grader's.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; the student reads it in the report.")],
    check: Annotated[
        str | None, typer.Option(metavar="NAME", help="For this check only: dlogits, or PART/dlogits.")
    ] = None,
    part: Annotated[str | None, typer.Option(metavar="PART", help="For this part as a whole.")] = None,
    exercise: Annotated[str | None, typer.Option(metavar="ID", help="The exercise, where there are several.")] = None,
    gradebook: Annotated[str | None, _GRADEBOOK] = None,
) -> None:
    """Set a mark by hand: for one check, for a part, or for the whole submission. The reports are rewritten.

    It holds for what the student has handed in now: a new notebook is graded on its own.
    """
    from grader.cli.show import show_override
    from grader.cohort.run import override_mark

    if check is not None and part is not None:
        raise UsageError("--check and --part are for different things: give one of the two.")
    with _gradebook(folder, gradebook) as book:
        show_override(override_mark(book, _course(), folder, student, exercise, check, points, reason, part))


@app.command(epilog="Example:  grader review graded")
def review(
    folder: Annotated[Path | None, _FOLDER] = None,
    gradebook: Annotated[str | None, _GRADEBOOK] = None,
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Serve to others; see docs/review.md.")] = None,
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="The port; 0 takes any free one.")] = 0,
    name: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="A name under which browsers ask; may be repeated.")
    ] = None,
    users: Annotated[Path | None, typer.Option(metavar="FILE", help="Who may log in, with passwords.")] = None,
    add_user: Annotated[str | None, typer.Option(metavar="NAME", help="Ask for a password, add to --users.")] = None,
    proxy_header: Annotated[
        str | None, typer.Option(metavar="NAME", help="The header in which a reverse proxy says who it is.")
    ] = None,
    proxy: Annotated[str, typer.Option(metavar="ADDRESS", help="Where that proxy asks from.")] = "127.0.0.1",
    sandbox: Annotated[Sandbox, typer.Option(help="What confines the code that is graded again.")] = "bwrap",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
) -> None:
    """Look through what needs a person, in a browser: settle it, set marks, write comments. Ctrl-C ends it."""
    from grader.cli.review import add_user_to, run_review

    if add_user is not None:
        return add_user_to(users, add_user)
    import grader.review.server  # noqa: F401  (before the gradebook: who lacks both extras is told of the larger)

    if folder is None and gradebook is None:
        raise UsageError("Give the folder that `grader grade --out` wrote, or --gradebook URL.")
    place = gradebook or ""
    if folder is not None:
        from grader.gradebook.place import gradebook_place

        _gradebook(folder, gradebook).close()
        place = str(gradebook_place(folder, gradebook))
    run_review(
        _course(), folder, place, host=host, port=port, names=name or [], users=users, proxy_header=proxy_header,
        proxy=proxy, sandbox=sandbox, open_browser=browser,
    )  # fmt: skip


@app.command(epilog="Example:  grader feedback graded")
def feedback(
    folder: Annotated[Path, _FOLDER],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where it goes; by default DIR/feedback.")] = None,
    gradebook: Annotated[str | None, _GRADEBOOK] = None,
) -> None:
    """Write what students get: a folder each, zips for Moodle, Canvas and Gradescope, and the comments as CSV."""
    from grader.cli.review import show_feedback
    from grader.cohort.feedback import write_feedback

    with _gradebook(folder, gradebook) as book:
        show_feedback(write_feedback(book, _course(), out if out is not None else folder / "feedback"))


@app.command(epilog="Example:  grader rename graded s17 'Ann Ash'")
def rename(
    folder: Annotated[Path, _FOLDER],
    old: Annotated[str, typer.Argument(metavar="OLD", help="The name that the student has now.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new name; if it exists already, the two are merged.")],
    gradebook: Annotated[str | None, _GRADEBOOK] = None,
) -> None:
    """Give a student another name, or make two of them one, without grading anew. It holds for later runs, too."""
    from grader.cli.show import show_grades
    from grader.cohort.people import rename_student

    with _gradebook(folder, gradebook) as book:
        show_grades(rename_student(book, _course(), folder, old, new))


@app.command(epilog="Example:  grader remove graded template")
def remove(
    folder: Annotated[Path, _FOLDER],
    student: Annotated[str, typer.Argument(metavar="STUDENT", help="Whose submissions.")],
    exercise: Annotated[str | None, typer.Option(metavar="ID", help="Only those for this exercise.")] = None,
    gradebook: Annotated[str | None, _GRADEBOOK] = None,
) -> None:
    """Take a student's submissions out of the class. The gradings stay in the gradebook, and count nowhere."""
    from grader.cli.show import show_remarks
    from grader.cohort.people import remove_student

    with _gradebook(folder, gradebook) as book:
        removed = remove_student(book, _course(), folder, student, exercise)
    show_remarks([f"removed {student}: {', '.join(removed)}"])


@app.command(epilog='Example:  grader extend graded alice --until 2026-12-11T23:59:00+01:00 --reason "She was ill."')
def extend(
    folder: Annotated[Path, _FOLDER],
    student: Annotated[str, typer.Argument(metavar="STUDENT", help="Who has longer.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; the student reads it in the report.")],
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Until when, with its offset from UTC.")] = None,
    excuse: Annotated[bool, typer.Option("--excuse", help="However late it is, nothing is taken off.")] = False,
    exercise: Annotated[str | None, typer.Option(metavar="ID", help="For this exercise only.")] = None,
    gradebook: Annotated[str | None, _GRADEBOOK] = None,
) -> None:
    """Give a student another due date, or excuse being late, without grading anew. The last word counts."""
    from grader.cli.show import show_grades
    from grader.cohort.people import extend_due_date
    from grader.when import NotATime, parse_time

    if (until is None) is not excuse:
        raise UsageError("Say until when with --until, or excuse it with --excuse: one of the two.")
    try:
        due = parse_time(until) if until is not None else None
    except NotATime as error:
        raise UsageError(f"--until: {error}") from error
    with _gradebook(folder, gradebook) as book:
        show_grades(extend_due_date(book, _course(), folder, student, exercise, due, reason))


@app.command(epilog="Example:  grader overrides graded --undo 3")
def overrides(
    folder: Annotated[Path, _FOLDER],
    undo: Annotated[int | None, typer.Option(metavar="NUMBER", help="Take the mark with this number back.")] = None,
    gradebook: Annotated[str | None, _GRADEBOOK] = None,
) -> None:
    """List the marks that were set by hand and count now: whose, for what, in place of which, and why."""
    from grader.cli.show import show_grades, show_overrides
    from grader.cohort.run import undo_override

    with _gradebook(folder, gradebook) as book:
        if undo is not None:
            show_grades([undo_override(book, _course(), folder, undo)])
        else:
            show_overrides([grade for grade in book.grades() if grade.overrides], book.log.numbers())


@app.command(epilog="Example:  grader export canvas graded --roster canvas-gradebook.csv --out import.csv")
def export(
    format_: Annotated[ExportFormat, typer.Argument(metavar="FORMAT", help="Where the grades go.")],
    folder: Annotated[Path | None, _FOLDER] = None,
    out: Annotated[Path | None, typer.Option(metavar="PATH", help="The file to write, or Gradescope's folder.")] = None,
    roster: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Canvas's or Moodle's own export: whose row is whose.")
    ] = None,
    exercise: Annotated[
        str | None, typer.Option(metavar="ID", help="Only this exercise; for gradescope-autograder, which one it is.")
    ] = None,
    sandbox: Annotated[Sandbox, typer.Option(help="For gradescope-autograder: what confines the code.")] = "bwrap",
    gradebook: Annotated[str | None, _GRADEBOOK] = None,
    by: Annotated[
        Literal["exercise", "part", "check"],
        typer.Option(help="For csv, canvas and moodle: a column for each of these."),
    ] = "exercise",
    run: Annotated[
        int | None, typer.Option(metavar="N", help="Only what this run had, as `grader runs` lists it.")
    ] = None,
) -> None:
    """Write the gradebook's grades, everybody's last, for another place; print them where there is no --out.

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
    with _gradebook(folder, gradebook) as book:
        grades = [grade for grade in book.grades(run) if exercise in (None, grade.exercise)]
        text, unknown = export_grades(format_, grades, roster, out, book.people.identities(), by)
    if text is not None:
        write_data(text)
    if unknown:
        named = ", ".join(map(repr, unknown))
        _warn(f"the roster has no row of their own, or several, for {named}.")
        raise typer.Exit(EXIT_UNGRADED)


def _export_autograder(exercise: str | None, sandbox: Sandbox, out: Path | None) -> None:
    from grader.cohort.gradescope import Settings, autograder_zip
    from grader.files import write_file

    if exercise is None or out is None:
        raise UsageError("Say which exercise the autograder is for and where it goes: --exercise ID --out FILE.zip.")
    write_file(out, autograder_zip(_course(), Settings(exercise=exercise, sandbox=sandbox)))


@app.command(epilog="Example:  grader new 08_my_layer")
def new(
    name: Annotated[str | None, typer.Argument(metavar="[NN_NAME]", help="The exercise's name: 08_my_layer.")] = None,
    course: Annotated[
        Path | None, typer.Option("--course", metavar="DIR", help="Make a course of your own, with one exercise.")
    ] = None,
) -> None:
    """Add an exercise that already grades to the course you are in: a solution notebook and its catalogue entry.

    With --course: make a course in a folder of its own. A file that is there already is left as it is.
    """
    from grader.authoring.scaffold import FIRST, new_course, new_exercise
    from grader.course.course import find_own_course
    from grader.reports.terminal import console

    kept: list[Path] = []
    if course is not None:
        made, kept = new_course(course, name if name is not None else FIRST)
    elif name is not None:
        made = new_exercise(find_own_course(Path.cwd()), name)
    else:
        raise UsageError("Say what to make: `grader new NN_name`, or `grader new --course DIR`.")
    for path in made:
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)
    for path in kept:
        console.print(f"kept {path}: it was there already", markup=False, highlight=False, soft_wrap=True)
    console.print("Next: `grader release` makes the blank, and `grader verify` checks the course.")


@app.command(epilog="Example:  grader release")
def release() -> None:
    """Make the blank exercises from the solutions, after a change to a solution or the catalogue."""
    from grader.authoring.release import released_text
    from grader.cli.show import working
    from grader.files import write_file
    from grader.reports.terminal import console

    course = _course()
    for spec in course.catalog.exercises:
        with working(f"releasing {spec.id}"):
            text = released_text(course, spec)
        path = course.notebook_path(spec.id)
        changed = not path.exists() or path.read_text(encoding="utf-8") != text
        if changed:
            write_file(path, text)
        console.print(f"{'wrote' if changed else 'unchanged'} {path}", markup=False, highlight=False, soft_wrap=True)


@app.command(epilog="Example:  grader verify")
def verify(
    kernel: Annotated[Kernel, typer.Option(help="Fork kernels from a warm template, or start new ones.")] = "snapshot",
    sandbox: Annotated[Sandbox, typer.Option(help="What confines the course's code.")] = "bwrap",
) -> None:
    """Let the course check itself: blanks score 0, solutions full marks, everything in step.

    Exit status: 0 all is well, 1 something is not.
    """
    from grader.authoring.verify import verify_course
    from grader.cli.show import working
    from grader.reports.terminal import console

    with working("verifying"):
        problems, facts = verify_course(_course(), kernel, sandbox)
    for line in (*facts, *problems):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if problems:
        raise typer.Exit(EXIT_NOT_RIGHT)


@app.command(epilog="Example:  grader doctor")
def doctor() -> None:
    """Say what sandbox this machine offers: each guarantee is tried, and held or not.

    Exit status: 0 all hold, 1 some don't.
    """
    from grader.cli.show import show_guarantees, working
    from grader.kernels.doctor import examine

    with working("trying each guarantee"):
        guarantees = examine()
    show_guarantees(guarantees)
    if not all(guarantee.held for guarantee in guarantees):
        raise typer.Exit(EXIT_NOT_RIGHT)


def _gradebook(folder: Path, url: str | None, *, make: bool = False) -> Gradebook:
    from grader.gradebook import Gradebook
    from grader.gradebook.place import gradebook_place, remember_place

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


def _course(beside: Path | None = None):  # type: ignore[no-untyped-def]  # noqa: ANN202  (Course is imported late)
    from grader.course.course import find_course

    return find_course(beside.absolute().parent if beside is not None else Path.cwd())


def _warn(said: str) -> None:
    from grader.safe_text import safe_text

    print(f"grader: {safe_text(said, 'terminal')}", file=sys.stderr)


def main() -> None:
    """Run the command; an error of ours is one sentence and an exit status, never a traceback."""
    make_output_safe()
    try:
        with naming_the_extra():
            app()
    except GraderError as error:
        _warn(str(error))
        sys.exit(EXIT_USAGE)


__all__ = ["UsageError", "app", "main"]
