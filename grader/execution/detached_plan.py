"""What is run detached: each statement of a part's cells, with random numbers for the gradients above it."""

from __future__ import annotations

import ast
import base64
import contextlib
import marshal
from collections.abc import Collection, Mapping, Sequence, Set

from grader.course.part_reference import PartReference
from grader.execution.detached import DetachedCase, DetachedPart, DetachedPlan, Lines
from grader.execution.detached_cells import Rewriter, bound_in, filled_in
from grader.execution.name_uses import uses_after
from grader.execution.plan import ProbePart, Step, last_gradients, runs_hidden
from grader.intake.take_in import PlannedCell
from grader.notebook.code import Statement
from grader.notebook.file import MAKES_GRADIENTS
from grader.notebook.gradient_names import gradient_of, tensor_of

SEED = 20221011
MAX_OWN = 6
OWN_NAMES = ("grad_{}", "d_{}", "g_{}", "{}_grad")
"""What a student may call the gradient of a tensor that no check asks for."""


def plan_detached(parts: Mapping[str, ProbePart], references: Mapping[str, Mapping[str, PartReference]],
                  again: Mapping[str, Sequence[tuple[str, str]]], cells: Sequence[PlannedCell], steps: Sequence[Step],
                  stops: Mapping[int, int]) -> DetachedPlan:  # fmt: skip
    """What is to be run detached.

    Args:
        parts: what the probe is told of each part.
        references: case → part → reference, for the cases in which parts are run detached.
        again: part → the steps of the chain rule, from an upper to a lower tensor, for which a second run of the first
            case has different numbers in the upper one's gradient.
        cells: the submission's cells.
        steps: the steps of a run.
        stops: cell index → the line at which that cell never came to an end: what stands before it is run.
    """
    first = next(iter(references), "")
    told: dict[str, DetachedPart] = {}
    lines: dict[str, Lines] = {}
    for part in parts.values() if references else ():
        if part.gradients and part.id in {step.part.id for step in steps if step.part is not None}:
            reference = references[first][part.id]
            told[part.id], lines[part.id] = _rewritten(part, reference, again.get(part.id, ()), cells, steps, stops)
    return DetachedPlan(parts=told, cases=detached_cases(told, references, again), lines=lines)


def detached_cases(parts: Collection[str], references: Mapping[str, Mapping[str, PartReference]],
                   again: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, dict[str, DetachedCase]]:  # fmt: skip
    """Case → part → what the kernel is told of it there; see `plan_detached`."""
    first = next(iter(references), "")
    return {
        case: {
            part_id: DetachedCase(
                shapes={name: list(shape) for name, shape in known[part_id].gradient_shapes.items()},
                seed=SEED + 2 * number,
                runs=[[], sorted({gradient_of(upper) for upper, _ in again[part_id]})]
                if case == first and again.get(part_id)
                else [[]],
            )
            for part_id in parts
        }
        for number, (case, known) in enumerate(references.items())
    }


