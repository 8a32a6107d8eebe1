"""The course's solutions as students might hand them in, with mistakes put in."""

from __future__ import annotations

import json

from grader.course.course import Course
from tests.conftest import ROOT

COURSE = Course(ROOT / "exercises")


def handed_in(
    exercise_id: str, *replacements: tuple[str, str], part: str | None = None, stripped: bool = False
) -> bytes:
    """A solution with pieces of the student's cells replaced.

    Args:
        exercise_id: the exercise.
        replacements: old and new text; the old one must stand exactly once in the student's cells.
        part: look for it in the cells of this part only.
        stripped: saved by an editor that keeps no metadata.
    """
    notebook = json.loads(COURSE.solution_path(exercise_id).read_text(encoding="utf-8"))
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["metadata"]["grader"]["role"] != "reference"]
    own = [cell for cell in notebook["cells"] if cell["metadata"]["grader"]["role"] == "gradients"]
    own = [cell for cell in own if part in (None, cell["metadata"]["grader"]["part"])]
    for old, new in replacements:
        assert sum("".join(cell["source"]).count(old) for cell in own) == 1, old
        for cell in own:
            cell["source"] = "".join(cell["source"]).replace(old, new)
    if stripped:
        notebook["metadata"] = {}
        for number, cell in enumerate(notebook["cells"]):
            cell["metadata"], cell["id"] = {}, f"cell-{number}"
    return json.dumps(notebook).encode()
