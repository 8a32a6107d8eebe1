"""What GitHub Actions shows of a run: a job summary in Markdown, and annotations at the students' own lines."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from grader.records import Check, Grade, Grading, Record, Verdict, count_verdicts
from grader.reports.verdict_text import GLYPHS, explain
from grader.safe_text import safe_text
from grader.wording import out_of

MAX_SUMMARY = 1 << 20
"""GitHub's limit on a step's summary, in bytes."""
MAX_ANNOTATIONS = 10
"""Of one kind in one step: GitHub drops what comes after."""
_CUT = "\n\n*Cut here: GitHub shows no more than 1 MiB. The reports have everything.*\n"


class Annotation(Record, frozen=True):
    """A message at a line of a file. `kind` is `error` or `warning`; `line` is 1-based, in the notebook's JSON."""

    kind: str
    file: str
    line: int
    title: str
    message: str

    @property
    def command(self) -> str:
        """The workflow command that makes it."""
        properties = {"file": self.file, "line": str(self.line), "title": self.title}
        listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
        return f"::{self.kind} {listed}::{_data(self.message)}"


def annotations_for(grading: Grading, file: str, text: str) -> list[Annotation]:
    """What to fix, at the student's lines: wrong and missing are errors, what could not be checked is a warning.

    Args:
        grading: the result.
        file: the notebook's path as the repository has it.
        text: the notebook's JSON.
    """
    grade = grading.grade
    if grade.status == "ungradable":
        return [Annotation("error", file, 1, f"{grade.exercise} can't be graded", grade.reason or "")]
    places = {(found.part, found.name): (found.cell, found.line) for found in grading.evidence}
    kinds = {Verdict.WRONG: "error", Verdict.MISSING: "error", Verdict.UNCHECKED: "warning"}
    found = []
    for check in grade.checks:
        if check.verdict in kinds:
            cell, line = places.get((check.part, check.name), (None, None))
            source = grading.cells[cell].source if cell is not None else ""
            title = f"{check.name} is {check.verdict}"
            found.append(Annotation(kinds[check.verdict], file, line_in(text, source, line), title, explain(check)))
    return found


def first_of_each_kind(found: Iterable[Annotation]) -> list[Annotation]:
    """As many as GitHub shows."""
    kept: dict[str, list[Annotation]] = {}
    for one in found:
        kept.setdefault(one.kind, []).append(one)
    return [one for many in kept.values() for one in many[:MAX_ANNOTATIONS]]


def line_in(text: str, source: str, line: int | None) -> int:
    """The 1-based line of a notebook's JSON that holds line `line` of a cell's source; 1 where it isn't found."""
    rows = source.splitlines()
    for ascii_only in (False, True) if rows else ():
        wanted = _joined([json.dumps(row, ensure_ascii=ascii_only)[1:-1] for row in rows])
        if (place := _strings(text).find(wanted)) >= 0:
            return _strings(text).count("\n", 0, place + 1) + (line or 1) - 1
        whole = json.dumps("\n".join(rows), ensure_ascii=ascii_only)[1:-1]
        if len(rows) > 1 and (place := text.find(whole)) >= 0:  # all of the cell in one row
            return len(text[: place + 1].splitlines())
    return 1


@functools.lru_cache(maxsize=2)
def _strings(text: str) -> str:
    """The rows of a notebook's JSON, each as the source line that it holds, between line ends."""
    rows = (_ROW.fullmatch(row) for row in text.splitlines())
    return _joined([row[1] if row is not None else "\\" for row in rows])


def _joined(lines: Sequence[str]) -> str:
    return "\n" + "".join(f"{line}\n" for line in lines)


_ROW = re.compile(r'\s*(?:"source": ?(?:\[\s*)?)?"(.*?)(?:\\r)?(?:\\n)?"\]?,?\s*')


# --- the job summary ------------------------------------------------------------------------------------------------


