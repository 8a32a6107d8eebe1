"""Changes that put something into a student's formula: another name, a factor, a term."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from grader.diagnosis.formula.expression import Node, Value, name, number
from grader.diagnosis.formula.formula import parts
from grader.diagnosis.formula.operations import AT
from grader.diagnosis.repair.edits import EMPTY, Candidate, Change, Edit, Said, applied, less_one
from grader.diagnosis.words import quoted

ValueOf = Callable[[Node], Value | None]


def exchanges(formula: Node, candidates: Sequence[Candidate], value: ValueOf) -> Iterator[Edit]:
    """Every name of the notebook in the formula exchanged for another one of the same shape.

    Args:
        formula: the student's.
        candidates: what may stand in it.
        value: the value of a part of the formula in the case that the candidates' values are of.
    """
    known = {candidate.label for candidate in candidates}
    names = [part for part in parts(formula) if part.op == "name" or _is_gradient(part, known)]
    yield from applied(formula, names, lambda part: _other_names(part, candidates, known, value))


def searched(formula: Node, candidates: Sequence[Candidate]) -> Iterator[Edit]:
    """Another tensor in which the place of the largest element is looked for: it may be of any shape."""
    places = [part for part in parts(formula) if part.op == "argmax" and part.args[0].op == "name"]
    others = [one for one in candidates if isinstance(one.value, Tensor) and one.value.is_floating_point()]
    yield from applied(formula, places, lambda part: _searched(part, others))


def _searched(node: Node, candidates: Sequence[Candidate]) -> Iterator[Change]:
    for one in candidates:
        if one.label != node.args[0].value:
            said = f"The place of the largest element is looked for in {{}}: {quoted(one.label)} belongs there."
            message = Said(said, (node.args[0],))
            yield Node("argmax", (one.node,), node.value), "wrong-neighbour", message


def intermediates(formula: Node, candidates: Sequence[Candidate], value: ValueOf) -> Iterator[Edit]:
    """Every name of the student's own taken for what it may have been meant to be; the arguments are the same."""
    known = {candidate.label for candidate in candidates}
    uses = [part for part in parts(formula) if part.op == "use" and not _is_gradient(part, known)]
    uses = [part for part in uses if part.args[0].op != "name"]  # another name for a tensor: `exchanges` has that
    yield from applied(formula, uses, lambda part: _meant(part, candidates, value))


def _is_gradient(part: Node, known: set[str]) -> bool:
    """Whether a use is one of a gradient that the exercise has a name for."""
    return part.op == "use" and part.value.startswith("d") and part.value[1:] in known


def factors(
    formula: Node, candidates: Sequence[Candidate], sizes: Sequence[str], weights: Sequence[str] = ()
) -> Iterator[Edit]:
    """A factor that is missing somewhere: a tensor, a size or one less than it, a weight of the loss."""
    tensors = [one for one in candidates if isinstance(one.value, Tensor) and one.value.dim()]
    floating = [one for one in tensors if isinstance(one.value, Tensor) and one.value.is_floating_point()]
    made = [*floating, *_complements(floating), *_elements(formula, floating)]
    yield from applied(formula, parts(formula), lambda part: _factors(part, made, sizes, weights))


