"""Which statements of a cell are copies of the release's own, or were written in their place.

Those are never run. A student's copy of the forward pass may be renamed in places, split, or of another size: a name
that the release doesn't know stays, so that what is computed from it below still has it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from grader.intake.release_index import Released, normal
from grader.notebook.statements import Piece
from grader.records import Record

BLOCK = 3
"""So many of the forward pass's tensors bound one after another are a copy of the forward pass, however written."""

How = Literal["grade_id", "cell id", "role", "text", "likeness", "names"]
Does = Literal["copy", "gradient", "own"]


class Reading(Record, frozen=True):
    """A statement and what it does.

    `cell` is the released cell that it is a copy of or belongs to, if any, `hint` the part that its cell's metadata
    names, and `part` the one that a gradient turns out to belong to.
    """

    piece: Piece
    does: Does
    cell: int | None = None
    part: str | None = None
    hint: str | None = None


def read_statements(pieces: Sequence[Piece], match: int | None, how: How | None, known: Released) -> list[Reading]:
    """Each statement of a cell: a copy, a gradient, or the student's own. The gradients' parts are found later."""
    locked = match is not None and known.cells[match].role != "gradients"
    whole = locked and how in ("text", "likeness")
    block = _forward_block(pieces, known)
    readings = []
    for number, piece in enumerate(pieces):
        if match is not None and known.stands_in(match, piece.text):
            readings.append(Reading(piece, "copy", match))
            continue
        copy = match if whole else _copied(piece, known, in_block=number in block or locked)
        if copy is None and locked and not _rescued(piece, known):
            copy = match
        if copy is not None and not _binds_gradients(piece, known):
            readings.append(Reading(piece, "copy", copy))
        elif _binds_gradients(piece, known):
            readings.append(Reading(piece, "gradient"))
        else:
            readings.append(Reading(piece, "own"))
    if any(reading.does == "copy" and reading.piece.binds for reading in readings):
        readings = _beside_copies(readings, known)
    if whole:
        readings = [
            Reading(each.piece, "own")
            if each.does == "copy" and _rescued(each.piece, known) and not known.stands_in(match or 0, each.piece.text)
            else each
            for each in readings
        ]
    return readings


def _beside_copies(readings: list[Reading], known: Released) -> list[Reading]:
    """In a copy of a locked cell, what rebinds the setup's names or only shows something is a part of the copy."""
    if any(reading.does == "gradient" for reading in readings):
        return readings
    at = next(reading.cell for reading in readings if reading.does == "copy")
    done = []
    for reading in readings:
        piece = reading.piece
        shows = piece.kind == "expression" and not piece.binds
        ours = bool(piece.binds) and all(known.binders.get(name, known.leading) < known.leading for name in piece.binds)
        done.append(Reading(piece, "copy", at) if reading.does == "own" and (shows or ours) else reading)
    return done


def _binds_gradients(piece: Piece, known: Released) -> bool:
    if piece.kind == "definition" and piece.binds[0] in known.definitions:
        return True
    return any(name in known.names for name in (*piece.binds, *piece.inner))


def _rescued(piece: Piece, known: Released) -> bool:
    """Whether a changed locked cell's statement binds a name that the release doesn't know: an alias, a helper."""
    return piece.kind in ("assignment", "definition") and any(name not in known.binders for name in piece.binds)


def _forward_block(pieces: Sequence[Piece], known: Released) -> set[int]:
    """The numbers of the statements that stand in a copy of the forward pass or of the parameters' first values."""
    found: set[int] = set()
    run: list[int] = []
    for number, piece in enumerate([*pieces, None]):
        if piece is not None and not _binds_gradients(piece, known):
            run.append(number)
            continue
        bound = {name for each in run for name in pieces[each].binds if name in known.tensors}
        if len(bound) >= BLOCK:
            found.update(run)
        run = []
    return found


def _copied(piece: Piece, known: Released, *, in_block: bool) -> int | None:
    """The locked cell that a statement is a copy of, or was written in place of."""
    same = known.same(piece.text)
    if same is not None:
        return same
    if not piece.binds:
        return _same_backward(piece, known) if in_block else None
    if any(name not in known.binders for name in piece.binds):
        return None
    first = known.binders[piece.binds[0]]
    if piece.kind == "import":
        return first if _imports(known.cells[first].source, piece.binds[0]) else None
    if piece.kind == "definition" and known.gives_more(piece):
        return None
    alike = known.alike(piece)
    if alike is not None:
        return alike
    if piece.kind == "definition":
        return first if known.takes_as_many(piece) else None
    if piece.kind == "assignment" and _is_setting(piece, known):
        return first
    if re.fullmatch(r"\w+=[\[(][\w,]*[\])]", normal(piece.text)) and piece.reads <= known.tensors:
        return first  # parameters = [C, W1, …]
    tensors = [name in known.tensors for name in piece.binds]
    return first if in_block and (all(tensors) or piece.kind != "assignment") else None


def _is_setting(piece: Piece, known: Released) -> bool:
    """`n_hidden = 200`, `n = 32`: a number in place of the release's."""
    number = re.fullmatch(r"[\w,]+=[-+*/().\w]+", normal(piece.text)) is not None
    return number and piece.reads <= known.settings and (not piece.reads.intersection(piece.binds))


def _imports(source: str, name: str) -> bool:
    """Whether a cell of the release imports a name: the same name for something else is the student's own."""
    return re.search(rf"^\s*(?:from .+ )?import .*\b{re.escape(name)}\b", source, re.MULTILINE) is not None


def _same_backward(piece: Piece, known: Released) -> int | None:
    """`loss.backward(retain_graph=True)`, or a loop that keeps or forgets gradients: the release has done it."""
    if piece.kind in ("expression", "loop") and re.search(r"\.backward\(|\.retain_grad\(|\.grad\s*=", piece.text):
        return known.binders.get("loss")
    return None
