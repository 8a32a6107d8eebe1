"""Renderers for the terminal: pure functions of records that print. Student text is never read as markup."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from grader.course.catalog import Catalog
from grader.records import Grade, Grading, Verdict, count_verdicts
from grader.reports.terminal import VERDICT_STYLES, console, error_console, printable, say, say_whole, show_grading
from grader.reports.verdict_text import changes
from grader.student.hints import NO_HINT, Hints
from grader.student.next_step import Standing
from grader.student.reset import part_names
from grader.wording import in_points

if TYPE_CHECKING:  # the gradebook imports SQLAlchemy
    from grader.gradebook.diff import Change
    from grader.gradebook.results import Run
    from grader.intake.explain_cells import CellSense
    from grader.kernels.doctor import Guarantee


BAR = 8
"""The width of a part's bar of progress, in columns."""


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
    with Progress(*columns, console=error_console, transient=True, auto_refresh=False) as progress:
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
    with Progress(*columns, console=error_console, transient=True, auto_refresh=False) as progress:
        task = progress.add_task("grading", total=total, rate="")
        progress.refresh()

        def done(grade: Grade) -> None:
            progress.advance(task)
            speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
            progress.update(task, rate=f"{speed:.1f}/s" if speed else "", refresh=True)

        yield done


def show_standings(found: Sequence[Standing], step: str) -> None:
    """The exercises with their parts, what passes of each in this workspace, and the next thing to do.

    A part has the name by which `grader reset` knows it.
    """
    names = part_names([standing.spec for standing in found])
    for standing in found:
        spec, checked = standing.spec, standing.checked
        console.print(f"[bold]{spec.id}[/bold]  {spec.title}, about {spec.minutes} minutes")
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for part in spec.parts:
            total = standing.counts[part.id]
            right = checked.right(part.id) if checked is not None else 0
            style = "green" if right == total else ""
            told = f"{_bar(right, total)} {right} of {total} right" if checked is not None else ""
            worth = f"{in_points(part.points)} points"
            table.add_row(Text(f"  {names[spec.id, part.id]}", "cyan"), part.title, worth, Text(told, style))
        console.print(table)
        if standing.notebook is not None:
            console.print(Text(f"    {_last_check(standing)}", style="dim"), soft_wrap=True)
    console.print(Text(step), soft_wrap=True)


def _bar(right: int, total: int) -> str:
    """How far a part is, as a bar that is full only where all is right."""
    full = BAR * right // max(total, 1)
    return "█" * full + "░" * (BAR - full)


def _last_check(standing: Standing) -> str:
    assert standing.notebook is not None
    name = printable(standing.notebook.name)
    if standing.checked is None:
        return f"{name}: not checked yet"
    when = time.strftime("%d %B, %H:%M", time.localtime(standing.checked.time)).lstrip("0")
    stale = "; it has changed since, so this may be out of date" if standing.stale else ""
    return f"{name}: checked on {when}{stale}"


def show_recheck(before: Grading | None, after: Grading, seconds: float, way_to_hints: str | None = None) -> None:
    """What a save changed since the grading before, then the new one; one line where nothing did."""
    line = Text(f"{time.strftime('%H:%M:%S')}  checked in {seconds:.2f} s", style="dim")
    if before is not None and before.grade.checks == after.grade.checks and before.grade.reason == after.grade.reason:
        console.print(line.append(f"  no verdict changed: {_score(after.grade)} points"))
        return
    console.print()
    console.print(line)
    show_grading(after, way_to_hints)
    if before is None or "ungradable" in (before.grade.status, after.grade.status):
        return
    right, wrong = changes(before.grade, after.grade)
    if right:
        console.print(Text(f"now right: {' '.join(right)}", style=VERDICT_STYLES[Verdict.EXACT]))
    if wrong:
        console.print(Text(f"no longer right: {' '.join(wrong)}", style=VERDICT_STYLES[Verdict.WRONG]))


def show_files(made: Sequence[Path], kept: Sequence[Path]) -> None:
    """Which files were written, and which were left because they were there already."""
    for path in made:
        say_whole(f"wrote {path}")
    for path in kept:
        say_whole(f"kept {path}: it already exists")


def show_understanding(cells: Sequence[CellSense]) -> None:
    """How each code cell of a notebook was understood, one row a cell."""
    table = Table(box=None, padding=(0, 2, 0, 0), title_justify="left")
    for title in ("cell", "begins", "understood as", "recognized by"):
        table.add_column(title, justify="right" if title == "cell" else "left")
    for cell in cells:
        table.add_row(
            str(cell.position), Text(printable(cell.beginning)), Text(printable(cell.meaning)), Text(cell.evidence)
        )
    console.print(table)


def show_hints(hints: Hints | None) -> None:
    """The hints that are open, or that there is none."""
    for line in hints.lines if hints is not None else [NO_HINT]:
        say(line, style="cyan")


def way_to_hints(notebook: Path) -> str:
    """The command that opens a hint for a notebook."""
    return f"grader check {shlex.quote(str(notebook))} --hint"


def show_next(catalog: Catalog, exercise: str) -> None:
    """After full marks: the exercise that comes next."""
    after = catalog.after(exercise)
    say(f"Next: {after}" if after is not None else "That was the last exercise.", style="cyan")


