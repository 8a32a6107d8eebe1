"""The names that platforms give to files and folders, and whose each says that it is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from grader.files import as_text
from grader.intake.handed_in.arrived import is_zip
from grader.intake.handed_in.names import composed, taken_apart
from grader.intake.handed_in.owners import Identity, Owner

_CANVAS = re.compile(r"(?P<name>[^/]+?)(?P<late>_LATE)?_(?P<id>\d+)_(?P<file>\d+)_(?P<rest>.+)", re.DOTALL)
_MOODLE = re.compile(
    r"(?P<folder>(?P<name>.+?)_(?P<id>\d+)_assignsubmission_(?:file|onlinetext))(?:_(?P<rest>.*))?", re.DOTALL
)
_BLACKBOARD = re.compile(
    r"(?P<work>.+?)_(?P<name>[^_]+)_attempt_(?P<time>\d{4}(?:-\d{2}){5})(?:_(?P<rest>.+)|\.\w+)", re.DOTALL
)
_REPOSITORIES = re.compile(r"\d|hw|homework|assignment|exercise|exercice|aufgabe|lab|project|week|task|pset", re.I)


def named(name: str, root: str, ids: Sequence[str]) -> tuple[Owner, str | None, int | None]:
    """Whose a loose file is; a platform's name of the file without what the platform put before it, and its number."""
    if match := moodle(name):
        return moodle_owner(match), match["rest"] or name, None
    if match := canvas(name):
        identity = Identity("canvas", match["id"])
        owner = Owner(composed(as_text(match["name"])), [identity], late=match["late"] is not None)
        return owner, match["rest"], int(match["file"])
    if match := blackboard(name):
        ending = Path(name).suffix
        return (
            Owner(composed(as_text(match["name"]))),
            match["rest"] or f"{match['work']}{ending}",
            int(match["time"].replace("-", "")),
        )
    read = taken_apart(name, ids)
    said = [f"{as_text(name)!r} was taken to be from {as_text(read.rest)!r}"] if read.copy and read.rest else []
    return Owner(composed(as_text(read.rest or root or name)), remarks=said), None, None


def moodle(name: str) -> re.Match[str] | None:
    """A name as Moodle gives it to a folder, or to a file with the file's own name behind (`rest`)."""
    return _MOODLE.fullmatch(name)


def blackboard(name: str) -> re.Match[str] | None:
    """A file's name as Blackboard gives it."""
    return _BLACKBOARD.fullmatch(name)


def canvas(name: str) -> re.Match[str] | None:
    """A name as Canvas gives it; numbers of a digit or two are more likely a student's own."""
    match = _CANVAS.fullmatch(name)
    return match if match is not None and len(match["id"] + match["file"]) > 4 else None


def moodle_owner(match: re.Match[str]) -> Owner:
    """Whose a name of Moodle's is."""
    return Owner(composed(as_text(match["name"])), [Identity("moodle", match["id"])])


def bare(name: str) -> str:
    """A zip's name without its ending; any other as it is."""
    return name[:-4] if is_zip(name) else name


def repositories(folders: Iterable[str]) -> tuple[str, str]:
    """What the names of students' repositories begin and end with, beside the student: `hw1-`, and `-main`.

    A common beginning alone may be chance (`ann-lee` and `ann-ray`), so it must look like the name of an assignment.
    """
    names = [composed(name) for name in folders if not is_zip(name)] or [composed(bare(name)) for name in folders]
    if len(names) < 2:
        return "", ""
    common = os.path.commonprefix(names)  # noqa: RUF071  (of characters, not of folders)
    before = common[: common.rfind("-") + 1]
    behind = next((end for end in ("-main", "-master") if all(name.endswith(end) for name in names)), "")
    left = [name[len(before) : len(name) - len(behind)] for name in names]
    return (before, behind) if before and _REPOSITORIES.search(before) and all(left) else ("", "")
