"""A training loop's given lines: how many steps, how fast, which batches. They are the release's, not the student's.

A loop of the lecture's own trains for other numbers of steps and at another rate, and draws its batches in its own way.
Its gradients are to be judged, so the other lines are set to the release's, each in its place.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from grader.records import Record
from grader.syntax import parse


class _Edit(Record, frozen=True):
    node: tuple[int, int, int, int]
    text: str


def with_given_lines(source: str, skeleton: str, settings: set[str], gradients: Sequence[str]) -> tuple[str, list[str]]:
    """A student's loop with the release's range, rate and draws, and a sentence for each that was another.

    Args:
        source: the student's cell, or what is run of it.
        skeleton: the released cell with the loop.
        settings: the names of the exercise's parameters.
        gradients: the names that are the student's to bind.
    """
    theirs, ours = _loop(source, gradients), _loop(skeleton, gradients)
    if theirs is None or ours is None:
        return source, []
    edits: list[_Edit] = []
    sentences: list[str] = []
    for what, found in (
        ("number of steps", _range(theirs, ours)),
        ("learning rate", _rate(parse(source), theirs, ours, settings)),
        ("way to draw its batches", _draws(theirs, ours)),
    ):
        edits += found
        if found:
            sentences.append(f"Your training loop has its own {what}: the exercise's was used.")
    return _edited(source, edits), sentences


def _loop(source: str, gradients: Sequence[str]) -> ast.For | None:
    """The outermost loop that binds one of the gradients."""
    tree = parse(source)
    for node in ast.walk(tree) if tree is not None else []:
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name):
            names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)
                     and isinstance(each.ctx, ast.Store)}  # fmt: skip
            if names.intersection(gradients):
                return node
    return None


def _range(theirs: ast.For, ours: ast.For) -> list[_Edit]:
    call = theirs.iter
    if not _is_range(ours.iter) or ast.dump(call) == ast.dump(ours.iter):
        return []
    inner = call.args[0] if isinstance(call, ast.Call) and call.args else None
    wrapped = isinstance(call, ast.Call) and _called(call) in ("tqdm", "trange")
    if isinstance(call, ast.Call) and (
        _is_range(call) or (wrapped and (_called(call) == "trange" or _is_range(inner)))
    ):
        same = inner is not None and ast.dump(inner) == ast.dump(ours.iter)
        return [_edit(call, ours.iter)] if wrapped or not same else []
    return []


def _is_range(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Call) and _called(node) == "range" and len(node.args) == 1


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).split(".")[-1] if isinstance(call.func, ast.Name | ast.Attribute) else ""


def _rate(tree: ast.Module | None, theirs: ast.For, ours: ast.For, settings: set[str]) -> list[_Edit]:
    """The rate's line in the loop, above it, or the number in the update itself."""
    given = _setting(ours, settings)
    if given is None or tree is None:
        return []
    value = _renamed(given.value, ours, theirs)
    first = _renamed(given.value, ours, "0")
    name = given.targets[0].id  # type: ignore[attr-defined]
    inside = [node for node in _assignments(theirs) if _is_setting(node, theirs, settings, _constants(tree))]
    named = [node for node in inside if node.targets[0].id == name]  # type: ignore[attr-defined]
    chosen = named or (inside if len(inside) == 1 else [])
    if chosen:
        return [_edit(node.value, value) for node in chosen if ast.dump(node.value) != ast.dump(value)]
    above = [node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
             and [getattr(target, "id", None) for target in node.targets] == [name]]  # fmt: skip
    if above:
        return [_edit(node.value, first) for node in above]
    return [_edit(number, value) for number in _literal_rates(theirs)]


def _setting(loop: ast.For, settings: set[str]) -> ast.Assign | None:
    return next((node for node in _assignments(loop) if _is_setting(node, loop, settings, set())), None)


def _assignments(loop: ast.For) -> Iterator[ast.Assign]:
    for node in ast.walk(loop):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            yield node


def _is_setting(node: ast.Assign, loop: ast.For, settings: set[str], constants: set[str]) -> bool:
    """Whether a line is computed from numbers, parameters and the step alone."""
    if any(isinstance(each, ast.Call | ast.List | ast.Dict | ast.Subscript) for each in ast.walk(node.value)):
        return False
    reads = {each.id for each in ast.walk(node.value) if isinstance(each, ast.Name)}
    numbers = [each for each in ast.walk(node.value) if isinstance(each, ast.Constant) and _is_number(each.value)]
    counter = loop.target.id if isinstance(loop.target, ast.Name) else ""
    steps = {counter, *settings, *constants}
    return bool(numbers or reads) and reads <= steps and node.targets[0].id in _update_reads(loop)  # type: ignore[attr-defined]


def _update_reads(loop: ast.For) -> set[str]:
    """The names that the loop's updates read: `p -= lr * grad`, `W = W - lr * dW`."""
    updates = [node.value for node in ast.walk(loop)
               if (isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub))
               or (isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp)
                   and isinstance(node.value.op, ast.Add | ast.Sub))]  # fmt: skip
    return {each.id for value in updates for each in ast.walk(value) if isinstance(each, ast.Name)}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _constants(tree: ast.Module) -> set[str]:
    return {target.id for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            and _is_number(node.value.value) for target in node.targets if isinstance(target, ast.Name)}  # fmt: skip


def _literal_rates(loop: ast.For) -> Iterator[ast.Constant]:
    """The number in `p.data += -0.1 * grad`."""
    for node in ast.walk(loop):
        if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub):
            numbers = [each for each in ast.walk(node.value)
                       if isinstance(each, ast.Constant) and isinstance(each.value, float)]  # fmt: skip
            if len(numbers) == 1 and isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.Mult):
                yield numbers[0]


def _draws(theirs: ast.For, ours: ast.For) -> list[_Edit]:
    """Random numbers that don't come from the release's generator."""
    given = next((node for node in _assignments(ours) if _generator(node) is not None), None)
    if given is None:
        return []
    return [
        _edit(node.value, _renamed(given.value, ours, theirs))
        for node in _assignments(theirs)
        if re.search(r"\brandint\(", ast.unparse(node.value)) and _generator(node) != _generator(given)
    ]


def _generator(node: ast.Assign) -> str | None:
    keywords = [word for each in ast.walk(node.value) if isinstance(each, ast.Call) for word in each.keywords]
    return next((ast.unparse(word.value) for word in keywords if word.arg == "generator"), None)


def _renamed(node: ast.expr, ours: ast.For, theirs: ast.For | str) -> ast.expr:
    """A given expression with the student's name for the step, or a number, in place of ours."""
    step = theirs if isinstance(theirs, str) else ast.unparse(theirs.target)
    text = re.sub(rf"\b{re.escape(ast.unparse(ours.target))}\b", step, ast.unparse(node))
    return ast.parse(text, mode="eval").body


def _edit(node: ast.expr, new: ast.expr) -> _Edit:
    place = (node.lineno, node.col_offset, node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)
    return _Edit(place, ast.unparse(new))


def _edited(source: str, edits: Sequence[_Edit]) -> str:
    """The source with expressions replaced and every line where it was."""
    lines = [line.encode() for line in source.split("\n")]
    for edit in sorted(edits, key=lambda each: each.node, reverse=True):
        first, start, last, end = edit.node
        tail = lines[last - 1][end:]
        missing = b"\n" * (last - first)
        lines[first - 1] = lines[first - 1][:start] + b"(" + edit.text.encode() + missing + b")" + tail
        del lines[first:last]
    return b"\n".join(lines).decode()
