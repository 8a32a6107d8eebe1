"""Code that insists on float32: which tensors of a part float64 can't judge."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from grader.marking.case_outcomes import PartCase
from grader.marking.outcome import Outcome
from grader.marking.part_in_all_cases import PartCases
from grader.marking.tolerance import Tolerance
from grader.marking.unfinished_cells import Stops
from grader.notebook.gradient_names import gradient_of, tensor_of

NEARLY = Tolerance(1e-4, 1e-5)
"""What float32 arithmetic inside a float64 case can still reach."""
_SHORT = {"torch.float32", "torch.float16", "torch.bfloat16"}
_SHORT_FLOAT = re.compile(r"(?<![A-Za-z])(float(16|32)?|half|bfloat16|Float(Tensor|Storage))(?![A-Za-z0-9])|\bnumpy\b")


@dataclass(eq=False)
class ShortFloats:
    """The tensors of a part that only float32 can judge."""

    part: PartCases
    stops: Stops

    @cached_property
    def names(self) -> frozenset[str]:
        """The tensors that float64 can't judge: their own code insists on it, or is given what float32 rounded."""
        names = [
            name
            for name in self.part.checks.names
            if self.part.visible.outcomes[name] is not Outcome.ABSENT and name not in self.part.visible_alone
        ]
        insisting = {name for name in names for twin in self.part.twins if self._insists(twin, name)}
        if not insisting and not any(self._starts_from_rounded(twin) for twin in self.part.twins):
            return frozenset()
        return frozenset(insisting | {name for name in names if self._rounded_above(name)})

    @staticmethod
    def _starts_from_rounded(twin: PartCase) -> bool:
        """Whether a gradient that the part takes over from another is right but for the rounding of float32."""
        for name in twin.upstream_names:
            tensor, expected = twin.usable(name), twin.expected(name)
            near = tensor is not None and expected is not None and NEARLY.holds(tensor, expected)
            if near and tensor is not None and expected is not None and not twin.holds(name, tensor, expected):
                return True
        return False

    def _insists(self, twin: PartCase, name: str) -> bool:
        """Whether a tensor is lost or half done in float64, or right there but for the rounding of float32."""
        outcome = twin.outcomes[name]
        if name in twin.absent or outcome is Outcome.ABSENT:
            return True
        if self.part.visible.outcomes[name] is Outcome.RIGHT and self.stops.raises_only_here(twin, name):
            return True
        return outcome is not Outcome.RIGHT and self._nearly_right(twin, name) and self._speaks_of_it(twin)

    def _rounded_above(self, name: str) -> bool:
        """Whether a tensor follows, in some case, from gradients that float32 rounded, and is right but for that."""
        carried = [
            case for case in self.part.hidden.values() if case.outcomes[name] in (Outcome.CARRIED, Outcome.BLANK)
        ]
        return bool(carried) and all(self._nearly_right(part_case, name) for part_case in carried)

    def _nearly_right(self, part_case: PartCase, name: str) -> bool:
        """Whether a tensor, right in the visible case, is as near to right in another as float32 comes."""
        tensor, expected = part_case.usable(name), part_case.expected(name)
        right = self.part.visible.outcomes[name] is Outcome.RIGHT
        return right and tensor is not None and expected is not None and NEARLY.holds(tensor, expected)

    def starts_at(self, name: str) -> bool:
        """Whether it is at this tensor that float32 comes in: what follows from it need not be told again."""
        above = [gradient_of(consumer) for consumer in self.part.visible.reference.consumers.get(tensor_of(name), [])]
        if any(other in self.part.checks.upstream for other in above):
            return False
        return name in self.names and not any(other in self.names for other in (*above, gradient_of(name)))

    def _speaks_of_it(self, twin: PartCase) -> bool:
        """Whether the part's code names a short floating type, or sent one where everything else is float64.

        Without that, a difference that float32 hides is a mistake that float32 hides.
        """
        sent = {found.note.dtype for found in twin.exported.values() if found.tensor is not None}
        return bool(sent & _SHORT) or any(_SHORT_FLOAT.search(cell.source) for cell in self.part.student_cells)