def show_cohort(grades: Sequence[Grade], folder: Path) -> None:
    """One line a submission for a small cohort, the sum, and where the report is."""
    if len(grades) <= 40:
        table = Table(box=None, padding=(0, 2))
        for title, justify in (("student", "left"), ("score", "right"), ("", "left")):
            table.add_column(title, justify=justify)  # type: ignore[arg-type]
        for grade in grades:
            table.add_row(Text(printable(grade.student)), _score(grade), Text(_summary(grade)))
        console.print(table)
    graded = sum(grade.status == "graded" for grade in grades)
    console.print(Text(f"{graded} graded, {len(grades) - graded} could not be graded."))
    say_whole(f"Report: {folder / 'index.html'}")


def _score(grade: Grade) -> str:
    return f"{in_points(grade.score)} / {in_points(grade.max_score)}"


def show_grades(grades: Sequence[Grade]) -> None:
    """A line for each of a student's grades, with what is said of its score."""
    for grade in grades:
        line = f"{grade.student} {grade.exercise}: {_score(grade)}, {_summary(grade)}"
        console.print(Text(printable(line)), soft_wrap=True)


def show_remarks(remarks: Sequence[str]) -> None:
    """What is to be said beside the results, on stderr."""
    for remark in remarks:
        error_console.print(Text(printable(f"grader: {remark}")), soft_wrap=True)


def show_without_submission(names: Sequence[str], excused: Collection[str]) -> None:
    """Who of the class list handed in nothing."""
    if names:
        told = ", ".join(f"{name} (excused)" if name in excused else name for name in names)
        console.print(Text(printable(f"{len(names)} of the roster handed in nothing: {told}.")), soft_wrap=True)


def _summary(grade: Grade) -> str:
    if grade.status == "ungradable":
        return f"could not be graded: {grade.reason}"
    counts = count_verdicts(grade.checks)
    right = counts[Verdict.EXACT] + counts[Verdict.APPROXIMATE]
    words = [f"{right} right"]
    words += [
        f"{counts[verdict]} {verdict}"
        for verdict in (Verdict.CARRIED, Verdict.WRONG, Verdict.MISSING, Verdict.UNCHECKED)
        if counts[verdict]
    ]
    begun = len(grade.checks) > counts[Verdict.MISSING] + counts[Verdict.UNCHECKED]
    first = grade.start if begun and grade.start is not None and grade.start.verdict is not Verdict.UNCHECKED else None
    reasons = grade.standing.reasons if grade.standing is not None else []
    said = ", ".join(words) + (f"; start at {first.name}" if first is not None else "")
    if flags := sorted({flag.code for flag in grade.flags if flag.code != "unchecked"}):
        said += f"; look at {', '.join(flags)}"
    return " ".join([f"{said}.", *reasons]) if reasons else said


def show_runs(runs: Sequence[Run]) -> None:
    """A line for each run."""
    for run in runs:
        started = run.started[:16].replace("T", " ")
        state = f"{run.results} results" + ("" if run.finished is not None else ", interrupted")
        line = f"{run.id}  {started} UTC  {state}  into {run.folder}  grader {run.grader_version}"
        console.print(Text(printable(line)), soft_wrap=True)


def show_changes(old: Run, new: Run, changes: Sequence[Change]) -> None:
    """Whose marks changed between two runs, why, and in which checks."""
    for change in changes:
        marks = f"{_mark(change.before)} → {_mark(change.after)}"
        who = f"{change.student} {change.exercise}: {marks}; {'; '.join(change.why)}"
        console.print(Text(printable(who), style="bold"), soft_wrap=True)
        for check in change.checks:
            points = f"{_mark(check.points_before)} → {_mark(check.points_after)}"
            words = (
                f"  {check.name} ({check.part}): {points}, {check.before or 'not there'} → {check.after or 'not there'}"
            )
            console.print(Text(words), soft_wrap=True)
    console.print(Text(f"Run {old.id} and run {new.id}: the marks of {len(changes)} submissions changed."))


def _mark(points: float | None) -> str:
    return "–" if points is None else in_points(points)


def show_override(grade: Grade, numbers: Mapping[tuple[str, str, str], int] | None = None) -> None:
    """What a submission is worth now, and what was set by hand, each with its number where it is known."""
    say(printable(f"{grade.student}, {grade.exercise}: {_score(grade)} points"))
    for override in grade.overrides:
        what = f"{override.name} ({override.part})" if override.name is not None else override.part or "the score"
        marks = f"{in_points(override.was)} → {in_points(override.points)}"
        number = (numbers or {}).get((grade.student, grade.exercise, override.at))
        said = f"{what}: {marks}, {override.at[:10]}, {override.reason}"
        say(printable(said if number is None else f"{number}. {said}"), "  ")


def show_overrides(grades: Sequence[Grade], numbers: Mapping[tuple[str, str, str], int]) -> None:
    """The submissions with marks set by hand; student, exercise and time of a mark → its number."""
    for grade in grades:
        show_override(grade, numbers)
    if not grades:
        say("No mark was set by hand.")


def show_guarantees(guarantees: Sequence[Guarantee]) -> None:
    """What the sandbox holds and what it doesn't, with what to do about it."""
    for guarantee in guarantees:
        sign, style = ("✓", "green") if guarantee.held else ("✗", "bold red")
        console.print(Text(f"{sign} {guarantee.name}: {guarantee.detail}", style=style), soft_wrap=True)
        if guarantee.advice is not None:
            console.print(Text(f"  {guarantee.advice}"), soft_wrap=True)
