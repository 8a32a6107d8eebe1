"""What a part's lines are worth on their own: what each made of random numbers in a detached run, judged."""

from __future__ import annotations

from torch import Tensor

from grader.execution.tensors import StudentTensor
from grader.marking.detached_values import DetachedValues
from grader.marking.tolerance import FLOAT64, conformed
from grader.notebook.gradient_names import gradient_of, tensor_of

NEAR = 1e-4
"""How near, relative to the largest number, is the same for float32: what a slip leaves is seldom as near."""
STILL = 1e-9
"""What has moved by no more than this share has not moved."""
_SHORT = {"torch.float32", "torch.float16", "torch.bfloat16"}


class Alone(DetachedValues):
    """A part's lines in one case, each judged on its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._said: dict[str, bool | None] = {}

    def says(self, name: str) -> bool | None:
        """Whether the line for a gradient `dX` is right on its own; None where that could not be tried."""
        if name not in self._said:
            self._said[name] = None  # of two lines that read each other's, neither vouches for the other
            self._said[name] = self._judge(name)
        return self._said[name]

    def tried(self, name: str) -> bool:
        """Whether the line for a gradient made a tensor in the detached run, or the update of a parameter was tried."""
        if name in self.values:
            return self.trained(name) is not None
        sent = self.run.recorded.get(name)
        return sent is not None and sent.tensor is not None

    def wrong_elements(self, name: str) -> list[int]:
        """Of a list, the places at which a line made something else of the random numbers than the chain rule does."""
        found, value = self.run.recorded.get(name), self.value(name)
        expected = self.chained(self.handed).get(tensor_of(name))
        if found is None or value is None or expected is None or name in self.run.changed:
            return []
        pairs = zip(value, expected, strict=True)
        return [place for place, (mine, right) in enumerate(pairs) if not _near(found, mine, right)]

    def follows_all(self, name: str) -> bool:
        """Whether a line made of the random numbers just what the chain rule gives from all gradients above it."""
        found, value = self.run.recorded.get(name), self.value(name)
        if found is None or value is None:
            return False
        return _near(found, value, self.chained(self.handed)[tensor_of(name)])

    def slips_on_the_way(self) -> list[str]:
        """The wrong gradients that no check of the part asks for, in the order of the forward pass.

        Those are the ones that it computes on the way, and those that it starts from and has changed.
        """

        def slips(name: str) -> bool:
            wrong = name in self.run.recorded and self.says(name) is False
            return wrong or (name in self.upstream and name in self.run.changed)

        unasked = [gradient_of(name) for name in self.reference.tensors if gradient_of(name) not in self.gradients]
        return [name for name in unasked if slips(name)]

    def gaps_on_the_way(self) -> list[str]:
        """The gradients that no check of the part asks for and that its lines want, though nothing has bound them.

        In the order of the forward pass.
        """
        unasked = self.gaps - {*self.gradients, *self.upstream}
        return [gradient_of(name) for name in self.reference.tensors if gradient_of(name) in unasked]

    def follows(self, name: str, value: Tensor) -> bool | None:
        """Whether a gradient moves with the random numbers above it; None where it has none above, or nobody can tell.

        Args:
            name: the gradient.
            value: what the same lines made of the student's own gradients, in the tensor's shape.
        """
        recorded = self.value(name)
        if recorded is None or not self.sound or name in self.run.changed:
            return None
        if not _almost(recorded, value.to(recorded.dtype), STILL):
            return True
        above = {other for other in self.directly_above(name) if tensor_of(other) in self.handed}
        if above & self.run.changed.keys():
            return None  # they were not random numbers throughout
        if not above - self.group(name):
            return None  # nothing is, or what one statement has computed with it
        tensor = tensor_of(name)
        return None if _almost(self.chained(self.handed)[tensor], self.reference.gradients[tensor]) else False

    def trains_on(self, name: str, value: Tensor) -> bool | None:
        """Whether a parameter's update takes up its gradient; None where that can't be told.

        Args:
            name: the parameter.
            value: what the same lines trained it to from the student's own gradients.
        """
        trained = self.trained(name)
        found = self.run.after.get(name)
        if trained is not False or found is None or found.tensor is None:
            return trained or None
        end = conformed(found.tensor, value.shape)
        still = end is not None and _almost(end.to(value.dtype), value, STILL)
        return False if still and not _almost(value, self.reference.initial[name].to(value.dtype), STILL) else None

    def rebound(self, name: str) -> bool:
        """Whether a gradient's name was given to something else when its line was done with."""
        return name in self.lines.later or name in self.run.reshaped

    def skipped(self, name: str) -> str:
        """What the line for a gradient doesn't take up, under the student's name: the gradients directly above it."""
        above = [other for other in self.directly_above(name) if tensor_of(other) in self.handed]
        return " and ".join(f"`{self.variable(other)}`" for other in above) or "the gradients above it"

    def trained(self, name: str) -> bool | None:
        """Whether a parameter went one step along the gradient that the update was given; None where none was tried."""
        found = self.run.after.get(name)
        rate = self.reference.step_size(name)
        if found is None or found.tensor is None or not self.sound or rate is None:
            return None
        start = self.reference.initial[name]
        value = conformed(found.tensor, start.shape)
        steps = [self.numbers(name)]
        recorded = self.value(gradient_of(name))
        if recorded is not None and float(recorded.abs().max()) > NEAR:
            steps.append(recorded)
        return value is not None and any(_near(found, value, start - rate * step) for step in steps)

    def starts_from_differing(self, name: str) -> bool:
        """Whether a line starts from a tensor of the forward pass that isn't what it was."""
        return bool(self.differing & self.lines.starts.get(name, self.differing))

    # --- right or not

    def _judge(self, name: str) -> bool | None:
        if name in self.run.changed:
            return None  # a line further down has written to it
        found = self.run.recorded.get(name)
        if found is None:
            return self._fits_otherwise(name) or None
        if self._fits(name, found) or self._attempted_again(name) or self._fits_otherwise(name):
            return None if any(map(self._attempted_again, self.directly_above(name))) else True
        value = self.value(name)
        if value is None:
            return False
        if self.starts_from_differing(name) or self._spoiled(name):
            return None
        if any(_almost(value, each) for each in self.answers(name)):
            return None  # rounded to float32 on the way, it may be, or a slip that is as small
        return False

    def _fits(self, name: str, found: StudentTensor) -> bool:
        """Whether what a line made of the random numbers is what it should have made."""
        value = self.conformed(name, found)
        if value is None:
            return False
        if name in self.upstream and _near(found, value, self.numbers(tensor_of(name))):
            return True  # bound again, and not changed
        return any(_near(found, value, each) for each in self.answers(name))

    def _fits_otherwise(self, name: str) -> bool:
        """Whether a line is right where names keep what they stood for.

        One that a line then turns into another shape must have been so for others that are right with it.
        """
        other = self.run.otherwise
        if name in self.run.reshaped:
            below = [key for key in other if name in self.lines.reads.get(key, ()) and key != name]
            if not below or not all(self._fits(key, other[key]) for key in below):
                return False
        return name in other and self._fits(name, other[name])

    def _attempted_again(self, name: str) -> bool:
        """Whether it is a second attempt that is right, below lines that start from the first."""
        again, first = self.run.again.get(name), self.run.recorded.get(name)
        if again is None or first is None:
            return False
        return self._fits(name, again) and not self._fits(name, first)

    def _spoiled(self, name: str) -> bool:
        """Whether what the line for `name` starts from was no longer the numbers that it should have been."""
        return any(other in self.run.changed for other in self.directly_above(name)) or self._borrows(name)

    def _borrows(self, name: str) -> bool:
        """Whether a line reads a parameter's gradient, for a sum that is in it, which isn't right itself.

        The chain rule gets to no gradient from a parameter's, so no numbers could take its place.
        """
        read = self.lines.reads.get(name, frozenset()) - {name}
        leaves = [
            other for other in read if other in self.gradients and tensor_of(other) not in self.reference.computed
        ]
        return any(self.says(other) is not True for other in leaves)


def _near(found: StudentTensor, value: Tensor, expected: Tensor) -> bool:
    """Whether a value is the expected one, to as many digits as it was sent with."""
    value = value.to(expected.dtype)
    return _almost(value, expected) if found.note.dtype in _SHORT else FLOAT64.holds(value, expected)


def _almost(value: Tensor, expected: Tensor, near: float = NEAR) -> bool:
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    return value.shape == expected.shape and float((value - expected).abs().max()) <= near * largest
