"""The reference: autograd's gradients, computed in the grader's own process from the instructor's cells.

Nothing of a student's is executed here. Student tensors enter only as upstream gradients, as data.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from grader.course.catalog import Case
from grader.course.exercise import Cell, Exercise
from grader.course.graph import Named, backward_pass, members_of
from grader.course.isolation import (
    Namespace,
    default_dtype,
    float32_draws,
    module_of_its_own,
    quiet_place,
    run_own_cell,
)
from grader.course.part_reference import PartReference
from grader.errors import CourseError
from grader.garbage_collection import uncollected
from grader.notebook.file import MAKES_GRADIENTS
from grader.notebook.gradient_names import tensor_of
from grader.records import VISIBLE

GIVEN_ELEMENTS = 1 << 16
"""Larger tensors are not kept as given: what is computed from them shows what they were."""


class Reference:
    """All reference values of one exercise, each case computed once and kept.

    Args:
        exercise: the released exercise.

    Attributes:
        given: name → tensor that the first gradients cell finds in the visible case; large data sets are left out.
            Known once that case's reference is.

    Raises:
        CourseError: a cell of the exercise fails, or a part has no loss on which `backward` is called.
    """

    def __init__(self, exercise: Exercise) -> None:
        self.exercise = exercise
        self.given: dict[str, Tensor] = {}
        self._random = module_of_its_own("random")
        self._cases: dict[str, dict[str, PartReference]] = {}

    def case(self, case: Case) -> dict[str, PartReference]:
        """Part id → its reference under a case's parameters."""
        key = repr((sorted(case.parameters.items()), case.dtype))
        if key not in self._cases:
            with self._place(), default_dtype(case.dtype):
                run = _Run(self.exercise, case, dict(self.setup))
                self._cases[key] = run.parts()
            self.given.update(run.given)
        return self._cases[key]

    def rounding(self, case: Case) -> dict[str, dict[str, float]]:
        """Part id → tensor → how far float32 rounding alone moves its gradient, largest absolute difference.

        Measured: the same cells on the same random numbers, once in float32 and once in float64.
        """
        coarse = self.case(case)
        with self._place(), default_dtype("float64"), float32_draws():
            fine = _Run(self.exercise, case, dict(self.setup)).parts()
        return {
            part: {
                name: float((gradient.double() - fine[part].gradients[name]).abs().max())
                for name, gradient in reference.gradients.items()
            }
            for part, reference in coarse.items()
        }

    @cached_property
    def setup(self) -> Namespace:
        """The namespace after the setup cells, which no case's parameters change."""
        namespace: Namespace = {"__name__": "__main__"}
        torch.set_num_threads(1)  # as in the student's kernel, so that equal arithmetic gives equal bits
        with self._place(), uncollected():
            for cell in self.exercise.cells:
                if cell.role == "setup":
                    run_own_cell(cell, namespace, self.exercise.id)
        return namespace

    def _place(self) -> contextlib.AbstractContextManager[None]:
        return quiet_place(self.exercise.files, self._random)


