"""Strangers' text, made safe for the place where it is shown: the end of every way out goes through `safe_text`."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Place = Literal["line", "terminal", "page", "csv", "xml"]

_UNSEEN = (
    "\x7f-\x9f"  # more control characters: a terminal obeys them, and text ends early at them
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # they reorder what stands around them: code reads as it doesn't run
    "\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2028\u2029\u2060-\u2065\u206a-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"  # nothing is seen of them, or a blank that is none
    "\ud800-\udfff"  # halves of surrogate pairs, which no file can hold
)
UNSEEN = re.compile(f"[\x00-\x1f{_UNSEEN}]")
"""A character that isn't seen, or that changes how others are seen: Unicode's Default_Ignorable_Code_Point and more."""

_KEPT = {"line": "", "terminal": "\t\n", "page": "\t\n", "csv": "", "xml": "\t\n\r"}
_CONTROLS = "".join(map(chr, range(0x20)))
_UNSEEN_IN = {
    place: re.compile(f"[{_CONTROLS.translate(dict.fromkeys(map(ord, kept)))}{_UNSEEN}]")
    for place, kept in _KEPT.items()
}
_PLAIN = bytes(range(0x20, 0x7F))
_JOINERS = "\u200c\u200d\ufe0e\ufe0f"
_FORMULA = re.compile(r"[=+\-@|%]|::|##\[")
_COMMAND = re.compile(r":(?=:)|##(?=\[)")
"""GitHub Actions obeys a line of any program's output that begins with `::` or `##[`."""


def safe_text(text: str, place: Place) -> str:
    """Text with everything that can't be seen spelt out, and nothing in it that its place would obey.

    `line` and `terminal` are for a terminal or a log, `page` for HTML that is escaped already, `csv` for a cell that a
    spreadsheet opens, `xml` for what an XML library escapes. A line and a cell have no line ends.
    """
    if not _is_plain(text, place):
        text = _UNSEEN_IN[place].sub(_spelt_out, text)
    if place == "csv":
        begins = unicodedata.normalize("NFKC", text.lstrip()[:3])
        return f"'{text}" if _FORMULA.match(begins) and text != "-" else text
    return _COMMAND.sub(r"\g<0> ", text) if place in ("line", "terminal") else text


def _is_plain(text: str, place: Place) -> bool:
    """Whether there is nothing to spell out; of a page, most of which is plain ASCII, the pattern would take longer."""
    rest = text.encode("utf-8", "surrogatepass").translate(None, _PLAIN).decode("utf-8", "surrogatepass")
    return _UNSEEN_IN[place].search(rest) is None


def _spelt_out(match: re.Match[str]) -> str:
    char = match[0]
    if char in _JOINERS and _joins(match.string, match.start()):
        return char
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)  # the control pictures: ␛ for an escape
    return "\ufffd" if 0xD800 <= code < 0xE000 else f"[U+{code:04X}]"


def _joins(text: str, place: int) -> bool:
    """Whether a joiner has something to do: in a sequence of emoji, or in a script that is written with it."""
    before = text[place - 1 : place]
    category = unicodedata.category(before) if before else ""
    if text[place] in "\u200c\u200d" and "\u0620" <= before <= "\u0dff":  # Arabic to Sinhala, as RFC 5892 has it
        return True
    return category in ("So", "Sk") or before in ("\ufe0f", "\u2194", "#", "*") or before.isdecimal()
