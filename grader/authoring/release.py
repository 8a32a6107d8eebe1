"""`grader release`: the blank exercise that students get, made from the solution notebook.

The answer between the solution's markers is replaced by one stub a gradient (`dlogits = None  # (32, 27)`); what is
checked is derived from the answer; reference cells move into the notebook's metadata.
"""

from __future__ import annotations

import ast
import copy
import re
import textwrap

import msgspec
import nbformat
from nbformat import NotebookNode

from grader.authoring.cell_rules import layout_problems
from grader.course.catalog import ExerciseSpec, Part
from grader.course.course import Course
from grader.course.exercise import Exercise, PartChecks, ReleaseNotes, read_own_notebook
from grader.course.part_reference import PartReference
from grader.course.reference import Reference
from grader.errors import CourseError
from grader.notebook.code import Code
from grader.notebook.file import MAKES_GRADIENTS, grade_id_of, part_of, role_of
from grader.notebook.gradient_names import gradient_of, tensor_of
from grader.notebook.syntax import elements_bound

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
_BEGIN, _END = (re.sub("[ ]", r"[ \\t]*", marker) + r"[ \t]*" for marker in (BEGIN, END))
_REGION = re.compile(rf"^(?P<indent>[ \t]*){_BEGIN}\n(?P<answer>.*?)^[ \t]*{_END}(?:\n|\Z)", re.S | re.M)
_MARKER = re.compile(rf"^[ \t]*(?:{_BEGIN}|{_END})$", re.M)


def released_text(course: Course, spec: ExerciseSpec) -> str:
    """The released notebook as it is written to disk: the same solution gives the same bytes.

    Raises:
        CourseError: the solution is missing, fails, or breaks a rule of `docs/authoring.md`.
    """
    solution = read_own_notebook(course.solution_path(spec.id))
    try:
        notebook = release(spec, solution, course)
    except CourseError as error:
        raise CourseError(f"{spec.id}: {str(error).removeprefix(f'{spec.id}: ')}") from error
    return str(nbformat.writes(notebook)) + "\n"


def release(spec: ExerciseSpec, solution: NotebookNode, course: Course) -> NotebookNode:
    """The blank notebook for `solution`, which is left as it was."""
    for problem in layout_problems(spec, solution):
        raise CourseError(problem)
    draft = copy.deepcopy(solution)
    references = {part_of(cell): cell.source for cell in draft.cells if role_of(cell) == "reference"}
    draft.cells = [cell for cell in draft.cells if role_of(cell) != "reference"]
    notes = ReleaseNotes(
        exercise=spec.id,
        parts={
            part.id: PartChecks(gradients=[], values=part.values, reference=references.get(part.id))
            for part in spec.parts
        },
    )
    _describe(draft, notes)
    tensors = Reference(Exercise(spec, draft, course.files(spec))).case(spec.all_cases[0])
    answers = _answers(draft)
    notes = ReleaseNotes(
        exercise=spec.id,
        parts={
            part.id: derive_checks(part, answers[part.id], list(tensors[part.id].tensors), references.get(part.id))
            for part in spec.parts
        },
    )
    _describe(draft, notes)
    for cell in draft.cells:
        _blank(cell, notes, tensors)
    return draft


def answers_in(source: str) -> list[str]:
    """What stands between the solution's markers in a cell: the answers, without their indentation."""
    return [textwrap.dedent(match["answer"]) for match in _REGION.finditer(source)]


def derive_checks(part: Part, answers: list[str], tensors: list[str], reference: str | None) -> PartChecks:
    """What a part checks: every `dX` that its answers assign, for a tensor `X` of the forward pass.

    A part with `values` trains them: there the gradients are those of the values, whatever else the answer computes,
    and there may be none (an optimiser is given its gradients).

    Raises:
        CourseError: nothing would be checked.
    """
    assigned = list(dict.fromkeys(name for answer in answers for name in Code(answer).binds))
    gradients = [name for name in assigned if name.startswith("d") and tensor_of(name) in (part.values or tensors)]
    if not gradients and not part.values:
        raise CourseError(f"Part {part.id}: its answer assigns no gradient dX of a tensor X of the forward pass.")
    read = set().union(*(Code(answer).reads for answer in answers))
    upstream = [name for name in map(gradient_of, tensors) if name in read and name not in assigned]
    return PartChecks(gradients=gradients, values=part.values, upstream=upstream, reference=reference)


def _answers(notebook: NotebookNode) -> dict[str, list[str]]:
    """Part id → the cells that bind what is checked: the student's, and ours that call what the student wrote."""
    answers: dict[str, list[str]] = {}
    for cell in notebook.cells:
        if role_of(cell) in MAKES_GRADIENTS:
            answers.setdefault(part_of(cell) or "", []).append(cell.source)
    return answers


def _describe(notebook: NotebookNode, notes: ReleaseNotes) -> None:
    notebook.metadata["grader"] = nbformat.from_dict(msgspec.to_builtins(notes))


def _blank(cell: NotebookNode, notes: ReleaseNotes, tensors: dict[str, PartReference]) -> None:
    """Clear a cell's outputs and, in a gradients cell, put stubs in place of the answers."""
    if cell.cell_type == "code":
        cell.outputs, cell.execution_count = [], None
    if role_of(cell) != "gradients":
        if _MARKER.search(cell.source):
            raise CourseError(f"Cell {grade_id_of(cell)} has solution markers but is not a gradients cell.")
        return
    part = part_of(cell) or ""
    stubbed: set[str] = set()

    def stubs(match: re.Match[str]) -> str:
        answer = textwrap.dedent(match["answer"])
        shapes: dict[str, str] = {}
        for name in Code(answer).binds:
            if name in notes.parts[part].gradients:
                shapes.update(_stubs_of(name, answer, tensors[part]))
        new = [target for target in shapes if target not in stubbed]
        stubbed.update(new)
        return "".join(f"{match['indent']}{target} = None  # {shapes[target]}\n" for target in new)

    source, regions = _REGION.subn(stubs, cell.source)
    if not regions or _MARKER.search(source):
        raise CourseError(f"Cell {grade_id_of(cell)} needs its answer between {BEGIN!r} and {END!r} lines.")
    cell.source = source.rstrip("\n")


def _stubs_of(name: str, answer: str, reference: PartReference) -> dict[str, str]:
    """What a stub binds for a gradient, and the shape to write beside it; of a list, what the answer fills in."""
    shape = tuple(reference.tensors[tensor_of(name)].shape)
    if tensor_of(name) not in reference.lists:
        return {name: str(shape)}
    written = [element for node in ast.walk(Code(answer).tree) for element in elements_bound(node)]
    own = [element for element in written if isinstance(element.value, ast.Name) and element.value.id == name]
    own.sort(key=lambda element: (element.lineno, element.col_offset))
    elements = map(ast.unparse, own)
    return dict.fromkeys(elements, str(shape[1:])) or {name: f"a list of {shape[0]}, each {shape[1:]}"}
