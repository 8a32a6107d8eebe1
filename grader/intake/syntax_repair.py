"""A cell with a syntax error, without the statements that have it.

Jupyter runs nothing of such a cell. But a slip of the pen, or text that was pasted into it, says nothing of the other
gradients in it, so these are run. What a lost statement would have bound is set to None in its place, where the cell
uses it: a gradient must not be judged that is half done, nor one that is built on an older value.
"""

from __future__ import annotations

import io
import re
import tokenize

from grader.notebook.statements import Dissected, dissect
from grader.notebook.syntax import parse_plain, syntax_error
from grader.records import Record

MAX_LOST = 60
"""So many statements are left out of a cell at most."""
MAX_PARSED = 1_000_000
"""So many characters are parsed for a notebook's broken cells, which takes about a second: a cell is parsed anew for
every statement that is left out, several times, and there is no end to what may be pasted into one."""

_TARGETS = re.compile(r"^\s*([A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*)\s*,?\s*(?:\[[^=]*\])?\s*(?:[-+*/@]|\*\*|//)?=(?!=)")
_CONFLICT = re.compile(r"^(<<<<<<<|>>>>>>>) ", re.MULTILINE)
_DECORATED = re.compile(r"^\s*(@|(async\s+)?def\b|class\b)")
_HEADER = re.compile(r"^\s*(for|while|if|elif|else|with|def|class|try|except|finally)\b")


class Repaired(Record, frozen=True):
    """What is left of a cell, taken apart, and the lines (from 1) at which a statement was left out.

    With each line comes what Python says of it, if it does. `bound` are the names that the statements bind which are
    left.
    """

    dissected: Dissected
    lost: dict[int, str]
    bound: frozenset[str]


class Allowance:
    """What may still be parsed for a notebook's broken cells, in characters."""

    def __init__(self) -> None:
        self.left = MAX_PARSED

    def first_error(self, source: str) -> tuple[int, str] | None:
        """As `first_error`. Raises `_SpentError` where nothing is left."""
        self.left -= len(source)
        if self.left < 0:
            raise _SpentError
        return first_error(source)


class _SpentError(Exception):
    """The allowance is spent."""


def repair(source: str, allowance: Allowance) -> Repaired | None:
    """Leave the broken statements out; None where that can't be done, or where the cell holds git's conflict markers.

    Of two versions between such markers nobody can say which one is meant.
    """
    if _CONFLICT.search(source):
        return None
    try:
        return _repaired(source, allowance)
    except _SpentError:
        return None


def _repaired(source: str, allowance: Allowance) -> Repaired | None:
    lines = source.split("\n")
    lost: dict[int, list[str]] = {}
    says: dict[int, str] = {}
    while (error := allowance.first_error("\n".join(lines))) is not None:
        place, said = error
        first, last = _statement(lines, place)
        if len(lost) == MAX_LOST or first in lost:  # left out once, it has an error all the same
            return None
        if _HEADER.match(lines[first - 1]) and parse_plain(lines[first - 1].strip()) is None:
            last = _next_line(lines, last)  # what was meant to stand in the loop, and does not
        says[first] = said if first == place else ""
        lost[first] = [name for line in lines[first - 1 : last] for name in _bound(line)]
        lines = _without(lines, first, last, lost[first], allowance)
    if not lost:
        return None
    pieces = dissect("\n".join(lines)).pieces or []
    others = [piece for piece in pieces if piece.first not in lost]
    elsewhere = {name for piece in others for name in (*piece.binds, *piece.inner, *piece.reads)}
    for line, names in lost.items():
        text = lines[line - 1]
        if names and text.strip():
            kept = [name for name in names if name in elsewhere]
            lines[line - 1] = text[: len(text) - len(text.lstrip())] + _nothing(kept)
    bound = frozenset(name for piece in others for name in (*piece.binds, *piece.inner))
    return Repaired(dissect("\n".join(lines)), dict(sorted(says.items())), bound)


def first_error(source: str) -> tuple[int, str] | None:
    """The line (from 1) of a cell's first syntax error, and Python's words if they are about it; None for no error."""
    if dissect(source).pieces is not None:
        return None
    error = syntax_error(source)
    if error is None:
        return 1, ""
    lines = source.split("\n")
    header = re.search(r"expected an indented block after .* on line (\d+)", error.msg or "")
    line = min(max(1, int(header[1]) if header else error.lineno or 1), len(lines))
    above = next((number for number in range(line - 1, 0, -1) if lines[number - 1].strip()), line)
    if lines[above - 1].lstrip().startswith("@") and not _DECORATED.match(lines[line - 1]):
        return above, ""  # half of a product, `@ dlogits`: to Python it is a decorator of what stands below it
    return line, (error.msg or "").strip() if line == error.lineno else ""


def _statement(lines: list[str], line: int) -> tuple[int, int]:
    """The first and last line of the statement that a line is in, as far as its brackets tell."""
    start = 1
    try:
        for token in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline):
            at = token.start[0]
            if token.type == tokenize.NEWLINE:
                if at >= line:
                    return min(start, line), at
                start = at + 1
            elif token.type in (tokenize.NL, tokenize.COMMENT) and token.line.strip()[:1] in ("", "#") and at == start:
                start += 1
    except (tokenize.TokenError, SyntaxError):
        pass
    return line, line


def _next_line(lines: list[str], line: int) -> int:
    return next((number for number in range(line + 1, len(lines) + 1) if lines[number - 1].strip()), line)


def _without(lines: list[str], first: int, last: int, names: list[str], allowance: Allowance) -> list[str]:
    """The lines with a statement left out, in the way that leaves the next error furthest below it."""
    indent = lines[first - 1][: len(lines[first - 1]) - len(lines[first - 1].lstrip())]
    best, reached = lines, 0
    for text in dict.fromkeys((indent + _nothing(names), _nothing(names), "")):
        tried = [*lines[: first - 1], text, *[""] * (last - first), *lines[last:]]
        error = allowance.first_error("\n".join(tried))
        at = error[0] if error is not None else len(lines) + 1
        if at > reached:
            best, reached = tried, at
    return best if reached > first else [*lines[: first - 1], *[""] * (last - first + 1), *lines[last:]]


def _nothing(names: list[str]) -> str:
    return " = ".join([*dict.fromkeys(names), "None"]) if names else "pass"


def _bound(line: str) -> list[str]:
    """The names that a line binds or writes into, as far as its text tells."""
    found: list[str] = []
    for text in line.split(";"):
        while match := _TARGETS.match(text):
            found += re.findall(r"\w+", match[1])
            text = text[match.end() :]
    return found
