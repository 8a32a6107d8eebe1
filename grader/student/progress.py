"""What a workspace remembers of its student: how many hints are open, and what came of each notebook's last check."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import msgspec

from grader.files import replace_file
from grader.notebook.file import code_digest
from grader.records import Grade, Record, Verdict

STATE = ".grader-progress.json"


class Checked(Record, frozen=True):
    """The last check of a notebook. `digest` is that of its code, None where it was checked by `%check`, unsaved."""

    exercise: str
    digest: str | None
    time: float
    verdicts: dict[str, dict[str, Verdict]]

    def right(self, part: str) -> int:
        """How many tensors of a part were right."""
        return sum(verdict.is_right for verdict in self.verdicts.get(part, {}).values())


class Progress(Record, frozen=True):
    """`hints`: exercise/part/name → how many are open. `checks`: name of the notebook's file → its last check."""

    hints: dict[str, int] = {}
    checks: dict[str, Checked] = {}


def read_progress(folder: Path) -> Progress:
    """What the workspace remembers; nothing where there is no file, or one that makes no sense."""
    try:
        return msgspec.json.decode((folder / STATE).read_bytes(), type=Progress)
    except (OSError, msgspec.MsgspecError):
        return Progress()


def write_progress(folder: Path, progress: Progress) -> None:
    """Keep it, whole or not at all. In a folder that can't be written to nothing is remembered."""
    with contextlib.suppress(OSError):
        replace_file(folder / STATE, msgspec.json.format(msgspec.json.encode(progress), indent=1))


def remember_check(notebook: Path, content: bytes | None, grade: Grade) -> None:
    """Remember a graded check; one that could not be graded leaves the last as it is.

    Args:
        notebook: the notebook's file.
        content: what was checked; None where that was not the file but a running kernel.
        grade: what came of it.
    """
    if grade.status != "graded":
        return
    verdicts: dict[str, dict[str, Verdict]] = {}
    for check in grade.checks:
        verdicts.setdefault(check.part, {})[check.name] = check.verdict
    checked = Checked(
        exercise=grade.exercise,
        digest=None if content is None else code_digest(content),
        time=time.time(),
        verdicts=verdicts,
    )
    progress = read_progress(notebook.parent)
    checks = {**progress.checks, notebook.name: checked}
    write_progress(notebook.parent, msgspec.structs.replace(progress, checks=checks))


def is_stale(notebook: Path, checked: Checked) -> bool:
    """Whether the notebook's code is another than the one that was checked."""
    try:
        if checked.digest is None:
            return notebook.stat().st_mtime > checked.time + 1
        return code_digest(notebook.read_bytes()) != checked.digest
    except OSError:
        return True
