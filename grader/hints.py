"""Hints, opened one at a time, and remembered in the workspace."""

from __future__ import annotations

from pathlib import Path

import msgspec

from grader.catalog import ExerciseSpec
from grader.records import Grade

STATE = ".grader-hints.json"


def next_hint(spec: ExerciseSpec, grade: Grade, folder: Path) -> str | None:
    """The next hint for the first check that is neither right nor carried; None when all its hints are open.

    Args:
        spec: the exercise, whose catalogue entry holds the hints.
        grade: the latest grade.
        folder: the workspace, which remembers how many hints of each check were opened.
    """
    opened = _opened(folder)
    for check in grade.checks:
        if check.verdict.is_right or check.verdict == "carried":
            continue
        hints = spec.part(check.part).hints.get(check.name, [])
        key = f"{spec.id}/{check.part}/{check.name}"
        count = min(opened.get(key, 0) + 1, len(hints))
        if not hints:
            return None
        _remember(folder, {**opened, key: count})
        return "\n".join(
            f"Hint {number} of {len(hints)} for {check.name}: {hint}" for number, hint in enumerate(hints[:count], 1)
        )
    return None


def _opened(folder: Path) -> dict[str, int]:
    try:
        return msgspec.json.decode((folder / STATE).read_bytes(), type=dict[str, int])
    except (OSError, msgspec.MsgspecError):
        return {}


def _remember(folder: Path, opened: dict[str, int]) -> None:
    try:
        (folder / STATE).write_bytes(msgspec.json.encode(opened))
    except OSError:
        return  # a read-only folder: the hint is shown all the same
