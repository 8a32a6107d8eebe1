"""Which grader this is: what must be the same for two gradings to be comparable."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = Path(__file__).parent


@cache
def grader_version() -> str:
    """The package's version, a digest of its code, and torch's version, in one line.

    The digest is there for clones, whose code changes while the version stays.
    """
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{_version('backprop-grader')}+{digest.hexdigest()[:10]} torch {_version('torch')}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a clone that was not installed
        return "0"
