"""What the commands about a class print. Student text is never read as markup."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from grader.records import Grade, Verdict, count_verdicts
from grader.reports.terminal import console, error_console, printable, say, say_whole
from grader.wording import in_points, out_of

if TYPE_CHECKING:  # the gradebook imports SQLAlchemy
    from grader.gradebook.diff import Change
    from grader.gradebook.results import Run


def show_cohort(grades: Sequence[Grade], folder: Path) -> None:
    """One line a submission for a small cohort, the sum, and where the report is."""
    if len(grades) <= 40:
        table = Table(box=None, padding=(0, 2))
        for title, justify in (("student", "left"), ("score", "right"), ("", "left")):
            table.add_column(title, justify=justify)  # type: ignore[arg-type]
        for grade in grades:
            table.add_row(Text(printable(grade.student)), out_of(grade.score, grade.max_score), Text(_summary(grade)))
        console.print(table)
    graded = sum(grade.status == "graded" for grade in grades)
    console.print(Text(f"{graded} graded, {len(grades) - graded} could not be graded."))
    say_whole(f"Report: {folder / 'index.html'}")


def show_grades(grades: Sequence[Grade]) -> None:
    """A line for each of a student's grades, with what is said of its score."""
    for grade in grades:
        line = f"{grade.student} {grade.exercise}: {out_of(grade.score, grade.max_score)}, {_summary(grade)}"
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
    say(printable(f"{grade.student}, {grade.exercise}: {out_of(grade.score, grade.max_score)} points"))
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
