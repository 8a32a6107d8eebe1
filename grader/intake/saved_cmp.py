"""The `cmp` lines that a notebook came with, and how our verdicts go together with them.

A line says what the student saw, in some run of theirs. A verdict that says otherwise must say why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec
from nbformat import NotebookNode

from grader.intake.matching import CellReading
from grader.intake.release_index import Released
from grader.notebook.gradient_names import gradient_of
from grader.records import VISIBLE, Check, CmpLine, Record, Verdict

MAX_LINES = 4_000
"""Lines of one notebook's outputs that are read."""

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LINE = re.compile(
    r"^\W*?(?P<name>\([\d, ]+\)|\w+)\W.*?\bexact\w*\W+(?P<exact>True|False)\b"
    r".*?\bapprox\w*\W+(?P<approximate>True|False)\b(?:.*?max\w*\W*?(?P<maxdiff>[-+\d.eE]+|nan|inf)\s*$)?"
)


class SavedCmp(Record, frozen=True):
    """The last line that a notebook has saved for a gradient of a part."""

    part: str
    name: str
    approximate: bool


def saved_lines(cells: Sequence[NotebookNode], readings: Sequence[CellReading], known: Released) -> list[SavedCmp]:
    """The last saved line of each gradient, by part.

    A line belongs to the part that its cell has gradients of, or that its cell stands in; where a cell has gradients of
    several, their lines follow one another in the parts' order.
    """
    found: dict[tuple[str, str], SavedCmp] = {}
    part: str | None = None
    for reading in readings:
        parts = list(dict.fromkeys(each.part for each in reading.readings if each.part is not None))
        here = known.cells[reading.match].part if reading.match is not None else None
        part = parts[0] if parts else here if here is not None and reading.how != "names" else part
        lines = list(_lines(cells[reading.position - 1]))
        places = parts or ([part] if part is not None else [])
        for name, approximate in _named(lines, places, known):
            candidates = [each for each in places if name in known.gradients[each]]
            if not candidates:
                continue
            earlier = [each for each, _ in found if each in candidates and (each, name) in found]
            fresh = [each for each in candidates if each not in earlier]
            chosen = fresh[0] if len(candidates) > 1 and fresh else candidates[-1]
            found.pop((chosen, name), None)
            found[chosen, name] = SavedCmp(chosen, name, approximate)
        part = parts[-1] if parts else part
    return list(found.values())


def _lines(node: NotebookNode) -> Iterator[tuple[str, bool]]:
    for output in node.get("outputs", []):
        text = output.get("text") if output.get("output_type") == "stream" else None
        if isinstance(text, list):
            text = "".join(line for line in text if isinstance(line, str))
        if not isinstance(text, str):
            continue
        for line in text.split("\n")[:MAX_LINES]:
            match = _LINE.match(_ANSI.sub("", line[:400]))
            if match:
                yield match["name"], match["approximate"] == "True"


def _named(lines: Sequence[tuple[str, bool]], parts: Sequence[str], known: Released) -> Iterator[tuple[str, bool]]:
    """Gradient and word of each line; lines that are headed by shapes are those of the parameters, in their order."""
    shapes = [line for line in lines if line[0].startswith("(")]
    for part in parts:
        values = known.values[part]
        if values and len(shapes) == len(values):
            yield from ((gradient_of(name), line[1]) for name, line in zip(values, shapes, strict=True))
    for name, approximate in lines:
        for each in (gradient_of(name), name):
            if each in known.names:
                yield each, approximate
                break


def with_saved(check: Check, saved: Sequence[SavedCmp], now: CmpLine | None) -> Check:
    """The check, with a remark where the notebook's own saved `cmp` line says otherwise.

    Args:
        check: our verdict.
        saved: the lines that the notebook came with.
        now: what `cmp` says of the same gradient in our run of the visible case.
    """
    line = next((each for each in saved if (each.part, each.name) == (check.part, check.name)), None)
    if line is None or line.approximate == check.verdict.is_right or check.verdict is Verdict.UNCHECKED:
        return check
    text = f"The saved cmp line says approximate: {line.approximate}. {_why(check, line, now)}"
    return msgspec.structs.replace(check, remark=f"{check.remark} {text}" if check.remark else text)


def _why(check: Check, line: SavedCmp, now: CmpLine | None) -> str:
    if now is None:
        return (
            "Run again from the top, the notebook doesn't get to this gradient: the output is from an older cell, "
            "or from cells run in a different order."
            if check.shape is None
            else "Its shape can't be compared with its tensor's in the exercise's own forward pass."
        )
    if now.approximate != line.approximate:
        return (
            "Run again on the exercise's forward pass, cmp disagrees: the output is older than the cell, the cells "
            "were run in a different order, or it depends on different sizes or a different forward pass."
        )
    if check.verdict.is_right:
        return "That is float32 rounding, and in float64 it is right."
    if _broadcasts(check):
        return "cmp lets shapes broadcast; a gradient has its tensor's own shape."
    if check.case != VISIBLE:
        return f"cmp sees only one size and one seed; the case {check.case} has different ones, and it is wrong there."
    return "The difference is too small to show in float32, but it does in float64."


def _broadcasts(check: Check) -> bool:
    """Whether its shape is another than its tensor's, and can be compared with that all the same."""
    if check.shape is None or check.expected_shape is None or check.shape == check.expected_shape:
        return False
    pairs = zip(reversed(check.shape), reversed(check.expected_shape), strict=False)
    return all(size == other or 1 in (size, other) for size, other in pairs)
