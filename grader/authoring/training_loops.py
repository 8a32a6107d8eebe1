"""Whether a training loop is graded fairly: one step where each line is judged, several where the whole loop is.

After several steps every tensor has followed from every slip of the steps before, and none can be told apart.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from grader.course.catalog import Case
from grader.course.exercise import Exercise
from grader.notebook.syntax import names_bound, names_read
from grader.records import VISIBLE


def unfair_loops(exercise: Exercise) -> Iterator[str]:
    """The parts whose loop makes several steps in a case that judges single lines, or never more than one."""
    defaults = _parameters(exercise)
    for part, checks in exercise.parts.items():
        if not (checks.values and checks.gradients):
            continue  # values alone, as an optimizer's: they are what several steps make
        loop = _loop(exercise, part, {*checks.gradients, *checks.values}, set(defaults))
        if loop is None:
            continue
        counting = sorted(names_read(loop.iter) & defaults.keys())
        if not counting:
            yield (
                f"part {part} has a training loop whose number of steps isn't a parameter; loop over "
                "`range(max_steps)`, with max_steps in the parameters cell."
            )
            continue
        steps = {case.id: _steps(loop, defaults, case) for case in exercise.cases}
        many = [case.id for case in exercise.cases if case.only_after is None and steps[case.id] != 1]
        several = [case.id for case in exercise.cases if case.only_after is not None and (steps[case.id] or 0) > 1]
        name = counting[0]
        if many:
            yield (
                f"part {part} makes {steps[many[0]] or 'an unknown number of'} steps in the {_called(many[0])}, so a "
                f"slip in one line makes all of them wrong; set {name} = 1 under [exercises.visible] and in every case "
                "without only_after."
            )
        elif not several:
            yield (
                f"part {part} makes one step of its loop in every case, so one that goes right only once earns "
                f'full marks; add a case with {name} = 3 and only_after = "{exercise.cases[1].id}".'
            )


def _called(case: str) -> str:
    return "visible case" if case == VISIBLE else f"hidden case {case}"


def _loop(exercise: Exercise, part: str, names: set[str], parameters: set[str]) -> ast.For | None:
    """The part's outermost loop over a range that counts by a parameter, or binds one of the names."""
    trees = [cell.code.tree for cell in exercise.cells if cell.role == "gradients" and cell.part == part]
    loops = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.For) and _is_range(node.iter)]
    found = (loop for loop in loops if names_read(loop.iter) & parameters or names_bound(loop) & names)
    return next(found, None)


def _is_range(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"


def _parameters(exercise: Exercise) -> dict[str, object]:
    """What the notebook's own parameters cells bind to plain values."""
    found: dict[str, object] = {}
    for cell in exercise.cells:
        for node in cell.code.tree.body if cell.role == "parameters" else ():
            if isinstance(node, ast.Assign):
                try:
                    value = ast.literal_eval(node.value)
                except ValueError:
                    continue
                found.update(dict.fromkeys(names_bound(node), value))
    return found


def _steps(loop: ast.For, defaults: dict[str, object], case: Case) -> int | None:
    """How many steps a loop makes in a case; None where that isn't `range` of a parameter."""
    arguments = loop.iter.args if isinstance(loop.iter, ast.Call) else []
    name = arguments[0].id if len(arguments) == 1 and isinstance(arguments[0], ast.Name) else ""
    value = {**defaults, **case.parameters}.get(name)
    return value if isinstance(value, int) else None
