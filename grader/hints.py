"""Hints, opened one at a time, and remembered in the workspace."""

from __future__ import annotations

from pathlib import Path

import msgspec

from grader.catalog import ExerciseSpec
from grader.progress import read_progress, write_progress
from grader.records import Grade


def next_hint(spec: ExerciseSpec, grade: Grade, folder: Path, name: str | None = None) -> str | None:
    """The next hint for the first check that is neither right nor carried; None when all its hints are open.

    Args:
        spec: the exercise, whose catalogue entry holds the hints.
        grade: the latest grade.
        folder: the workspace, which remembers how many hints of each check were opened.
        name: the check to have a hint for, where it is not the first.
    """
    progress = read_progress(folder)
    for check in grade.checks:
        if check.verdict.is_right or check.verdict == "carried" or name not in (None, check.name):
            continue
        hints = spec.part(check.part).hints.get(check.name, [])
        key = f"{spec.id}/{check.part}/{check.name}"
        count = min(progress.hints.get(key, 0) + 1, len(hints))
        if not hints:
            return None
        write_progress(folder, msgspec.structs.replace(progress, hints={**progress.hints, key: count}))
        return "\n".join(
            f"Hint {number} of {len(hints)} for {check.name}: {hint}" for number, hint in enumerate(hints[:count], 1)
        )
    return None
