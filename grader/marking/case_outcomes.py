"""What each tensor of a part is worth in one case.

A `PartCase` looks at no other case: what all of them say together is for `combined_outcomes` to decide.
"""

from __future__ import annotations

from dataclasses import dataclass

from grader.marking.carried import charged, on_its_own, trained
from grader.marking.case_values import CaseValues
from grader.marking.line_alone import Alone
from grader.marking.outcome import Outcome
from grader.notebook.gradient_names import gradient_of


@dataclass(eq=False)
class PartCase(CaseValues):
    """One part in one case, judged.

    Attributes:
        alone: what the part's lines are worth on their own, where they were run detached.
        alike: where they were not, a case of the same sizes in which they were.
        absent: the gradients that are not there, whatever their lines are worth.
        outcomes: name → what the case says of it.
    """

    alone: Alone | None = None
    alike: PartCase | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.absent: set[str] = set()
        self.outcomes = self._outcomes()

    @property
    def all_right(self) -> bool:
        """Whether every tensor of the part is right here."""
        return all(outcome is Outcome.RIGHT for outcome in self.outcomes.values())

    def _outcomes(self) -> dict[str, Outcome]:
        found = {name: self._right_or_not(name) for name in (*self.gradients, *self.values)}
        wanting = [name for name in self.gradients if found[name] is not Outcome.RIGHT]
        self.absent = {name for name in wanting if found[name] is Outcome.ABSENT}
        for name in wanting:
            found[name] = on_its_own(self, self._alone_of(name), name, found[name])
        if Outcome.CARRIED in found.values():
            found.update(charged(self, self.alone or (self.alike.alone if self.alike else None), wanting, self.absent))
        for name in self.values:
            gradient = found.get(gradient_of(name), Outcome.RIGHT)
            if gradient is Outcome.ABSENT:
                found[name] = Outcome.ABSENT
            elif (
                found[name] is Outcome.WRONG or gradient_of(name) in self.absent
            ):  # which looks right where the true gradient is zero
                found[name] = trained(self, self._alone_of(name), name, gradient)
        return found

    def _alone_of(self, name: str) -> Alone | None:
        """The detached run that tells what a line is worth in this case.

        Where that is another case's, a value that is right there and not here speaks for itself.
        """
        if self.alone is None and self.alike is not None and self.alike.outcomes[name] is not Outcome.RIGHT:
            return self.alike.alone
        return self.alone

    def _right_or_not(self, name: str) -> Outcome:
        found = self.exported.get(name)
        if found is None or found.note.kind != "tensor" or found.note.lacks:
            return Outcome.ABSENT
        tensor, expected = self.usable(name), self.expected(name)
        if tensor is None or expected is None:
            return Outcome.WRONG
        return Outcome.RIGHT if self.holds(name, tensor, expected) else Outcome.WRONG
