"""The command `grader`. Its commands are in the modules that are imported here."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys

import grader.startup  # noqa: F401  (before what imports nbformat)

# Each adds its commands to the application, in the order of `grader --help`.
# isort: off
from grader.cli import student, grade, gradebook, export, author  # noqa: F401
# isort: on

from grader.cli.app import EXIT_USAGE, app, warn
from grader.cli.encoding import make_output_safe
from grader.errors import GraderError
from grader.extras import naming_the_extra


def main() -> None:
    """Run the command; an error of ours is one sentence and an exit status, never a traceback."""
    make_output_safe()
    status: int | None = None

    def leave() -> None:
        """End without taking down torch's modules one by one, which takes longer than most notebooks do."""
        if status is not None:
            with contextlib.suppress(Exception):  # what can't be written, Python reports where it ends as usual
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)

    atexit.register(leave)  # before all others, which are therefore run first
    try:
        with naming_the_extra():
            app()
    except GraderError as error:
        warn(str(error))
        status = EXIT_USAGE
        sys.exit(status)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else None
        raise


__all__ = ["app", "main"]
