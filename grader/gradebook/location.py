"""Where the gradebook of an output folder is: said once with `--gradebook`, and remembered in the folder."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from grader.errors import UsageError
from grader.files import write_file

REMEMBERED = "gradebook.txt"
"""The file in an output folder that holds the URL or path of a gradebook elsewhere."""


def gradebook_place(folder: Path, said: str | None) -> str | Path:
    """The gradebook's URL or path: what was said, else what the folder remembers, else its own SQLite file."""
    if said is not None:
        return said
    try:
        return (folder / REMEMBERED).read_text(encoding="utf-8").strip() or folder / "gradebook.sqlite"
    except (FileNotFoundError, NotADirectoryError):
        return folder / "gradebook.sqlite"
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{str(folder / REMEMBERED)!r} can't be read: remove it, and give --gradebook.") from error


def remember_place(folder: Path, said: str) -> None:
    """Keep where the gradebook is, for later commands: without its password, and a path as an absolute one.

    Raises:
        UsageError: the folder can't be written to.
    """
    write_file(folder / REMEMBERED, f"{_without_password(said)}\n")


def _without_password(said: str) -> str:
    if "://" not in said:
        return str(Path(said).absolute())
    try:
        url = make_url(said)
    except ArgumentError:
        return said
    if url.drivername == "sqlite" and url.database:
        return url.set(database=str(Path(url.database).absolute())).render_as_string()
    kept = URL.create(url.drivername, url.username, None, url.host, url.port, url.database, url.query)
    return kept.render_as_string()
