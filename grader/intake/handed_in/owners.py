"""Who handed something in: the name, and what a platform knows the person by."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from grader.records import Record


class Identity(NamedTuple):
    """What a platform knows a person by: `canvas` and `moodle` number them, `github` has users.

    `email` and `sid`, the student's number, are said by Gradescope, and known to the others too.
    """

    kind: str
    value: str


class Owner(Record, frozen=True):
    """Who handed something in, and what the platform says of it. `late` is None where it says nothing."""

    student: str
    identities: list[Identity] = []
    submitted: datetime | None = None
    late: bool | None = None
    remarks: list[str] = []
