"""What people have done by hand, as it is read out of a gradebook and written into it: plain records."""

from __future__ import annotations

from typing import Literal

from grader.errors import UsageError
from grader.records import Comment, Override, Record

Kind = Literal["comment", "internal", "settled", "disputed"]
"""A comment for the student; a note for colleagues; a question of the queue that is settled; a mark in dispute."""
Source = Literal["overrides", "notes"]


class SubmissionKey(Record, frozen=True):
    """What something was done to: one submission's content."""

    student: str
    exercise: str
    submission: str


class Mark(Record, frozen=True):
    """A mark as it is kept, with the number of its row."""

    id: int
    of: SubmissionKey
    override: Override


class Note(Record, frozen=True, kw_only=True):
    """What a person wrote; `item` is the key of the queue's question that it settles or opens."""

    of: SubmissionKey
    kind: Kind
    text: str
    id: int = 0
    by: str | None = None
    at: str = ""
    item: str | None = None
    part: str | None = None
    name: str | None = None
    cell: int | None = None
    line: int | None = None

    @property
    def comment(self) -> Comment:
        """The note as the student reads it."""
        return Comment(self.text, self.at, self.by, self.part, self.name, self.cell, self.line)


class Action(Record, frozen=True):
    """What somebody did in one go: the rows of one table, with the same author and time."""

    source: Source
    rows: list[int]
    of: SubmissionKey
    label: str
    item: str | None


class Changed(UsageError):
    """Another mark stands where this one should go. `mark` is that one, None where it was taken back."""

    def __init__(self, mark: Mark | None) -> None:
        self.mark = mark
        super().__init__("Somebody else changed this mark meanwhile.")
