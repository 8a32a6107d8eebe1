"""A released exercise: the blank notebook, and what `grader release` derived from its solution.

Grading never needs a solution. Which tensors are checked, and the code that only the reference runs, travel in the
released notebook's own metadata, so that a student's machine and a grading worker hold no answer at all.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

import msgspec
from nbformat import NotebookNode

from grader.course.catalog import Case, ExerciseSpec, Terms
from grader.errors import CourseError, UnreadableNotebook
from grader.notebook.code import Code
from grader.notebook.file import Role, grade_id_of, grader_metadata, part_of, read_notebook, role_of
from grader.records import Record


class Cell(Record, frozen=True, dict=True):
    """A code cell of the exercise: what it is, and its source as released."""

    grade_id: str
    role: Role
    part: str | None
    source: str

    @cached_property
    def code(self) -> Code:
        """What the source says."""
        return Code(self.source)


class PartChecks(Record, frozen=True):
    """What is checked in a part.

    `gradients` are names such as `dlogits`; `values` are tensors compared by value (`W1` after training). `upstream`
    are gradients that the part's answer starts from without computing them (`dhpreact` for `dhprebn`). `reference`
    is the code that the reference runs in place of the student's cells, or None where it needs none.
    """

    gradients: list[str]
    values: list[str] = []
    upstream: list[str] = []
    reference: str | None = None

    @property
    def names(self) -> list[str]:
        """All checks of the part, in the order in which they are shown."""
        return [*self.gradients, *self.values]


class ReleaseNotes(Record, frozen=True):
    """The `grader` metadata of a released notebook."""

    exercise: str
    parts: dict[str, PartChecks]


class Exercise:
    """One exercise, ready to grade with.

    Args:
        spec: the catalogue's entry.
        notebook: the released (blank) notebook, nbformat 4.5.
        files: file name → path, of the files that the notebook reads (`names.txt`, `aux_files.py`).

    Raises:
        CourseError: the notebook was not made by `grader release`, or does not fit the catalogue.
    """

    def __init__(self, spec: ExerciseSpec, notebook: NotebookNode, files: dict[str, Path]) -> None:
        self.spec = spec
        self.notebook = notebook
        self.files = files
        try:
            notes = msgspec.convert(grader_metadata(notebook), ReleaseNotes)
        except msgspec.ValidationError as error:
            raise CourseError(
                f"Exercise {spec.id} was not made by `grader release`; run it first ({error})."
            ) from error
        if notes.exercise != spec.id or set(notes.parts) != {part.id for part in spec.parts}:
            raise CourseError(f"Exercise {spec.id} doesn't match the catalogue; run `grader release`.")
        self.parts = {part.id: notes.parts[part.id] for part in spec.parts}
        self.cells = code_cells(notebook)
        self.version = self._version()

    @property
    def id(self) -> str:
        """The exercise's id, `01_backprop_ninja`."""
        return self.spec.id

    @property
    def setup_sources(self) -> list[str]:
        """The sources of the setup cells, in order: what a snapshot has run before any student's kernel starts."""
        return [cell.source for cell in self.cells if cell.role == "setup"]

    @property
    def late_libraries(self) -> list[str]:
        """What its cells have torch import in the middle: an optimizer that is made imports torch's compiler."""
        sources = [*(cell.source for cell in self.cells), *(part.reference or "" for part in self.parts.values())]
        return ["torch._dynamo"] if any("torch.optim" in source for source in sources) else []

    @cached_property
    def cases(self) -> list[Case]:
        """The visible case and the hidden ones."""
        return self.spec.all_cases

    @property
    def max_score(self) -> float:
        """The points of all parts together."""
        return sum(part.points for part in self.spec.parts)

    def max_points(self, part: str) -> float:
        """The points of one check of a part."""
        return self.spec.part(part).points / len(self.parts[part].names)

    def _version(self) -> str:
        """A digest of all that a grade depends on: cells, checks, catalogue entry without its terms, files."""
        digest = hashlib.sha256()
        spec = msgspec.structs.replace(self.spec, terms=Terms())
        for record in (*self.cells, spec, *self.parts.values()):
            digest.update(msgspec.json.encode(record))
        for name in sorted(self.files):
            digest.update(name.encode() + hashlib.sha256(self.files[name].read_bytes()).digest())
        return digest.hexdigest()[:16]


def code_cells(notebook: NotebookNode) -> list[Cell]:
    """The code cells of one of our own notebooks, released or solution.

    Raises:
        CourseError: a code cell has no role or no grade_id.
    """
    cells = []
    for position, node in enumerate(notebook.cells):
        if node.cell_type != "code":
            continue
        role, grade_id = role_of(node), grade_id_of(node)
        if role is None or role == "text" or grade_id is None:
            raise CourseError(f"Code cell {position + 1} has no role or no grade_id: see docs/authoring.md.")
        cells.append(Cell(grade_id=grade_id, role=role, part=part_of(node), source=node.source))
    return cells


def read_own_notebook(path: Path) -> NotebookNode:
    """Read a notebook of the course itself.

    Raises:
        CourseError: it is missing or not a notebook.
    """
    try:
        return read_notebook(path.read_bytes())
    except OSError as error:
        raise CourseError(f"The notebook {path} can't be read ({error.strerror}): run `grader release`.") from error
    except UnreadableNotebook as error:
        raise CourseError(
            f"The notebook {path} is damaged or isn't a notebook: open it in Jupyter and save it."
        ) from error
