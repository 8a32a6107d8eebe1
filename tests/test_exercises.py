"""Every exercise of the catalogue: its gradients are derivatives, and its text is what a student can begin with.

That a blank earns nothing and a solution everything, in every hidden case, is what `grader verify` says.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest
import torch
from torch import Tensor

from grader.course.catalog import WHOLE_PART
from grader.course.exercise import Cell, Exercise, code_cells, read_own_notebook
from grader.course.isolation import default_dtype, quiet_place
from grader.course.reference import Reference
from grader.intake.collect import UNKNOWN, collect
from grader.intake.take_in import guess_exercise, take_in
from grader.notebook.file import MAKES_GRADIENTS
from tests.finite_differences import directional_derivative
from tests.submissions import COURSE, handed_in

EXERCISES = COURSE.catalog.ids


class Solved:
    """An exercise's solution, run in float64 in this process, with the visible case's parameters.

    Attributes:
        gradients: part → name → the solution's own tensor.
    """

    def __init__(self, exercise: Exercise) -> None:
        self.exercise = exercise
        self.cells = code_cells(read_own_notebook(COURSE.solution_path(exercise.id)))
        self.reference = Reference(exercise)
        self.gradients: dict[str, dict[str, Tensor]] = {}
        namespace = self.fresh()
        lasts = {cell.part: cell for cell in self.cells if cell.role in MAKES_GRADIENTS}
        for cell in self.cells:
            if cell.role not in ("setup", "compare", "reference"):
                self._run(cell, namespace)
            if cell.part is not None and cell is lasts.get(cell.part):
                names = exercise.parts[cell.part].gradients
                self.gradients[cell.part] = {name: _tensor(namespace[name]).detach().clone() for name in names}

    def fresh(self) -> dict[str, Any]:
        """The namespace after the setup."""
        return dict(self.reference.setup)

    def _run(self, cell: Cell, namespace: dict[str, Any]) -> None:
        exec(compile(cell.source, cell.grade_id, "exec"), namespace)
        if cell.role == "parameters":
            namespace.update(self.exercise.cases[0].parameters)

    def forward(self, part: str) -> list[str]:
        """What computes a part's loss: the parameters, the forward cells up to the part, its reference cell if any."""
        first = next(i for i, cell in enumerate(self.cells) if cell.part == part and cell.role in MAKES_GRADIENTS)
        sources = [cell.source for cell in self.cells[:first] if cell.role in ("parameters", "forward")]
        values = "\n".join(f"{name} = {value!r}" for name, value in self.exercise.cases[0].parameters.items())
        reference = self.exercise.parts[part].reference
        return [sources[0], values, *sources[1:], *([reference] if reference else [])]


def _tensor(value: Tensor | list[Tensor]) -> Tensor:
    return torch.stack(value) if isinstance(value, list) else value


@pytest.fixture(scope="module", params=EXERCISES)
def solved(request) -> Iterator[Solved]:
    exercise = COURSE.exercise(request.param)
    with quiet_place(exercise.files, random), default_dtype("float64"):
        yield Solved(exercise)


def test_every_gradient_is_the_derivative_that_finite_differences_show(solved):
    """Tensors are too large to nudge every element, so the nudge goes in a random direction, which touches all at once:
    what is wrong would have to stand at a right angle to it.
    """
    generator = torch.Generator().manual_seed(0)
    for part, gradients in solved.gradients.items():
        cells = solved.forward(part)
        for name, gradient in gradients.items():
            direction = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
            shown = directional_derivative(cells, solved.fresh, name[1:], direction)
            worked_out = float((gradient * direction).sum())
            assert worked_out == pytest.approx(shown, rel=1e-6, abs=1e-8), f"{part}/{name}"


