"""What the student's lines say about names: which they bind, read and write into. Nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache

from grader.notebook.syntax import names_bound, parse


@lru_cache(maxsize=64)
def assignments(source: str) -> tuple[ast.stmt, ...]:
    """The statements that bind a name or write into one, in the order of the source."""
    tree = parse(source)
    found = [node for node in ast.walk(tree) if isinstance(node, ast.stmt) and targets_of(node)] if tree else []
    return tuple(sorted(found, key=lambda node: node.lineno))


@lru_cache(maxsize=4096)
def targets_of(node: ast.stmt) -> frozenset[str]:
    """The names that a statement writes; a loop writes what its body writes."""
    if isinstance(node, ast.For):
        return frozenset[str]().union(*(targets_of(child) for child in node.body))
    if not isinstance(node, ast.Assign | ast.AugAssign | ast.Expr):
        return frozenset()
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign) else []
    written = [child for target in targets for child in ast.walk(target) if isinstance(child, ast.Name)]
    return names_bound(node).union(child.id for child in written)


def read_for(source: str, wanted: set[str]) -> Iterator[str]:
    """The names, those of gradients left out, that the statements for the wanted names read."""
    for node in assignments(source):
        if targets_of(node) & wanted:
            for child in ast.walk(node):
                if isinstance(child, ast.Name) and not child.id.startswith("d"):
                    yield child.id


def names_behind(sources: Sequence[str], name: str, stops: Collection[str]) -> set[str]:
    """The names that the statements for a name read, and those behind them; `stops` are read and not followed."""
    found: set[str] = set()
    pending = {name}
    while pending:
        wanted = pending
        read = {
            child.id
            for source in sources
            for node in assignments(source)
            if targets_of(node) & wanted
            for child in ast.walk(node)
            if isinstance(child, ast.Name)
        }
        pending = read - found - wanted - set(stops)
        found |= read
    return found - {name}


def changed_in_place(sources: Sequence[str], names: set[str]) -> bool:
    """Whether a statement writes into one of the names, `dX += …`, `dX[…] = …`, `dX.add_(…)`, after both were bound."""
    changed = False
    for source in sources:
        walked = [node for node in ast.walk(parse(source) or ast.Module([], [])) if isinstance(node, ast.stmt)]
        for node in sorted(walked, key=lambda node: node.lineno):
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id in names for t in node.targets):
                changed = False
            elif isinstance(node, ast.AugAssign | ast.Assign | ast.Expr) and writes_into(node) & names:
                changed = True
    return changed


def writes_into(node: ast.AugAssign | ast.Assign | ast.Expr) -> set[str]:
    """The names whose tensors a statement changes in place."""
    if isinstance(node, ast.Expr):
        call = node.value.func if isinstance(node.value, ast.Call) else None
        in_place = isinstance(call, ast.Attribute) and call.attr.endswith("_")
        return {child.id for child in ast.walk(call.value) if isinstance(child, ast.Name)} if in_place else set()  # type: ignore[union-attr]
    targets = [node.target] if isinstance(node, ast.AugAssign) else node.targets
    return {child.id for target in targets for child in ast.walk(target) if isinstance(child, ast.Name)}


def is_alias(sources: Sequence[str], one: str, other: str) -> bool:
    """Whether a statement makes of two names one and the same tensor, `one = other`, with no view between them."""
    for source in sources:
        for node in assignments(source):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in (one, other):
                names = {target.id for target in node.targets if isinstance(target, ast.Name)}
                if names & {one, other}:
                    return True
    return False


def adds_gradients_to(sources: Sequence[str], name: str) -> bool:
    """Whether a statement writes something with a gradient in it, a name that begins with d, to `name`."""
    for source in sources:
        for node in assignments(source):
            if isinstance(node, ast.Assign | ast.AugAssign) and name in targets_of(node):
                reads = {child.id for child in ast.walk(node.value) if isinstance(child, ast.Name)}
                if any(word.startswith("d") and len(word) > 1 for word in reads - {name}):
                    return True
    return False


def raises(sources: Sequence[str], gradient: str, name: str) -> bool:
    """Whether a statement for a gradient raises `name`, or something with it in it, to a power."""
    for node in (node for source in sources for node in assignments(source) if gradient in targets_of(node)):
        for child in ast.walk(node):
            base: ast.expr | None = None
            if isinstance(child, ast.BinOp) and isinstance(child.op, ast.Pow):
                base = child.left
            elif isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute):
                base = child.func.value if child.func.attr in ("pow", "square", "sqrt", "reciprocal") else None
            if base is not None and any(isinstance(word, ast.Name) and word.id == name for word in ast.walk(base)):
                return True
    return False


def divides(sources: Sequence[str], gradient: str, name: str) -> bool:
    """Whether a statement for a gradient divides by `name`, or by something with it in it."""
    for node in (node for source in sources for node in assignments(source) if gradient in targets_of(node)):
        for child in ast.walk(node):
            divisor = child.right if isinstance(child, ast.BinOp) and isinstance(child.op, ast.Div) else None
            if divisor is not None and any(getattr(word, "id", None) == name for word in ast.walk(divisor)):
                return True
    return False


def is_written_after(sources: Sequence[str], gradient: str) -> bool:
    """Whether anything is written into in place after the last `dX = …`: perhaps this tensor, under another name."""
    written = False
    for node in (node for source in sources for node in assignments(source)):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == gradient for t in node.targets):
            written = False
        elif isinstance(node, ast.AugAssign | ast.Assign | ast.Expr) and writes_in_place(node):
            written = True
    return written


def writes_in_place(node: ast.AugAssign | ast.Assign | ast.Expr) -> bool:
    """Whether a statement is `x += …`, `x[…] = …` or `x.add_(…)`."""
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Subscript) for target in node.targets)
    return bool(writes_into(node))


def is_assigned_anew(sources: Sequence[str], gradient: str) -> bool:
    """Whether the last statement for a gradient is a `dX = …` that forgets what an earlier one had put there."""
    own = [node for source in sources for node in assignments(source) if gradient in targets_of(node)]
    own = [node for node in own if not isinstance(node, ast.For)]
    last = own[-1] if len(own) > 1 else None
    if not isinstance(last, ast.Assign) or not all(isinstance(target, ast.Name) for target in last.targets):
        return False
    return not any(isinstance(child, ast.Name) and child.id == gradient for child in ast.walk(last.value))


def additions(sources: Sequence[str], gradient: str) -> int:
    """How many terms the statements for a gradient add up, those of the last `dX = …` and of every `dX += …` after."""
    count = 0
    for source in sources:
        for node in assignments(source):
            if isinstance(node, ast.AugAssign) and gradient in targets_of(node):
                count += _terms(node.value, gradient)
            elif isinstance(node, ast.Assign) and gradient in targets_of(node):
                kept = any(isinstance(child, ast.Name) and child.id == gradient for child in ast.walk(node.value))
                count = _terms(node.value, gradient) + (count if kept else 0)
    return count


def _terms(value: ast.expr, gradient: str) -> int:
    """The terms of a sum; zeros to begin with, and the gradient itself, are none."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add | ast.Sub):
        return _terms(value.left, gradient) + _terms(value.right, gradient)
    if isinstance(value, ast.Name) and value.id == gradient:
        return 0
    made = isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and "zeros" in value.func.attr
    return 0 if made else 1
