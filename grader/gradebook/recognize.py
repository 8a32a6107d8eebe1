"""Telling a gradebook from any other SQLite file, before anything is written to it or run of what is in it.

An SQLite file brings its own triggers, views and expressions, which run when its tables are used. So the file of a
stranger may have nothing but what our migrations make.
"""

from __future__ import annotations

import re
from typing import Any

from grader.errors import UsageError
from grader.gradebook import schema

_FIRST = {"runs", "gradings", "results", "overrides", "alembic_version"}
"""What the first gradebooks had; later ones have more."""
_TABLES = {*_FIRST, *schema.metadata.tables}
_INDEXES = {str(index.name) for table in schema.metadata.tables.values() for index in table.indexes}
_TRIGGER = re.compile(
    r"CREATE TRIGGER (\w+)_kept_(?:update|delete) BEFORE (?:UPDATE|DELETE) ON \1 "
    r"BEGIN SELECT RAISE\(ABORT, '\1 are kept as they were made'\); END"
)
_INDEX = re.compile(r"CREATE INDEX \w+ ON \w+ \([\w, ]+\)")
_COMPUTES = re.compile(r"\b(?:virtual|check|default|generated|as|collate)\b", re.IGNORECASE)
_LIMIT = 100


def recognize(connection: Any) -> None:
    """Let a gradebook, or an empty file, pass.

    Raises:
        UsageError: it is some other database, or has something in it that would run. It is as it was.
        sqlite3.Error: it is no database, or damaged.
    """
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON"):
        connection.execute(f"PRAGMA {pragma}")
    query = f"SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' LIMIT {_LIMIT}"  # noqa: S608
    found = connection.execute(query).fetchall()
    tables = {name for kind, name, _ in found if kind == "table"}
    if found and (not _FIRST <= tables <= _TABLES or not all(_is_ours(*row) for row in found)):
        raise UsageError("This SQLite file isn't a gradebook, or its tables were changed: name the right file.")


def _is_ours(kind: str, name: str, sql: str) -> bool:
    sql = " ".join(sql.split())
    if kind == "table":
        return _COMPUTES.search(sql) is None
    if kind == "index":
        return name in _INDEXES and _INDEX.fullmatch(sql) is not None
    return kind == "trigger" and _TRIGGER.fullmatch(sql) is not None