def job_summary(grades: Sequence[Grade], titles: Mapping[str, str] | None = None) -> str:
    """Markdown for `$GITHUB_STEP_SUMMARY`: a table of the submissions, and for each what is left to fix.

    `titles` are those of the exercises, by id, and of their parts, by `exercise/part`.
    """
    known = titles if titles is not None else {}
    lines = ["## Gradients", "", "| student | exercise | score | |", "|---|---|---:|---|"]
    for grade in grades:
        score = "–" if grade.status == "ungradable" else out_of(grade.score, grade.max_score)
        exercise = _cell(known.get(grade.exercise, grade.exercise))
        lines.append(f"| {_cell(grade.student)} | {exercise} | {score} | {_cell(_in_short(grade))} |")
    for grade in grades:
        left = [check for check in grade.checks if not check.verdict.is_right]
        if left:
            lines += [
                "",
                f"### {_escaped(grade.student)}: {_escaped(known.get(grade.exercise, grade.exercise))}",
                "",
                "| | gradient | |",
                "|---|---|---|",
            ]
            lines += [_row(check, known.get(f"{grade.exercise}/{check.part}", check.part)) for check in left]
    return _cut("\n".join(lines) + "\n")


def _in_short(grade: Grade) -> str:
    if grade.status == "ungradable":
        return f"could not be graded: {grade.reason}"
    return ", ".join(f"{count} {verdict}" for verdict, count in count_verdicts(grade.checks).items() if count)


def _row(check: Check, part: str) -> str:
    return f"| {GLYPHS[check.verdict]} | {_cell(f'`{check.name}`')} ({_cell(part)}) | {_cell(explain(check))} |"


def _cell(text: str) -> str:
    return _escaped(" ".join(text.split()))


_CODE = re.compile(r"(?<!`)(`[^`\n]+`)(?!`)")


def _escaped(text: str) -> str:
    """Text that Markdown and the HTML in it show as it is.

    What stands between two backticks stays code, in which nothing but a table's bar needs an escape.
    """
    pieces = _CODE.split(safe_text(text, "line"))  # plain text and code by turns
    return "".join(piece.replace("|", r"\|") if number % 2 else _plain(piece) for number, piece in enumerate(pieces))


def _plain(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\*_\[\]|#~!@`])", r"\\\1", text)


def _cut(text: str) -> str:
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_SUMMARY:
        return data.decode()
    head = data[: MAX_SUMMARY - len(_CUT.encode())].decode("utf-8", "ignore")
    return head[: head.rfind("\n")] + _CUT


def _data(text: str) -> str:
    """A message, escaped as workflow commands need it."""
    return safe_text(text, "page").replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


# --- a run on GitHub Actions ----------------------------------------------------------------------------------------


def report_run(
    gradings: Iterable[Grading], paths: Mapping[tuple[str, str], str], environment: Mapping[str, str]
) -> list[str]:
    """Add to the job's summary and give the lines to print for annotations; nothing on other machines.

    Args:
        gradings: the gradebook's.
        paths: student and exercise → the notebook's path, for those that this job graded: only they are shown.
        environment: the process's environment variables, of which GitHub sets some.
    """
    if environment.get("GITHUB_ACTIONS") != "true":
        return []
    workspace = Path(environment.get("GITHUB_WORKSPACE", "."))
    found: list[Annotation] = []
    grades = []
    titles: dict[str, str] = {}
    for grading in gradings:
        path = paths.get((grading.grade.student, grading.grade.exercise))
        if path is not None:
            grades.append(grading.grade)
            titles |= {f"{grading.grade.exercise}/{part.id}": part.title for part in grading.parts}
            titles |= {grading.grade.exercise: grading.title} if grading.parts else {}
            found = first_of_each_kind([*found, *annotations_for(grading, _below(path, workspace), _text(path))])
    if summary := environment.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(job_summary(grades, titles))
    return [one.command for one in found]


def _below(path: str, workspace: Path) -> str:
    """A path as GitHub wants it: from the repository's top."""
    absolute = Path(path).resolve()
    top = workspace.resolve()
    return absolute.relative_to(top).as_posix() if absolute.is_relative_to(top) else absolute.as_posix()


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
