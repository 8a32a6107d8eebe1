"""A submitted cell cut into stretches: what is run of it, and for which part."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from grader.intake.display_only import Uses, only_shows, uses_of
from grader.intake.expose_locals import with_shared
from grader.intake.locked_copies import Reading
from grader.intake.matching import CellReading
from grader.intake.release_index import Released
from grader.intake.run_order import Unit
from grader.intake.training_loop.settings import with_given_lines
from grader.notebook.code import Code
from grader.notebook.statements import Piece, region
from grader.records import Record

_LOOKS = ("expression", "assertion")


class Context(Record, frozen=True):
    """What is known of the whole notebook.

    `wanted` are the names that its own statements read, `uses` says what they are used for, and `bound` are part and
    name of everything that its gradients' statements bind outside of functions. `functions` are those of a training
    loop.
    """

    wanted: frozenset[str]
    uses: Uses
    bound: frozenset[tuple[str | None, str]]
    functions: frozenset[str]


def context_of(readings: Sequence[CellReading], known: Released) -> Context:
    """Gather it from all cells."""
    own = [each for reading in readings for each in reading.readings if each.does != "copy"]
    imported = {name for each in own if each.piece.kind == "import" for name in each.piece.binds}
    return Context(
        wanted=frozenset(name for each in own for name in each.piece.reads),
        uses=uses_of(own, frozenset(imported - known.binders.keys())),
        bound=frozenset((each.part, name) for each in own if each.does == "gradient" for name in each.piece.binds),
        functions=frozenset(
            each.piece.binds[0] for each in own if each.piece.kind == "definition" and each.part in known.trained
        ),
    )


def last_attempts(readings: Sequence[CellReading], known: Released) -> tuple[list[CellReading], list[str]]:
    """The cells without the training loops, or calls of functions with one, that another below makes anew.

    The last one counts, and from a fresh network: what an earlier attempt trained would be in its way. With it comes
    a sentence on that, where it is so.
    """
    functions = {
        each.piece.binds[0]: each.piece for reading in readings for each in reading.readings
        if each.piece.kind == "definition" and each.part in known.trained
    }  # fmt: skip

    def trains(each: Reading) -> frozenset[str]:
        """The gradients with which a statement trains, if it does."""
        called = [functions[name] for name in each.piece.reads & functions.keys()]
        pieces = [] if each.piece.kind == "definition" else [each.piece, *called]
        if not (called or each.part in known.trained) or not any(piece.kind == "loop" or (piece in called
               and re.search(r"\b(?:for|while)\b", piece.text)) for piece in pieces):  # fmt: skip
            return frozenset()
        return frozenset(name for piece in pieces for name in (*piece.binds, *piece.inner)) & frozenset(known.names)

    attempts = [(reading.position, each, trains(each)) for reading in readings for each in reading.readings]
    earlier = {
        (position, each.piece) for number, (position, each, names) in enumerate(attempts)
        if names and any(names <= others for _, _, others in attempts[number + 1 :])
    }  # fmt: skip
    if not earlier:
        return list(readings), []
    said = (
        f"There are {len(earlier) + 1} training loops: only the last one counts, and it started from a fresh network."
    )
    return [
        msgspec.structs.replace(reading, readings=[
            Reading(each.piece, "copy", each.cell) if (reading.position, each.piece) in earlier else each
            for each in reading.readings
        ])
        for reading in readings
    ], [said]  # fmt: skip


def units_of(reading: CellReading, known: Released, context: Context) -> Iterator[Unit]:
    """What is to be run of one submitted cell: a stretch of it for each part that it has gradients of."""
    gradients_cell = reading.match is not None and known.cells[reading.match].role == "gradients"
    if reading.match is not None and not gradients_cell and not reading.has_gradients:
        yield Unit(code=None, needs=reading.match, sure=reading.how != "names", part=known.cells[reading.match].part)
    if reading.broken:
        if reading.match is None or gradients_cell:
            needs = reading.match if reading.match is not None else -1
            yield Unit(code=Code(reading.source), cell=reading.match, needs=needs, part=reading.part,
                       gradients=reading.part is not None, position=reading.position)  # fmt: skip
        return
    start = 1
    stretches = list(_stretches(reading.readings, known.trained))
    for number, stretch in enumerate(stretches):
        end = len(reading.dissected.lines) if number == len(stretches) - 1 else stretch[-1].piece.last
        unit = _unit(reading, stretch, start, end, known, context)
        start = end + 1
        if unit is not None:
            yield unit


def _stretches(readings: Sequence[Reading], trained: Sequence[str]) -> Iterator[list[Reading]]:
    """A cell's statements cut where the part of its gradients changes, and below a training loop.

    What stands between belongs to the gradients that follow, unless it is computed from those before.
    """
    current: list[Reading] = []
    between: list[Reading] = []
    part: str | None = None
    bound: set[str] = set()
    for reading in readings:
        if reading.does != "gradient":
            between.append(reading)
            if reading.piece.reads & bound:
                current, between = current + between, []
            continue
        if part is not None and reading.part != part:
            yield current
            current, bound = [], set()
        part = reading.part
        current, between = [*current, *between, reading], []
        bound.update(reading.piece.binds)
    if part in trained and between:
        yield current
        yield between
    elif current or between:
        yield current + between


def _unit(
    reading: CellReading, stretch: Sequence[Reading], first: int, last: int, known: Released, context: Context
) -> Unit | None:
    gradients = [each for each in stretch if each.does == "gradient"]
    own = [each for each in stretch if each.does == "own"]
    if not gradients and (named := _named_cell(reading, known)) is not None:
        gradients = [Reading(own[0].piece, "gradient", named, known.cells[named].part)] if own else []
    if not gradients and not any(_worth_running(each.piece, reading, context.wanted) for each in own):
        return None
    dropped = [each.piece for each in stretch if each.does == "copy"]
    final = stretch[-1].piece
    guarded = [each.piece for each in own if each.piece is not final and only_shows(each.piece, context.uses)]
    aliases = [(each.piece, alias) for each in own if (alias := known.alias(each.piece)) is not None]
    code = region(reading.dissected, first, last, dropped, guarded, aliases)
    cells = [each.cell for each in gradients if each.cell is not None]
    home = max(cells, key=cells.count) if cells else None
    part = gradients[0].part if gradients else None
    changed: list[str] = []
    if part in known.trained and home is not None:
        code, changed = with_given_lines(
            code, known.cells[home].code, known.settings, known.gradients[part], context.functions
        )
    code = with_shared(code, _kept_in_functions(gradients, known, context))
    shown = "\n".join(reading.source.split("\n")[first - 1 : last])
    reads = {name for each in own if each.piece.kind != "definition" for name in each.piece.reads}
    reads -= set(known.names)
    needs = max([known.binders[name] for name in reads if name in known.binders], default=-1)
    return Unit(
        code=code,
        shown=shown if shown != code.source else None,
        cell=home,
        needs=max(needs, -1 if home is None else home),
        part=part,
        gradients=bool(gradients),
        shows=not gradients and all(each.piece.kind in _LOOKS and only_shows(each.piece, context.uses) for each in own),
        binds=frozenset(name for each in stretch if each.does != "copy" for name in each.piece.binds),
        reads=frozenset(name for each in stretch if each.does != "copy" for name in each.piece.reads),
        position=reading.position,
        first_line=first,
        lost={line - first + 1: said for line, said in reading.lost.items() if first <= line <= last},
        changed=changed,
    )


def _kept_in_functions(gradients: Sequence[Reading], known: Released, context: Context) -> set[str]:
    """The gradients that are bound in functions alone, other than in those that the exercise asks for."""
    return {
        name
        for each in gradients
        if each.piece.kind == "definition" and each.piece.binds[0] not in known.definitions and each.part is not None
        for name in each.piece.inner
        if name in known.gradients[each.part] and (each.part, name) not in context.bound
    }


def _named_cell(reading: CellReading, known: Released) -> int | None:
    """The gradients cell that a cell is by more than its names: it may leave things to do that have none."""
    match = reading.match if reading.how != "names" else None
    return match if match is not None and known.cells[match].role == "gradients" else None


def _worth_running(piece: Piece, reading: CellReading, wanted: frozenset[str]) -> bool:
    """Whether a statement in a cell without gradients is run: in a copy of a locked cell only where it is needed."""
    locked = reading.match is not None and reading.how != "names"
    return not locked or any(name in wanted for name in piece.binds)
