"""Running our own notebooks' cells in this process, as a kernel would: for benchmarks, on code that is trusted."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import sys
from collections.abc import Iterator
from functools import partial
from itertools import takewhile
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import msgspec
import torch

from grader.course.catalog import Case, in_float32
from grader.course.course import Course
from grader.course.exercise import Cell
from grader.course.reference import Reference
from grader.diagnosis.diagnose import explained
from grader.diagnosis.gradient_lines import GradientLines
from grader.execution.detached import DetachedPlan, read_detached
from grader.execution.detached_plan import plan_detached
from grader.execution.execute import CellError, CellRun, Execution, HiddenRun
from grader.execution.plan import plan_steps, probe_parts
from grader.execution.tensors import Export, read_export
from grader.grading.warm_exercise import first_of_each_size
from grader.intake.take_in import PlannedCell
from grader.marking.near_zero import Edge, edges
from grader.marking.part_in_all_cases import PartCases
from grader.marking.verdicts import PartMarks
from grader.notebook.code import Code
from grader.records import Check

ROOT = Path(__file__).parent.parent
EXERCISE = "01_backprop_ninja"


@functools.cache
def load_probe() -> ModuleType:
    """The probe as the kernel loads it: the functions used here need a namespace and no shell."""
    folder = ROOT / "grader" / "kernels" / "probe"
    sys.path.append(str(folder))  # where it finds grader_detached; last, for `grader` is there, too
    spec = importlib.util.spec_from_file_location("grader_probe", folder / "grader_probe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Workbench:
    """Runs a part's cells in every case and marks what comes of it.

    Args:
        solution: grade_id → source of each gradients cell, all right: what the parts before the tried one are run with.
        exercise: the exercise's id.
        course: where it is; this repository's own course if not given.
    """

    def __init__(self, solution: dict[str, str], exercise: str = EXERCISE, course: Course | None = None) -> None:
        self.exercise = (course or Course(ROOT / "exercises")).exercise(exercise)
        self.reference = reference = Reference(self.exercise)
        self.references = {case.id: reference.case(case) for case in self.exercise.cases}
        self.parts = probe_parts(self.exercise, self.references["visible"])
        self.tried = self._steps_to_try()
        self.detached_in = first_of_each_size(self.exercise.cases[1:], self.references)
        self.probe = load_probe()
        self.setup = reference.setup
        self.solution = solution
        self.snapshots: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}

    def _steps_to_try(self) -> dict[str, list[Edge]]:
        """Part → the steps of the chain rule of which right values prove little."""
        hidden = [case.id for case in self.exercise.cases[1:]]
        return {
            part: edges(checks.gradients, [self.references[case][part] for case in hidden])
            for part, checks in self.exercise.parts.items()
        }

    def cells(self, part: str) -> list[str]:
        """The grade_ids of a part's gradients cells."""
        return [cell.grade_id for cell in self.exercise.cells if cell.part == part and cell.role == "gradients"]

    def own_cells(self, part: str) -> list[Cell]:
        """The cells that make a part's gradients, in their order: the student's, and those of ours that call them."""
        return [cell for cell in self.exercise.cells if cell.part == part and cell.role in ("gradients", "backward")]

    def by_steps(self, part: str) -> bool:
        """Whether every tensor of a part is computed once, so that each follows from those before it; loops train."""
        return not self.exercise.parts[part].values

    def begun(self, part: str, case: Case) -> dict[str, Any]:
        """A namespace as it is before the first of the student's cells of a part."""
        namespace = self._before(part, case)
        with case_dtype(case):
            for cell in self._run_before(part):
                run(cell.source, namespace)
        self.probe._begin(namespace, msgspec.to_builtins(self.parts[part]))
        return namespace

    def _run_before(self, part: str) -> list[Cell]:
        """The cells of a part's forward pass that `_before` has not run."""
        own = [] if part == next(iter(self.parts)) else [cell for cell in self.exercise.cells if cell.part == part]
        return list(takewhile(lambda cell: cell.role != "gradients", [cell for cell in own if cell.role != "compare"]))

    def _before(self, part: str, case: Case) -> dict[str, Any]:
        """A namespace as it is before a part's first cell; for the first part, before the first one of the student's.

        Its tensors are copies, for a mutant may write into any of them.
        """
        key = (case.id, case.dtype)
        if key not in self.snapshots:
            self.snapshots[key] = self._snapshots(case)
        return {name: _copy(value) for name, value in self.snapshots[key][part].items()}

    def _snapshots(self, case: Case) -> dict[str, dict[str, Any]]:
        namespace = dict(self.setup)
        found: dict[str, dict[str, Any]] = {}
        first = next(iter(self.parts))
        with case_dtype(case):
            for cell in self.exercise.cells:
                if (
                    cell.part is not None
                    and cell.part not in found
                    and (cell.part != first or cell.role == "gradients")
                ):
                    found[cell.part] = dict(namespace)
                if cell.role == "gradients":
                    run(self.solution[cell.grade_id], namespace)
                elif cell.role in ("parameters", "forward", "backward"):
                    run(cell.source, namespace)
                    if cell.role == "parameters":
                        namespace.update(case.parameters)
        return found

    def run_part(
        self, part: str, sources: dict[str, str], case: Case, *, kept: bool = False
    ) -> tuple[dict[str, Any], Export, list[CellError]]:
        """Run a part in one case; the namespace it ends with, what the probe exports, the cells that raised.

        `kept`: so that it can be run again, detached.
        """
        namespace = self.begun(part, case)
        if kept:
            self.probe.grader_detached.keep(namespace, case.id, part)
        errors: list[CellError] = []
        with case_dtype(case):
            begun = False
            for index, cell in enumerate(self.exercise.cells):
                begun = begun or (cell.part == part and cell.role == "gradients")
                if not begun or cell.part != part or cell.role not in ("forward", "gradients", "backward"):
                    continue
                try:
                    run(sources[cell.grade_id] if cell.role == "gradients" else cell.source, namespace)
                except Exception as error:  # noqa: BLE001 - a mutant may raise anything
                    line = error.__traceback__.tb_next.tb_next  # type: ignore[union-attr]
                    number = line.tb_lineno if line is not None else None
                    errors.append(CellError(cell=index, name=type(error).__name__, line=number, message=str(error)))
            exported = read_export(self.probe._export(namespace, msgspec.to_builtins(self.parts[part])))
        return namespace, exported, errors

    def mark(self, part: str, sources: dict[str, str]) -> tuple[PartMarks, dict[str, dict[str, Any]], list[CellError]]:
        """Run a part in every case; its marks, the final namespace of each case, and every error."""
        cells = [
            PlannedCell(code=Code(sources.get(cell.grade_id, cell.source)), role=cell.role, part=cell.part,
                        student=cell.role == "gradients", label=cell.grade_id)
            for cell in self.exercise.cells
        ]  # fmt: skip
        again = {part: [(edge.upper, edge.lower) for edge in self.tried[part]]}
        plan = plan_detached(
            {part: self.parts[part]}, self.detached_in, again, cells, plan_steps(cells, self.parts), {}
        )
        detached: dict[str, dict[str, object]] = {}
        visible: dict[str, Export] = {}
        hidden: dict[str, HiddenRun] = {}
        namespaces: dict[str, dict[str, Any]] = {}
        all_errors: list[CellError] = []
        shown: list[CellError] = []
        for case in self.exercise.cases:
            kept = case.id in self.detached_in
            namespace, exported, errors = self.run_part(part, sources, case, kept=kept)
            all_errors += errors
            if case.id == "visible":
                visible[part], shown = exported, errors
            else:
                namespaces[case.id] = namespace
                hidden[case.id] = HiddenRun(parts={part: exported}, errors=errors)
            if kept:
                detached[case.id] = {part: self._detached(part, plan, case, dict(namespace))}
        runs_shown = [_cell_run(index, shown) for index in range(len(cells))]
        execution = Execution(
            cells=runs_shown,
            visible=visible,
            hidden=hidden,
            detached=read_detached(msgspec.msgpack.encode(detached), plan),
        )
        marks = PartMarks(PartCases(part, self.exercise, cells, execution, self.references), self.tried[part])
        if marks.wants_float32:
            self._judge_in_float32(marks, sources)
        return marks, namespaces, all_errors

    def _judge_in_float32(self, marks: PartMarks, sources: dict[str, str]) -> None:
        cases = [in_float32(case) for case in self.exercise.cases[1:]]
        runs = {}
        for case in cases:
            _, exported, errors = self.run_part(marks.part.part_id, sources, case)
            runs[case.id] = HiddenRun(parts={marks.part.part_id: exported}, errors=errors)
        references = {case.id: self.reference.case(case) for case in cases}
        marks.part.judge_in_float32(cases, runs, references, {case.id: self.reference.rounding(case) for case in cases})

    def _detached(self, part: str, plan: DetachedPlan, case: Case, namespace: dict[str, Any]) -> object:
        """What the kernel would send of a part's detached runs in a case that was kept."""
        if part not in plan.parts:
            return []
        told = plan.request
        spec = {**told["parts"][part], **told["cases"][case.id][part]}

        def run_cell(kind: str, text: str) -> None:
            with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
                exec(self.probe.grader_detached.code(text) if kind == "code" else text, namespace)

        with case_dtype(case):
            return self.probe.grader_detached.run(
                namespace, (case.id, part), spec, run_cell,
                partial(self.probe._export_named, lists=spec["lists"]), float("inf"),
            )  # fmt: skip


