"""A request to the review: what its form says, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

import msgspec

from grader.errors import UsageError
from grader.files import as_text
from grader.gradebook.review_records import SubmissionKey
from grader.records import Record
from grader.review.access import Session
from grader.review.class_cache import Snapshot


class Failed(Record, frozen=True):
    """Why an action did nothing, and what was filled in, so that none of it is lost."""

    message: str
    form: Mapping[str, str]


class Call:
    """A request: its query, its form, and who sends it. `failed` is set where its action did nothing."""

    def __init__(self, path: str, query: Mapping[str, str], form: Mapping[str, str], session: Session) -> None:
        self.path = path
        self.query = query
        self.form = form
        self.session = session
        self.failed: Failed | None = None

    def said(self) -> str | None:
        """What the last action came to, once."""
        text, self.session.flash = self.session.flash, None
        return text

    def filled(self, name: str, default: object = "") -> object:
        """What was filled into a form that failed."""
        return self.failed.form.get(name, default) if self.failed is not None else default

    def of(self, now: Snapshot) -> SubmissionKey:
        """The submission that a form is about.

        Raises:
            UsageError: it isn't what the student handed in last.
        """
        meant = self.meant
        current = now.of(meant.get("student", ""), meant.get("exercise", ""))
        if current is None:
            raise UsageError("The gradebook has no such submission.")
        if current.submission != meant.get("submission"):
            raise UsageError(
                f"{current.student} has handed in another notebook meanwhile, so nothing was saved: look at it first."
            )
        return current

    def text(self, name: str, what: str, most: int = 10_000) -> str:
        """A field that must be filled in, as text that can be kept.

        Raises:
            UsageError: it is empty or too long.
        """
        found = as_text(self.form.get(name, "").replace("\r\n", "\n").replace("\0", "")).strip()
        if not found:
            raise UsageError(f"{what} is missing: nothing was saved.")
        if len(found) > most:
            raise UsageError(f"{what} has {len(found)} characters, and the limit is {most}: nothing was saved.")
        return found

    @property
    def filters(self) -> dict[str, str]:
        """What a form says of the table that it stood below, as in the table's own address."""
        return dict(parse_qsl(self.form.get("filters", ""), max_num_fields=20))

    @property
    def meant(self) -> dict[str, str]:
        """What a form says of its submission: quoted, because pages show control characters as something else."""
        return dict(parse_qsl(self.form.get("of", ""), max_num_fields=10))

    @property
    def back(self) -> str:
        """The page that the form stood on."""
        if self.form.get("item"):
            return f"/item/{self.form['item']}"
        meant = self.meant
        if "student" not in meant:
            return "/queue"
        return submission_address(meant["student"], meant.get("exercise", ""), self.form.get("check", ""))


def submission_address(student: str, exercise: str, check: str = "") -> str:
    """The address of a submission's page, in the light of a check."""
    fields = {"student": student, "exercise": exercise} | ({"check": check} if check else {})
    return "/submission?" + urlencode(fields, errors="surrogatepass")


def quoted(of: SubmissionKey) -> str:
    """A submission as a form's field."""
    return urlencode({"student": of.student, "exercise": of.exercise, "submission": of.submission})


def read_seen(text: str) -> dict[str, int]:
    """The marks that stood when a form was written out."""
    try:
        return msgspec.json.decode(text, type=dict[str, int])
    except msgspec.MsgspecError as error:
        raise UsageError("The form is damaged: load the page again.") from error
