"""What a released exercise's cells bind, indexed so that a student's statement is recognized as a copy of theirs."""

from __future__ import annotations

import ast
import difflib
import functools
import re
from typing import NamedTuple

from grader.course.exercise import Exercise
from grader.notebook.file import REFERENCE_ROLES
from grader.notebook.gradient_names import gradient_of, tensor_of
from grader.notebook.statements import Piece, dissect

ALIKE = 0.6
"""How alike two statements must be (difflib's ratio, without white space) for the one to be a copy of the other."""
MAX_COMPARED = 4_000
"""Characters of the longest statement that is compared: no statement of an exercise comes near it."""


class Released:
    """An exercise's cells, by what they bind.

    Attributes:
        binders: name that a locked cell binds → index of the first such cell.
        settings: the names of the parameters cell.
        tensors: the forward pass's tensors that some part asks a gradient or a value for.
        gradients: part → the gradients that its cells leave to the student.
        values: part → the tensors of it that are compared by value.
        definitions: class or function that gradients cells leave to the student → those cells.
        above: part → gradient → the gradients that the chain rule makes it of, as the part's forward pass is written.
        trained: the parts whose tensors are compared by value: their gradients stand in a training loop.
        leading: how many cells the setup has before anything else comes.
    """

    def __init__(self, exercise: Exercise) -> None:
        self.cells = exercise.cells
        self.cell_texts = [normal(cell.source) for cell in self.cells]
        self.order = list(exercise.parts)
        self.binders: dict[str, int] = {}
        self.settings: set[str] = set()
        self._texts: dict[str, list[tuple[str, int]]] = {}
        self._exact: dict[str, int] = {}
        self._made: list[_Assigned] = []
        self._signatures: dict[str, tuple[int, bool] | None] = {}
        self._statements: dict[int, set[str]] = {}
        for index, cell in enumerate(self.cells):
            pieces = dissect(cell.source).pieces or []
            if cell.role != "gradients":
                self._statements[index] = {normal(piece.text) for piece in pieces}
            if cell.role not in REFERENCE_ROLES:
                continue
            for piece in pieces:
                self._learn(piece, index)
            if cell.role == "parameters":
                self.settings.update(name for name, binder in self.binders.items() if binder == index)
            lines = cell.source.split("\n")
            for statement in cell.code.statements:
                text = normal("\n".join(lines[statement.first - 1 : statement.last]))
                for name in statement.binds:
                    self._texts.setdefault(name, []).append((text, index))
        self.gradients = {part: list(checks.gradients) for part, checks in exercise.parts.items()}
        self.values = {part: list(checks.values) for part, checks in exercise.parts.items()}
        self.tensors = {tensor_of(name) for names in self.gradients.values() for name in names}
        self.tensors |= {name for checks in exercise.parts.values() for name in checks.values}
        self.upstream = {part: set(checks.upstream) for part, checks in exercise.parts.items()}
        self.definitions: dict[str, list[int]] = {}
        for index, cell in enumerate(self.cells):
            for name in cell.code.defines if cell.role == "gradients" else []:
                self.definitions.setdefault(name, []).append(index)
        self.above = {part: self._above(part) for part in self.order}
        self.trained = [part for part, checks in exercise.parts.items() if checks.values]
        roles = [cell.role for cell in self.cells]
        self.leading = next((number for number, role in enumerate(roles) if role != "setup"), len(roles))

    def _learn(self, piece: Piece, index: int) -> None:
        for name in piece.binds:
            self.binders.setdefault(name, index)
            self._texts.setdefault(name, []).append((normal(piece.text), index))
        self._exact.setdefault(normal(piece.text), index)
        if (made := _assigned(piece)) is not None:
            self._made.append(made)
        if piece.kind == "definition":
            self._signatures.setdefault(piece.binds[0], _signature(piece))

    def _above(self, part: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for cell in self.cells:
            for statement in cell.code.statements if cell.role == "forward" and cell.part == part else ():
                for name in statement.reads:
                    found.setdefault(gradient_of(name), set()).update(map(gradient_of, statement.binds))
        return {name: found.get(name, set()).intersection(self.gradients[part]) for name in self.gradients[part]}

    @functools.cached_property
    def names(self) -> list[str]:
        """Every gradient that some part leaves to the student, once."""
        return list(dict.fromkeys(name for names in self.gradients.values() for name in names))

    def same(self, text: str) -> int | None:
        """The locked cell in which a statement stands just so."""
        return self._exact.get(normal(text))

    def stands_in(self, index: int, text: str) -> bool:
        """Whether a statement stands just so in a locked cell."""
        return normal(text) in self._statements.get(index, ())

    def alike(self, piece: Piece) -> int | None:
        """The locked cell in which a statement much like this one binds one of the same names."""
        text = normal(piece.text)
        if len(text) > MAX_COMPARED:
            return None
        for name in piece.binds:
            for other, index in self._texts.get(name, []):
                if ratio(text, other) >= ALIKE:
                    return index
        return None

    def alias(self, piece: Piece) -> str | None:
        """`X_train, Y_train = Xtr, Ytr` for a statement that makes the given data, under names of one's own.

        The release's are meant: what the student's were made from is the release's, too, in another order it may be.
        """
        own = _assigned(piece)
        if own is None or self.binders.keys() & {*own.names, *own.indexed}:
            return None
        alike = [(ratio(own.text, made.text) if not own.indexed else 1.0, ", ".join(made.names)) for made in self._made
                 if made.form == own.form and len(made.names) == len(own.names)]  # fmt: skip
        best = max(alike, default=(0.0, ""))
        return f"{', '.join(own.names)} = {best[1]}" if best[0] >= ALIKE else None

    def takes_as_many(self, piece: Piece) -> bool:
        """Whether a function can be called as the release's of this name can, and gives back what that one does."""
        return self._signatures.get(piece.binds[0]) == _signature(piece)

    def gives_more(self, piece: Piece) -> bool:
        """Whether a function returns a value where the release's of this name does not: `ok = cmp(…)`."""
        ours, theirs = self._signatures.get(piece.binds[0]), _signature(piece)
        return ours is not None and theirs is not None and theirs[1] and not ours[1]

    def cell_for(self, part: str, names: set[str]) -> int | None:
        """The gradients cell of a part that leaves most of `names` to the student."""
        best, found = 0, None
        for index, cell in enumerate(self.cells):
            if cell.role == "gradients" and cell.part == part:
                defined = [name for name, cells in self.definitions.items() if index in cells]
                shared = len(names.intersection([*self.gradients_of(index), *defined]))
                if found is None or shared > best:
                    best, found = shared, index
        return found

    def is_known_by_name(self, index: int) -> bool:
        """Whether a gradients cell leaves something to the student that has a name."""
        return bool(self.gradients_of(index)) or any(index in cells for cells in self.definitions.values())

    def gradients_of(self, index: int) -> list[str]:
        """The checked gradients that a released cell leaves for the student to assign."""
        cell = self.cells[index]
        if cell.role != "gradients" or cell.part is None:
            return []
        return [name for name in self.gradients[cell.part] if name in cell.code.binds]


class _Assigned(NamedTuple):
    """What a statement binds, from what: the text without white space, and what it must share to be the same.

    `indexed` are the names that it indexes, where it does nothing else.
    """

    names: list[str]
    indexed: list[str]
    text: str
    form: str


def _assigned(piece: Piece) -> _Assigned | None:
    """`Xtr, Ytr = build_dataset(…)`, or `Xb, Yb = Xtr[ix], Ytr[ix]`; None for anything else."""
    node = piece.tree
    if not isinstance(node, ast.Assign) or len(node.targets) != 1 or len(piece.text) > MAX_COMPARED:
        return None
    targets = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else node.targets
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    if len(names) < len(targets):
        return None
    try:
        text = normal(ast.unparse(node.value))
    except RecursionError:
        return None
    if isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name):
        return _Assigned(names, [], text, f"{node.value.func.id}()")
    values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
    indexed = [value.value.id for value in values
               if isinstance(value, ast.Subscript) and isinstance(value.value, ast.Name)]  # fmt: skip
    return _Assigned(names, indexed, text, re.sub(r"\w+\[", "[", text)) if len(indexed) == len(values) else None


