"""A crafted SQLite file in the gradebook's place: a sentence, nothing run, nothing lost."""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

import alembic.command
import alembic.config
import pytest
from sqlalchemy import create_engine

from grader.errors import UsageError
from grader.gradebook import engine, stored_grading
from grader.gradebook.gradebook import Gradebook


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A gradebook with one run, written out into its one file."""
    path = tmp_path / "gradebook.sqlite"
    with Gradebook(path) as book:
        book.start(tmp_path)
    return path


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        yield connection
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize("revision", ["0001", "0002", "0003"])
def test_a_gradebook_of_an_earlier_grader_is_recognized_and_again_after_it_was_brought_up_to_date(revision, tmp_path):
    path = tmp_path / "gradebook.sqlite"
    config = alembic.config.Config()
    config.set_main_option("script_location", str(engine._MIGRATIONS))
    with create_engine(f"sqlite:///{path}").begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, revision)
    for _ in range(2):
        with Gradebook(path) as book:
            assert book.runs() == []


@pytest.mark.parametrize(
    "crafted",
    [
        "CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM results; END",
        "CREATE TRIGGER gradings_kept_insert BEFORE INSERT ON gradings BEGIN SELECT RAISE(IGNORE); END",
        "CREATE VIEW v AS SELECT * FROM runs",
        "CREATE TABLE other (x)",
        "CREATE VIRTUAL TABLE other USING fts5(x)",
        "CREATE INDEX i ON runs (started)",
        "CREATE INDEX i ON runs (length(zeroblob(100)))",
        "ALTER TABLE runs ADD COLUMN x GENERATED ALWAYS AS (length(zeroblob(1000000000)))",
        "ALTER TABLE runs ADD COLUMN x CHECK (length(zeroblob(1000)))",
        "ALTER TABLE results RENAME TO r2",
    ],
)
def test_what_would_run_or_is_not_ours_is_refused_and_left_as_it_is(path, crafted):
    with opened(path) as connection:
        connection.execute(crafted)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="isn't a gradebook"):
        Gradebook(path)
    assert path.read_bytes() == before


def test_another_programs_database_is_left_as_it_is(tmp_path):
    path = tmp_path / "history.sqlite"
    with opened(path) as connection:
        connection.execute("CREATE TABLE visits (url)")
    before = path.read_bytes()
    with pytest.raises(UsageError, match="isn't a gradebook"):
        Gradebook(path)
    assert path.read_bytes() == before


def test_a_damaged_file_is_a_sentence(path):
    data = path.read_bytes()
    for page in range(len(data) // 4096):
        path.write_bytes(data[: page * 4096 + 100] + b"\xff" * 3996 + data[(page + 1) * 4096 :])
        with contextlib.suppress(UsageError), Gradebook(path) as book:
            book.start(path.parent)
            list(book.results())


BOMB = zlib.compress(bytes(3 << 20))


@pytest.mark.parametrize("blob", [BOMB, b"nonsense", zlib.compress(b"\x91" * 100_000), zlib.compress(b"\xc1")])
def test_a_grading_that_makes_no_sense_is_a_sentence(path, blob, monkeypatch):
    monkeypatch.setattr(stored_grading, "MAX_GRADING", 1 << 20)
    with opened(path) as connection:
        row = ("ann", "mini", "", "", "", "", "graded", 1.0, 1.0, '{"schema_version": 1, "student": [[[[', blob)
        columns = "student, exercise, submission, exercise_version, grader_version, made, status, score, max_score"
        connection.execute(f"INSERT INTO gradings ({columns}, grade, grading) VALUES ({','.join('?' * 11)})", row)
        connection.execute("INSERT INTO results (run, student, exercise, grading) VALUES (1, 'ann', 'mini', 1)")
    with Gradebook(path) as book:
        for read in (book.results, book.gradings):
            with pytest.raises(UsageError, match="damaged"):
                list(read())
