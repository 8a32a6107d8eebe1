"""What a change of a right program makes wrong, found without the grader.

A tensor is wrong where its own lines, as they were before the change, give something else in float64 from what the
changed program has for the gradients above it. So the right program is run statement by statement, and what the changed
one has for a gradient takes its place as soon as it is complete. In a loop, where only the ends are checked, a tensor
is wrong where its value is not what it was before the change; of those that only follow from a changed gradient on the
way, the first.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor

from benchmarks.operators import written
from benchmarks.programs import straight
from grader.course.catalog import Case
from grader.marking.tolerance import FLOAT64, conformed
from grader.notebook.syntax import elements_bound, names_read
from grader.records import VISIBLE
from tests.workbench import Workbench, case_dtype, run, stacked


class Oracle:
    """Knows which tensors a change makes wrong.

    Args:
        bench: where programs are run.
        part: the part that is changed.
        sources: the right program, grade_id → source.
    """

    def __init__(self, bench: Workbench, part: str, sources: dict[str, str]) -> None:
        self.bench = bench
        self.part = part
        self.checked = bench.exercise.parts[part].gradients
        self.lists = [f"d{name}" for name in bench.references[VISIBLE][part].lists]
        self.by_steps = bench.by_steps(part)
        cells = bench.own_cells(part)
        # A statement at a time; a cell of ours is taken apart, too: it is where methods of the student's are called.
        self.lines = [node for cell in cells for node in straight(sources.get(cell.grade_id, cell.source))]
        self.last = {name: place for place, node in enumerate(self.lines) for name in written(node)}
        _, right, _ = bench.mark(part, sources)
        self.right = {case: self._stacked(namespace) for case, namespace in right.items()}

    def _stacked(self, namespace: Mapping[str, Any]) -> dict[str, Any]:
        return {**namespace, **{name: stacked(namespace[name]) for name in self.checked if name in namespace}}

    def wrong(self, namespaces: Mapping[str, dict[str, Any]], changed: Sequence[frozenset[str]]) -> frozenset[str]:
        """The tensors that are wrong by their own lines, from the namespaces that the cases end with.

        `changed` are the names that each of the changed lines binds: what counts where the lines as they were can't be
        run, and in a loop.
        """
        cases = [case for case in self.bench.exercise.cases if case.id != VISIBLE and case.only_after is None]
        return frozenset(name for case in cases for name in self._wrong_in(case, namespaces[case.id], changed))

    def _wrong_in(self, case: Case, namespace: dict[str, Any], changed: Sequence[frozenset[str]]) -> list[str]:
        found = []
        namespace = self._stacked(namespace)
        right: Mapping[str, Any] = self.right[case.id]
        suspects = [
            name for name in self.checked if name in namespace and not self._same(case, name, right[name], namespace)
        ]  # what is right all the same was only spoiled later in what it was computed from
        if not self.by_steps:
            charged = [name for names in changed for name in self._charged(case, namespace, names, suspects)]
            # What a method's line makes, and what methods make of a name, is not written in the part's lines.
            return charged if charged and all(changed) else suspects
        before = self._by_their_lines(case, namespace) if suspects else right
        for name in suspects:
            given = before.get(name)
            named = any(name in names for names in changed)
            if named if given is None else not self._same(case, name, given, namespace):
                found.append(name)
        return found

    def _charged(
        self, case: Case, namespace: dict[str, Any], names: frozenset[str], suspects: Sequence[str]
    ) -> list[str]:
        """Which of the tensors that are no longer what they were a changed line in a loop is to be charged for.

        Itself, where it makes one of them. Where it makes a gradient on the way under the exercise's own name, the rest
        can be seen to follow, and the first of them alone is charged for. What it makes under another name, or in
        another shape, goes on into what is made from that.
        """
        charged = [name for name in suspects if name in names]
        seen = {name for name in names - set(suspects) if self._is_on_the_way(case, namespace, name)}
        hidden = set(names) - seen - set(suspects)  # a checked gradient that others read is charged itself
        hidden |= self._called_with(names)
        for node in self._after(names):
            if names_read(node) & hidden:
                charged += [name for name in suspects if name in written(node)]
                made = written(node) - set(suspects)
                seen |= {name for name in made if self._is_on_the_way(case, namespace, name)}
                hidden |= made - seen
        for name in seen:
            follow = {name}
            for node in self._after(frozenset([name])):
                follow |= written(node) if names_read(node) & follow else set()
            charged += [other for other in suspects if other in follow][:1]
        return charged

    def _called_with(self, names: frozenset[str]) -> set[str]:
        """The objects of the program's own that the lines for some names call: what they keep is changed, too."""
        read = {name for line in self._simple() if written(line) & names for name in names_read(line)}
        found = next(iter(self.right.values()))
        others = Tensor | ModuleType | FunctionType | type
        return {name for name in read if hasattr(found.get(name), "__dict__") and not isinstance(found[name], others)}

    def _is_on_the_way(self, case: Case, namespace: dict[str, Any], name: str) -> bool:
        gradients = self.bench.references[case.id][self.part].gradients
        value = stacked(namespace.get(name))
        if not isinstance(value, Tensor):
            return False
        if name.startswith("grad_") and name[5:] in gradients:
            return value.shape == gradients[name[5:]].shape
        expected = gradients.get(name[1:]) if name[0] == "d" else None
        return expected is not None and conformed(value, expected.shape) is not None

    def _after(self, names: frozenset[str]) -> list[ast.stmt]:
        """The simple statements that follow those of some names, one round of a loop being all there is."""
        simple = self._simple()
        places = [place for place, node in enumerate(simple) if written(node) & names]
        return simple[places[0] + 1 :] if places else []

    def _simple(self) -> list[ast.stmt]:
        nodes = [node for line in self.lines for node in ast.walk(line) if isinstance(node, ast.stmt)]
        return [node for node in nodes if not hasattr(node, "body")]

    def _by_their_lines(self, case: Case, namespace: dict[str, Any]) -> dict[str, Tensor]:
        """The values that the unchanged lines give from the changed program's other gradients."""
        found: dict[str, Tensor] = {}
        fresh = self.bench.begun(self.part, case)
        with case_dtype(case):
            for place, node in enumerate(self.lines):
                rows = _Rows(namespace)
                fresh[THEIRS] = rows.replace
                try:
                    run(ast.unparse(_with_rows(node, self.lists)), fresh)
                except Exception:  # noqa: BLE001 - it needs what the change took away
                    for name in written(node) & set(self.checked):
                        fresh.pop(name, None)
                complete = [name for name in written(node) & set(self.checked) if self.last[name] == place]
                for name in complete:
                    own = rows.own(name, stacked(fresh.get(name)))
                    if isinstance(own, Tensor):
                        found[name] = own.clone()
                for name in complete:
                    fresh.pop(name, None)
                    if isinstance(namespace.get(name), Tensor):
                        fresh[name] = namespace[name].clone()
        return found

    def difference(self, namespaces: Mapping[str, dict[str, Any]]) -> float | None:
        """By how much the tensors of a changed program are off at most; None where one is not the same to tolerance."""
        names = self.bench.exercise.parts[self.part].names
        largest = 0.0
        for case in self.bench.exercise.cases:
            if case.id == VISIBLE:
                continue
            right, found = self.right[case.id], self._stacked(namespaces[case.id])
            if not all(name in found and self._same(case, name, right[name], found) for name in names):
                return None
            largest = max(largest, *(float((found[name] - right[name]).detach().abs().max()) for name in names))
        return largest

    def _same(self, case: Case, name: str, before: Any, namespace: Mapping[str, Any]) -> bool:
        after = namespace[name]
        if not isinstance(after, Tensor) or not isinstance(before, Tensor):
            return False
        if before.shape != after.shape:
            expected = self.bench.references[case.id][self.part].gradients.get(name[1:])
            if expected is None:
                return False
            shape = expected.shape
            first, second = conformed(before, shape), conformed(after, shape)
            if first is None or second is None:
                return False
            before, after = first, second
        after, before = after.detach(), before.detach()
        finite = torch.isfinite(before)
        if not torch.equal(finite, torch.isfinite(after)):
            return False  # what isn't finite follows from what isn't
        return FLOAT64.holds(torch.where(finite, after, 0.0), torch.where(finite, before, 0.0))


