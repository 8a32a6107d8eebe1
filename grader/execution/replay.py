"""Replays: a part's cells again, with random numbers in one gradient, where the true gradients can't show a slip.

Where a true gradient is zero by symmetry, a right value proves little of the line that computes it. So the cells are
run again in a hidden case, and right after the student's last line for a gradient that this line starts from, random
numbers take its place. What the line makes of them is compared in `near_zero`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import torch
from torch import Tensor

from grader.course.graph import PartReference
from grader.execution.plan import ProbePart, Step, last_gradients, runs_hidden
from grader.execution.tensors import StudentTensor, read_export
from grader.intake.take_in import PlannedCell
from grader.notebook.syntax import Statement, parse, statements, up_to_line
from grader.records import Record

REPLAY = "#replay"
"""The id under which the replays travel with the hidden cases: no case can have it."""
SEED = 20221011
ZERO = 1e-9
"""A true gradient smaller than this share of the gradients it is computed from is zero but for rounding."""
MAX_WATCHED = 6


class Edge(NamedTuple):
    """A step of the chain rule that right values prove little of: from `dupper` to `dlower`.

    `zero` is one of them. `others` are the other tensors computed from `lower`: their gradients, from which `dlower` is
    made, too, have nothing to do with `dupper`.
    """

    upper: str
    lower: str
    zero: str
    others: tuple[str, ...] = ()


class Run(Record, frozen=True):
    """One replay: the name that gets random numbers (None: the cells as they are) and the tensors that are wanted."""

    name: str | None
    exports: list[str]


class PartReplays(Record, frozen=True):
    """What the kernel is told of a part's replays. In `cells` the watched names pass through `grader_replay.drawn`."""

    id: str
    cells: list[str]
    runs: list[Run]
    seed: int = SEED


class Replayed(Record, frozen=True):
    """What came of one replay, as the kernel says; `scale` is what the random numbers were multiplied by."""

    name: str | None
    counts: dict[str, int]
    scale: float
    errors: int
    export: dict[str, StudentTensor]

    def numbers(self, shape: torch.Size) -> Tensor:
        """The random numbers that took the name's place, float64."""
        generator = torch.Generator().manual_seed(SEED)
        return torch.randn(shape, generator=generator, dtype=torch.float64) * self.scale


class Replays(Record, frozen=True):
    """A part's replays: the steps that were to be tried, and what came, if anything did."""

    tried: list[Edge]
    runs: list[Replayed]


# --- what to replay


def zero_gradients(checked: Sequence[str], references: Sequence[PartReference]) -> set[str]:
    """The tensors whose checked gradients are zero but for rounding in every case, whatever their consumers' are."""
    return {
        gradient[1:]
        for gradient in checked
        if references and all(_is_zero(gradient[1:], reference) for reference in references)
    }


def _is_zero(name: str, reference: PartReference) -> bool:
    above = [reference.gradients[consumer] for consumer in reference.consumers.get(name, []) if consumer != "loss"]
    largest = max((_size(gradient) for gradient in above), default=0.0)
    return name in reference.gradients and _size(reference.gradients[name]) < ZERO * largest