def test_every_gradient_is_autograds(solved):
    twin = next(case for case in solved.exercise.cases[1:] if case.parameters == solved.exercise.cases[0].parameters)
    for part, reference in solved.reference.case(twin).items():
        for name, gradient in solved.gradients[part].items():
            torch.testing.assert_close(gradient, reference.gradients[name[1:]], rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("exercise_id", EXERCISES)
def test_the_text_says_what_it_needs_and_how_long_it_takes(exercise_id):
    text = "\n".join(
        cell.source for cell in COURSE.exercise(exercise_id).notebook.cells if cell.cell_type == "markdown"
    )
    assert "**What you need before:**" in text
    assert f"about {COURSE.spec(exercise_id).minutes} minutes" in re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("exercise_id", EXERCISES)
def test_every_check_has_hints_and_none_holds_the_answer(exercise_id):
    exercise = COURSE.exercise(exercise_id)
    solution = read_own_notebook(COURSE.solution_path(exercise_id))
    answers = "".join("".join(cell.source.split()) for cell in code_cells(solution) if cell.role == "gradients")
    for part in exercise.spec.parts:
        for name in exercise.parts[part.id].names:
            hints = part.hints.get(name) or part.hints.get(WHOLE_PART)
            assert hints, f"{part.id}/{name} has no hint"
            for hint in hints:
                assert hint.strip()
                for piece in re.findall(r"\S+ [-+*/@] \S+", hint):
                    assert "".join(piece.split()) not in answers, f"{part.id}/{name}: {piece}"


@pytest.mark.parametrize("exercise_id", EXERCISES)
def test_it_asks_for_the_files_that_it_reads_and_no_others(exercise_id):
    exercise = COURSE.exercise(exercise_id)
    code = "\n".join(cell.source for cell in exercise.cells)
    read = {name for name in ("names.txt", "aux_files.py") if name in code or f"from {name[:-3]} import" in code}
    assert read == set(exercise.spec.files)


@pytest.mark.parametrize("exercise_id", EXERCISES)
def test_where_cells_make_an_optimizer_kernels_have_torchs_compiler_loaded(exercise_id):
    exercise = COURSE.exercise(exercise_id)
    makes_one = any(".optim." in cell.source for cell in exercise.cells)
    assert exercise.late_libraries == (["torch._dynamo"] if makes_one else [])


@pytest.mark.parametrize("stripped", [False, True], ids=["as-saved", "stripped"])
@pytest.mark.parametrize("exercise_id", EXERCISES)
def test_a_notebook_under_a_students_name_is_known_for_what_it_is(exercise_id, stripped):
    exercises = [COURSE.exercise(id_) for id_ in EXERCISES]
    assert guess_exercise(handed_in(exercise_id, stripped=stripped), exercises) == exercise_id


def test_a_file_that_tells_nothing_is_taken_to_be_for_what_all_others_are_for(tmp_path):
    (tmp_path / "ann.ipynb").write_bytes(handed_in(EXERCISES[0]))
    (tmp_path / "bob.ipynb").write_bytes(b"\x00 no notebook")
    assert {item.student: item.exercise for item in collect([tmp_path], COURSE)} == {
        "ann": EXERCISES[0],
        "bob": EXERCISES[0],
    }
    (tmp_path / "eve.ipynb").write_bytes(handed_in(EXERCISES[1]))
    assert {item.student: item.exercise for item in collect([tmp_path], COURSE)}["bob"] == UNKNOWN


@pytest.mark.parametrize("exercise_id", EXERCISES)
def test_a_cell_near_the_top_loads_the_magics_and_says_what_they_do(exercise_id):
    notebook = read_own_notebook(COURSE.notebook_path(exercise_id))
    first = [cell.source for cell in notebook.cells[:4] if cell.cell_type == "code"]
    (cell,) = [source for source in first if "%load_ext grader" in source]
    assert {"# %check", "# %hint"} <= set(cell.split("\n"))


def test_of_the_cell_with_the_magics_no_note_is_made_whatever_becomes_of_it():
    exercise = COURSE.exercise("00_chain_rule")
    for change in (lambda source: source.replace("# %check", "%check dz"), lambda source: ""):
        notebook = read_own_notebook(COURSE.notebook_path(exercise.id))
        for cell in notebook.cells:
            if "%load_ext grader" in cell.source:
                cell.source = change(cell.source)
        assert take_in(nbformat.writes(notebook).encode(), exercise).notes == []
