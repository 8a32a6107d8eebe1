"""A training loop's given lines: how many steps, how fast, which batches. They are the release's, not the student's.

A loop of the lecture's own trains for other numbers of steps and at another rate, and draws its batches in its own way.
Its gradients are to be judged, so the other lines are set to the release's, each in its place.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence, Set

from grader.intake.training_loop.loops import COUNT, Edit, Loop, edit, edited, find_loop, is_number
from grader.intake.training_loop.rates import rate_edits
from grader.notebook.code import Code
from grader.notebook.syntax import names_bound

_DRAW = re.compile(r"\b(?:randint|randperm)\(")


def with_given_lines(code: Code, skeleton: Code, settings: set[str], gradients: Sequence[str],
                     functions: Set[str]) -> tuple[Code, list[str]]:  # fmt: skip
    """A student's loop with the release's range, rate and draws, and a sentence for each that was another.

    Args:
        code: the student's cell, or what is run of it.
        skeleton: the released cell with the loop.
        settings: the names of the exercise's parameters.
        gradients: the names that are the student's to bind.
        functions: the student's functions that bind them.
    """
    theirs, ours = find_loop(code, gradients, settings, functions), find_loop(skeleton, gradients, settings)
    if theirs is None or ours is None or not isinstance(ours.node, ast.For):
        return code, []
    edits: list[Edit] = []
    sentences: list[str] = []
    for what, found in (
        ("number of steps", _steps(theirs, ours.node)),
        ("learning rate", rate_edits(theirs, ours, settings, gradients)),
        ("way to draw its batches", _draws(theirs, ours)),
    ):
        edits += found
        if found:
            sentences.append(f"Your training loop has its own {what}: the exercise's was used.")
    return edited(code, [*_counted(theirs, edits), *_sizes(theirs)]), sentences


def _steps(theirs: Loop, ours: ast.For) -> list[Edit]:
    if not _is_range(ours.iter):
        return []
    given = theirs.in_its_words(ours.iter, ours.target)
    if isinstance(theirs.node, ast.While):
        return _steps_of_while(theirs.node.test, given.args[0] if isinstance(given, ast.Call) else given)
    call = theirs.node.iter
    if ast.dump(call) == ast.dump(given) or not isinstance(call, ast.Call):
        return []
    name, inner = _called(call), call.args[0] if call.args else None
    # A bar goes, too: nobody looks at it, and its module may not be there.
    counts = _is_range(call) or name == "trange" or (name == "tqdm" and _is_range(inner))
    return [edit(call, given)] if counts else []


def _counted(theirs: Loop, edits: Sequence[Edit]) -> list[Edit]:
    """The edits, and one by which the steps are counted under a name of ours where a student's has other values, too.

    In `for i in ((step := each) for each in range(9))` the name is bound in the scope of the loop.
    """
    if not theirs.recounted or not isinstance(theirs.node, ast.For):
        return list(edits)
    whole = edit(theirs.node.iter, theirs.node.iter)
    steps = next((each.text for each in edits if each.place == whole.place), whole.text)
    counted = f"(({COUNT} := _each) for _each in {steps})"
    return [*(each for each in edits if each.place != whole.place), Edit(whole.place, counted)]


def _steps_of_while(test: ast.expr, steps: ast.expr) -> list[Edit]:
    """`while i < 200000`: where no name says how many, the release's does."""
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Lt | ast.LtE):
        return []
    last = test.comparators[0]
    if any(isinstance(each, ast.Name) for each in ast.walk(last)):
        return []
    less = 1 if isinstance(test.ops[0], ast.LtE) else 0
    if isinstance(last, ast.BinOp) and isinstance(last.op, ast.Sub) and isinstance(last.right, ast.Constant):
        less = int(last.right.value) if is_number(last.right.value) else less  # `while i < 200000 - 1`
    return [edit(last, ast.BinOp(steps, ast.Sub(), ast.Constant(less)) if less else steps)]


def _is_range(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Call) and _called(node) == "range" and len(node.args) == 1


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).split(".")[-1] if isinstance(call.func, ast.Name | ast.Attribute) else ""


def _draws(theirs: Loop, ours: Loop) -> list[Edit]:
    """Random numbers of another bound than the release's, or not from its generator, and what they choose from."""
    line = next((node for node in ours.assignments() if _generator(node.value) is not None), None)
    if line is None or not isinstance(line.value, ast.Call):
        return []
    edits = []
    data = _chosen_from(ours.node, names_bound(line))
    for node in theirs.assignments():
        if _DRAW.search(ast.unparse(node.value)):
            new = theirs.in_its_words(_of_size(line.value, node.value), ours.counter)
            if ast.dump(new) != ast.dump(node.value):
                edits.append(edit(node.value, new))
            own = _chosen_from(theirs.node, names_bound(node))
            theirs_in_order, ours_in_order = (list(dict.fromkeys(each.id for each in names)) for names in (own, data))
            if len(theirs_in_order) == len(ours_in_order):
                names = dict(zip(theirs_in_order, ours_in_order, strict=True))
                edits += [edit(each, ast.Name(names[each.id], ast.Load())) for each in own if each.id != names[each.id]]
    return edits


def _chosen_from(node: ast.AST, drawn: Set[str]) -> list[ast.Name]:
    """The names in `Xtr[ix], Ytr[ix]`, in their order, where `ix` was drawn."""
    found = [
        each.value
        for each in ast.walk(node)
        if isinstance(each, ast.Subscript) and isinstance(each.value, ast.Name)
        and isinstance(each.slice, ast.Name) and each.slice.id in drawn
    ]  # fmt: skip
    return sorted(found, key=lambda each: (each.lineno, each.col_offset))


def _of_size(given: ast.Call, own: ast.expr) -> ast.Call:
    """The release's draw, of as many as a student's where that says how many in the same place."""
    if isinstance(own, ast.Call) and ast.dump(own.func) == ast.dump(given.func) and len(own.args) == len(given.args):
        return ast.Call(given.func, [*given.args[:-1], own.args[-1]], given.keywords)
    return given


def _generator(value: ast.expr) -> str | None:
    keywords = [word for each in ast.walk(value) if isinstance(each, ast.Call) for word in each.keywords]
    return next((ast.unparse(word.value) for word in keywords if word.arg == "generator"), None)


def _sizes(theirs: Loop) -> Iterator[Edit]:
    """`batch_size = 32` in the function around the loop, and so in no cell that is left out: the case's own."""
    if theirs.function is None:
        return
    for node in ast.walk(theirs.function):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in theirs.shadowed and isinstance(node.value, ast.Constant) and is_number(node.value.value):
                yield edit(node.value, theirs.outside(name))
    arguments = theirs.function.args
    for argument, default in zip(arguments.args[::-1], arguments.defaults[::-1], strict=False):
        if argument.arg in theirs.shadowed and isinstance(default, ast.Constant) and is_number(default.value):
            yield edit(default, ast.Name(argument.arg, ast.Load()))
