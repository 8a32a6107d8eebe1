"""Gradients that were taken from autograd instead of worked out: evidence, flags, and the instructor's policy.

Two witnesses, and neither of them reads code. In the detached run a line starts from random numbers: what a student
worked out from the gradients above moves with them, what autograd, another engine or a numerical method gives does
not, however it is hidden. And a hidden case is run once more with everything that torch's engine computes multiplied
by a factor: what a student worked out stays as it is to the last bit, what came from autograd comes out scaled,
whatever way it took. The text is read only to say where (`lines.py`). What is caught and what isn't:
`docs/autograd-use.md`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

import msgspec
import torch
from torch import Tensor

from grader.course.catalog import ExerciseSpec, ScaledCase
from grader.course.exercise import PartChecks
from grader.diagnosis.autograd_use.autograd_names import may_use_autograd
from grader.diagnosis.autograd_use.lines import Lines, Origin
from grader.execution.execute import Execution, HiddenRun
from grader.execution.tensors import Export
from grader.intake.take_in import PlannedCell
from grader.marking.verdicts import PartMarks
from grader.notebook.gradient_names import gradient_of
from grader.records import Check, Flag

USED = "autograd-used"
UNUSUAL = "unusual-code"
UNEXPLAINED = "unexplained-value"

CLOSE = 1e-4
"""How near to its scaled self a tensor must be, relative to its largest element: float32 inside included."""


def scaled_cases(spec: ExerciseSpec) -> list[ScaledCase]:
    """The first hidden case once more, with autograd scaled."""
    if not spec.cases:
        return []
    first = spec.all_cases[1]
    factor = 1.25 + secrets.randbelow(1 << 20) / (1 << 21)
    return [ScaledCase(id="autograd-scaled", parameters=first.parameters, factor=factor)]


def names_autograd(cells: Sequence[PlannedCell]) -> bool:
    """Whether a student's cell holds a word by which autograd could be had: then the scaled case is run at once."""
    return any(cell.student and may_use_autograd(cell.source) for cell in cells)


def wants_explaining(cells: Sequence[PlannedCell], marked: Mapping[str, PartMarks]) -> bool:
    """Whether some right value takes up nothing of what is above it, and is more than a formula of one's own."""
    still = {part: marks.unmoved for part, marks in marked.items() if marks.unmoved}
    if not still:
        return False
    lines = Lines(cells)
    return any(lines.behind(part, name) != [] for part, names in still.items() for name in names)


def autograd_flags(
    cells: Sequence[PlannedCell],
    parts: Mapping[str, PartChecks],
    spec: ExerciseSpec,
    execution: Execution,
    scaled: Sequence[ScaledCase],
    marked: Mapping[str, PartMarks],
) -> list[Flag]:
    """The flags of one submission: at most one of each code a part.

    Args:
        cells: what was run, in order.
        parts: what is checked in each part.
        spec: the exercise; its first hidden case is the one that was run twice.
        execution: what came of the runs, the scaled one among the hidden.
        scaled: the scaled cases that were run.
        marked: part → its marks.
    """
    if not scaled and not names_autograd(cells) and not any(marks.unmoved for marks in marked.values()):
        return []
    lines = Lines(cells)
    flags = []
    for part_id, checks in parts.items():
        moved: dict[str, bool] = {}
        for case in scaled:
            plain, run = execution.hidden[spec.cases[0].id], execution.hidden[case.id]
            moved = moved_by_scaling(part_id, checks, plain, run, case.factor)
        flags += _Part(part_id, checks, lines, moved, marked[part_id], cells).flags()
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


