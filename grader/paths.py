"""Where the folders that come with the package lie: inside the installed wheel, or beside it in a clone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from grader.errors import CourseError

_PACKAGE = Path(__file__).resolve().parent


def data_dir(name: str) -> Path:
    """The folder `name` (`templates`, `exercises`) that came with this package.

    Raises:
        CourseError: it is neither in the wheel's `grader/_data` nor in the clone's top folder.
    """
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise CourseError(f"The folder {name}/ is missing: install the package again, or run it from a complete clone.")


def replace_file(path: Path, data: bytes) -> None:
    """Write a whole file or nothing, so that nobody ever reads a half of it.

    Raises:
        OSError: it can't be written.
    """
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(draft).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
