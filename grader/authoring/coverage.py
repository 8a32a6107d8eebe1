"""Whether an exercise checks all that its solution computes, and tells a student nothing of it beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Set

from nbformat import NotebookNode

from grader.authoring.answer_leaks import Answer, answers, given_away, looks_like_a_gradient
from grader.authoring.release import answers_in
from grader.course.exercise import Exercise
from grader.course.part_reference import PartReference
from grader.notebook.code import Code
from grader.notebook.file import MAKES_GRADIENTS, grade_id_of, part_of, role_of
from grader.notebook.gradient_names import gradient_of, tensor_of
from grader.notebook.statements import dissect

# --- what is computed and not checked --------------------------------------------------------------------------------


def unchecked_gradients(
    exercise: Exercise, solution: NotebookNode, references: dict[str, PartReference]
) -> Iterator[str]:
    """The gradients that the solution makes, or a compare cell reads, and that nothing checks; each in a sentence.

    In a part that trains its values the gradients are those of the values, and what else its loop computes is its own.
    """
    made: set[str] = set()
    for cell in solution.cells:
        role, part = role_of(cell), part_of(cell) or ""
        if role in MAKES_GRADIENTS:
            names = {name for piece in dissect(cell.source).pieces or [] for name in piece.binds}
            made |= names
            if not exercise.parts[part].values:
                yield from _uncovered(part, sorted(names), exercise.parts[part].names, references[part])
        elif role == "compare" and part in references:
            for name in _gradients_of(references[part], Code(cell.source).reads):
                if name not in made and name not in references[part].known:
                    yield (
                        f"cell {grade_id_of(cell)} compares {name}, which the solution doesn't make; make it in the "
                        f"part's answer, or take it out of the cell."
                    )
    for part_id, checks in exercise.parts.items():
        made_of_values = [value for value in checks.values if gradient_of(value) in checks.gradients]
        for value in checks.values if made_of_values else []:  # else they are compared, and no gradient is asked for
            if value not in made_of_values:
                yield (
                    f"part {part_id} trains {value}, and its answer makes no d{value}; make it there, or take "
                    f"{value} out of the catalogue's values."
                )


def _uncovered(part: str, names: list[str], checked: list[str], reference: PartReference) -> Iterator[str]:
    for name in names:
        if not looks_like_a_gradient(name) or name in checked or name in reference.known:
            continue
        tensor = tensor_of(name)
        if tensor in reference.known:
            yield (
                f"part {part} makes {name}, which no check covers, because the loss doesn't depend on {tensor}; "
                f"let {tensor} require a gradient and go into the loss, or give the helper a name without the d."
            )
        else:
            yield (
                f"part {part} makes {name}, which no check covers, because the forward pass has no tensor {tensor}; "
                f"give it that name there, or give the helper a name without the d."
            )


def unvaried_parameters(exercise: Exercise, references: dict[str, PartReference]) -> Iterator[str]:
    """The parameters that no case changes: their values, written out, would be right in all of them."""
    _, *hidden = exercise.cases
    given: dict[str, object] = {}
    for reference in references.values():
        given.update(reference.constants)
    cells = [cell for cell in exercise.cells if cell.role == "parameters"]
    for name in dict.fromkeys(name for cell in cells for name in cell.code.binds):
        if name in exercise.cases[0].parameters:
            continue  # the value that students see is another in every case
        values = [case.parameters[name] for case in hidden if name in case.parameters]
        if hidden and all(name in given and value == given[name] for value in values):
            yield (
                f"no hidden case changes {name}, so its value, written out, earns full marks; give it a different "
                f"value in a case."
            )


def _gradients_of(reference: PartReference, names: Set[str]) -> list[str]:
    return sorted(name for name in names if looks_like_a_gradient(name) and tensor_of(name) in reference.tensors)


def unkept_gradients(exercise: Exercise, references: dict[str, PartReference]) -> Iterator[str]:
    """The tensors that a compare cell compares with `.grad`, and whose gradient PyTorch was not asked to keep."""
    helpers = {
        name for cell in exercise.cells if cell.role == "setup" and ".grad" in cell.source for name in cell.code.defines
    }
    for cell in exercise.cells:
        if cell.role != "compare" or cell.part not in references or exercise.parts[cell.part].values:
            continue
        reference, read = references[cell.part], cell.code.reads
        if ".grad" not in cell.source and not helpers & read:
            continue
        for gradient in exercise.parts[cell.part].gradients:
            name = tensor_of(gradient)
            kept = all(tensor.is_leaf or tensor.retains_grad for tensor in reference.members(name))
            if {gradient, name} <= read and not kept:
                of_each = f"{name}[t].grad" if name in reference.lists else f"{name}.grad"
                yield (
                    f"cell {cell.grade_id} compares {gradient} with {of_each}, which is not kept; call "
                    f"{of_each.removesuffix('.grad')}.retain_grad() in the forward cell, before backward()."
                )


# --- what is given away -----------------------------------------------------------------------------------------------


def giveaways(exercise: Exercise, solution: NotebookNode) -> Iterator[str]:
    """Every place in the blank, in a file that it reads, and in a hint, that holds a line of the answer."""
    sought = _sought(exercise, solution)
    for where, text in _places(exercise):
        for answer in given_away(sought, text):
            yield f"{where} gives the answer `{answer.line}` away; take it out."
    for part in exercise.spec.parts:
        for name, hints in part.hints.items():
            for number, hint in enumerate(hints, 1):
                for answer in given_away(sought, hint)[:1]:
                    yield (
                        f"hint {number} for {name} in part {part.id} gives the answer `{answer.line}` away; say what "
                        f"to think of instead."
                    )


def _sought(exercise: Exercise, solution: NotebookNode) -> list[Answer]:
    found = [
        answer
        for cell in solution.cells
        if role_of(cell) == "gradients"
        for text in answers_in(cell.source)
        for answer in answers(text, exercise.parts[part_of(cell) or ""].values)
    ]
    return list({answer.form: answer for answer in found}.values())


def _places(exercise: Exercise) -> Iterator[tuple[str, str]]:
    """All that a student can read: where it stands, and its text."""
    for number, cell in enumerate(exercise.notebook.cells, 1):
        name = f"the blank's cell {grade_id_of(cell) or number}"
        yield name, cell.source
        yield f"an output of {name}", _strings(cell.get("outputs", []))
        yield f"the metadata of {name}", _strings(cell.metadata)
    yield "the blank's metadata (a reference cell is kept there)", _strings(exercise.notebook.metadata)
    for name, path in exercise.files.items():
        if name.endswith(".py"):
            yield f"the file {name}", path.read_text(encoding="utf-8")


def _strings(value: object) -> str:
    """All texts in a piece of JSON, a line each."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        joined = [_strings(child) for child in value]
        return "".join(joined) if all(isinstance(child, str) for child in value) else "\n".join(joined)
    if isinstance(value, dict):
        return "\n".join(_strings(child) for child in value.values())
    return ""
