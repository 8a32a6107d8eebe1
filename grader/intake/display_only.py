"""Which statements of a student's cells only look at things: a `cmp` of any name, a figure, an assertion.

Nothing that others need comes of them. So they must not stop what stands below them in their cell: the exercise's own
forward pass is run, and there a tensor of the student's may have no gradient, or another size, to compare with.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Sequence

from grader.intake.locked_copies import Reading
from grader.notebook.statements import Piece
from grader.notebook.syntax import bound_by
from grader.records import Record

_SHOWING = {"cmp", "print", "display", "plt"}
_SHARED = {"globals", "exec", "eval", "setattr", "vars"}
"""With these a function may bind what its text doesn't show."""


class Uses(Record, frozen=True):
    """What is known of a whole notebook's names.

    `imported` are those that its imports bind and the release's don't, `needed` those that gradients are computed from,
    however indirectly, `acting` its functions that do more than to return something, `looking` the others.
    """

    imported: frozenset[str]
    needed: frozenset[str]
    acting: frozenset[str]
    looking: frozenset[str]


def uses_of(readings: Sequence[Reading], imported: frozenset[str]) -> Uses:
    """Gather it from all statements that are not copies of the release's."""
    pieces = [reading.piece for reading in readings]
    gradients = [reading.piece for reading in readings if reading.does == "gradient"]
    functions = {piece.binds[0]: _acts(piece) for piece in pieces if piece.kind == "definition"}
    acting = frozenset(name for name, acts in functions.items() if acts)
    return Uses(imported, frozenset(_needed(gradients, pieces)), acting, frozenset(functions) - acting)


def _needed(gradients: Iterable[Piece], pieces: Sequence[Piece]) -> set[str]:
    found: set[str] = set()
    todo = [name for piece in gradients for name in piece.reads]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [read for piece in pieces if name in (*piece.binds, *piece.inner) for read in piece.reads]
    return found


def only_shows(piece: Piece, uses: Uses) -> bool:
    """Whether a statement computes nothing for the others."""
    if piece.kind in ("import", "assertion"):
        return True
    if piece.kind == "definition":
        return False
    if piece.kind == "expression" and not piece.binds:
        return _expression_shows(piece.text, piece.tree, uses)
    if uses.needed.intersection(piece.binds) or not _compares(piece.tree, uses):
        return False
    leaves = list(_leaves([piece.tree]))
    return all(leaf is not None and _leaf_shows(leaf, uses) for leaf in leaves)


def _compares(tree: ast.AST, uses: Uses) -> bool:
    """Whether a statement looks at autograd's gradients, or calls something that only looks.

    Any other that raises would do so in the student's notebook, too, and is shown with its error.
    """
    gradients = any(isinstance(node, ast.Attribute) and node.attr == "grad" for node in ast.walk(tree))
    return gradients or bool(_called(tree) & {*_SHOWING, *uses.looking})


def _leaves(body: Iterable[ast.stmt]) -> Iterator[ast.stmt | None]:
    """The simple statements in loops and branches; None for what may be anything."""
    for node in body:
        if isinstance(node, ast.For | ast.If):
            yield from _leaves([*node.body, *node.orelse])
        elif isinstance(node, ast.With):
            yield from _leaves(node.body)
        elif isinstance(node, ast.Expr | ast.Assert | ast.Assign | ast.AugAssign | ast.Pass | ast.Break | ast.Continue):
            yield node
        else:
            yield None


def _leaf_shows(node: ast.stmt, uses: Uses) -> bool:
    if isinstance(node, ast.Expr):
        return bool(bound_by(node)) or _expression_shows(ast.unparse(node), node, uses)
    return not _called(node) & (uses.acting | _SHARED)


def _expression_shows(text: str, node: ast.AST, uses: Uses) -> bool:
    called = text.split("(", 1)
    if len(called) == 1:
        return True
    name = called[0].strip()
    if _labelled(node) or name.split(".")[0] in uses.imported | _SHOWING:
        return True
    return name in uses.looking and not _called(node) & (uses.acting | _SHARED)


def _labelled(node: ast.AST) -> bool:
    """Whether it is a call such as `compare('W', dW, W)`, of no function of Python's own."""
    call = node.value if isinstance(node, ast.Expr) else node
    match call:
        case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str()), _, *_]):
            return not hasattr(builtins, name)
    return False


def _called(node: ast.AST) -> set[str]:
    return {each.func.id for each in ast.walk(node) if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)}


def _acts(piece: Piece) -> bool:
    """Whether calling a function may change anything outside of it."""
    function = piece.tree
    if not isinstance(function, ast.FunctionDef):
        return True
    local = {each.arg for each in ast.walk(function.args) if isinstance(each, ast.arg)}
    for node in ast.walk(function):
        if isinstance(node, ast.Global | ast.Nonlocal | ast.Delete):
            return True
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            plain = [each for target in targets for each in ([target] if isinstance(target, ast.Name)
                     else target.elts if isinstance(target, ast.Tuple | ast.List) else [None])]  # fmt: skip
            in_place = isinstance(node, ast.AugAssign) and set(bound_by(node)) & local
            if in_place or not all(isinstance(each, ast.Name) for each in plain):
                return True
        elif isinstance(node, ast.Expr) and bound_by(node):
            return True
    called = _called(function)
    return bool(called & _SHARED or called - {*piece.binds, *_SHOWING, *dir(builtins)})
