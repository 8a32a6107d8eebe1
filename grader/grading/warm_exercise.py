"""What the submissions of an exercise share: kernels, the reference, and what follows from these alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from grader.course.catalog import Case
from grader.course.exercise import Exercise
from grader.course.reference import Reference
from grader.errors import ExecutionError
from grader.execution.detached import DetachedCase
from grader.execution.detached_plan import detached_cases
from grader.execution.plan import ProbePart, probe_parts
from grader.execution.reference_agreement import computed_by_kernels, disagreements
from grader.grading.kernel_starts import KernelStarts
from grader.kernels import KernelSource
from grader.marking.near_zero import Edge, edges
from grader.marking.part_in_all_cases import References
from grader.notebook.file import MAKES_GRADIENTS
from grader.notebook.gradient_names import gradient_of
from grader.wording import listed

MAX_NAMED = 4
"""So many tensors are named in a sentence."""


class WarmExercise:
    """An exercise with kernels and a reference that are kept warm; a context manager.

    Args:
        exercise: the exercise.
        kernels: its kernels, which are opened when they are first needed.
    """

    def __init__(self, exercise: Exercise, kernels: AbstractContextManager[KernelSource]) -> None:
        self.exercise = exercise
        self.reference = Reference(exercise)
        self.kernels = KernelStarts(exercise, kernels)
        self._tried: dict[str, list[Edge]] | None = None
        self._detached: References | None = None
        self._agreed = False

    def __enter__(self) -> WarmExercise:
        return self

    def __exit__(self, *error: object) -> None:
        self.kernels.close()

    def names(self) -> list[str]:
        """Every checked name, and the tensors of every part's forward pass."""
        names = {name for checks in self.exercise.parts.values() for name in checks.names}
        visible = self.reference.case(self.exercise.cases[0])
        return sorted(names.union(*(part.forward for part in visible.values())))

    def lists(self) -> list[str]:
        """Of these names, those that stand for lists of tensors."""
        visible = self.reference.case(self.exercise.cases[0])
        return sorted({name for part in visible.values() for each in part.lists for name in (each, gradient_of(each))})

    def prepare(self) -> None:
        """Get ready, and start the kernels of the next grading where that can be done."""
        self.get_ready()
        self.kernels.prepare()

    def get_ready(self) -> None:
        """Compute the reference of every case, and have the locked cells run that all kernels can come with.

        Raises:
            ExecutionError: the reference's numbers are not those of the kernels.
        """
        self.agree()
        self.begin(self.references())

    def references(self) -> References:
        """Case → part → autograd's side, of every case."""
        return {case.id: self.reference.case(case) for case in self.exercise.cases}

    def begin(self, references: References) -> None:
        """Have the locked cells above a submission's first line run, where kernels can come with them."""
        self.kernels.begin_visible()

        def below() -> tuple[ProbePart | None, Mapping[str, Mapping[str, DetachedCase]]]:
            parts = probe_parts(self.exercise, references[self.exercise.cases[0].id])
            first = next((cell.part for cell in self.exercise.cells if cell.role in MAKES_GRADIENTS), None)
            asked = [part.id for part in parts.values() if part.gradients]
            told = detached_cases(asked, self.detached_in(references), self.steps_again(references))
            return parts.get(first or ""), told

        self.kernels.begin_hidden(below)

    def agree(self) -> None:
        """See, once, that the reference's numbers are those of the kernels; compute it anew where they are not.

        Kernels that have nothing run yet are not asked: a cold one takes as long as a submission.

        Raises:
            ExecutionError: they are not, for the second time.
        """
        if self._agreed or not self.kernels.source.setup_cells_run:
            return
        self.kernels.begin_visible()  # which goes on while the reference is computed
        for attempt in range(2):
            if attempt:
                self.reference = Reference(self.exercise)
            self.reference.case(self.exercise.cases[0])
            given = self.reference.given
            cells, steps, start = self.kernels.locked()
            computed = computed_by_kernels(cells, steps, start, self.exercise.spec, list(given))
            differing = disagreements(given, computed)
            if not differing:
                self._agreed = True
                return
        names = listed([f"`{name}`" for name in differing], MAX_NAMED)
        raise ExecutionError(
            f"The locked cells of {self.exercise.id} give different numbers in each run ({names}), so no answer can "
            "be checked: seed every random number that they draw, release the exercise and grade again."
        )

    def detached_in(self, references: References) -> References:
        """The references of the hidden cases in which parts are run detached; the same for every submission."""
        if self._detached is None:
            self._detached = first_of_each_size(self.exercise.cases[1:], references)
        return self._detached

    def steps_again(self, references: References) -> dict[str, list[tuple[str, str]]]:
        """Part → the steps of the chain rule for which a second detached run is made."""
        steps = self.steps_to_try(references)
        return {part: [(edge.upper, edge.lower) for edge in tried] for part, tried in steps.items()}

    def steps_to_try(self, references: References) -> dict[str, list[Edge]]:
        """Part → the steps of the chain rule of which right values prove little."""
        if self._tried is None:
            hidden = [references[case.id] for case in self.exercise.cases[1:]]
            found = {
                part_id: edges(checks.gradients, [reference[part_id] for reference in hidden])
                for part_id, checks in self.exercise.parts.items()
            }
            self._tried = {part_id: tried for part_id, tried in found.items() if tried}
        return self._tried


def first_of_each_size(cases: Sequence[Case], references: References) -> References:
    """Of the cases that build on no other, the first two and the first for each set of sizes, with their references.

    Of two networks, for a diagnosis must hold in both: what is one number in the first is another in the second.
    """
    free = [case.id for case in cases if case.only_after is None]
    sizes: dict[str, str] = {}
    for case_id in free:
        key = repr({part: reference.shapes for part, reference in references[case_id].items()})
        sizes.setdefault(key, case_id)
    chosen = {*sizes.values(), *free[:2]}
    return {case_id: references[case_id] for case_id in free if case_id in chosen}
