"""Grading a few submissions in one go: the pytest session in which their checks are run, here or on a worker."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from grader.errors import GraderError
from grader.items import Submissions
from grader.pool import GraderPool
from grader.records import Grading, Submission

_QUIET = [f"-pno:{name}" for name in ("terminal", "cacheprovider", "capture", "logging", "doctest", "unittest",
                                      "junitxml", "faulthandler", "tmpdir", "pastebin", "stepwise", "python",
                                      "xdist", "hypothesispytest", "anyio", "setuponly", "setupplan",
                                      "unraisableexception", "threadexception", "warnings", "recwarn", "monkeypatch",
                                      "legacypath", "debugging")]  # fmt: skip
"""pytest plugins that have nothing to do where the reports are ours. One costs most of what a session took: at its end
`unraisableexception` collects garbage twice, over all that torch and dask have allocated."""


def grade_batch(submissions: Sequence[Submission], pool: GraderPool, done: Callable[[Grading], None]) -> None:
    """Run the submissions' checks in a pytest session of their own, silently.

    Args:
        submissions: what to grade; its start costs 0.02 s of CPU, and its items stay in memory until it ends.
        pool: the graders.
        done: is handed each grading, in order, as soon as it is there; what it raises ends the session.

    Raises:
        GraderError: the session itself failed; a failing check is no such failure.
    """
    plugin = Submissions(submissions, pool, done, unnamed=True)
    arguments = [*_QUIET, "-c", os.devnull, "--rootdir", str(Path(__file__).parent), "--noconftest"]
    status = pytest.main(arguments, plugins=[plugin])
    if plugin.error is not None:
        raise plugin.error
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if status in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
        raise GraderError("The grader's own pytest session failed: run it again with `pytest --grade` to see why.")