class _Run:
    """One run of the instructor's cells under one case, with `Tensor.backward` intercepted."""

    def __init__(self, exercise: Exercise, case: Case, namespace: Namespace) -> None:
        self.exercise = exercise
        self.case = case
        self.namespace = namespace
        self.given: dict[str, Tensor] = {}
        self.last: PartReference | None = None

    def parts(self) -> dict[str, PartReference]:
        """Run everything; the reference of every part."""
        done: dict[str, PartReference] = {}
        # What autograd saves for backward is copied: a training loop may change the parameters in place afterwards.
        with self._intercepted_backward(), torch.autograd.graph.saved_tensors_hooks(_copied, lambda kept: kept):
            for cell in self.exercise.cells:
                if cell.role in MAKES_GRADIENTS and cell.part is not None and cell.part not in done:
                    if not done and self.case.id == VISIBLE:
                        self.given = self._given()
                    done[cell.part] = self._part(cell)
                elif cell.role in ("parameters", "forward"):
                    run_own_cell(cell, self.namespace, self.exercise.id)
                    if cell.role == "parameters":
                        self.namespace.update(self.case.parameters)
        return done

    def _part(self, cell: Cell) -> PartReference:
        assert cell.part is not None
        checks = self.exercise.parts[cell.part]
        initial = {name: self.namespace[name].detach().clone() for name in checks.values}
        if checks.reference is not None:
            run_own_cell(
                Cell(grade_id=f"{cell.part}-reference", role="reference", part=cell.part, source=checks.reference),
                self.namespace,
                self.exercise.id,
            )
        if self.last is None:
            raise CourseError(f"{self.exercise.id}: part {cell.part} has no loss on which backward() is called.")
        last = self.last
        part = PartReference(last.root, last.named, last.gradients, last.constants, last.sequences)
        part.forward = last.forward
        part.initial = initial
        part.values = {name: self.namespace[name].detach().clone() for name in checks.values}
        return part

    def _given(self) -> dict[str, Tensor]:
        return {
            name: value.detach().clone()
            for name, value in self.namespace.items()
            if isinstance(value, Tensor) and value.layout is torch.strided and value.numel() <= GIVEN_ELEMENTS
        }

    def _named(self, root: Tensor) -> dict[str, Named]:
        """The tensors that names are bound to, and the lists of tensors whose gradients the answers make.

        Where several names share one tensor (a loop's variable does), it goes by the one that is trained, else by one
        whose gradient the answers make, else by the one bound first.
        """
        trained = {name for checks in self.exercise.parts.values() for name in checks.values}
        answers = [cell.code for cell in self.exercise.cells if cell.role in MAKES_GRADIENTS]
        asked = {tensor_of(name) for code in answers for name in code.binds}
        found: list[tuple[str, Named]] = [
            (name, value) for name, value in self.namespace.items()
            if isinstance(value, Tensor) or (name in asked and _is_list(value))
        ]  # fmt: skip
        owners = {id(root): ""}
        for name, value in sorted(found, key=lambda item: (item[0] not in trained, item[0] not in asked)):
            for member in members_of(value):
                owners.setdefault(id(member), name)
        return {
            name: value for name, value in found
            if all(member.requires_grad and owners[id(member)] == name for member in members_of(value))
        }  # fmt: skip

    def _constants(self) -> dict[str, int | float | Tensor]:
        """The named numbers and tensors that autograd does not follow; a loop's variable is none after it."""
        lines = [line for cell in self.exercise.cells if cell.role != "gradients" for line in cell.code.statements]
        counters = {name for line in lines if isinstance(line.tree, ast.For) for name in line.binds}
        counters -= {name for line in lines if not isinstance(line.tree, ast.For) for name in line.binds}
        return {
            name: value.detach() if isinstance(value, Tensor) else value
            for name, value in self.namespace.items()
            if name not in counters
            and (isinstance(value, int | float) or (isinstance(value, Tensor) and not value.requires_grad))
        }

    def _sequences(self, named: Collection[str]) -> dict[str, Tensor]:
        """The other named lists, of tensors of one shape or of numbers, each as one tensor."""
        found = {}
        for name, value in self.namespace.items():
            if name in named or not isinstance(value, list) or not value:
                continue
            if all(isinstance(each, int | float) for each in value):
                found[name] = torch.tensor(value)
            elif all(isinstance(each, Tensor) for each in value) and len({each.shape for each in value}) == 1:
                found[name] = torch.stack(value).detach()
        return {name: value for name, value in found.items() if value.numel() <= GIVEN_ELEMENTS}

    @contextlib.contextmanager
    def _intercepted_backward(self) -> Iterator[None]:
        """While the cells run, `loss.backward()` also records the graph: the names bound at that moment."""
        original = torch.Tensor.backward

        def backward(root: Tensor, *_: Any, **__: Any) -> None:
            named = self._named(root)
            gradients = backward_pass(root, named, {})
            reached = {name: named[name] for name in named if name in gradients}
            self.last = PartReference(root, reached, gradients, self._constants(), self._sequences(reached))
            original(root, retain_graph=True)  # type: ignore[no-untyped-call]

        torch.Tensor.backward = backward  # type: ignore[assignment, method-assign]
        try:
            yield
        finally:
            torch.Tensor.backward = original  # type: ignore[method-assign]


def _is_list(value: object) -> bool:
    """Whether a value is a list of different tensors of one shape and dtype."""
    if not isinstance(value, list) or not value or not all(isinstance(each, Tensor) for each in value):
        return False
    return len({(each.shape, each.dtype) for each in value}) == 1 and len(set(map(id, value))) == len(value)


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()
