"""An answer's cell that was turned into text, with a slip of a key: it still has its id, and is code again."""

from __future__ import annotations

from nbformat import NotebookNode

from grader.course.exercise import Exercise
from grader.notebook.file import grade_id_of, role_of


def code_again(notebook: NotebookNode, exercise: Exercise) -> list[str]:
    """Make code of the text cells that the release has as gradients cells; a sentence for each.

    One that is there as code too is left as text: a student may have kept an earlier attempt in it.
    """
    answers = {cell.grade_id for cell in exercise.cells if cell.role == "gradients"}
    there = {grade_id_of(cell) for cell in notebook.cells if cell.cell_type == "code"}
    said = []
    for position, cell in enumerate(notebook.cells, 1):
        id_ = grade_id_of(cell)
        if cell.cell_type == "code" or id_ not in answers - there or role_of(cell) not in (None, "gradients"):
            continue
        there.add(id_)
        said.append(f"Cell {position}, {id_}, had been turned into a text cell ({cell.cell_type}): it was run as code.")
        cell.cell_type, cell["outputs"], cell["execution_count"] = "code", [], None
        cell.pop("attachments", None)
    return said
