"""A grading for the terminal. Students' text is never read as markup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from grader.records import Check, Grading, Verdict
from grader.reports.cell_names import line_name
from grader.reports.verdict_text import GLYPHS, carried_by_reason, explain, missing_by_reason
from grader.safe_text import safe_text
from grader.wording import out_of


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


def show_grading(grading: Grading, way_to_hints: str | None = None) -> None:
    """Every check of a notebook, part by part, and the sentences about what is not right.

    Args:
        grading: what is shown.
        way_to_hints: what opens a hint, in the words of whoever asked: `%hint`, or a command.
    """
    grade = grading.grade
    for note in grading.notes:
        say(note, style="dim")
    if grade.status == "ungradable":
        say(f"This notebook can't be graded. {grade.reason}", style="bold red")
        return
    for part in grading.parts:
        checks = [check for check in grade.checks if check.part == part.id]
        points, maximum = sum(check.points for check in checks), sum(check.max_points for check in checks)
        console.print()
        say(f"{part.title}   {out_of(points, maximum)}", style="bold")
        _show_checks(checks, _own_lines(grading, part.id))
    for flag in grade.flags:
        say(flag.message, "! ", style="magenta")
    console.print()
    start = grade.start
    if start is not None and start.verdict is not Verdict.UNCHECKED:
        stuck = f" Stuck? For a hint: {printable(way_to_hints)}" if way_to_hints is not None else ""
        say(f"Start with {start.name}.{stuck}", style="cyan")
    say(f"{out_of(grade.score, grade.max_score)} points", style="bold")


def say_whole(text: str) -> None:
    """A line as it is, never broken: it holds a path or an address that somebody may copy."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def say(text: str, sign: str = "", *, style: str = "") -> None:
    """A sentence, broken between words only, whose further lines stand below the first one's text."""
    indent = cell_len(sign)
    for number, line in enumerate(Text(text, style).wrap(console, max(console.width - indent, 20))):
        line.rstrip()
        console.print(Text(" " * indent if number else sign, style) + line, no_wrap=True, crop=False)


def _own_lines(grading: Grading, part: str) -> dict[str, str]:
    """Name → the student's line that binds it, and where it stands."""
    found = {}
    for evidence in grading.evidence:
        if evidence.part == part and evidence.cell is not None and evidence.line is not None:
            lines = grading.cells[evidence.cell].source.split("\n")
            line = printable(lines[evidence.line - 1].strip()) if evidence.line <= len(lines) else ""
            if line:
                found[evidence.name] = f"{line_name(grading.cells, evidence.cell, evidence.line)}:  {line}"
    return found


def _show_checks(checks: Sequence[Check], own_lines: Mapping[str, str]) -> None:
    """What is right, what is carried and what is missing on a line each; between them, a line for each to fix."""
    right = [check.name for check in checks if check.verdict.is_right]
    missing = [check.name for check in checks if check.verdict is Verdict.MISSING and check.diagnosis is None]
    if right:
        _show(Verdict.EXACT, f"right: {' '.join(right)}")
    for remark in dict.fromkeys(check.remark for check in checks if check.verdict.is_right and check.remark):
        names = [check.name for check in checks if check.verdict.is_right and check.remark == remark]
        say(f"{', '.join(names)}: {remark}", " " * 4, style="dim")
    for check in checks:
        if not check.verdict.is_right and check.verdict is not Verdict.CARRIED and check.name not in missing:
            _show(check.verdict, explain(check))
            if check.verdict in (Verdict.WRONG, Verdict.MISSING) and check.name in own_lines:
                say(own_lines[check.name], " " * 6, style="bold")
    for why, names in carried_by_reason(checks).items():
        _show(Verdict.CARRIED, f"carried: {' '.join(names)} ({why})")
    for why, names in missing_by_reason(checks).items():
        _show(Verdict.MISSING, f"missing: {' '.join(names)}{f' ({why})' if why else ''}")


def _show(verdict: Verdict, text: str) -> None:
    say(text, f"  {GLYPHS[verdict]} ", style=VERDICT_STYLES[verdict])


def printable(text: str) -> str:
    """A line of text without anything that a terminal would obey."""
    return safe_text(text, "line")
