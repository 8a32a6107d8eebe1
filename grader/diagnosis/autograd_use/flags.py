"""Gradients that were taken from autograd instead of worked out: evidence, flags, and the instructor's policy.

Two witnesses, and neither of them reads code. In the detached run a line starts from random numbers: what a student
worked out from the gradients above moves with them, what autograd, another engine or a numerical method gives does
not, however it is hidden. And a hidden case is run once more with everything that torch's engine computes multiplied
by a factor: what a student worked out stays as it is to the last bit, what came from autograd comes out scaled,
whatever way it took. The text is read only to say where (`lines.py`). What is caught and what isn't:
`docs/autograd-use.md`.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

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
Said = Iterator[tuple[str, str]]
"""The code and the message of a flag."""

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


def autograd_flags(cells: Sequence[PlannedCell], execution: Execution, scaled: Sequence[ScaledCase],
                   marked: Mapping[str, PartMarks]) -> list[Flag]:  # fmt: skip
    """The flags of one submission, at most one a part.

    Args:
        cells: what was run, in order.
        execution: what came of the runs, the scaled ones among the hidden.
        scaled: the scaled cases that were run.
        marked: part → its marks.
    """
    if not scaled and not names_autograd(cells) and not any(marks.unmoved for marks in marked.values()):
        return []
    lines = Lines(cells)
    found = []
    for part_id, marks in marked.items():
        moved: dict[str, bool] = {}
        for case in scaled:  # it is the first hidden case, run once more
            plain, run = execution.hidden[marks.part.exercise.spec.cases[0].id], execution.hidden[case.id]
            moved = moved_by_scaling(part_id, marks.part.checks, plain, run, case.factor)
        found.append(_Part(marks, lines, moved).flag)
    return [flag for flag in found if flag is not None]


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


@dataclass
class _Part:
    """What is known of one part.

    `scaled`: checked name → whether it came out scaled, where the scaled run tells. `marks.follows` says whether a
    value moves with the random numbers above it.
    """

    marks: PartMarks
    lines: Lines
    scaled: Mapping[str, bool]

    def __post_init__(self) -> None:
        part = self.marks.part
        self.part_id, self.cells, self.names = part.part_id, part.cells, part.checks.names
        self.behind = {name: self.lines.behind(self.part_id, name) for name in self.names}
        upstream = [self.lines.behind(self.part_id, name) or () for name in part.checks.upstream]
        borrowed = {origin for origins in upstream for origin in origins}
        self.origins = {name: [each for each in found or () if each not in borrowed]
                        for name, found in self.behind.items()}  # fmt: skip

    @property
    def flag(self) -> Flag | None:
        """What is certain, or else the first thing that is not."""
        found = next(itertools.chain(self._used(), self._unexplained(), self._unusual()), None)
        return found and Flag(code=found[0], message=found[1], part=self.part_id)

    def _first(self, name: str, *kinds: str) -> Origin | None:
        return next((origin for origin in self.origins[name] if origin.kind in kinds), None)

    def _own(self, name: str, kind: str) -> Origin | None:
        """The first of a kind in the part's own cells: what a loop binds again may seem to be an earlier part's."""
        own = [origin for origin in self.origins[name] if self.cells[origin.cell].part == self.part_id]
        return next((origin for origin in own if origin.kind == kind), None)

    def _used(self) -> Said:
        found = {name: self._first(name, "engine", "formula") for name in self.names if self._is_used(name)}
        for name, origin in found.items():
            if origin is not None:
                yield USED, f"{self._place(origin)}: {name} gets its numbers from {origin.text}{_others(found)}."
        if found:
            what = f"When the grader scaled what autograd computes, {min(found)} came out scaled{_others(found)}"
            yield USED, f"{what}: it comes from autograd, in a way that the source doesn't show."

    def _is_used(self, name: str) -> bool:
        """Whether a value is autograd's: it came out scaled, or its line says so and no run says otherwise."""
        if self.scaled.get(name) or self._own(name, "formula") is not None:
            return True
        told = self.scaled.get(name) is False or self.marks.follows(name) is True
        return self._first(name, "engine") is not None and not told and self.marks.right_by_value(name)

    def _unexplained(self) -> Said:
        for name in self.marks.unmoved:
            origin = self._first(name, "odd", "hidden")
            why = (
                "no readable line of the notebook computes it" if self.behind[name] is None else
                f"{self._place(origin)} computes it from {origin.text}" if origin is not None else
                "it is right to a few digits only, as finite differences are" if self.marks.is_numerical(name) else
                None
            )  # fmt: skip
            if why is not None:
                yield UNEXPLAINED, f"{name} is right, but doesn't depend on {self.marks.skipped(name)}: {why}."

    def _unusual(self) -> Said:
        for name in self.names:
            origin = self._first(name, "engine")
            if origin is not None and self.scaled.get(name) is False and self.marks.follows(name) is False:
                what = f"{name} may get its numbers from {origin.text}, although it did not change when the grader"
                yield UNUSUAL, f"{self._place(origin)}: {what} scaled what autograd computes."
        for name in self.names:
            if (origin := self._own(name, "hidden")) is not None:
                what = f"runs code that is put together at run time, and can't be read: {origin.text}."
                yield UNUSUAL, f"{self._place(origin)} {what}"

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
    if (pair := _pair(before, after, name)) is None:
        return None
    one, other = pair
    if torch.equal(one, other):
        return False if one.count_nonzero() else None  # zeros stay zeros
    room = CLOSE * one.abs().max()
    multiplied = (other - factor * one).abs() <= room
    told = bool((multiplied | (other == one)).all()) and bool((multiplied & (one.abs() > 10 * room)).any())
    return True if told else None


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
