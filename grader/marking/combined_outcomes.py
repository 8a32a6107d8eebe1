"""What all cases say together of one tensor: the worst that any of them says, and whether they suffice."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from grader.execution.execute import HiddenRun
from grader.marking.case_outcomes import PartCase
from grader.marking.float32_only import ShortFloats
from grader.marking.outcome import Outcome
from grader.marking.part_in_all_cases import PartCases
from grader.marking.unfinished_cells import Stops
from grader.records import VISIBLE


class CombinedOutcomes:
    """What the cases of a part say together.

    Args:
        part: the part in all cases.
        stops: where its cells stopped.
        short_floats: the tensors that only float32 can judge.
    """

    def __init__(self, part: PartCases, stops: Stops, short_floats: ShortFloats) -> None:
        self.part = part
        self.stops = stops
        self.short_floats = short_floats
        self._tells: dict[str, bool] = {}
        self._worst: dict[tuple[str, bool, frozenset[str], bool], tuple[Outcome, str]] = {}

    def speaking(self, name: str) -> list[PartCase]:
        """The hidden float64 cases that say something of a tensor, and in which it is there to be looked at."""
        said = {case_id: self._says(part_case, name) for case_id, part_case in self.part.hidden.items()}
        return [self.part.hidden[case_id] for case_id, outcome in said.items()
                if outcome not in (Outcome.SILENT, Outcome.ABSENT)]  # fmt: skip

    def worst(self, name: str) -> tuple[Outcome, str]:
        """The worst that any case says, and the case: the visible one where it says no better."""
        key = (name, name in self.short_floats.names, frozenset(self.part.float32), name in self.part.visible_alone)
        if key not in self._worst:
            self._worst[key] = self._worst_of(name)
        return self._worst[key]

    def _worst_of(self, name: str) -> tuple[Outcome, str]:
        deciding = self.part.float32 if name in self.short_floats.names else self.part.hidden
        said = {case_id: self._says(part_case, name) for case_id, part_case in deciding.items()}
        said = {case_id: outcome for case_id, outcome in said.items() if outcome is not Outcome.SILENT}
        visible = self.part.visible.outcomes[name]
        if not said:
            return visible, VISIBLE
        case_id = max(said, key=lambda key: said[key])
        worst = said[case_id]
        return worst, VISIBLE if visible >= worst and self.part.as_visible(case_id) else case_id

    def confirmed(self, name: str) -> bool:
        """Whether every case came to its end, and one with other numbers than the visible one's has judged the tensor.

        Pasted numbers, or code that stops wherever it is not watched, must never count as right.
        """
        others = self.part.exercise.cases[1:]
        if not others:
            return True
        deciding = self.part.hidden
        runs: Mapping[str, HiddenRun] = self.part.execution.hidden
        if name in self.short_floats.names:
            deciding, runs = self.part.float32, self.part.float32_runs
        if any(runs[case.id].failed for case in others if self.part.has_its_turn(case, deciding)):
            return False
        telling = [case for case in deciding.values() if self._other_numbers(case, deciding)] or deciding.values()
        return any(self._says(part_case, name) is not Outcome.SILENT for part_case in telling)

    def _other_numbers(self, part_case: PartCase, cases: Mapping[str, PartCase]) -> bool:
        """Whether a case's gradients in this part are others than those at the parameters that a student knows."""
        key = part_case.case.id
        if key not in self._tells:
            here = part_case.reference.gradients
            known = [case.reference.gradients for case_id, case in cases.items() if self.part.as_visible(case_id)]
            same = any(all(torch.equal(here[each], there[each]) for each in here) for there in known)
            self._tells[key] = not self.part.as_visible(key) and not same
        return self._tells[key]

    def _says(self, part_case: PartCase, name: str) -> Outcome:
        if name in self.part.visible_alone:
            return Outcome.SILENT
        cases = self.part.hidden if part_case.rounding is None else self.part.float32
        if not self.part.has_its_turn(part_case.case, cases):
            return Outcome.SILENT
        outcome = part_case.outcomes[name]
        if (
            outcome is Outcome.CARRIED
            and name in part_case.absent
            and self.part.visible.outcomes[name] is not Outcome.ABSENT
        ):
            return Outcome.SILENT  # its line is right, and is not reached here for what another line does here
        if outcome is Outcome.ABSENT and not self.stops.own_statement_failed(part_case, name):
            return Outcome.SILENT  # an earlier line stopped the cell before this tensor had its turn
        if outcome < Outcome.WRONG and self.stops.raises_only_here(part_case, name):
            return Outcome.WRONG  # what was written before the statement raised happens to be all of it
        return outcome

    def visible_only(self, name: str) -> bool:
        """Right wherever the sizes are the visible case's, and wrong only where they are others."""
        wrong = [found for found in self.part.hidden.values() if self._says(found, name) >= Outcome.WRONG]
        return bool(wrong) and all(self.part.other_size(part_case) for part_case in wrong)

    def right_in_float32(self, name: str) -> bool:
        """Whether the visible case shows nothing of a mistake that its twin in float64 has."""
        wrong = any(twin.outcomes[name] is Outcome.WRONG for twin in self.part.twins)
        return self.part.visible.outcomes[name] is Outcome.RIGHT and wrong

    def right_as_seen(self, name: str) -> bool:
        """Whether a value is right with the numbers that the student sees, rounding aside."""
        return any(part_case.outcomes[name] is Outcome.RIGHT for part_case in [self.part.visible, *self.part.twins])