# --- lists, of which a loop fills in an element in each round

THEIRS = "_theirs"


class _Rows:
    """What the unchanged lines of a loop give for the elements of lists, and the changed program's in their place."""

    def __init__(self, changed: Mapping[str, Any]) -> None:
        self.changed = changed
        self.found: dict[str, dict[int, Tensor]] = {}

    def replace(self, name: str, place: int, value: Any) -> Any:
        """The changed program's element, where it has one."""
        if isinstance(value, Tensor):
            self.found.setdefault(name, {})[place] = value.clone()
        theirs = self.changed.get(name)
        there = theirs[place] if isinstance(theirs, Tensor | list) else None
        return there.clone() if isinstance(there, Tensor) else there if isinstance(there, int | float) else value

    def own(self, name: str, value: Any) -> Any:
        """The list as the unchanged lines have it."""
        rows = self.found.get(name, {})
        if not rows or value is None:
            return value
        return stacked([rows.get(place, value[place]) for place in range(len(value))])


def _with_rows(node: ast.stmt, lists: Sequence[str]) -> ast.stmt:
    """A loop in which an element of a checked list is exchanged as soon as a round is done with it."""
    if not isinstance(node, ast.For):
        return node
    last = {
        ast.unparse(element): (place, element)
        for place, line in enumerate(node.body)
        for child in ast.walk(line)
        for element in elements_bound(child)
        if isinstance(element.value, ast.Name) and element.value.id in lists
    }
    body = []
    for place, line in enumerate(node.body):
        body.append(line)
        for text, (its, element) in last.items():
            if its == place:
                assert isinstance(element.value, ast.Name)
                call = f"{THEIRS}({element.value.id!r}, {ast.unparse(element.slice)}, {text})"
                body += ast.parse(f"{text} = {call}").body
    return ast.For(node.target, node.iter, body, node.orelse, lineno=1)
