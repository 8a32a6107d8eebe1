"""Hints: which one is next, opened one at a time."""

from __future__ import annotations

from pathlib import Path

import msgspec

from grader.course.catalog import WHOLE_PART, ExerciseSpec
from grader.records import Grade, Record
from grader.student.progress import read_progress, write_progress


class Hints(Record, frozen=True):
    """The hints that are open: what they are about, their texts, and how many there are in all."""

    about: str
    opened: list[str]
    total: int

    @property
    def lines(self) -> list[str]:
        """A line for each, and one more where the last is open."""
        lines = [
            f"Hint {number} of {self.total} for {self.about}: {hint}" for number, hint in enumerate(self.opened, 1)
        ]
        return [*lines, f"That was the last hint for {self.about}."] if len(self.opened) == self.total else lines


NO_HINT = "There are no more hints for what is left."


def next_hint(spec: ExerciseSpec, grade: Grade, folder: Path, name: str | None = None) -> Hints | None:
    """Open the next hint for the first check that is neither right nor carried; None where it has no hint.

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
        part = spec.part(check.part)
        asked = check.name if part.hints.get(check.name) else WHOLE_PART
        hints = part.hints.get(asked, [])
        key = f"{spec.id}/{check.part}/{asked}"
        count = min(progress.hints.get(key, 0) + 1, len(hints))
        if not hints:
            return None
        write_progress(folder, msgspec.structs.replace(progress, hints={**progress.hints, key: count}))
        about = check.name if asked == check.name else f"the part “{part.title}”"
        return Hints(about=about, opened=hints[:count], total=len(hints))
    return None
