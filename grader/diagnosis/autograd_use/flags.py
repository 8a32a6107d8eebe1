"""Gradients that were taken from autograd instead of worked out: evidence, flags, and the instructor's policy.

Two witnesses. The source says which of autograd's numbers can reach a checked tensor (`grader/dataflow`). And a hidden
case is run once more with everything that torch's engine computes multiplied by a factor: what a student worked out
stays as it is to the last bit, what came from autograd comes out scaled, whatever way it took. A comparison (`cmp`,
`torch.allclose`) leaves no trace in either. The second run is made only where the source holds a word by which
autograd could be had at all. What is caught and what isn't: `docs/autograd-use.md`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import torch
from torch import Tensor

from grader.course.catalog import ExerciseSpec, ScaledCase
from grader.course.exercise import PartChecks
from grader.diagnosis.autograd_use.autograd_names import may_use_autograd
from grader.diagnosis.autograd_use.calls import Flow
from grader.diagnosis.autograd_use.values import Origin
from grader.execution.execute import Execution, HiddenRun
from grader.execution.tensors import Export
from grader.intake.take_in import PlannedCell
from grader.records import Check, Flag, Record

USED = "autograd-used"
UNUSUAL = "unusual-code"

CLOSE = 1e-4
"""How near to its scaled self a tensor must be, relative to its largest element: float32 inside included."""

Sources = Mapping[str, Mapping[str, frozenset[Origin]]]
"""Part id → checked name → where its numbers come from autograd."""


class Evidence(Record, frozen=True):
    """What is known of one part.

    `read`: name → where the source says that its numbers come from. `doubted`: those of them that stayed as they were
    in the scaled run. `shown`: the names that it shows to hold autograd's. `unreadable`: calls of code that can't be
    read.
    """

    read: dict[str, frozenset[Origin]]
    doubted: set[str]
    shown: list[str]
    unreadable: list[Origin]


def scaled_cases(cells: Sequence[PlannedCell], spec: ExerciseSpec) -> list[ScaledCase]:
    """The further case to run, where the students' cells give a reason: the first hidden one, with autograd scaled."""
    if not spec.cases or not any(cell.student and may_use_autograd(cell.source) for cell in cells):
        return []
    first = spec.all_cases[1]
    factor = 1.25 + secrets.randbelow(1 << 20) / (1 << 21)
    return [ScaledCase(id="autograd-scaled", parameters=first.parameters, factor=factor)]


def autograd_flags(
    cells: Sequence[PlannedCell],
    parts: Mapping[str, PartChecks],
    spec: ExerciseSpec,
    execution: Execution,
    scaled: Sequence[ScaledCase],
) -> list[Flag]:
    """The flags of one submission: at most one `autograd-used` and one `unusual-code` a part.

    Args:
        cells: what was run, in order.
        parts: what is checked in each part.
        spec: the exercise; its first hidden case is the one that was run twice.
        execution: what came of the runs, the scaled one among the hidden.
        scaled: what `scaled_cases` gave.
    """
    if not any(cell.student and may_use_autograd(cell.source) for cell in cells):
        return []
    sources, unreadable = read_sources(cells, parts)
    flags = []
    for part_id, checks in parts.items():
        moved: dict[str, bool] = {}
        for case in scaled:
            plain, run = execution.hidden[spec.cases[0].id], execution.hidden[case.id]
            moved = moved_by_scaling(part_id, checks, plain, run, case.factor)
        read = sources[part_id]
        doubted = {name for name, origins in read.items() if _doubted(name, origins, moved)}
        shown = [name for name in checks.names if moved.get(name)]
        hidden_code = [] if moved and not shown else unreadable[part_id]
        flags += _flags(part_id, Evidence(dict(read), doubted, shown, hidden_code), cells)
    return flags


def apply_policy(checks: Sequence[Check], flags: Sequence[Flag], spec: ExerciseSpec) -> list[Check]:
    """The checks as the instructor's policy has them: under `zero-part`, a flagged part's points are 0."""
    zeroed = {flag.part for flag in flags if flag.code == USED} if spec.autograd == "zero-part" else set()
    remark = "No points: numbers of this part come from autograd."
    return [
        msgspec.structs.replace(check, points=0.0, remark=f"{check.remark} {remark}" if check.remark else remark)
        if check.part in zeroed
        else check
        for check in checks
    ]


# --- what the source says ---------------------------------------------------------------------------------------------


def read_sources(
    cells: Sequence[PlannedCell], parts: Mapping[str, PartChecks]
) -> tuple[Sources, dict[str, list[Origin]]]:
    """Read the cells in order, and at each part's end, where the numbers of its checked names come from.

    Returns:
        The sources, and for each part its cells' calls of code that can't be read.
    """
    flow = Flow()
    ends = {cell.part: index for index, cell in enumerate(cells) if cell.part in parts}
    sources: dict[str, dict[str, frozenset[Origin]]] = {part: {} for part in parts}
    for index, cell in enumerate(cells):
        if cell.student or cell.role != "compare":  # those only show, and the hidden cases leave them out
            flow.read(cell.source, index, trusted=not cell.student)
        if cell.part is not None and ends.get(cell.part) == index:
            checks = parts[cell.part]
            found = {name: flow.origins(name) for name in checks.names}
            borrowed = frozenset().union(*(flow.origins(name) for name in checks.upstream))
            sources[cell.part] = {name: origins - borrowed for name, origins in found.items() if origins - borrowed}
    unreadable = {part: [origin for origin in flow.unreadable if cells[origin.cell].part == part] for part in parts}
    return sources, unreadable