def _rewritten(part: ProbePart, reference: PartReference, again: Sequence[tuple[str, str]],
               cells: Sequence[PlannedCell], steps: Sequence[Step],
               stops: Mapping[int, int]) -> tuple[DetachedPart, Lines]:  # fmt: skip
    """A part's cells, each of their statements tried on its own, and what the statements are for each gradient."""
    last = last_gradients(cells)
    indices = [index for index in _between(part.id, steps) if runs_hidden(Step(do="cell", cell=index), cells, last)]
    code = {index: cells[index].code.up_to(stops[index]) if index in stops else cells[index].code for index in indices}
    makes = [index for index in indices if cells[index].part == part.id and cells[index].role in MAKES_GRADIENTS]
    lines = [line for index in makes for line in code[index].statements]
    walrus = any(":=" in code[index].source for index in makes)
    later = uses_after({index: code[index].tree for index in makes}, reference.gradient_shapes)
    bound = {index: bound_in(code[index].tree.body, walrus=walrus, later=later.get(index, {})) for index in makes}
    names = _names(reference, set().union(*bound.values()))
    own = _own_names(again, names, part.forward, lines)
    names.update(zip(own, own, strict=True))
    given = [*part.forward, *part.given] if not part.values else ()
    tried = {index: code[index] for index in indices
             if code[index].is_python and (index in makes or cells[index].student)}  # fmt: skip
    filled = filled_in(tried.values())
    rewriter = Rewriter(names, reference, given, filled, walrus=walrus)
    codes: dict[int, str] = {}
    lasts = {name: index for index, those in bound.items() for name in those & names.keys()}
    for index, cell in tried.items():
        here = {name for name, place in lasts.items() if place == index}
        # A formula too deep for it, or a `return` outside of functions: the cell is run as it stands.
        with contextlib.suppress(RecursionError, SyntaxError, ValueError):
            codes[index] = _compiled(rewriter.rewritten(cell.tree, here, later.get(index, {})))
    reads: dict[str, frozenset[str]] = {}
    for line in lines:
        for name in names.keys() & set(line.binds):
            reads[names[name]] = reads.get(names[name], frozenset()) | {
                names[read] for read in line.reads & names.keys()
            }
    variables = {gradient: name for name, gradient in names.items() if name != gradient}
    starts = _starts(lines, names, part.forward)
    told = DetachedPart(
        cells=[("code", codes[index]) if index in codes else ("source", code[index].source) for index in indices],
        bound=[name for name in rewriter.places if name not in part.upstream],
        inner=[*map(gradient_of, reference.computed)],
        variables=variables,
        lists=part.lists,
        own=own,
        values=part.values,
        forward=part.forward,
        known=[*part.forward, *part.given],
        elements=part.elements,
    )
    ends = {name: line for rebound in later.values() for line, names in rebound.items() for name in names}
    return told, Lines(places=rewriter.places, reads=reads, variables=variables, starts=starts, later=ends)


def _starts(lines: Sequence[Statement], names: Mapping[str, str],
            forward: Collection[str]) -> dict[str, frozenset[str]]:  # fmt: skip
    """What of the forward pass the statements for each gradient start from, by helpers and not by other gradients."""
    reads: dict[str, set[str]] = {}
    for line in lines:
        for name in line.binds:
            reads.setdefault(name, set()).update(line.reads)
    found = {}
    for name in reads.keys() & names.keys():
        seen, todo = set[str](), [name]
        while todo:
            new = reads.get(todo.pop(), set()) - seen - names.keys()
            seen |= new
            todo += new - set(forward)
        found[names[name]] = frozenset(seen.intersection(forward))
    return found


def _names(reference: PartReference, bound: Set[str]) -> dict[str, str]:
    """The student's name → the gradient that it is: `dX`, or `grad_X` and the like where nothing is called `dX`."""
    names = {name: name for name in reference.gradient_shapes}
    for gradient in reference.gradient_shapes.keys() - bound:
        own = next((name for form in OWN_NAMES if (name := form.format(tensor_of(gradient))) in bound), None)
        if own is not None and own not in names:
            names[own] = gradient
    return names


def _compiled(tree: ast.Module) -> str:
    """A cell's code for the kernel, which is the same Python: text would have to be written and read again."""
    code = compile(tree, "<detached>", "exec")
    return base64.b64encode(marshal.dumps(code)).decode()


def _own_names(again: Sequence[tuple[str, str]], names: Mapping[str, str], forward: Sequence[str],
               lines: Sequence[Statement]) -> list[str]:  # fmt: skip
    """The student's own names that lines read in the place of a gradient that nothing binds."""
    bound = {name for line in lines for name in line.binds}
    known = {names[name] for name in bound & names.keys()}
    read = {
        name
        for upper, lower in again if gradient_of(upper) not in known
        for line in lines if gradient_of(lower) in line.binds
        for name in line.reads
    }  # fmt: skip
    return sorted((read & bound) - names.keys() - set(forward))[:MAX_OWN]


def _between(part: str, steps: Sequence[Step]) -> list[int]:
    """The cells that are run from the part's beginning to its export."""
    found: list[int] = []
    inside = False
    for step in steps:
        if step.part is not None and step.part.id == part:
            inside = step.do == "begin"
        elif inside and step.cell is not None:
            found.append(step.cell)
    return found
