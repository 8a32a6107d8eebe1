"""The gradebook: every grading that was ever made, kept in a database, and the marks that a person set by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from grader.records import Grade, Grading, Record


class Run(Record, frozen=True):
    """One `grader grade`. `finished` is None for one that was interrupted; times are UTC in ISO 8601."""

    id: int
    started: str
    finished: str | None
    grader_version: str
    results: int


class Gradebook:
    """A database of gradings; a context manager.

    Args:
        url: an SQLAlchemy URL (`sqlite:///…`, `postgresql://…`), or the path of an SQLite file.

    Raises:
        UsageError: it can't be opened.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = url

    def __enter__(self) -> Gradebook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def runs(self) -> list[Run]:
        """All runs, the oldest first."""
        raise NotImplementedError

    def gradings(self, run: int | None = None) -> Iterator[Grading]:
        """Each result of a run, by default the last finished one, with overrides applied; by student and exercise."""
        raise NotImplementedError

    def grades(self, run: int | None = None) -> Iterator[Grade]:
        """As `gradings`, without what only reports show. This is what an export reads: `Grade.score` is the total."""
        raise NotImplementedError
