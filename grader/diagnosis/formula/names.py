"""What names stand for: formulas in place of tensors, as statements bind them and write into them. Nothing is run."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Collection, Iterator

from grader.diagnosis.formula.node import AT, MAX_NODES, Loop, Node, Unsupported, name, number, parts, use
from grader.diagnosis.formula.reader import Reader, Rounds
from grader.notebook.syntax import names_read

_SUFFIX = re.compile(r"(_[a-z]+|\d+)$")
Target = ast.Name | ast.Subscript
"""What is bound or written into: `dX`, or places of it, `dX[…]`."""


class Names(Reader):
    """The names of a part.

    A function's names are `function1__name`, a method's `layer__backward__name`, and `self.name` is `layer__name`.

    Attributes:
        leaves: the names that stand for themselves: the forward pass's, and the exported gradients'.
        tensors: the names of the forward pass: `self.xhat` of the layer `norm_eval` is taken for `xhat_eval`, or else
            for `xhat`, if there is such a tensor.
        constants: what else has a name there: the same, for what the layer does not compute itself.
        layers: the layers that cells of ours make.
    """

    def __init__(self, leaves: Collection[str], tensors: Collection[str], constants: Collection[str]) -> None:
        super().__init__()
        self.leaves, self.tensors, self.constants = leaves, tensors, constants
        self.layers: set[str] = set()
        self._known: dict[str, Node | None] = {}
        self._same: dict[str, str] = {}
        self._versions: list[tuple[str, Node | None]] = []
        self._target, self._keeps_own = "", False
        self._beside = False

    @property
    def versions(self) -> Iterator[tuple[str, Node]]:
        """For every statement, in order, what a name is computed by then, though it be bound again later."""
        return ((label, node) for label, node in self._versions if node is not None and len(parts(node)) <= MAX_NODES)

    @property
    def formulas(self) -> dict[str, Node]:
        """What every name is computed by in the end, with the student's own names written out."""
        last = dict(self._versions)
        return {label: node for label, node in self.versions if last[label] is node}

    def look(self, label: str) -> Node:
        """What a name stands for: itself, another name, or what it is computed by."""
        own = label == self._target
        if label in self.counters or (own and self._keeps_own) or (label in self.leaves and not own):
            return name(label)
        if label not in self._known:
            given = self._given(label, {*self.tensors, *self.constants})
            return name(self._same.get(label) or given or label)
        found = self._known[label]
        if found is None:
            raise Unsupported
        return use(label, found)

    def _given(self, label: str, names: Collection[str]) -> str | None:
        """The name that the exercise has for an attribute of a layer."""
        layer, attribute = label.partition("__")[0], label.rpartition("__")[2]
        suffix = _SUFFIX.search(layer)
        found = [attribute + suffix[0], attribute] if suffix is not None else [attribute]
        return next((each for each in found if layer in self.layers and each in names), None)

    def put(self, label: str, node: Node | None) -> None:
        """Have a name stand for a formula, or for what nothing is known of; beside the lines, also for another name."""
        another = node.value if node is not None and node.op == "name" else None
        if another is None and (node is None or label.count("__") == 1):
            computed = label.rpartition("__")[2]  # the layer computes it, so a number of that name is not meant
            another = self._given(label, {*self.tensors, *{*self.constants} - {computed}})
        if self._beside and another is not None:
            self._known.pop(label, None)
            self._same[label] = another
            return
        self._known[label] = node
        if not self._beside:
            self._versions.append((label, node))

    def bind(self, target: Target, value: ast.expr, how: str = "set", loop: Rounds | None = None) -> None:
        """What a statement does to a name.

        Args:
            target: the name, or places of it.
            value: the expression bound to it or written into it.
            how: the operation of `+=` and its like; `set` for `=`, `append` and `insert` for a list's next element.
            loop: the loop that it stands in.
        """
        label, at = (target.id, None) if isinstance(target, ast.Name) else (target.value.id, target.slice)  # type: ignore[attr-defined]
        if loop is not None and at is None and how not in ("append", "insert"):
            carried = how in ("add", "sub") or (how == "set" and label in names_read(value))
            if label in loop.anew or not carried:  # every round does the same
                loop.anew.add(label)
                loop = None
        before = self._target, self._keeps_own
        self._target, self._keeps_own = label, _column(at) is None and not (at is None and loop is None)
        try:
            node: Node | None = self._written(label, value, how, at, loop)
        except Unsupported:
            node = None
        finally:
            self._target, self._keeps_own = before
        self.put(label, node)

    def _written(self, label: str, value: ast.expr, how: str, at: ast.expr | None, loop: Rounds | None) -> Node:
        column = _column(at)
        new = self.read(value if at is None or column is None else _Whole(at).visit(copy.deepcopy(value)))
        if how == "set" and at is None and loop is None:
            return new
        before = self._known.get(label)
        if before is None or (at is not None and how not in ("set", "add", "sub")):
            raise Unsupported
        if column is not None:
            return _one_a_row(before, self.read(column), new, how)
        if at is None and loop is None:
            return Node(how, (before, new))
        rounds = loop or Rounds("", number(0), number(1))
        pattern, numbers = self.places(at) if at is not None else (None, [])
        if how in ("append", "insert"):
            place = rounds.place(first=how == "insert")
            before, how, pattern, numbers = Node("elements", (rounds.last - rounds.first,)), "set", (AT,), [place]
        loop_node = Loop(rounds.counter, label, how, pattern, rounds.backward)
        return Node("loop", (before, rounds.first, rounds.last, new, *numbers), loop_node)


def _one_a_row(before: Node, index: Node, value: Node, how: str) -> Node:
    """`x[range(n), index] = value`, or with `-=`: one element of each row, written as a mask."""
    mask = Node("mask", (before, index))
    if how != "set":
        return Node(how, (before, mask * value))
    if before.op == "zeros_like" or (before.op == "filled" and before.args[0].value == 0):
        return mask * value
    return before - mask * before + mask * value


def _column(at: ast.expr | None) -> ast.expr | None:
    """The index, where one element of each row is written to: `x[range(n), index]`, also as `x[i, index[i]]`."""
    match at:
        case ast.Tuple(elts=[ast.Call(func=ast.Name(id="range") | ast.Attribute(attr="arange")), index]):
            return index
        case ast.Tuple(elts=[ast.Name(id=row), ast.Subscript(value=index, slice=ast.Name(id=same))]) if row == same:
            return index
    return None


class _Whole(ast.NodeTransformer):
    """Reads what stands at the very places that are written to as the whole tensor: the mask takes them out of it."""

    def __init__(self, places: ast.expr) -> None:
        self.places = ast.dump(places)

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        return node.value if ast.dump(node.slice) == self.places else node
