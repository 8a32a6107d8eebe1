"""The gradebook's tables as they are now. How they came to be is in `migrations/`; a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("folder", Text, nullable=False),
    Column("started", String(32), nullable=False),
    Column("finished", String(32)),
    Column("grader_version", String(80), nullable=False),
    Column("terms", Text),
)
"""A row for each `grader grade`; `folder` is where it wrote its reports.

`terms` is JSON, exercise → the catalogue's `Terms` at that time.
"""

gradings = Table(
    "gradings",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("student", Text, nullable=False),
    Column("exercise", Text, nullable=False),
    Column("submission", String(64), nullable=False),
    Column("exercise_version", String(64), nullable=False),
    Column("grader_version", String(80), nullable=False),
    Column("made", String(32), nullable=False),
    Column("status", String(16), nullable=False),
    Column("score", Float, nullable=False),
    Column("max_score", Float, nullable=False),
    Column("grade", Text, nullable=False),
    Column("grading", LargeBinary, nullable=False),
    Index("gradings_key", "student", "exercise", "submission", "exercise_version", "grader_version"),
)
"""Every grading that was made; rows are added and never changed. `submission` is the SHA-256 of the notebook.

`grade` is the Grade's JSON, `grading` the whole Grading as compressed MessagePack.
"""

results = Table(
    "results",
    metadata,
    Column("run", Integer, ForeignKey("runs.id"), nullable=False),
    Column("student", Text, nullable=False),
    Column("exercise", Text, nullable=False),
    Column("grading", Integer, ForeignKey("gradings.id"), nullable=False),
    Column("submitted", String(40)),
    Column("path", Text),
    UniqueConstraint("run", "student", "exercise", name="results_once"),
    Index("results_by_student", "student", "exercise", "run"),
)
"""What a run came to: the grading of each submission, made in that run or taken over from an earlier one.

`submitted` is when it was handed in, ISO 8601 with an offset; NULL where nobody said. `path` is the notebook's file.
"""

overrides = Table(
    "overrides",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("student", Text, nullable=False),
    Column("exercise", Text, nullable=False),
    Column("submission", String(64), nullable=False),
    Column("part", Text),
    Column("name", Text),
    Column("points", Float, nullable=False),
    Column("reason", Text, nullable=False),
    Column("made", String(32), nullable=False),
    Column("author", Text),
    Index("overrides_key", "student", "exercise", "submission"),
)
"""Marks that a person set, for one submission's content; of two for the same check the later counts.

Without `name` it is for the whole part, without `part` for the whole submission.
"""

notes = Table(
    "notes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("student", Text, nullable=False),
    Column("exercise", Text, nullable=False),
    Column("submission", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("item", Text),
    Column("part", Text),
    Column("name", Text),
    Column("cell", Integer),
    Column("line", Integer),
    Column("text", Text, nullable=False),
    Column("author", Text),
    Column("made", String(32), nullable=False),
    Index("notes_key", "student", "exercise", "submission"),
)
"""What people wrote about one submission's content: see `review_log.Kind`. Rows are added and never changed."""

withdrawn = Table(
    "withdrawn",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("source", String(16), nullable=False),
    Column("row", Integer, nullable=False),
    Column("student", Text, nullable=False),
    Column("author", Text),
    Column("made", String(32), nullable=False),
    UniqueConstraint("source", "row", name="withdrawn_once"),
)
"""Rows of `overrides` and `notes` that were taken back: these stay in the gradebook and no longer count."""

identities = Table(
    "identities",
    metadata,
    Column("student", Text, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("value", Text, nullable=False),
    UniqueConstraint("student", "kind", "value", name="identities_once"),
)
"""What platforms know students by: `intake.handed_in.owners.Identity`."""

renames = Table(
    "renames",
    metadata,
    Column("handed_in", Text, primary_key=True),
    Column("student", Text, nullable=False),
    Index("renames_by_student", "student"),
)
"""What is handed in under one name counts under another. Results have that one, gradings the one they came with."""

extensions = Table(
    "extensions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("student", Text, nullable=False),
    Column("exercise", Text),
    Column("due", String(40)),
    Column("reason", Text, nullable=False),
    Column("made", String(32), nullable=False),
    Index("extensions_by_student", "student"),
)
"""Who has until when, for an exercise or, where that is NULL, for all; the last one counts. Without a time: excused."""
