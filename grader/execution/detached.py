"""The detached run: a part's statements once more, each from random numbers in place of every gradient above it.

What a line is worth must not depend on what stands above it, which in unfinished work is often missing, zero or not a
number. So in a hidden case of each size the part's cells are run again. After the last statement that binds or writes
a gradient, its value is kept, if there is one, and random numbers take its place; a gradient that no statement binds is
random numbers from the beginning; a statement that raises costs itself and no other. What each line must have made
follows from the same numbers by the chain rule, which is `marking/detached_values.py`'s to say. The numbers come from a
seed, so no reference value is in the kernel.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec
import torch
from torch import Tensor

from grader.execution.tensors import MAX_NAMES, Export, Sent, read_export, unpacked
from grader.records import Record


class DetachedPart(Record, frozen=True):
    """What the kernel is told of a part: the same in every case. See `grader_detached.run`.

    Attributes:
        cells: the rewritten cells, compiled (marshalled, in base64); one that could not be as its source.
        bound: the gradients that they bind, which are not there before; the others are, from the beginning.
        inner: the gradients from which others are computed.
        variables: gradient → the student's name for it, where that is different.
        own: names of the student's own that may stand for a gradient that has different numbers in a second run.
        values: the trained parameters.
        forward: the tensors of the forward pass.
        known: these, and the numbers and tensors that the exercise has given beside them.
        elements: of larger tensors only the shape is wanted.
        lists: of all names, those that stand for lists of tensors.
    """

    cells: list[tuple[Literal["code", "source"], str]]
    bound: list[str]
    inner: list[str]
    variables: dict[str, str]
    own: list[str]
    values: list[str]
    forward: list[str]
    known: list[str]
    elements: int
    lists: list[str] = []


class DetachedCase(Record, frozen=True):
    """What the kernel is told of a part in one case.

    Attributes:
        shapes: gradient → the shape of its random numbers.
        seed: where they come from.
        runs: for each run, the gradients whose numbers come from a second seed.
    """

    shapes: dict[str, list[int]]
    seed: int
    runs: list[list[str]]

    @property
    def numbers(self) -> list[tuple[str, list[int], int]]:
        """Name, shape and seed of all random numbers of its runs."""
        others = {name for names in self.runs for name in names} & self.shapes.keys()
        second = [(name, self.shapes[name], self.seed + 1) for name in sorted(others)]
        return [(name, shape, self.seed) for name, shape in self.shapes.items()] + second


class DetachedRun(Record, frozen=True):
    """What came of one detached run of a part in a case, as the kernel says.

    Attributes:
        seed: where the random numbers come from.
        recorded: gradient → what the student's lines made of it; those that none bound are left out.
        ended: of these, the ones that were found at the end: no statement of the part's cells binds them.
        absent: those that nothing had bound, neither before the part nor in it.
        changed: gradients that a line has bound or written to after what was taken for the last one to do so, as they
            were in the end.
        after: the trained parameters, and the tensors of the forward pass that the part's cells changed.
        shared: of the changed ones, those that were so by a write to another, whose memory they were; and that one. The
            lines below started from the numbers again.
        others: the gradients whose numbers were those of the second seed.
        given: the numbers that took the place of names of the student's own in the second run.
        reshaped: the gradients that a line has turned into another shape before others were computed from them.
        otherwise: as `recorded`, where whatever the exercise has given kept its name, and where the `reshaped` were
            random numbers above the line that turned them into another shape.
        again: what lines have made of a gradient's name after its own line was done with, and others had used it.
    """

    seed: int
    recorded: Export
    ended: frozenset[str]
    absent: frozenset[str]
    changed: Export
    after: Export
    shared: dict[str, str] = {}
    others: frozenset[str] = frozenset()
    given: Export = {}
    reshaped: frozenset[str] = frozenset()
    again: Export = {}
    otherwise: Export = {}

    def numbers(self, name: str, shape: torch.Size) -> Tensor:
        """The random numbers that stood for a gradient, float64; not to be written to."""
        return _drawn(name, shape, self.seed + (name in self.others))


@functools.lru_cache(maxsize=512)
def _drawn(name: str, shape: torch.Size, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed + zlib.crc32(name.encode()))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


class Lines(Record, frozen=True):
    """The statements of a part for its gradients.

    Attributes:
        places: gradient → the number of the statement after which it was kept; several may have the same.
        reads: gradient → the gradients that its statements read.
        variables: gradient → the student's name for it, where that is different.
        starts: gradient → what of the forward pass its statements read, themselves or by names of the student's own.
        later: gradient → the line of its cell from which on its name stands for something that no other line is
            computed from, after it was done with.
    """

    places: dict[str, int]
    reads: dict[str, frozenset[str]]
    variables: dict[str, str]
    starts: dict[str, frozenset[str]] = {}
    later: dict[str, int] = {}


class Detached(Record, frozen=True):
    """A part's detached runs in one case, none where none came to its end.

    Attributes:
        lines: what the student's statements are for each gradient.
        runs: what came of each.
    """

    lines: Lines
    runs: list[DetachedRun]


class DetachedPlan(Record, frozen=True):
    """All detached runs of a submission.

    Attributes:
        parts: part → what is the same in every case.
        cases: case → part → what is told of it in this case.
        lines: part → what its statements are for each gradient.
    """

    parts: dict[str, DetachedPart]
    cases: dict[str, dict[str, DetachedCase]]
    lines: dict[str, Lines]

    @property
    def request(self) -> dict[str, Any]:
        """What the kernel is told."""
        return {"parts": msgspec.to_builtins(self.parts), "cases": msgspec.to_builtins(self.cases)}


# --- what came of it


_Names = Annotated[frozenset[str], msgspec.Meta(max_length=MAX_NAMES)]


class _RawRun(Record, frozen=True):
    recorded: msgspec.Raw
    ended: _Names
    absent: _Names
    reshaped: _Names
    changed: msgspec.Raw
    shared: Annotated[dict[str, str], msgspec.Meta(max_length=MAX_NAMES)]
    given: msgspec.Raw
    after: msgspec.Raw
    again: msgspec.Raw
    otherwise: msgspec.Raw


_Short = msgspec.Meta(max_length=MAX_NAMES)
_RawRuns = Annotated[dict[str, Annotated[dict[str, Annotated[list[_RawRun], _Short]], _Short]], _Short]


def read_detached(answer: Sent, plan: DetachedPlan) -> dict[str, dict[str, Detached]]:
    """Case → part → its detached runs, from the kernel's message; none where it is not what the probe sends."""
    sent = unpacked(answer, _RawRuns) or {}
    return {
        case: {
            part: Detached(
                lines=plan.lines[part],
                runs=list(_read_runs(told, sent.get(case, {}).get(part, []), plan.parts[part].elements)),
            )
            for part, told in parts.items()
        }
        for case, parts in plan.cases.items()
    }


def _read_runs(told: DetachedCase, sent: Sequence[_RawRun], elements: int) -> Iterator[DetachedRun]:
    for others, run in zip(told.runs, sent, strict=False):
        exports: dict[str, Export] = {}
        for name in ("recorded", "changed", "given", "after", "again", "otherwise"):
            export = read_export(getattr(run, name), elements)
            if export is None:
                return
            exports[name] = export
        yield DetachedRun(seed=told.seed, ended=run.ended, absent=run.absent, shared=run.shared,
                          reshaped=run.reshaped, others=frozenset(others), **exports)  # fmt: skip
