"""A grading as the plain text of a notebook's output, or of only some of its checks; the HTML is in `html.py`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import msgspec

from grader.errors import UsageError
from grader.records import Grading
from grader.reports.terminal import console, show_grading


def narrowed(grading: Grading, names: Sequence[str]) -> Grading:
    """The grading with nothing but the checks of these names; as it is for none.

    Raises:
        UsageError: no check is called that.
    """
    if not names or grading.grade.status == "ungradable":
        return grading
    known = [check.name for check in grading.grade.checks]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            raise UsageError(f"No check is called {name!r}{f'; did you mean {close[0]!r}?' if close else '.'}")
    checks = [check for check in grading.grade.checks if check.name in names]
    grade = msgspec.structs.replace(
        grading.grade,
        checks=checks,
        flags=[],
        score=sum(check.points for check in checks),
        max_score=sum(check.max_points for check in checks),
    )
    parts = [part for part in grading.parts if any(check.part == part.id for check in checks)]
    return msgspec.structs.replace(grading, grade=grade, parts=parts)


def as_text(grading: Grading, next_exercise: str | None = None) -> str:
    """What `grader check` prints, in the magics' words."""
    with console.capture() as captured:
        show_grading(grading, "%hint")
    done = grading.grade.checks and all(check.verdict.is_right for check in grading.grade.checks)
    return captured.get().strip("\n") + (f"\nNext: {next_exercise}" if done and next_exercise is not None else "")