def _size(tensor: Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0


def edges(checked: Sequence[str], references: Sequence[PartReference]) -> list[Edge]:
    """The steps to try: those to a gradient that is zero, and those from one to a gradient that is checked."""
    zero = zero_gradients(checked, references)
    found = []
    for lower in (name[1:] for name in checked) if zero else ():
        consumers = references[0].consumers.get(lower, [])
        found += [
            Edge(upper, lower, lower if lower in zero else upper,
                 tuple(name for name in consumers if name not in (upper, "loss")))
            for upper in consumers
            if upper != "loss" and (lower in zero or upper in zero)
            # Otherwise the random numbers reach it on a second way, through the gradient of the other.
            and not any(upper in references[0].computed_from(other) for other in consumers if other != upper)
        ]  # fmt: skip
    return found


def plan_replays(part: ProbePart, tried: Sequence[Edge], cells: Sequence[PlannedCell], steps: Sequence[Step],
                 stops: Mapping[int, int]) -> PartReplays | None:  # fmt: skip
    """What to replay of a part, from the text of the student's cells; None where nothing can be.

    Args:
        part: what the probe is told of the part.
        tried: the steps of the chain rule to try.
        cells: the submission's cells.
        steps: the steps of a run.
        stops: cell index → the line at which that cell never came to an end: what stands before it is run.
    """
    last = last_gradients(cells)
    own = [index for index in _between(part.id, steps) if runs_hidden(Step(do="cell", cell=index), cells, last)]
    sources = {
        index: up_to_line(cells[index].source, stops[index]) if index in stops else cells[index].source for index in own
    }
    written = {
        index: source for index, source in sources.items() if cells[index].student and cells[index].part == part.id
    }
    watched = _watched(tried, part.forward, written)
    trees = {index: parse(source) for index, source in written.items()}
    placed = [name for name, targets in watched.items() if _place(name, targets, written, trees)]
    if not placed:
        return None
    sources.update({index: ast.unparse(tree) for index, tree in trees.items() if tree is not None})
    wanted = {name: [name, *sorted(watched[name]), *_beside(watched[name], tried)] for name in placed}
    runs = [Run(name=name, exports=exports) for name, exports in wanted.items()]
    everything = list(dict.fromkeys(name for exports in wanted.values() for name in exports))
    return PartReplays(id=part.id, cells=list(sources.values()), runs=[Run(name=None, exports=everything), *runs])


def _beside(targets: set[str], tried: Sequence[Edge]) -> list[str]:
    """The other gradients that the targets are made from."""
    return sorted({f"d{name}" for edge in tried if f"d{edge.lower}" in targets for name in edge.others} - targets)


def _between(part: str, steps: Sequence[Step]) -> list[int]:
    """The cells that are run from the part's beginning to its export."""
    found: list[int] = []
    inside = False
    for step in steps:
        if step.part is not None and step.part.id == part:
            inside = step.do == "begin"
        elif inside and step.cell is not None:
            found.append(step.cell)
    return found


def _watched(tried: Sequence[Edge], names: Sequence[str], written: Mapping[int, str]) -> dict[str, set[str]]:
    """Name → the gradients that may be computed from it: the upstream gradients, and other names in their place.

    A student may call the gradient of `hprebn` something else than `dhprebn`: which name it is, its value will tell.
    """
    lines = [statement for source in written.values() for statement in statements(source)]
    bound = {name for line in lines for name in line.names}
    ordinary = {*names, *(f"d{name}" for name in names)}
    found: dict[str, set[str]] = {}
    for upper, lower, *_ in tried:
        read = {name for line in lines if f"d{lower}" in line.names for name in line.reads}
        others = sorted((read & bound) - ordinary) if f"d{upper}" not in bound else []
        for name in [f"d{upper}", *others]:
            if name in bound:
                found.setdefault(name, set()).add(f"d{lower}")
    return dict(list(found.items())[:MAX_WATCHED])


def _place(name: str, targets: set[str], written: dict[int, str], trees: Mapping[int, ast.Module | None]) -> bool:
    """Have `name` pass through `drawn` after the student's last statement that binds it; whether that can be done."""
    for index in reversed(written):
        lines = [line for line in statements(written[index]) if name in line.names]
        tree = trees[index]
        if lines and tree is not None:
            ends = [line for line in statements(written[index]) if targets & set(line.names)]
            return _insert(name, lines, ends, tree.body)
    return False


def _insert(name: str, lines: Sequence[Statement], targets: Sequence[Statement], body: list[ast.stmt]) -> bool:
    holding = [
        (place, node)
        for place, node in enumerate(body)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and _holds(node, lines)
    ]
    if not holding:
        return False
    place, last = holding[-1]
    # A `with` runs its lines once. A loop may: then the whole step must stand in it.
    whole = len(holding) == 1 and _holds(last, targets)
    if isinstance(last, ast.With) or (isinstance(last, ast.For | ast.While) and whole and not last.orelse):
        return _insert(name, lines, targets, last.body)
    call = ast.parse(f"{name} = __import__('grader_replay').drawn({name!r}, {name})").body[0]
    body.insert(place + 1, call)
    return True


def _holds(node: ast.stmt, lines: Sequence[Statement]) -> bool:
    """Whether one of the statements stands in a node. A line that was put in stands nowhere in the student's text."""
    last = node.end_lineno or node.lineno
    return not _is_ours(node) and any(node.lineno <= line.first <= last for line in lines)


def _is_ours(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and "grader_replay" in ast.unparse(node.value)


# --- what came of it


class _RawReplayed(Record, frozen=True):
    name: str | None
    counts: dict[str, int]
    scale: float
    errors: int
    export: Any


def read_replays(raw: object) -> dict[str, list[Replayed]]:
    """Part → its replays, from the kernel's message; nothing where it is not what the probe sends."""
    try:
        sent = msgspec.convert(raw, dict[str, list[_RawReplayed]])
    except msgspec.ValidationError:
        return {}
    return {
        part: [
            Replayed(name=run.name, counts=run.counts, scale=run.scale, errors=run.errors,
                     export=read_export(run.export) or {})
            for run in runs[: MAX_WATCHED + 1]
        ]
        for part, runs in sent.items()
    }  # fmt: skip
