"""What is read out of a gradebook: plain records."""

from __future__ import annotations

from grader.records import Grade, Record


class Run(Record, frozen=True):
    """One `grader grade`. `finished` is None for one that was interrupted; times are UTC in ISO 8601."""

    id: int
    folder: str
    started: str
    finished: str | None
    grader_version: str
    results: int


class GradingKey(Record, frozen=True):
    """What a grade depends on: the submission's content (SHA-256), the exercise's version, the grader's."""

    submission: str
    exercise_version: str
    grader_version: str


class Result(Record, frozen=True):
    """One submission's grade in a run, after overrides, with its key; `path` is its file, where that was noted."""

    grade: Grade
    key: GradingKey
    path: str | None = None
