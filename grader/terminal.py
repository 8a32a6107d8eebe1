"""Renderers for the terminal: pure functions of records that print. Student text is never read as markup."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from grader.catalog import Catalog
from grader.doctor import Guarantee
from grader.explain import GLYPHS, MEANINGS, explain
from grader.records import Check, Grade, Grading, Verdict

console = Console()
_errors = Console(stderr=True)

_STYLES = {
    Verdict.EXACT: "green",
    Verdict.APPROXIMATE: "green",
    Verdict.CARRIED: "yellow",
    Verdict.WRONG: "bold red",
    Verdict.MISSING: "dim",
    Verdict.UNCHECKED: "magenta",
}


@contextmanager
def working(what: str) -> Iterator[None]:
    """A spinner on stderr while something takes longer than a moment."""
    with _errors.status(what):
        yield


@contextmanager
def grading_progress(total: int) -> Iterator[Callable[[Grade], None]]:
    """A progress bar on stderr with rate and time left; call what it yields with each finished grade."""
    columns = (
        SpinnerColumn(),
        TextColumn("grading"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_errors, transient=True) as progress:
        task = progress.add_task("grading", total=total, rate="")

        def done(grade: Grade) -> None:
            progress.advance(task)
            speed = progress.tasks[0].finished_speed or progress.tasks[0].speed
            progress.update(task, rate=f"{speed:.1f}/s" if speed else "")

        yield done


def show_catalog(catalog: Catalog) -> None:
    """The exercises with their parts."""
    for spec in catalog.exercises:
        console.print(f"[bold]{spec.id}[/bold]  {spec.title}, about {spec.minutes} minutes")
        table = Table(box=None, pad_edge=True, padding=(0, 2), show_header=False)
        for part in spec.parts:
            table.add_row(f"  {part.title}", f"{part.points:g} points")
        console.print(table)


def show_grading(grading: Grading) -> None:
    """Every check of a notebook, part by part, and the sentences about what is not right."""
    grade = grading.grade
    for note in grading.notes:
        console.print(Text(note, style="dim"))
    if grade.status == "ungradable":
        console.print(Text(f"This notebook can't be graded. {grade.reason}", style="bold red"))
        return
    for part in grading.parts:
        checks = [check for check in grade.checks if check.part == part.id]
        points, maximum = sum(check.points for check in checks), sum(check.max_points for check in checks)
        console.print()
        console.print(Text(f"{part.title}   {points:g} / {maximum:g}", style="bold"))
        _show_checks(checks)
    for flag in grade.flags:
        console.print(Text(f"! {flag.message}", style="magenta"))
    console.print()
    mend = next((check for check in grade.checks if check.verdict in (Verdict.WRONG, Verdict.MISSING)), None)
    if mend is not None:
        text = f"Begin with {mend.name}. Stuck? grader check {grade.exercise}.ipynb --hint opens a hint for it."
        console.print(Text(text, style="cyan"))
    console.print(Text(f"{grade.score:g} / {grade.max_score:g} points", style="bold"))


def _show_checks(checks: Sequence[Check]) -> None:
    """What is right, what is carried and what is missing on a line each; between them, a line for each to mend."""
    right = [check.name for check in checks if check.verdict.is_right]
    carried = [check.name for check in checks if check.verdict is Verdict.CARRIED and check.remark is None]
    missing = [check.name for check in checks if check.verdict is Verdict.MISSING and check.diagnosis is None]
    if right:
        console.print(Text(f"  {GLYPHS[Verdict.EXACT]} right: {' '.join(right)}", style=_STYLES[Verdict.EXACT]))
    for check in checks:
        if check.verdict.is_right and check.remark is not None:
            console.print(Text(f"    {check.name}: {check.remark}", style="dim"))
        elif not check.verdict.is_right and check.name not in (*carried, *missing):
            console.print(Text(f"  {GLYPHS[check.verdict]} {explain(check)}", style=_STYLES[check.verdict]))
    if carried:
        text = f"  {GLYPHS[Verdict.CARRIED]} carried: {' '.join(carried)} ({MEANINGS[Verdict.CARRIED]})"
        console.print(Text(text, style=_STYLES[Verdict.CARRIED]))
    if missing:
        console.print(Text(f"  {GLYPHS[Verdict.MISSING]} missing: {' '.join(missing)}", style=_STYLES[Verdict.MISSING]))


def show_hint(hint: str | None) -> None:
    """A hint, or that there is none left."""
    console.print(Text(hint or "There is no further hint for what is left.", style="cyan"))


def show_cohort(grades: Sequence[Grade], folder: Path) -> None:
    """One line a submission for a small cohort, the sum, and where the report is."""
    if len(grades) <= 40:
        table = Table(box=None, padding=(0, 2))
        for title, justify in (("student", "left"), ("score", "right"), ("", "left")):
            table.add_column(title, justify=justify)  # type: ignore[arg-type]
        for grade in grades:
            table.add_row(
                Text(printable(grade.student)), f"{grade.score:g} / {grade.max_score:g}", Text(_summary(grade))
            )
        console.print(table)
    graded = sum(grade.status == "graded" for grade in grades)
    console.print(Text(f"{graded} graded, {len(grades) - graded} could not be graded."))
    console.print(f"Report: {folder / 'index.html'}", markup=False, highlight=False, soft_wrap=True)


def _summary(grade: Grade) -> str:
    if grade.status == "ungradable":
        return f"could not be graded: {grade.reason}"
    counts = {verdict: sum(check.verdict is verdict for check in grade.checks) for verdict in Verdict}
    right = counts[Verdict.EXACT] + counts[Verdict.APPROXIMATE]
    words = [f"{right} right"]
    words += [
        f"{counts[verdict]} {verdict}"
        for verdict in (Verdict.CARRIED, Verdict.WRONG, Verdict.MISSING, Verdict.UNCHECKED)
        if counts[verdict]
    ]
    first = next((check for check in grade.checks if check.verdict is Verdict.WRONG), None)
    return ", ".join(words) + (f"; start at {first.name}" if first is not None else "")


def show_guarantees(guarantees: Sequence[Guarantee]) -> None:
    """What the sandbox holds and what it doesn't, with what to do about it."""
    for guarantee in guarantees:
        sign, style = ("✓", "green") if guarantee.held else ("✗", "bold red")
        console.print(Text(f"{sign} {guarantee.name}: {guarantee.detail}", style=style), soft_wrap=True)
        if guarantee.advice is not None:
            console.print(Text(f"  {guarantee.advice}"), soft_wrap=True)


def printable(text: str) -> str:
    """Text without anything that a terminal would obey."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
