"""File names taken apart: the exercise, the marks of copies, endings that were added, and what is left, the student."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from grader.records import Record

_COPIES_BEHIND = (
    r"[-_ .]*\(\d{1,3}\)",  # a browser's second download
    r"[-_ ]+copy[-_ ]*\d{0,3}",  # Jupyter's, macOS's and Windows's copies
    r"[-_ ]+(?:kopie|copie|copia|kopia)(?:[-_ ]*\d{1,3})?",
    r"[-_ ]+(?:final|finished|done|submission|submit|abgabe|fertig)[-_ ]*\d{0,2}",
    r"[-_ ]+v(?:ersion)?[-_ ]?\d{1,2}",
    r"[-_ ]+checkpoint",
    r"\.before-reset-\d+",  # what `grader reset` keeps
)
_COPY_BEHIND = re.compile(rf"(?:{'|'.join(_COPIES_BEHIND)})$", re.IGNORECASE)
_COPY_BEFORE = re.compile(r"^(?:copy(?: \(\d+\))? of|kopie von|copie de|copia de|kopia)[ _-]+", re.IGNORECASE)
_NUMBERED = re.compile(r"-?(\d{1,3})$")
"""Canvas's number behind the name of a file that was handed in again."""
_ENDING = re.compile(
    r"\.ipynb(?:(?:[-_ .]*\(\d+\))?\.(?:txt|json|download|bak))*$|\.(?:py|zip|txt|json)$", re.IGNORECASE
)
_DOCUMENT = re.compile(
    r"\.(?:pdf|html?|docx?|odt|rtf|pages|rar|7z|tar|tgz|(?:tar\.)?gz|png|jpe?g|heic)$", re.IGNORECASE
)
"""What somebody may hand in in place of a notebook."""
_DISGUISED = re.compile(r"\.ipynb(?:[-_ .]*\(\d+\))?(?:\.(?:txt|json|download|bak))+$", re.IGNORECASE)


class FileName(Record, frozen=True):
    """A file's name, taken apart.

    `exercise` is the one that it names, `rest` what is left: the student, where the name says it, else empty.
    `copy` tells that it was marked as a copy, `again` is Canvas's number of the resubmission.
    """

    rest: str
    exercise: str | None
    copy: bool
    again: int


def is_disguised(name: str) -> bool:
    """Whether a notebook was given another ending behind its own: `x.ipynb.txt`."""
    return _DISGUISED.search(name) is not None


def is_script(name: str) -> bool:
    """Whether a file is Python by its name."""
    return name.lower().endswith(".py")


def is_document(name: str) -> bool:
    """Whether a file is, by its name, what somebody may hand in by mistake: a print, a picture, another archive."""
    return _DOCUMENT.search(name) is not None


def stem_of(name: str) -> str:
    """A file's name without the endings that notebooks, and what is handed in in their place, come with."""
    return _ENDING.sub("", _DOCUMENT.sub("", name))


def taken_apart(name: str, ids: Sequence[str]) -> FileName:
    """The exercise, the marks of a copy, and what is left of a file's name."""
    stem = composed(stem_of(name))
    if stem in ids:
        return FileName("", stem, copy=False, again=0)
    again = _NUMBERED.search(stem)
    if again is not None and (found := _called(stem[: again.start()], ids)) is not None and not found[0]:
        return FileName("", found[1], copy=False, again=int(again[1]))
    bare, copy = _without_copies(stem)
    rest, exercise = _called(bare, ids) or (bare, None)
    rest, more = _without_copies(rest) if exercise is not None else (rest, False)
    return FileName(rest, exercise, copy=copy or more, again=0)


def _without_copies(stem: str) -> tuple[str, bool]:
    """A name without the marks of copies, as long as something is left of it; and whether it had any."""
    bare = stem
    while True:
        shorter = _COPY_BEFORE.sub("", _COPY_BEHIND.sub("", bare))
        if shorter in ("", bare):
            return bare, bare != stem
        bare = shorter


def _called(stem: str, ids: Sequence[str]) -> tuple[str, str] | None:
    """What is left of a name beside an exercise's, and the exercise; None where it names none.

    The exercise's name stands before the student's or behind it, in any case and with any separators.
    """
    for id_ in sorted(ids, key=len, reverse=True):
        pattern = r"[-_ .]+".join(map(re.escape, re.split(r"[-_ .]+", id_)))
        match = re.fullmatch(
            rf"(?:{pattern}(?:[-_ .]+(?P<behind>.+))?|(?P<before>.+?)[-_ .]+{pattern})", stem, re.I | re.S
        )
        if match is not None:
            return match["behind"] or match["before"] or "", id_
    return None


def composed(name: str) -> str:
    """A name in composed letters: macOS hands out `é` as two characters, all others as one."""
    return unicodedata.normalize("NFC", name)


def loose(name: str) -> str:
    """A name for comparing: letters and digits alone, composed, whatever their case."""
    return "".join(char for char in composed(name).casefold() if char.isalnum())
