"""A grading for the terminal. Students' text is never read as markup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from grader.records import Check, Grading, Verdict
from grader.reports.verdict_text import GLYPHS, carried_by_reason, explain
from grader.safe_text import safe_text


class SafeConsole(Console):
    """A console that writes nothing that a terminal, or GitHub Actions in a log, would obey but rich's own styles."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does, with the text of each piece made safe."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=safe_text(segment.text, "terminal"))


console = SafeConsole()
error_console = SafeConsole(stderr=True)


VERDICT_STYLES = {
    Verdict.EXACT: "green",
    Verdict.APPROXIMATE: "green",
    Verdict.CARRIED: "yellow",
    Verdict.WRONG: "bold red",
    Verdict.MISSING: "dim",
    Verdict.UNCHECKED: "magenta",
}


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
        _show_checks(checks, _own_lines(grading, part.id))
    for flag in grade.flags:
        console.print(Text(f"! {flag.message}", style="magenta"))
    console.print()
    start = grade.start
    if start is not None and start.verdict is not Verdict.UNCHECKED:
        text = f"Start with {start.name}. Stuck? grader check {grade.exercise}.ipynb --hint opens a hint for it."
        console.print(Text(text, style="cyan"))
    console.print(Text(f"{grade.score:g} / {grade.max_score:g} points", style="bold"))


def _own_lines(grading: Grading, part: str) -> dict[str, str]:
    """Name → the student's line that binds it."""
    found = {}
    for evidence in grading.evidence:
        if evidence.part == part and evidence.cell is not None and evidence.line is not None:
            lines = grading.cells[evidence.cell].source.split("\n")
            found[evidence.name] = printable(lines[evidence.line - 1].strip()) if evidence.line <= len(lines) else ""
    return {name: line for name, line in found.items() if line}


def _show_checks(checks: Sequence[Check], own_lines: Mapping[str, str]) -> None:
    """What is right, what is carried and what is missing on a line each; between them, a line for each to fix."""
    right = [check.name for check in checks if check.verdict.is_right]
    missing = [check.name for check in checks if check.verdict is Verdict.MISSING and check.diagnosis is None]
    if right:
        console.print(Text(f"  {GLYPHS[Verdict.EXACT]} right: {' '.join(right)}", style=VERDICT_STYLES[Verdict.EXACT]))
    for check in checks:
        if check.verdict.is_right and check.remark is not None:
            console.print(Text(f"    {check.name}: {check.remark}", style="dim"))
        elif not check.verdict.is_right and check.verdict is not Verdict.CARRIED and check.name not in missing:
            console.print(Text(f"  {GLYPHS[check.verdict]} {explain(check)}", style=VERDICT_STYLES[check.verdict]))
            if check.verdict in (Verdict.WRONG, Verdict.MISSING) and check.name in own_lines:
                console.print(Text(f"      {own_lines[check.name]}", style="bold"))
    for why, names in carried_by_reason(checks).items():
        text = f"  {GLYPHS[Verdict.CARRIED]} carried: {' '.join(names)} ({why})"
        console.print(Text(text, style=VERDICT_STYLES[Verdict.CARRIED]))
    if missing:
        console.print(
            Text(f"  {GLYPHS[Verdict.MISSING]} missing: {' '.join(missing)}", style=VERDICT_STYLES[Verdict.MISSING])
        )


def printable(text: str) -> str:
    """A line of text without anything that a terminal would obey."""
    return safe_text(text, "line")