def _signature(piece: Piece) -> tuple[int, bool] | None:
    """How many arguments a function can't do without, and whether it returns a value; None for what is no function."""
    node = piece.tree
    if not isinstance(node, ast.FunctionDef):
        return None
    returns = any(isinstance(each, ast.Return) and each.value is not None for each in ast.walk(node))
    return len(node.args.args) - len(node.args.defaults), returns


def normal(source: str) -> str:
    """A source without its white space, in which editors differ."""
    return "".join(source.split())


def ratio(one: str, other: str, least: float = ALIKE) -> float:
    """How alike two texts are, between 0 and 1; 0 where a bound that is found sooner says that it is below `least`."""
    if 2 * min(len(one), len(other)) < least * (len(one) + len(other)):
        return 0.0
    return _compared(one, other, least)


@functools.lru_cache(maxsize=1 << 14)  # a class hands in the same cells again and again, and exercises share some
def _compared(one: str, other: str, least: float) -> float:
    if 2 * common_length(one, other) < least * (len(one) + len(other)):
        return 0.0
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()


def common_length(one: str, other: str) -> int:
    """The length of the longest common subsequence, which is at least what difflib matches, and found much sooner.

    All of `one` is looked at at once, a bit a character: Hyyrö, "Bit-parallel LCS-length computation revisited", 2004.
    """
    places: dict[str, int] = {}
    for place, character in enumerate(one):
        places[character] = places.get(character, 0) | 1 << place
    every = (1 << len(one)) - 1
    unmatched = every
    for character in other:
        hits = unmatched & places.get(character, 0)
        unmatched = (unmatched + hits | unmatched - hits) & every
    return len(one) - unmatched.bit_count()


@functools.lru_cache(maxsize=32)
def released(exercise: Exercise) -> Released:
    """The index of an exercise, made once."""
    return Released(exercise)
