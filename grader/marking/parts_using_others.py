"""Parts in which students write nothing: what is wrong there was written in the parts that they use, and charged there.

An expression that a student's engine differentiates is such a part. Its gradients come from no line of its own that
could be tried on its own. But autograd's graph says which operations lie between the expression's result and a tensor.
If the checks of one of these are wrong in its own part, no more is to be said of the expression: it is carried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import msgspec

from grader.course.exercise import Exercise
from grader.course.graph import Operation
from grader.course.part_reference import PartReference
from grader.notebook.gradient_names import tensor_of
from grader.records import Check, Verdict
from grader.wording import listed

MAX_NAMED = 4
"""So many pieces of code are named in a sentence."""


class PartUsingOthers:
    """A part that uses others.

    Args:
        part_id: the part.
        exercise: its exercise.
        references: part → autograd's side in one case; the graphs are the same in all.
    """

    def __init__(self, part_id: str, exercise: Exercise, references: Mapping[str, PartReference]) -> None:
        self._exercise = exercise
        self._checks = exercise.parts[part_id]
        self._uses = exercise.spec.part(part_id).uses
        self._reference = references[part_id]
        self._references = references

    def settled(self, check: Check, checks: Sequence[Check], written_in: Callable[[Check], str]) -> Check:
        """A check that isn't right, with what is to blame for it; carried where what it is made with is mostly right.

        Mostly right: at least two thirds of the operations, and of what hands gradients on, of which no part may be
        missing altogether. So work that isn't there earns nothing here.

        Args:
            check: the verdict so far.
            checks: those of the parts that it uses.
            written_in: where the code behind a check stands, as a student would call it (`Tanh.backward`).
        """
        if not self._uses or check.verdict not in (Verdict.WRONG, Verdict.MISSING):
            return check
        operations, rest = self._behind(self._through(check), checks)
        blamed = [each for each in (*operations, *rest) if not _holds(each)]
        if not blamed:
            return check
        code: dict[str, list[str]] = {}
        for each in blamed:
            code.setdefault(written_in(each), []).append(f"`{each.name}`")
        names = [
            where if those == [where] else f"{where} ({listed(those, MAX_NAMED)})" for where, those in code.items()
        ]
        remark = f"Needed here and not right yet: {listed(names, MAX_NAMED)}."
        if not (_mostly_right(operations) and _mostly_right(rest) and _all_begun(rest)):
            return msgspec.structs.replace(check, remark=remark)
        points = check.max_points * self._exercise.spec.carried
        return msgspec.structs.replace(check, verdict=Verdict.CARRIED, points=points, remark=remark)

    def _behind(self, through: frozenset[Operation], checks: Sequence[Check]) -> tuple[list[Check], list[Check]]:
        """The checks of the operations that a gradient goes through, and of what isn't any operation's.

        A part is about operations where each of its checks tries a single one, and some are used here.
        """
        operations: list[Check] = []
        rest: list[Check] = []
        for part in self._uses:
            found = [check for check in checks if check.part == part]
            known = {check.name: self._tried_by[part].get(check.name) for check in found}
            if None in known.values() or not self._anywhere.intersection(known.values()):
                rest += found
            else:
                operations += [check for check in found if known[check.name] in through]
        return operations, rest

    def _through(self, check: Check) -> frozenset[Operation]:
        """The operations that a gradient goes through; of one that isn't there, all behind the same results.

        The operation that has stopped an expression may be on another way than this gradient's.
        """
        results = [result for result, found in self._between[check.name].items() if found]
        names = self._between if check.verdict is Verdict.MISSING else [check.name]
        return frozenset().union(*(self._between[name][result] for name in names for result in results))

    @cached_property
    def _between(self) -> dict[str, dict[str, frozenset[Operation]]]:
        """Gradient → result from which the part starts → the operations between that and the gradient's tensor."""
        results = [tensor_of(name) for name in self._checks.upstream]
        return {
            name: {result: self._reference.operations(tensor_of(name), [result]) for result in results}
            for name in self._checks.gradients
        }

    @cached_property
    def _anywhere(self) -> frozenset[Operation]:
        return frozenset().union(*(found for of_one in self._between.values() for found in of_one.values()))

    @cached_property
    def _tried_by(self) -> dict[str, dict[str, Operation]]:
        """Part → gradient → the operation that its check tries, where it is a single one."""
        found: dict[str, dict[str, Operation]] = {}
        for part in self._uses:
            reference = self._references[part]
            for name in self._exercise.parts[part].gradients:
                tensor = tensor_of(name)
                between = reference.operations(tensor, reference.consumers[tensor])
                if len(between) == 1:
                    found.setdefault(part, {})[name] = next(iter(between))
            found.setdefault(part, {})
        return found


def _holds(check: Check) -> bool:
    return check.verdict.is_right or check.verdict is Verdict.CARRIED


def _mostly_right(checks: Sequence[Check]) -> bool:
    return 3 * sum(map(_holds, checks)) >= 2 * len(checks)


def _all_begun(checks: Sequence[Check]) -> bool:
    """Whether none of the checks' parts is missing altogether."""
    begun = {check.part for check in checks if check.verdict is not Verdict.MISSING}
    return all(check.part in begun for check in checks)