def _complements(candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    """`1 - s` for what may be a probability or a logistic function, `1 - t**2` for what may be a tanh."""
    for one in candidates:
        assert isinstance(one.value, Tensor)
        if not one.value.numel():
            continue
        lowest, highest = float(one.value.min()), float(one.value.max())
        if highest <= 1 and lowest >= 0:
            yield Candidate(f"1 - {one.label}", Node("sub", (number(1), one.node)), 1 - one.value)
        elif highest <= 1 and lowest >= -1:
            square = Node("pow", (one.node, number(2)))
            yield Candidate(f"1 - {one.label}**2", Node("sub", (number(1), square)), 1 - one.value**2)


def _elements(formula: Node, candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    """In a loop the elements of a vector that its counter goes through, `w[k]`."""
    counters = {part.value.counter for part in parts(formula) if part.op == "loop" and part.value.counter}
    for counter in sorted(counters):
        for one in candidates:
            if isinstance(one.value, Tensor) and one.value.dim() == 1:
                yield Candidate(f"{one.label}[{counter}]", Node("pick", (one.node, name(counter)), (AT,)), one.value)


def functions(formula: Node) -> Iterator[Edit]:
    """A function that is missing around a name, or another one in the place of one."""
    yield from applied(formula, parts(formula), _functions)


def written_out(formula: Node, weights: Sequence[str]) -> Iterator[Edit]:
    """A number in the place of a parameter, which has that value in the case that a student sees."""
    numbers = [part for part in parts(formula) if part.op == "number"]
    yield from applied(formula, numbers, lambda part: _parameters(part, weights))


def ones(formula: Node) -> Iterator[Edit]:
    """A one that is missing somewhere."""
    yield from applied(formula, parts(formula), _constants)


def terms(formula: Node, candidates: Sequence[Candidate], value: ValueOf) -> Iterator[Edit]:
    """A term that is missing somewhere: anything that has a name."""
    yield from applied(formula, parts(formula), lambda part: _terms(part, candidates, value))


def _other_names(node: Node, candidates: Sequence[Candidate], known: set[str], value: ValueOf) -> Iterator[Change]:
    nearest = (node.value[1:], f"d{node.value}")
    alike = _alike(node, candidates, value)
    for other in sorted(alike, key=lambda candidate: candidate.label not in nearest):
        gradient = other.label.startswith("d") and (other.label[1:] in known or other.node.op == "use")
        kind = "gradient" if gradient else "tensor" if other.node.op == "use" else "value of the forward pass"
        message = f"Everything fits but {quoted(node.value)}: a {kind} that has the same shape belongs in its place."
        yield other.node, "wrong-neighbour", Said(message)


def _meant(node: Node, candidates: Sequence[Candidate], value: ValueOf) -> Iterator[Change]:
    message = Said("Everything fits but {}: look at the line that computes it.", (node,))
    for other in _alike(node, candidates, value):
        if other.node.op == "name":
            yield other.node, "wrong-intermediate", message


def _alike(node: Node, candidates: Sequence[Candidate], value: ValueOf) -> list[Candidate]:
    """The other candidates of the same shape."""
    here = value(node)
    shape = here.shape if isinstance(here, Tensor) else None
    return [one for one in candidates
            if one.label != node.value and isinstance(one.value, Tensor) and one.value.shape == shape]  # fmt: skip


def _factors(
    node: Node, candidates: Sequence[Candidate], sizes: Sequence[str], weights: Sequence[str]
) -> Iterator[Change]:
    if node.op in EMPTY:
        return
    numbers = [(each, f"{other} - 1" if each.op == "sub" else other)
               for other in sizes for each in (name(other), less_one(other))]  # fmt: skip
    for factor, missing in [*numbers, *((name(weight), weight) for weight in weights)]:
        message = Said(f"{quoted(missing)} is missing as a factor or divisor at {{}}.", (node,))
        yield Node("mul", (node, factor)), "factor-missing", message
        yield Node("div", (node, factor)), "factor-missing", message
    for other in sizes:
        less = f"{other} - 1"
        ratio = Node("div", (name(other), less_one(other)))
        message = Said(f"At {{}} one of {quoted(other)} and {quoted(less)} stands where the other belongs.", (node,))
        yield Node("mul", (node, ratio)), "factor-missing", message
        yield Node("div", (node, ratio)), "factor-missing", message
    for one in candidates:
        message = Said(
            f"{quoted(one.label)} is missing as a factor at {{}}: the derivative of this step holds it.", (node,)
        )
        yield Node("mul", (node, one.node)), "factor-missing", message


FUNCTIONS = ("sigmoid", "tanh", "exp")
"""Those whose derivative, or whose loss's, is written with what they give."""


def _functions(node: Node) -> Iterator[Change]:
    if node.op in ("name", "use"):
        message = Said("A function is missing around {}: what the forward pass makes of it belongs here.", (node,))
        for function in FUNCTIONS:
            yield Node(function, (node,)), "function-missing", message
    elif node.op in FUNCTIONS:
        message = Said("Another function belongs in the place of {}: look at the forward pass.", (node,))
        for function in FUNCTIONS:
            if function != node.op:
                yield Node(function, node.args), "another-function", message


def _parameters(node: Node, weights: Sequence[str]) -> Iterator[Change]:
    for weight in weights:
        message = f"The number {node.value:g} stands where {quoted(weight)} belongs, which is different in other runs."
        yield name(weight), "wrong-constant", Said(message)


def _constants(node: Node) -> Iterator[Change]:
    message = Said("A constant is missing beside {}: differentiate this step once more on paper.", (node,))
    for constant in (1, -1) if node.op not in EMPTY else ():
        yield Node("add", (number(constant), node)), "constant-missing", message


def _terms(node: Node, candidates: Sequence[Candidate], value: ValueOf) -> Iterator[Change]:
    if node.op in EMPTY and node.op != "number":
        return
    here = value(node)
    for one in candidates:
        message = Said(f"A term is missing beside {{}}: {quoted(one.label)} takes part there, too.", (node,))
        for term in _as_terms(one, here, node):
            yield Node("add", (node, term)), "term-missing", message
            yield Node("sub", (node, term)), "term-missing", message


def _as_terms(candidate: Candidate, here: Value | None, node: Node) -> Iterator[Node]:
    """A tensor itself; for an index into the rows of what is here, a one in the place that it names in each row."""
    value = candidate.value
    if not isinstance(value, Tensor):
        return
    if value.is_floating_point():
        yield candidate.node
    elif isinstance(here, Tensor) and here.dim() > 1 and value.shape == here.shape[:-1] and value.dtype is torch.int64:
        yield Node("one_hot", (candidate.node, Node("size", (node,), -1)))
