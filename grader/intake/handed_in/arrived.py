"""A file that came with a download: its way below the folder or zip in which the search began, and what it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from grader.files import as_text
from grader.records import Record

MAX_DEPTH = 12
"""Folders in folders, zips included, that are searched."""
_JUNK = {"__macosx", "__pycache__", "node_modules", "site-packages", "thumbs.db", "desktop.ini"}

Kind = Literal["file", "folder", "other", "closed"]


class Arrived(Record, frozen=True):
    """A file, or an empty or closed folder, with its way below the folder or zip in which the search began.

    `path` is the file on the disk, `inside` the members to go through where that is a zip. `kind` is `other` for what
    is no plain file (a link, a device) and `closed` for what can't be looked into, with the reason in `problem`.
    """

    parts: list[str]
    path: str
    inside: list[str] = []
    kind: Kind = "file"
    problem: str | None = None

    @property
    def name(self) -> str:
        """The file's own name; empty for the folder or zip in which the search began."""
        return self.parts[-1] if self.parts else ""

    @property
    def shown(self) -> str:
        """Its path in a message, through the zip where it is in one."""
        return as_text("/".join([self.path, *self.inside]))

    def below(self, folders: int) -> Arrived:
        """The same with its way from so many folders further down."""
        return Arrived(self.parts[folders:], self.path, self.inside, self.kind, self.problem)

    @classmethod
    def too_deep(cls, parts: list[str], path: str, inside: Sequence[str] = ()) -> Arrived:
        """What lies deeper than is searched."""
        problem = f"The folder {as_text(parts[-1])!r} is nested too deeply: move its notebooks up."
        return cls(parts, path, [*inside], "closed", problem)


def is_zip(name: str) -> bool:
    """Whether a file is a zip by its name."""
    return name.lower().endswith(".zip")


def is_junk(name: str) -> bool:
    """What systems and editors leave behind: hidden files, `__MACOSX`, caches."""
    return name.startswith(".") or name.lower() in _JUNK
