"""Where a student stands in a workspace: what passes in every part, and the next thing to do."""

from __future__ import annotations

from pathlib import Path

from grader.course.catalog import Catalog, ExerciseSpec
from grader.course.course import Course
from grader.records import Record, Verdict
from grader.student.progress import Checked, Progress, is_stale, read_progress


class ExerciseStatus(Record, frozen=True):
    """An exercise in a workspace. `notebook` is None where it has none; `stale`: changed since it was checked."""

    spec: ExerciseSpec
    counts: dict[str, int]
    notebook: Path | None = None
    checked: Checked | None = None
    stale: bool = False

    @property
    def done(self) -> bool:
        """Whether everything was right, and still is."""
        if self.checked is None or self.stale:
            return False
        return all(self.checked.right(part) == count for part, count in self.counts.items())


def exercise_statuses(course: Course, folder: Path) -> list[ExerciseStatus]:
    """Every exercise of the course as it stands in `folder`, in the catalogue's order."""
    progress = read_progress(folder)
    return [_status(course, spec, folder, progress) for spec in course.catalog.exercises]


def _status(course: Course, spec: ExerciseSpec, folder: Path, progress: Progress) -> ExerciseStatus:
    counts = {part: len(checks.names) for part, checks in course.exercise(spec.id).parts.items()}
    checks = [
        (checked.time, name, checked)
        for name, checked in progress.checks.items()
        if checked.exercise == spec.id and Path(name).name == name and (folder / name).is_file()
    ]
    if checks:
        _, name, checked = max(checks, key=lambda found: found[0])
        stale = is_stale(folder / name, checked)
        return ExerciseStatus(spec=spec, counts=counts, notebook=folder / name, checked=checked, stale=stale)
    own = folder / f"{spec.id}.ipynb"
    return ExerciseStatus(spec=spec, counts=counts, notebook=own if own.is_file() else None)


def next_step(found: list[ExerciseStatus], catalog: Catalog) -> str:
    """The next thing to do, in one sentence."""
    if not any(status.notebook for status in found):
        return "There are no notebooks of this course here. Next: `grader init DIR` makes a folder to work in."
    for status in found:
        if not status.done:
            return f"Next: {_step(status)}"
    return f"Everything is right in all {len(catalog.exercises)} exercises."


def _step(status: ExerciseStatus) -> str:
    if status.notebook is None:
        return f"`grader init .` adds {status.spec.id}.ipynb, the next exercise."
    name = status.notebook.name
    if status.checked is None:
        return f"work on {name}, save it, then `grader check {name}`."
    if status.stale:
        return f"`grader check {name}`: it has changed since its last check."
    for whats in ({Verdict.WRONG: "fix", Verdict.MISSING: "fill in"}, {Verdict.UNCHECKED: "look at"}):
        for part in status.spec.parts:
            for tensor, found in status.checked.verdicts.get(part.id, {}).items():
                if found in whats:
                    return f"{whats[found]} {tensor} in “{part.title}”; `grader check {name} --hint` opens a hint."
    return f"`grader check {name}`."
