"""What right values can't show: lines whose true result is zero by symmetry, judged by their replays.

A right value there is what any sign and any factor would have given. A replay has put random numbers in place of a
gradient that the line starts from; what the chain rule makes of the change is known from the instructor's graph. A slip
is reported only where the line took the numbers up and made something else of them. Where it didn't, or where anything
else is not as in the case that was replayed, nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec
import torch
from torch import Tensor

from grader.course.graph import PartReference
from grader.execution.replay import Edge, Replayed
from grader.execution.tensors import StudentTensor
from grader.marking.case_outcomes import PartCase
from grader.marking.tolerance import FLOAT64, conformed

NEAR = 1e-4
"""How near, relative to the largest number, is the same: what a slip leaves is never as near, and float32 always is."""
LARGEST = 1e12


class Finding(Enum):
    """What the replays say of one step of the chain rule."""

    FOLLOWS = "what the chain rule gives"
    SLIPS = "something else"
    UNMOVED = "the same as before: it does not start from there"
    UNKNOWN = "nothing"


class Trial(NamedTuple):
    """One step that was tried: what was found, under which name the upstream went.

    `replayed` is the case as it was replayed, where the step slips.
    """

    edge: Edge
    finding: Finding
    name: str
    replayed: PartCase | None = None

    @property
    def slip(self) -> str:
        """What a student is told of a slip."""
        return (
            f"{self._zero}, so a comparison can't show a slip here. But with other numbers in `{self.name}` the line "
            "doesn't give what the chain rule gives."
        )

    @property
    def doubt(self) -> str:
        """What a student is told where the step is right as far as anybody can see."""
        if self.finding is Finding.UNMOVED:
            return f"{self._zero}, so a right value proves little here; it doesn't change with `{self.name}`."
        return f"{self._zero}, so a right value proves little here, and the line could not be tried with other numbers."

    @property
    def _zero(self) -> str:
        if self.edge.zero == self.edge.lower:
            return f"The true gradient of `{self.edge.lower}` is zero but for rounding"
        return f"What comes through `{self.edge.upper}` is zero but for rounding"


def judge(case: PartCase, tried: Sequence[Edge], replays: Sequence[Replayed]) -> list[Trial]:
    """What came of the replays of a part.

    Args:
        case: the part in the hidden case that was replayed.
        tried: the steps to say something of.
        replays: what the kernel sent.
    """
    control = next((replay for replay in replays if replay.name is None), None)
    if control is None or not _as_in_case(control, case):
        return [Trial(edge, Finding.UNKNOWN, f"d{edge.upper}") for edge in tried]
    return [_judge(case, edge, control, replays) for edge in tried]


def _as_in_case(control: Replayed, case: PartCase) -> bool:
    """Whether the cells, run a second time, gave what they gave the first time, from the release's forward pass."""
    forward = [name for name in case.exported if name in case.reference.forward and name not in case.values]
    kept = all(_same(case.exported[name].tensor, case.reference.forward[name]) for name in forward)
    return kept and all(
        name not in case.exported or _same(found.tensor, case.exported[name].tensor)
        for name, found in control.export.items()
    )


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.shape == other.shape and FLOAT64.holds(one, other.to(one))


def _judge(case: PartCase, edge: Edge, control: Replayed, replays: Sequence[Replayed]) -> Trial:
    found = Trial(edge, Finding.UNKNOWN, f"d{edge.upper}")
    for replay in replays:
        if (
            replay.name is not None
            and f"d{edge.lower}" in replay.export
            and _stands_for(replay.name, edge, control, case)
        ):
            trial = _tried(case, edge, control, replay)
            if trial.finding is not Finding.UNKNOWN:
                found = trial
            if trial.finding in (Finding.FOLLOWS, Finding.SLIPS):
                return trial
    return found


def _stands_for(name: str, edge: Edge, control: Replayed, case: PartCase) -> bool:
    """Whether a name of the student's is the upstream gradient: by its name, or else by its value."""
    if name == f"d{edge.upper}":
        return True
    value, wanted = _number(control, name, case.reference, edge.upper), case.reference.gradients[edge.upper]
    told = float(wanted.abs().max()) > FLOAT64.atol
    return name[1:] not in case.reference.forward and told and value is not None and FLOAT64.holds(value, wanted)


def _number(replay: Replayed, name: str, reference: PartReference, tensor: str) -> Tensor | None:
    """An exported value in the shape of a tensor of the forward pass; None where it has none that can be compared."""
    found = replay.export.get(name)
    if found is None or found.tensor is None or tensor not in reference.gradients:
        return None
    value = conformed(found.tensor, reference.gradients[tensor].shape)
    value = None if value is None else value.to(torch.float64)
    usable = value is not None and bool(torch.isfinite(value).all()) and float(value.abs().max()) < LARGEST
    return value if usable else None


def _sent(replay: Replayed, name: str) -> Tensor | None:
    found = replay.export.get(name)
    return found.tensor if found is not None else None


def _tried(case: PartCase, edge: Edge, control: Replayed, replay: Replayed) -> Trial:
    nothing = Trial(edge, Finding.UNKNOWN, replay.name or "")
    reference = case.reference
    before, drawn = (_number(run, replay.name or "", reference, edge.upper) for run in (control, replay))
    start, end = (_number(run, f"d{edge.lower}", reference, edge.lower) for run in (control, replay))
    if before is None or drawn is None or start is None or end is None:
        return nothing
    sent = replay.export[replay.name or ""].tensor
    once = all(run.counts.get(run.name or replay.name or "") == 1 for run in (control, replay))
    if sent is None or not once or replay.errors != control.errors:
        return nothing
    if not all(_same(*(_sent(run, f"d{other}") for run in (control, replay))) for other in edge.others):
        return nothing  # what was written into one of them reaches the line on a second way
    if not _near(sent.to(torch.float64), replay.numbers(sent.shape)):
        return nothing  # a later line wrote to it
    cotangent = (drawn - before).to(reference.gradients[edge.upper])
    expected = reference.local(edge.upper, cotangent, [edge.lower])[edge.lower]
    moved = (end - start).to(expected)
    if not float(expected.abs().max()) > FLOAT64.rtol * float(drawn.abs().max()):
        return nothing
    if _near(moved, expected):
        return Trial(edge, Finding.FOLLOWS, replay.name or "")
    if float(moved.abs().max()) <= NEAR * float(expected.abs().max()):
        return Trial(edge, Finding.UNMOVED, replay.name or "")
    return Trial(edge, Finding.SLIPS, replay.name or "", _as_replayed(case, edge, replay, drawn))


def _near(one: Tensor, other: Tensor) -> bool:
    largest = float(other.abs().max()) if other.numel() else 0.0
    return one.shape == other.shape and float((one - other).abs().max()) <= NEAR * largest


def _as_replayed(case: PartCase, edge: Edge, replay: Replayed, drawn: Tensor) -> PartCase:
    """The case with the replay's numbers in it, for a diagnosis of the step."""
    lower = replay.export[f"d{edge.lower}"]
    upper = msgspec.structs.replace(
        lower, note=msgspec.structs.replace(lower.note, shape=list(drawn.shape)), value=drawn
    )
    exported: Mapping[str, StudentTensor] = {**case.exported, f"d{edge.upper}": upper, f"d{edge.lower}": lower}
    return PartCase(case.case, case.gradients, case.upstream_names, case.values, dict(exported), case.reference,
                    case.tolerance)  # fmt: skip
