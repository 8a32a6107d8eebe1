"""What a student's commands print. Student text is never read as markup."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from grader.course.catalog import Catalog
from grader.records import Grading, Verdict
from grader.reports.terminal import VERDICT_STYLES, console, printable, say, show_grading
from grader.reports.verdict_text import changes
from grader.student.hints import NO_HINT, Hints
from grader.student.next_step import ExerciseStatus
from grader.wording import in_points, out_of

if TYPE_CHECKING:
    from grader.intake.explain_cells import CellSense

BAR = 8
"""The width of a part's bar of progress, in columns."""


def show_statuses(found: Sequence[ExerciseStatus], step: str) -> None:
    """The exercises with their parts, what passes of each in this workspace, and the next thing to do."""
    for status in found:
        spec, checked = status.spec, status.checked
        console.print(f"[bold]{spec.id}[/bold]  {spec.title}, about {spec.minutes} minutes")
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for part in spec.parts:
            total = status.counts[part.id]
            right = checked.right(part.id) if checked is not None else 0
            style = "green" if right == total else ""
            told = f"{_bar(right, total)} {right} of {total} right" if checked is not None else ""
            worth = f"{in_points(part.points)} points"
            table.add_row(Text(f"  {part.id}", "cyan"), part.title, worth, Text(told, style))
        console.print(table)
        if status.notebook is not None:
            console.print(Text(f"    {_last_check(status)}", style="dim"), soft_wrap=True)
    console.print(Text(step), soft_wrap=True)


def _bar(right: int, total: int) -> str:
    """How far a part is, as a bar that is full only where all is right."""
    full = BAR * right // max(total, 1)
    return "█" * full + "░" * (BAR - full)


def _last_check(status: ExerciseStatus) -> str:
    assert status.notebook is not None
    name = printable(status.notebook.name)
    if status.checked is None:
        return f"{name}: not checked yet"
    when = time.strftime("%d %B, %H:%M", time.localtime(status.checked.time)).lstrip("0")
    stale = "; it has changed since, so this may be out of date" if status.stale else ""
    return f"{name}: checked on {when}{stale}"


def show_recheck(before: Grading | None, after: Grading, seconds: float, way_to_hints: str | None = None) -> None:
    """What a save changed since the grading before, then the new one; one line where nothing did."""
    line = Text(f"{time.strftime('%H:%M:%S')}  checked in {seconds:.2f} s", style="dim")
    if before is not None and before.grade.checks == after.grade.checks and before.grade.reason == after.grade.reason:
        console.print(line.append(f"  no verdict changed: {out_of(after.grade.score, after.grade.max_score)} points"))
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


def check_command(notebook: Path) -> str:
    """The command that checks a notebook."""
    return f"grader check {shlex.quote(str(notebook))}"


def way_to_hints(notebook: Path) -> str:
    """The command that opens a hint for a notebook."""
    return f"{check_command(notebook)} --hint"


def show_next(catalog: Catalog, exercise: str) -> None:
    """After full marks: the exercise that comes next."""
    after = catalog.after(exercise)
    say(f"Next: {after}" if after is not None else "That was the last exercise.", style="cyan")
