"""Which part a gradient belongs to, where several parts ask for one of the same name.

`dlogits` may be the end of a chain of small steps or one expression, `dC` may stand in a training loop. What is asked,
in this order: is it a loop that trains; is there a name that only one part asks for; does the cell's metadata say it;
is it computed from gradients that only one part has; which forward pass stands above it; and what was there before.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from grader.intake.locked_copies import Reading
from grader.intake.release_index import Released
from grader.notebook.statements import Piece


def find_parts(cells: Sequence[Sequence[Reading]], known: Released) -> list[str | None]:
    """The part of every gradient among the statements of a notebook's cells, in order; None for the others."""
    return _PartAssignment(cells, known).parts()


class _PartAssignment:
    """What the statements of a notebook say of each other's parts, gone through in their order."""

    def __init__(self, cells: Sequence[Sequence[Reading]], known: Released) -> None:
        self.statements = statements = [each for cell in cells for each in cell]
        self.cells = [number for number, cell in enumerate(cells) for _ in cell]
        self.known = known
        self.plain = [part for part in known.order if part not in known.trained]
        self.found: list[str | None] = [None] * len(statements)
        self.bound: dict[str, set[str]] = {part: set() for part in known.order}
        self.latest: dict[str, tuple[int, str]] = {}
        self.functions: dict[str, str] = {}
        self.keeping: dict[str, str] = {}
        self.handed = {name for seen in statements if seen.piece.kind != "definition" for name in seen.piece.binds}
        self.inside = _inside_functions(statements)
        self.hinted = {seen.hint for seen in statements}
        self.context: str | None = None
        self.of_cell: dict[int, set[str]] = {}
        for seen, cell in zip(statements, self.cells, strict=True):
            self.of_cell.setdefault(cell, set()).update(_names(seen.piece) if seen.does == "gradient" else ())
        self.sure = [self._sure(number, seen) for number, seen in enumerate(statements)]
        self.last = {part: self._last_new(part) for part in self.plain}

    def parts(self) -> list[str | None]:
        """The part of every statement that has one."""
        sure = self.sure
        for number, seen in enumerate(self.statements):
            if seen.does != "gradient" and sure[number] is None:
                self._follow(seen)
                calls = seen.piece.reads & self.keeping.keys() if seen.does == "own" else ()
                self.found[number] = next((self.keeping[name] for name in calls), None)
                continue
            part = self._goes_on(seen) or sure[number] or self._guess(number, seen)
            if part is not None and part == sure[number] and self._passing_through(number, seen, part):
                part = seen.hint or self.context
            elif part is not None and sure[number] is None and self._on_the_way(number, seen, part):
                part = seen.hint
            self.found[number] = part
            if part is not None:
                self._remember(number, seen.piece, part)
                if sure[number] is not None:
                    self.context = part
        return self.found

    def _remember(self, number: int, piece: Piece, part: str) -> None:
        """What a part's statement binds, which later ones may be computed from or call."""
        self.bound[part].update(_names(piece))
        self.latest.update(dict.fromkeys(_names(piece), (number, part)))
        if piece.kind == "definition":
            asked = set(_names(piece)).intersection(self.known.gradients[part])
            if part in self.known.trained:
                self.functions[piece.binds[0]] = part
            if part in self.known.trained or not asked <= self.handed:
                self.keeping[piece.binds[0]] = part

    def _follow(self, seen: Reading) -> None:
        """A forward pass of a part's own stands here: what follows belongs to it."""
        own = [name for name in seen.piece.binds if name in self.known.binders and name not in self.known.tensors]
        cell = seen.cell if seen.cell is not None or not own else self.known.binders[own[0]]
        part = self.known.cells[cell].part if cell is not None else None
        if part in self.plain and self.plain.index(part) > 0 and (own or not seen.piece.binds):
            self.context = part

    def _sure(self, number: int, seen: Reading) -> str | None:
        """The part of a statement that its own names decide, or for a function those of the loop that calls it."""
        names = set(_names(seen.piece))
        loops = [seen.piece]
        if seen.piece.kind == "definition":
            loops = [seen.piece, self._called_by(number)] if seen.does == "gradient" else []
        for loop in loops:
            if self._trains(loop):
                found = self._all_names(loop)
                return max(self.known.trained, key=lambda part: len(found.intersection(self.known.gradients[part])))
        if seen.does != "gradient":
            return None
        only = {part: sum(self._asking(name) == [part] for name in names) for part in self.plain}
        best = max(only, key=lambda part: only[part], default=None)
        return best if best is not None and only[best] else None

    def _called_by(self, number: int) -> Piece:
        """The first statement below a function that calls it, itself or by another function; else itself."""
        piece = self.statements[number].piece
        names = {piece.binds[0]}
        for seen in self.statements[number + 1 :]:
            if names.intersection(seen.piece.reads):
                if seen.piece.kind != "definition":
                    return seen.piece
                names.add(seen.piece.binds[0])
        return piece

    def _all_names(self, piece: Piece) -> set[str]:
        """The names that a statement binds, and those in the functions that it calls."""
        return {*_names(piece), *(name for called in piece.reads for name in self.inside.get(called, ()))}

    def _last_new(self, part: str) -> int:
        """The last statement that is surely a part's and binds something for the first time: scratch work doesn't."""
        last, bound = -1, set[str]()
        for number, seen in enumerate(self.statements):
            if self.sure[number] == part and not bound.issuperset(_names(seen.piece)):
                last = number
                bound.update(_names(seen.piece))
        return last

    def _passing_through(self, number: int, seen: Reading, part: str) -> bool:
        """Whether a later part's cell computes an earlier part's gradient, or does so anew, on its way to its own.

        It is on the way where the cell binds nothing else that only other parts ask for.
        """
        later = seen.hint or self.context
        if later not in self.plain or part not in self.plain or self.plain.index(later) <= self.plain.index(part):
            return False
        here = self.of_cell[self.cells[number]]
        own = here.intersection(self.known.gradients[later])
        anew = set(_names(seen.piece)) <= self.bound[part]
        asked = here.intersection(self.known.gradients[part])
        on_the_way = own | self._above_all(part, own) | {*self.known.upstream[later]}
        return bool(own if anew else own - self.bound[later]) and asked <= on_the_way

    def _above_all(self, part: str, names: set[str]) -> set[str]:
        """The gradients of a part from which the chain rule makes these, by however many steps."""
        found: set[str] = set()
        todo = list(names)
        while todo:
            new = self.known.above[part].get(todo.pop(), set()) - found
            found |= new
            todo += new
        return found

    def _on_the_way(self, number: int, seen: Reading, guessed: str) -> bool:
        """Whether a cell uses another part's name for something of its own, and computes its own gradients from that.

        The other parts have cells of their own, and one above has bound the name already.
        """
        hint = seen.hint
        if hint not in self.plain or guessed == hint or guessed not in self.hinted:
            return False
        names, own = set(_names(seen.piece)), set(self.known.gradients[hint])
        above = self.plain[: self.plain.index(hint)]
        if names & own or not any(names <= self.bound[part] | set(self.known.upstream[part]) for part in above):
            return False
        for other, cell in zip(self.statements[number + 1 :], self.cells[number + 1 :], strict=True):
            if cell == self.cells[number] and names & other.piece.reads:
                if own.intersection(_names(other.piece)):
                    return True
                names.update(other.piece.binds)
        return False

    def _goes_on(self, seen: Reading) -> str | None:
        """The training part, where a statement just below its loop changes what it has bound, or calls its function."""
        names = _names(seen.piece)
        called = [self.functions[name] for name in seen.piece.reads if name in self.functions]
        if called:
            return called[0]
        before = self._before(names) if seen.piece.reads.intersection(names) else None
        return before if before in self.known.trained else None

    def _asking(self, name: str) -> list[str]:
        return [part for part in self.plain if name in self.known.gradients[part]]

    def _trains(self, piece: Piece) -> bool:
        """Whether a loop binds gradients and, beside them, the forward pass's tensors or its batch."""
        if not self.known.trained or not re.search(r"\b(for|while)\b", piece.text):
            return False
        names = self._all_names(piece)
        asked = {name for part in self.known.trained for name in self.known.gradients[part]}
        forward = (self.known.tensors | {"loss"}) & names
        return bool(asked & names) and (bool(forward) or not any(self._asking(name) for name in asked & names))

    def _guess(self, number: int, seen: Reading) -> str | None:
        piece = seen.piece
        names = _names(piece)
        asking = [part for part in self.plain if any(name in self.known.gradients[part] for name in names)]
        if not asking:
            return next((part for part in self.known.trained
                         if any(name in self.known.gradients[part] for name in names)), None)  # fmt: skip
        if len(asking) == 1:
            return asking[0]
        if seen.hint in asking and not self._again_elsewhere(number, seen, asking):
            return seen.hint
        for part in asking:
            if self._builds_on(piece, part, asking):
                return part
        if piece.reads.intersection(names) and (before := self._before(names)) is not None:
            return before
        if self.context in asking and self.context != asking[0]:
            return self.context
        return self._by_place(number, names, asking)

    def _again_elsewhere(self, number: int, seen: Reading, asking: Sequence[str]) -> bool:
        """Whether cells were merged: this one names its part's gradient anew, and no cell is there for the next."""
        if seen.hint is None or not set(_names(seen.piece)) <= self.bound[seen.hint]:
            return False
        others = [part for part in asking if part != seen.hint and part not in self.hinted]
        return bool(others) and number > self.last.get(seen.hint, -1)

    def _builds_on(self, piece: Piece, part: str, asking: Sequence[str]) -> bool:
        """Whether it is computed from a gradient that this one of the parts in question asks for and no other has."""
        others = [name for other in asking if other != part
                  for name in (*self.known.gradients[other], *self.known.upstream[other])]  # fmt: skip
        return any(name in piece.reads and self.latest.get(name, (0, part))[1] == part
                   for name in self.known.gradients[part] if name not in others)  # fmt: skip

    def _before(self, names: Sequence[str]) -> str | None:
        """The part of the last statement that bound one of the names."""
        found = [self.latest[name] for name in names if name in self.latest]
        return max(found)[1] if found else None

    def _by_place(self, number: int, names: Sequence[str], asking: Sequence[str]) -> str:
        """What the statements before and after it say: the first part that still waits for these names."""
        first = asking[0]
        if self.last[first] > number:
            return first  # its own gradients go on below
        if self._leaves_out(number, names, first):
            others = [part for part in asking[1:] if not set(names) <= self.bound[part]]
            if others:
                return others[0]
        if self.last[first] < 0:
            return min(asking, key=lambda part: len(self.known.gradients[part]))
        for part in asking:
            same_cell = self.cells[self.last[part]] == self.cells[number] if self.last[part] >= 0 else True
            if not set(names) <= self.bound[part] and (same_cell or part != first or self._unstarted(asking)):
                return part
        return asking[-1]

    def _leaves_out(self, number: int, names: Sequence[str], part: str) -> bool:
        """Whether its cell goes another way to a gradient than through those that the part has just above it."""
        above = {other for name in names for other in self.known.above[part].get(name, ())}
        reads: set[str] = set()
        for seen, cell in zip(self.statements, self.cells, strict=True):
            if cell == self.cells[number] and seen.does != "copy":
                reads |= seen.piece.reads
        helpers = [seen.piece for seen in self.statements[:number] if seen.does == "own"]
        for piece in reversed(helpers):
            if reads.intersection(piece.binds):
                reads |= piece.reads
        return bool(above) and not reads & above

    def _unstarted(self, asking: Sequence[str]) -> bool:
        """Whether a later part's forward pass is still to come, so that this is not that part yet."""
        return self.context in (None, asking[0])


def _inside_functions(statements: Sequence[Reading]) -> dict[str, set[str]]:
    """Function → the names that it binds, or that the functions do which it calls and which stand above it."""
    found: dict[str, set[str]] = {}
    for piece in (seen.piece for seen in statements if seen.piece.kind == "definition"):
        found[piece.binds[0]] = set(_names(piece)).union(*(found.get(name, set()) for name in piece.reads))
    return found


def _names(piece: Piece) -> tuple[str, ...]:
    return (*piece.binds, *piece.inner)
