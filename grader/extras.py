"""The packages that only some commands need: an installation for students doesn't hold them.

They are imported where they are used, and whoever starts a command names the extra that is missing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from grader.errors import UsageError

EXTRAS = {
    "class": ("alembic", "cryptography", "dask", "distributed", "rapidfuzz", "sqlalchemy", "yaml"),
    "postgresql": ("psycopg",),
    "review": ("starlette", "uvicorn"),
}
"""Extra in `pyproject.toml` → the modules that its packages give us, but for those that are there in any case."""


@contextlib.contextmanager
def naming_the_extra() -> Iterator[None]:
    """Say which extra to install where a module of one is missing; any other missing module is an error of ours.

    Raises:
        UsageError: a module of an extra isn't installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        extra = next((extra for extra, modules in EXTRAS.items() if missing in modules), None)
        if extra is None:
            raise
        raise UsageError(
            f"This needs packages that aren't installed here: pip install 'backprop-grader[{extra}]'."
        ) from error
