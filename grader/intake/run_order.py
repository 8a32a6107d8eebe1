"""The order in which a submission's stretches are run: the student's, but for parts that stand before earlier ones."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from grader.intake.release_index import Released
from grader.notebook.code import Code
from grader.records import Record


class Unit(Record, frozen=True, kw_only=True):
    """A stretch of a student's cell, or (`code` None) the place of a copied locked cell.

    `needs` is the released cell that must have been run before it, `cell` the gradients cell that it belongs to.
    `position` is its cell's place in the notebook, from 1, and `first_line` the line of that cell where it begins.
    `shows` says that it binds nothing that others could use, and `sure` that a copy is known by more than its names.
    `lost` is `PlannedCell`'s, and `changed` says what was set to the release's in a training loop.
    """

    code: Code | None
    shown: str | None = None
    cell: int | None = None
    needs: int = -1
    part: str | None = None
    gradients: bool = False
    shows: bool = False
    sure: bool = True
    binds: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()
    position: int | None = None
    first_line: int = 1
    lost: dict[int, str] = {}
    changed: list[str] = []


def in_order(units: Sequence[Unit], known: Released) -> list[Unit]:
    """The units as they are run, each with the part it stands in.

    A training loop leaves other tensors behind than the forward pass had, so it comes after the gradients of all other
    parts. Those of another later part do so where none of an earlier part is computed from them.
    """
    keys = _keys(units, known)
    if _entangled(units, keys):
        trained = [known.order.index(part) for part in known.trained]
        first = min(trained, default=len(known.order))
        order = sorted(range(len(units)), key=lambda number: keys[number] if keys[number] >= first else -1)
    else:
        order = sorted(range(len(units)), key=lambda number: keys[number])
    placed = [_placed(units[number], keys[number], known) for number in order]
    return [unit for unit in placed if unit is not None]


def _placed(unit: Unit, key: int, known: Released) -> Unit | None:
    if unit.code is None and unit.part in known.order and known.order.index(unit.part) > key:
        return None  # earlier parts' gradients are still to come: this locked cell can wait
    if unit.part is not None or unit.code is None or key < 0:
        return unit
    return msgspec.structs.replace(unit, cell=None, part=known.order[key], gradients=False, sure=True)


def _keys(units: Sequence[Unit], known: Released) -> list[int]:
    """Each unit's part, as its place among the parts; -1 before all of them.

    What has no part of its own stands in the one before it, or in the earliest of those after it: they may need it.
    What overwrites the forward pass comes last.
    """
    later = [len(known.order)] * (len(units) + 1)
    for number in reversed(range(len(units))):
        unit = units[number]
        own = known.order.index(unit.part) if unit.part in known.order and unit.gradients else len(known.order)
        later[number] = min(later[number + 1], own)
    trained = [known.order.index(part) for part in known.trained]
    wanted = {name for unit in units if unit.gradients and unit.part not in known.trained for name in unit.reads}
    keys: list[int] = []
    current = -1
    for number, unit in enumerate(units):
        own = known.order.index(unit.part) if unit.part in known.order else -1
        if unit.gradients and own >= 0:
            current = own
            keys.append(own)
            continue
        if trained and _overwrites(unit, wanted, known):
            keys.append(max(trained))
            continue
        if unit.code is None and own >= 0 and (unit.sure or own > current):
            current = min(own, later[number])
        key = own if unit.code is None and own >= 0 and current >= 0 else current
        keys.append(min(key, later[number]))
    return keys


def _overwrites(unit: Unit, wanted: set[str], known: Released) -> bool:
    """Whether a student's own lines put other values in the forward pass's place and give the gradients nothing.

    Such are statistics of the whole data set, measured after training: they would spoil gradients that stand below.
    """
    lost = unit.binds & known.tensors
    return bool(lost) and not unit.gradients and not (unit.binds - known.binders.keys()) & wanted


def _entangled(units: Sequence[Unit], keys: Sequence[int]) -> bool:
    """Whether gradients of an earlier part stand below a later part's and read what only that one binds."""
    bound: dict[int, set[str]] = {}
    for unit, key in zip(units, keys, strict=True):
        if unit.gradients and max(bound, default=key) > key:
            here = {name for each, names in bound.items() if each <= key for name in names}
            above = {name for each, names in bound.items() if each > key for name in names}
            if unit.reads & (above - here):
                return True
        bound.setdefault(key, set()).update(unit.binds)
    return False
