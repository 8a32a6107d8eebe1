"""Opening a gradebook: the database's URL, its connection, and the schema brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from grader.errors import UsageError
from grader.gradebook.recognize import recognize

_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 6_027_011
"""PostgreSQL's advisory lock while the schema is brought up to date."""


def open_engine(url: str | Path) -> Engine:
    """The database behind a URL or a path, with its tables in place.

    Raises:
        UsageError: it can't be opened, or isn't a gradebook.
    """
    try:
        engine = _engine(_url(url))
        with engine.connect().execution_options(immediate=True) as connection, connection.begin():
            _bring_up_to_date(connection)
    except (SQLAlchemyError, alembic.util.CommandError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise UsageError(f"The gradebook {_shown(url)} can't be opened: {reason}.") from error
    return engine


def _url(url: str | Path) -> URL:
    """`postgresql://…` means psycopg 3, and what is no URL is the path of an SQLite file."""
    if "://" not in str(url):
        return URL.create("sqlite", database=str(url))
    try:
        parsed = make_url(str(url))
    except ArgumentError as error:
        raise UsageError(f"{str(url)!r} isn't a database URL: give sqlite:///FILE or postgresql://….") from error
    if parsed.drivername in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise UsageError(f"A gradebook is kept in SQLite or PostgreSQL, not in {parsed.drivername!r}.")
    return parsed


def _shown(url: str | Path) -> str:
    """The URL without its password."""
    return str(url) if "://" not in str(url) else make_url(str(url)).render_as_string(hide_password=True)


def _engine(url: URL) -> Engine:
    if url.drivername != "sqlite":
        return create_engine(url, pool_pre_ping=True)  # a review is open for hours, and servers are restarted
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": 60})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: object) -> None:
    """WAL, so that readers don't wait; a commit is on the disk when it returns."""
    connection.isolation_level = None  # transactions are begun below: Python's own would not hold schema changes
    recognize(connection)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _bring_up_to_date(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    config = alembic.config.Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    alembic.command.upgrade(config, "head")