def checks_of(marks: PartMarks) -> dict[str, Check]:
    """Name → the check with its diagnosis."""
    where = GradientLines(marks.part)
    return {name: explained(marks.check(name), marks, where) for name in marks.part.checks.names}


def checks_with(bench: Workbench, right: dict[str, str], part: str, *replacements: tuple[str, str]) -> dict[str, Check]:
    """The checks of a part by name, with pieces of right cells replaced: old → new, each of which some cell holds."""
    sources = dict(right)
    for old, new in replacements:
        hits = [cell for cell in bench.cells(part) if old in sources[cell]]
        assert hits, f"no cell holds {old!r}"
        sources.update({cell: sources[cell].replace(old, new) for cell in hits})
    return checks_of(bench.mark(part, sources)[0])


def _cell_run(index: int, errors: list[CellError]) -> CellRun:
    """A cell of the visible case: its error, if it raised one, as a notebook has it."""
    for error in errors:
        if error.cell == index:
            output = {"output_type": "error", "ename": error.name, "evalue": error.message}
            return CellRun(status="error", outputs=[output], error=error.name, line=error.line)
    return CellRun(status="ok")


def run(source: str, namespace: dict[str, Any]) -> None:
    """Execute one of our own cells, without its output."""
    with contextlib.redirect_stdout(io.StringIO()):
        exec(_compiled(source), namespace)


@functools.cache
def _compiled(source: str) -> CodeType:
    lines = ["pass" if line.startswith(("%", "!")) else line for line in source.splitlines()]
    return compile("\n".join(lines), "<cell>", "exec")


def _copy(value: Any) -> Any:
    """A tensor of its own, with the gradient that it came with, and such a list; anything else as it is."""
    if isinstance(value, list) and value and isinstance(value[0], torch.Tensor):
        return [_copy(member) for member in value]
    if not isinstance(value, torch.Tensor) or value.numel() > 1 << 16:
        return value
    copied = value.detach().clone().requires_grad_(value.requires_grad and value.is_leaf)
    copied.grad = value.grad if value.is_leaf or value.retains_grad else None
    return copied


def stacked(value: Any) -> Any:
    """A list of tensors as one tensor, as the grader has it; anything else as it is."""
    whole = isinstance(value, list) and value and all(isinstance(member, torch.Tensor) for member in value)
    return torch.stack(value) if whole and len({member.shape for member in value}) == 1 else value


@contextlib.contextmanager
def case_dtype(case: Case) -> Iterator[None]:
    """The default dtype of a case."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, case.dtype))
    try:
        yield
    finally:
        torch.set_default_dtype(before)
