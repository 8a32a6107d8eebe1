"""The formula behind a gradient, put together from the student's statements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from grader.diagnosis.formula.loops_and_writes import ONCE, Binding, bindings
from grader.diagnosis.formula.node import MAX_NODES, Loop, Node, Unsupported, parts, use
from grader.diagnosis.formula.reader import places, read
from grader.notebook.code import Code


def formulas(cells: Sequence[Code], leaves: frozenset[str]) -> dict[str, Node]:
    """What every name that the cells bind is computed by in the end, with the student's own names written out.

    Args:
        cells: the cells, in order.
        leaves: the names that stand for themselves: the forward pass's, and the exported gradients'.

    Returns:
        Name → the formula of the last statement that binds it, with what an earlier one had put there for `+=`. A name
        that is made by what is not understood is left out.
    """
    found = dict(_versions(cells, leaves))
    return {name: node for name, node in found.items() if node is not None and len(parts(node)) <= MAX_NODES}


def versions(cells: Sequence[Code], leaves: frozenset[str]) -> Iterator[tuple[str, Node]]:
    """The same for every statement, in order: what a name is computed by then, though it be bound again later."""
    for name, node in _versions(cells, leaves):
        if node is not None and len(parts(node)) <= MAX_NODES:
            yield name, node


def _versions(cells: Sequence[Code], leaves: frozenset[str]) -> Iterator[tuple[str, Node | None]]:
    known: dict[str, Node | None] = {}
    for binding in bindings(cells):
        try:
            known[binding.name] = _made(binding, known, leaves)
        except Unsupported:
            known[binding.name] = None
        yield binding.name, known[binding.name]


def _made(binding: Binding, known: Mapping[str, Node | None], leaves: frozenset[str]) -> Node | None:
    """What a name is computed by after a statement."""
    if binding.value is None:
        return None

    before, how = known.get(binding.name), binding.how
    looped = binding.column is None and (binding.places is not None or binding.loop is not ONCE)
    # in a loop its own name is what earlier rounds have left, or the list's other elements
    names = {name: node for name, node in known.items() if name != binding.name} if looped else known

    def out(node: Node) -> Node:
        return _written_out(node, binding.name, names, leaves)

    value = out(read(binding.value))
    if how == "set" and binding.column is None and not looped:
        return value
    if before is None:
        return None
    if binding.column is not None:
        return _one_a_row(before, read(binding.column), value, how)
    if not looped:
        return Node(how, (before, value))
    pattern, numbers = places(binding.places) if binding.places is not None else (None, [])
    first, last = out(read(binding.loop.first)), out(read(binding.loop.last))
    if how == "append":
        before, how = Node("elements", (last - first,)), "set"
    loop = Loop(binding.loop.counter, binding.name, how, pattern, binding.loop.backward)
    return Node("loop", (before, first, last, value, *map(out, numbers)), loop)


def _one_a_row(before: Node, index: Node, value: Node, how: str) -> Node:
    """`x[range(n), index] = value`, or with `-=`: one element of each row, written as a mask."""
    mask = Node("mask", (before, index))
    if how != "set":
        return Node(how, (before, mask * value))
    if before.op == "zeros_like" or (before.op == "filled" and before.args[0].value == 0):
        return mask * value
    return before - mask * before + mask * value


def _written_out(node: Node, target: str, known: Mapping[str, Node | None], leaves: frozenset[str]) -> Node:
    if node.op == "name":
        if node.value in leaves and node.value != target:
            return node
        if node.value not in known:
            return node
        found = known[node.value]
        if found is None:
            raise Unsupported
        return use(node.value, found)
    arguments = tuple(_written_out(argument, target, known, leaves) for argument in node.args)
    return node if not arguments else Node(node.op, arguments, node.value)