def _doubted(name: str, origins: frozenset[Origin], moved: Mapping[str, bool]) -> bool:
    """Whether none of autograd's numbers got there in the scaled run: a branch not taken, or the scale rounded away."""
    return moved.get(name) is False and all(origin.kind == "engine" for origin in origins)


# --- what the scaled run says -----------------------------------------------------------------------------------------


def moved_by_scaling(
    part_id: str, checks: PartChecks, plain: HiddenRun, scaled: HiddenRun, factor: float
) -> dict[str, bool]:
    """Checked name → whether it came out scaled. A name of which the runs say nothing is left out.

    Where the part's upstream came out scaled (borrowed from autograd, as the notebook allows, or flagged in its own
    part), its gradients do too, and rightly: then nothing is said of this part.
    """
    before, after = plain.parts.get(part_id), scaled.parts.get(part_id)
    if before is None or after is None:
        return {}
    if any(_scaled(before, after, name, factor) for name in checks.upstream):
        return {}
    verdicts = {name: _scaled(before, after, name, factor) for name in checks.gradients}
    verdicts.update({name: _trained(before, after, name) for name in checks.values})
    return {name: verdict for name, verdict in verdicts.items() if verdict is not None}


def _scaled(before: Export, after: Export, name: str, factor: float) -> bool | None:
    """Every element as it was or multiplied by the factor, some of them multiplied. None where that can't be told."""
    pair = _pair(before, after, name)
    if pair is None:
        return None
    one, other = pair
    if torch.equal(one, other):
        return False if one.count_nonzero() else None  # zeros stay zeros
    room = CLOSE * one.abs().max()
    multiplied = (other - factor * one).abs() <= room
    if bool((multiplied | (other == one)).all()) and bool((multiplied & (one.abs() > 10 * room)).any()):
        return True
    return None


def _trained(before: Export, after: Export, name: str) -> bool | None:
    """A parameter that went further along the gradient, by autograd's being larger. Staying put proves nothing."""
    pair, gradient = _pair(before, after, name), before.get(f"d{name}")
    if pair is None or gradient is None or gradient.tensor is None or gradient.tensor.shape != pair[0].shape:
        return None
    further, along = pair[1] - pair[0], gradient.tensor.to(pair[0].dtype)
    size = further.norm() * along.norm()
    return True if size > 0 and float((further * along).sum() / size) < CLOSE - 1 else None


def _pair(before: Export, after: Export, name: str) -> tuple[Tensor, Tensor] | None:
    one, other = before.get(name), after.get(name)
    if one is None or other is None or one.tensor is None or other.tensor is None:
        return None
    if one.tensor.shape != other.tensor.shape or not one.tensor.numel() or not bool(torch.isfinite(one.tensor).all()):
        return None
    return one.tensor, other.tensor.to(one.tensor.dtype)


# --- in words ---------------------------------------------------------------------------------------------------------


def _flags(part_id: str, evidence: Evidence, cells: Sequence[PlannedCell]) -> list[Flag]:
    known = {
        name: _first(origins) for name, origins in evidence.read.items() if any(o.kind != "unreadable" for o in origins)
    }
    used = [name for name in known if name not in evidence.doubted]
    if used:
        first, names = known[used[0]], used + [name for name in evidence.shown if name not in used]
        message = f"{_place(first, cells)}: {names[0]} gets its numbers from {first.text}{_others(names)}."
        return [Flag(code=USED, message=message, part=part_id)]
    if evidence.shown:
        message = (
            f"When the grader scaled what autograd computes, {evidence.shown[0]} came out scaled"
            f"{_others(evidence.shown)}: it comes from autograd, by a way that the source doesn't show."
        )
        return [Flag(code=USED, message=message, part=part_id)]
    for name, origin in known.items():
        message = (
            f"{_place(origin, cells)}: {name} may get its numbers from {origin.text}, although it did not change "
            "when the grader scaled what autograd computes."
        )
        return [Flag(code=UNUSUAL, message=message, part=part_id)]
    unreadable = [*evidence.unreadable, *(origin for origins in evidence.read.values() for origin in origins)]
    if unreadable:
        first = _first(unreadable)
        message = f"{_place(first, cells)} runs code that is put together only then, and can't be read: {first.text}."
        return [Flag(code=UNUSUAL, message=message, part=part_id)]
    return []


def _first(origins: Iterable[Origin]) -> Origin:
    """The first in the notebook, one that can be read before one that can't."""
    return min(origins, key=lambda origin: (origin.kind == "unreadable", origin.cell, origin.line))


def _others(names: Sequence[str]) -> str:
    rest = len(names) - 1
    if not rest:
        return ""
    return f" (and {rest} more tensors of this part)" if rest > 1 else " (and 1 more tensor of this part)"


def _place(origin: Origin, cells: Sequence[PlannedCell]) -> str:
    cell = cells[origin.cell]
    where = f"the cell {cell.label}" if cell.role is not None else "a cell of the student's own"
    return f"Line {origin.line} of {where}"
