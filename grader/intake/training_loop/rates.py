"""The learning rate of a student's training loop: found where it is used, and the release's put there.

Where it comes from is the student's affair: a line of the loop or above it, a schedule in a function, a list, a number.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from grader.intake.training_loop.loops import Edit, Loop, edit, is_number
from grader.notebook.gradient_names import tensor_of
from grader.notebook.syntax import names_bound, names_read

_RATE = re.compile(r"^(lr|eta|alpha)$|lr$|^lr|rate|step_?size", re.IGNORECASE)


def rate_edits(theirs: Loop, ours: Loop, settings: set[str], gradients: Sequence[str]) -> list[Edit]:
    """The release's rate in every update of the parameters; nothing where it is the release's already.

    Args:
        theirs: the student's loop.
        ours: the release's.
        settings: the names of the exercise's parameters.
        gradients: the names that are the student's to bind.
    """
    updating = {name for value, _ in _updates(ours) for name in names_read(value)}
    given = next((node for node in ours.assignments() if _is_rate(node, ours, settings, updating)), None)
    if given is None:
        return []
    rate = theirs.in_its_words(given.value, ours.counter)
    edits = []
    for place in list(_in_updates(theirs, gradients)) or list(_in_calls(theirs)):
        if not _is_given(place, rate, theirs):
            new = ast.UnaryOp(ast.USub(), rate) if _is_negative(place, theirs.tree) else rate
            edits.append(edit(place, new))
    if not edits:
        first = theirs.in_its_words(given.value, ours.counter, above=True)
        edits = [edit(place, first) for place in _in_optimizers(theirs)]
    return edits


def _is_rate(node: ast.Assign, loop: Loop, settings: set[str], updating: set[str]) -> bool:
    """Whether a line of the release's loop is computed from parameters and the step alone, and used in an update."""
    reads = names_read(node.value)
    counter = {ast.unparse(loop.counter)} if loop.counter is not None else set()
    simple = not any(isinstance(each, ast.Call | ast.Subscript) for each in ast.walk(node.value))
    return simple and bool(reads) and reads <= settings | counter and bool(names_bound(node) & updating)


def _updates(loop: Loop) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What is added or taken away in the loop, and from what: `p -= lr * grad`, `W = W - lr * dW`."""
    for node in ast.walk(loop.node):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub):
            yield node.value, node.target
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and len(node.targets) == 1:
            same = ast.unparse(node.value.left) == ast.unparse(node.targets[0])
            if isinstance(node.value.op, ast.Add | ast.Sub) and same:
                yield node.value.right, node.targets[0]


def _in_updates(loop: Loop, gradients: Sequence[str]) -> Iterator[ast.expr]:
    """The factor in each update of a parameter that is no gradient."""
    turns = {name for each in ast.walk(loop.node) if isinstance(each, ast.For) and each is not loop.node
             for name in names_bound(each.target)}  # fmt: skip
    trained = {tensor_of(name) for name in gradients} | turns
    for value, target in _updates(loop):
        base = target
        while isinstance(base, ast.Attribute | ast.Subscript):
            base = base.value
        name = base.id if isinstance(base, ast.Name) else ""
        if name not in trained and not isinstance(target, ast.Subscript | ast.Attribute):
            continue
        if name in gradients:
            continue
        others = [factor for factor in _factors(value) if not names_read(factor) & {*gradients, *turns, name}]
        if (found := _likeliest(others)) is not None and len(list(_factors(value))) > 1:
            yield found


def _factors(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        yield from _factors(node.operand)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        yield from _factors(node.left)
        yield from _factors(node.right)
    else:
        yield node


def _likeliest(factors: Sequence[ast.expr]) -> ast.expr | None:
    """The one that is the rate: it says so by its name, or it is the only one, but for a number beside it."""
    named = [each for each in factors if any(_RATE.search(name) for name in names_read(each))]
    other = [each for each in factors if not isinstance(each, ast.Constant)]
    numbers = [each for each in factors if isinstance(each, ast.Constant) and isinstance(each.value, float)]
    for found in (named, other, numbers):
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _in_calls(loop: Loop) -> Iterator[ast.expr]:
    """The rate that is handed to a function of the student's which makes the update."""
    for node in ast.walk(loop.node):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and ast.unparse(node.value.func) != "print":
            yield from (each for each in node.value.args if isinstance(each, ast.Name) and _RATE.search(each.id))
            yield from (word.value for word in node.value.keywords if _RATE.search(word.arg or ""))


def _in_optimizers(loop: Loop) -> Iterator[ast.expr]:
    """The rate with which an optimizer of torch's was made that makes a step in the loop."""
    steps = {each.func.value.id for each in ast.walk(loop.node) if isinstance(each, ast.Call)
             and isinstance(each.func, ast.Attribute) and each.func.attr == "step"
             and isinstance(each.func.value, ast.Name)}  # fmt: skip
    for node in ast.walk(loop.tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and names_bound(node) & steps:
            yield from (word.value for word in node.value.keywords if word.arg == "lr")


def _is_given(place: ast.expr, rate: ast.expr, loop: Loop) -> bool:
    """Whether a name has the release's rate already: the loop gives it to it, and nothing else does."""
    if not isinstance(place, ast.Name):
        return ast.dump(place) == ast.dump(rate)
    values = [node.value for node in loop.assignments() if names_bound(node) == {place.id}]
    return len(values) == 1 and ast.dump(values[0]) == ast.dump(rate)


def _is_negative(place: ast.expr, tree: ast.Module) -> bool:
    """Whether a student's rate is below zero, as where it is added: `lr = -0.1`, `p += lr * grad`."""
    if not isinstance(place, ast.Name):
        return _below_zero(place)
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and names_bound(node) == {place.id}]
    return bool(values) and all(_below_zero(value) for value in values)


def _below_zero(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return _below_zero(node.body) and _below_zero(node.orelse)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return not _below_zero(node.operand)
    return isinstance(node, ast.Constant) and is_number(node.value) and node.value < 0
