"""`grader reset`: blank cells again, and the student's own notebook kept beside them."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

from grader.course.course import Course
from grader.course.exercise import Exercise
from grader.errors import UnreadableNotebook, UsageError
from grader.files import is_notebook, replace_file
from grader.intake.matching import match_cells
from grader.notebook.file import grader_metadata, parse_json, read_notebook


def find_target(course: Course, target: str) -> tuple[str, str | None]:
    """What `target` names: an exercise, or a part by its id or title, perhaps behind the exercise's id and a slash.

    Returns:
        The exercise's id and the part's.

    Raises:
        UsageError: nothing is called that, or several parts are.
    """
    found: list[tuple[str, str | None]] = []
    for spec in course.catalog.exercises:
        names: dict[str, str | None] = {spec.id: None}
        for part in spec.parts:
            for name in (part.title.casefold(), part.id):
                names |= {name: part.id, f"{spec.id}/{name}": part.id}
        if (wanted := target.strip().casefold()) in names:
            found.append((spec.id, names[wanted]))
    if len(found) > 1:
        several = ", ".join(f"{exercise}/{part}" for exercise, part in found)
        raise UsageError(f"Several exercises have a part {target!r}: say which, {several}.")
    if not found:
        raise UsageError(f"There is no exercise or part {target!r}; `grader list` shows them.")
    return found[0]


def reset(course: Course, target: str, notebook: Path | None, folder: Path) -> tuple[Path, Path]:
    """Restore the blank cells of a part, or a whole blank notebook.

    Args:
        course: the course.
        target: see `find_target`.
        notebook: the student's file; by default the exercise's own name in `folder`.
        folder: the workspace.

    Returns:
        The notebook, and the copy of what it was before.

    Raises:
        UsageError: there is no such notebook, or it can't be kept or written.
    """
    exercise_id, part = find_target(course, target)
    path = notebook if notebook is not None else folder / f"{exercise_id}.ipynb"
    exercise = course.exercise(exercise_id)
    try:
        before = path.read_bytes()
        _refuse_what_is_another(path, before, exercise_id)
        blank = course.notebook_path(exercise_id).read_bytes()
        after = blank if part is None else _with_blank_part(before, exercise, part)
        kept = _keep(path)
        replace_file(path, after)
    except OSError as error:
        raise UsageError(f"The notebook {str(path)!r} can't be reset ({error.strerror}): name another file.") from error
    return path, kept


def _refuse_what_is_another(path: Path, before: bytes, exercise_id: str) -> None:
    """Raises UsageError for what is no notebook by its name, or another exercise's. A damaged one may be replaced."""
    if not is_notebook(path):
        raise UsageError(f"{str(path)!r} isn't a notebook: name a file that ends with .ipynb.")
    try:
        named = grader_metadata(read_notebook(before)).get("exercise")
    except UnreadableNotebook:
        return
    if isinstance(named, str) and named != exercise_id:
        raise UsageError(f"{str(path)!r} is a notebook of {named}, not of {exercise_id}: name another file.")


def _keep(path: Path) -> Path:
    """A copy beside the file, under a name that was free."""
    number = 1
    while True:
        kept = path.with_name(f"{path.stem}.before-reset-{number}.ipynb")
        try:
            with path.open("rb") as source, kept.open("xb") as target:
                shutil.copyfileobj(source, target)
            return kept
        except FileExistsError:
            number += 1


def _with_blank_part(before: bytes, exercise: Exercise, part: str) -> bytes:
    """The student's notebook with the part's gradients cells as released; every other cell stays as it is.

    The first of several copies of a cell is restored and the others go. A cell that is missing is put behind the one
    that stands before it in the release.
    """
    read = read_notebook(before)  # refuses what is no notebook
    try:
        raw = parse_json(before)
        cells = raw["cells"]
    except KeyError:
        raw, cells = json.loads(json.dumps(read)), None
    if not isinstance(cells, list) or len(cells) != len(read.cells):
        raw = json.loads(json.dumps(read))
        cells = raw["cells"]
    code = [index for index, cell in enumerate(read.cells) if cell.cell_type == "code"]
    matches = dict(zip(code, match_cells([read.cells[index] for index in code], exercise), strict=True))
    raw["cells"] = _restored(cells, matches, exercise, part)
    return (json.dumps(raw, indent=1, ensure_ascii=False) + "\n").encode()


def _restored(cells: list[Any], matches: dict[int, int | None], exercise: Exercise, part: str) -> list[Any]:
    blanks = {cell.get("metadata", {}).get("nbgrader", {}).get("grade_id"): cell for cell in exercise.notebook.cells}
    wanted = {
        index: blanks[cell.grade_id]
        for index, cell in enumerate(exercise.cells)
        if cell.role == "gradients" and cell.part == part
    }
    kept: list[tuple[int, Any]] = []
    last = -1
    for position, cell in enumerate(cells):
        match = matches.get(position)
        if match in wanted:
            blank = wanted.pop(match)
            kept.append((match, {**copy.deepcopy(dict(blank)), **({"id": cell["id"]} if "id" in cell else {})}))
        elif match is None or (match not in wanted and not _is_copy(match, kept, exercise, part)):
            kept.append((last if match is None else match, cell))
        last = match if match is not None else last
    for index, blank in wanted.items():
        place = next((spot for spot in reversed(range(len(kept))) if kept[spot][0] < index), -1)
        kept.insert(place + 1, (index, copy.deepcopy(dict(blank))))
    return [cell for _, cell in kept]


def _is_copy(match: int, kept: list[tuple[int, Any]], exercise: Exercise, part: str) -> bool:
    cell = exercise.cells[match]
    return cell.role == "gradients" and cell.part == part and any(index == match for index, _ in kept)
