"""The class as a table: sorted, filtered, a page at a time. Pure functions of the cohort's page and a query."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode

import msgspec

from grader.records import Check, Record, Verdict
from grader.reports.cohort_page import Cohort, Submission

PAGE = 100
"""Rows on a page."""


class Query(Record, frozen=True, kw_only=True):
    """What is to be shown: each field narrows the table, and an empty one doesn't."""

    find: str = ""
    exercise: str = ""
    check: str = ""
    verdict: str = ""
    diagnosis: str = ""
    flag: str = ""
    status: str = ""
    sort: str = "student"
    down: str = ""
    page: int = 1

    @property
    def filters(self) -> dict[str, str]:
        """The fields that narrow the table."""
        names = ("find", "exercise", "check", "verdict", "diagnosis", "flag", "status")
        return {name: getattr(self, name) for name in names if getattr(self, name)}

    def address(self, **changed: object) -> str:
        """The page's address with some fields changed."""
        return "/class?" + self.quoted(**changed)

    def quoted(self, **changed: object) -> str:
        """The same as a form's field."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__} | {"page": 1} | changed
        return urlencode({name: str(value) for name, value in fields.items() if value not in ("", 1)})


class Table(Record, frozen=True):
    """A page of the table, and what there is to choose from."""

    query: Query
    rows: list[Submission]
    found: int
    total: int
    pages: int
    exercises: list[str]
    checks: list[str]
    diagnoses: list[str]
    flags: list[str]


def read_query(fields: Mapping[str, str]) -> Query:
    """A query from an address; what makes no sense there is passed over."""
    given = {name: fields[name][:200] for name in Query.__struct_fields__ if name in fields and name != "page"}
    page = fields.get("page", "1")
    return Query(**given, page=int(page) if page.isascii() and page.isdigit() and len(page) < 6 else 1)


def table_of(cohort: Cohort, totals: Mapping[str, float | None], query: Query) -> Table:
    """The rows that a query asks for; `totals` has each student's, in per cent."""
    key = _SORTS.get(query.sort, _SORTS["student"])
    if query.sort == "total":
        key = functools.partial(_by_total, totals)
    found = sorted(chosen(cohort, query), key=key, reverse=bool(query.down))
    pages = max((len(found) + PAGE - 1) // PAGE, 1)
    page = min(max(query.page, 1), pages)
    grades = [submission.grade for submission in cohort.submissions]
    its = [grade for grade in grades if query.exercise in ("", grade.exercise)]
    return Table(
        query=msgspec.structs.replace(query, page=page),
        rows=found[(page - 1) * PAGE : page * PAGE],
        found=len(found),
        total=len(cohort.submissions),
        pages=pages,
        exercises=sorted({grade.exercise for grade in grades}),
        checks=list(dict.fromkeys(label(check) for grade in its for check in grade.checks)),
        diagnoses=sorted({check.diagnosis.code for grade in its for check in grade.checks if check.diagnosis}),
        flags=sorted({flag.code for grade in its for flag in grade.flags}),
    )


def chosen(cohort: Cohort, query: Query) -> list[Submission]:
    """The submissions that fit all filters of a query."""
    return [submission for submission in cohort.submissions if _fits(submission, query)]


def where_diagnosed(submission: Submission, query: Query) -> Check | None:
    """The check at which a comment belongs that goes to everybody with a diagnosis, or with a verdict of a check."""
    if not (query.diagnosis or query.check):
        return None
    return next((check for check in submission.grade.checks if _is_asked(check, query)), None)


def label(check: Check) -> str:
    """A check's part and name in one word."""
    return f"{check.part}/{check.name}"


def _fits(submission: Submission, query: Query) -> bool:
    grade = submission.grade
    return (
        (not query.find or query.find.casefold() in grade.student.casefold())
        and query.exercise in ("", grade.exercise)
        and (not query.status or query.status in submission.tags)
        and (not query.flag or any(flag.code == query.flag for flag in grade.flags))
        and (
            not (query.check or query.verdict or query.diagnosis)
            or any(_is_asked(check, query) for check in grade.checks)
        )
    )


def _is_asked(check: Check, query: Query) -> bool:
    diagnosis = check.diagnosis.code if check.diagnosis is not None else ""
    return (
        query.check in ("", label(check))
        and query.verdict in ("", check.verdict.value)
        and query.diagnosis in ("", diagnosis)
    )


def _by_total(totals: Mapping[str, float | None], each: Submission) -> tuple[object, ...]:
    total = totals.get(each.grade.student)
    return (-1.0 if total is None else total, each.grade.student.casefold())


_SORTS: Mapping[str, Callable[[Submission], tuple[object, ...]]] = {
    "student": lambda each: (each.grade.student.casefold(), each.grade.exercise),
    "exercise": lambda each: (each.grade.exercise, each.grade.student.casefold()),
    "score": lambda each: (-1.0 if each.share is None else each.grade.score, each.grade.student.casefold()),
    "share": lambda each: (-1.0 if each.share is None else each.share, each.grade.student.casefold()),
    "right": lambda each: (each.right, each.grade.student.casefold()),
    **{
        verdict.value: lambda each, verdict=verdict: (each.counts[verdict], each.grade.student.casefold())  # type: ignore[misc]
        for verdict in (Verdict.CARRIED, Verdict.WRONG, Verdict.MISSING, Verdict.UNCHECKED)
    },
    "flags": lambda each: (len(each.grade.flags), each.grade.student.casefold()),
}
COLUMNS: Sequence[tuple[str, str]] = (
    ("student", "Student"),
    ("exercise", "Exercise"),
    ("score", "Score"),
    ("share", "Share"),
    ("right", "Right"),
    ("carried", "Carried"),
    ("wrong", "Wrong"),
    ("missing", "Missing"),
    ("unchecked", "Unchecked"),
    ("total", "Total"),
    ("flags", "Flags"),
)
"""What the table can be sorted by, and its heading."""