class _Part:
    """What is known of one part.

    Args:
        part_id: the part.
        checks: what is checked in it.
        lines: the student's statements.
        scaled: checked name → whether it came out scaled, where the scaled run tells.
        marks: its marks; `follows` says whether a value moves with the random numbers above it.
        cells: what was run.
    """

    def __init__(self, part_id: str, checks: PartChecks, lines: Lines, scaled: Mapping[str, bool], marks: PartMarks,
                 cells: Sequence[PlannedCell]) -> None:  # fmt: skip
        self.part_id = part_id
        self.scaled = scaled
        self.marks = marks
        self.cells = cells
        self.names = checks.names
        borrowed = {origin for name in checks.upstream for origin in lines.behind(part_id, name) or ()}
        self.behind = {name: lines.behind(part_id, name) for name in self.names}
        self.origins = {name: [each for each in found or () if each not in borrowed]
                        for name, found in self.behind.items()}  # fmt: skip

    def flags(self) -> list[Flag]:
        """At most one of each code; what is certain takes the place of what is not."""
        return self._used() or [*self._unexplained(), *self._unusual()][:1]

    def _first(self, name: str, *kinds: str) -> Origin | None:
        return next((origin for origin in self.origins[name] if origin.kind in kinds), None)

    def _own(self, name: str, kind: str) -> Origin | None:
        """The first of a kind in the part's own cells: what a loop binds again may seem to be an earlier part's."""
        own = [origin for origin in self.origins[name] if self.cells[origin.cell].part == self.part_id]
        return next((origin for origin in own if origin.kind == kind), None)

    def _used(self) -> list[Flag]:
        found = {name: self._first(name, "engine", "formula") for name in self.names if self._is_used(name)}
        if not found:
            return []
        name = next((name for name, origin in found.items() if origin is not None), min(found))
        origin = found[name]
        message = (
            f"{self._place(origin)}: {name} gets its numbers from {origin.text}{_others(found)}."
            if origin is not None else
            f"When the grader scaled what autograd computes, {name} came out scaled{_others(found)}: it comes from "
            "autograd, in a way that the source doesn't show."
        )  # fmt: skip
        return self._flag(USED, message)

    def _is_used(self, name: str) -> bool:
        """Whether a value is autograd's: it came out scaled, or its line says so and no run says otherwise."""
        if self.scaled.get(name) or self._own(name, "formula") is not None:
            return True
        told = self.scaled.get(name) is False or self.marks.follows(name) is True
        return self._first(name, "engine") is not None and not told and self.marks.right_by_value(name)

    def _unexplained(self) -> list[Flag]:
        for name in self.marks.unmoved:
            origin = self._first(name, "odd", "hidden")
            if self.behind[name] is None:
                why = "no readable line of the notebook computes it"
            elif origin is not None:
                why = f"{self._place(origin)} computes it from {origin.text}"
            elif self.marks.is_numerical(name):
                why = "it is right to a few digits only, as finite differences are"
            else:
                continue
            above = self.marks.skipped(name)
            return self._flag(UNEXPLAINED, f"{name} is right, but doesn't depend on {above}: {why}.")
        return []

    def _unusual(self) -> list[Flag]:
        for name in self.names:
            origin = self._first(name, "engine")
            if origin is not None and self.scaled.get(name) is False and self.marks.follows(name) is False:
                return self._flag(
                    UNUSUAL,
                    f"{self._place(origin)}: {name} may get its numbers from {origin.text}, although it did not change "
                    "when the grader scaled what autograd computes.",
                )  # fmt: skip
        for name in self.names:
            origin = self._own(name, "hidden")
            if origin is not None:
                what = f"runs code that is put together at run time, and can't be read: {origin.text}."
                return self._flag(UNUSUAL, f"{self._place(origin)} {what}")
        return []

    def _flag(self, code: str, message: str) -> list[Flag]:
        return [Flag(code=code, message=message, part=self.part_id)]

    def _place(self, origin: Origin) -> str:
        return self.cells[origin.cell].place(origin.line)


def _others(names: Mapping[str, object]) -> str:
    rest = len(names) - 1
    return f" (and {rest} more tensor{'s' * (rest > 1)} of this part)" if rest else ""


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
    pair, gradient = _pair(before, after, name), before.get(gradient_of(name))
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
