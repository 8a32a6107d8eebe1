"""What the student's lines say about names: which they bind, read and write into. Nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from grader.notebook.syntax import bound_by, names_bound, names_read


class Line(NamedTuple):
    """A statement that binds names or writes into their tensors.

    Attributes:
        node: the statement.
        names: what it binds or writes into.
        anew: those of them that it gives to something else, as `dX = …` does and `dX += …` doesn't.
        reads: the names that it reads, those in `trees`.
        trees: itself, what the loops around it go through, and what functions that it calls return.
    """

    node: ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr
    names: frozenset[str]
    anew: frozenset[str]
    reads: frozenset[str]
    trees: tuple[ast.AST, ...]

    @property
    def value(self) -> ast.expr:
        """The expression that is bound or written; a call for what is changed in place."""
        return self.node.value or ast.Constant(None)


def lines_of(node: ast.AST, around: tuple[ast.expr, ...]) -> Iterator[Line]:
    """The statements in a piece of code that bind a name or write into one, in their order."""
    if not isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr):
        inner = (*around, node.iter) if isinstance(node, ast.For) else around
        for child in ast.iter_child_nodes(node):
            yield from lines_of(child, inner)
    elif names := frozenset(bound_by(node)):
        anew = frozenset() if isinstance(node, ast.AugAssign) else names_bound(node)
        trees = (node, *around)
        yield Line(node, names, anew, frozenset[str]().union(*map(names_read, trees)), trees)


def names_behind(lines: Sequence[Line], name: str, stops: Collection[str]) -> frozenset[str]:
    """A name, those that the lines for it read, and those behind them; `stops` are read and not followed."""
    found = {name}
    pending = {name}
    while pending:
        read = {word for line in lines if line.names & pending for word in line.reads} - found
        found |= read
        pending = read - set(stops)
    return frozenset(found)


def changed_since(lines: Sequence[Line], names: set[str], written: set[str] | None = None) -> bool:
    """Whether a line changes a tensor in place, `dX += …`, `dX[…] = …`, `dX.add_(…)`, after the names were bound.

    Args:
        lines: the lines.
        names: those whose last `dX = …` counts.
        written: the names that are watched; all there are if not given, for each may mean this tensor, too.
    """
    changed = False
    for line in lines:
        in_place = line.names - line.anew
        changed = not line.anew & names and (changed or bool(in_place if written is None else in_place & written))
    return changed


def is_alias(lines: Sequence[Line], one: str, other: str) -> bool:
    """Whether a line makes of two names one and the same tensor, `one = other`, with no view between them."""
    pair = {one, other}
    return any(line.anew & pair and isinstance(line.value, ast.Name) and line.value.id in pair for line in lines)


def adds_gradients_to(lines: Sequence[Line], name: str, rebound: Collection[str]) -> bool:
    """Whether a line writes something with a gradient in it to `name`.

    That is a name that begins with d, or one of `rebound`: names of the forward pass that the student gives to others.
    """
    read = {word for line in lines if name in line.names for word in names_read(line.value)}
    return any((word.startswith("d") and len(word) > 1) or word in rebound for word in read - {name})


def is_assigned_anew(lines: Sequence[Line], gradient: str) -> bool:
    """Whether the last line for a gradient is a `dX = …` that forgets what an earlier one had put there."""
    own = [line for line in lines if gradient in line.names]
    return len(own) > 1 and gradient in own[-1].anew and gradient not in names_read(own[-1].value)
