"""Changes within a student's formula that would make it another one, each with what it would mean.

A kind of change takes one part of a formula and yields what may stand in its place: the new part, the code, and the
sentence with the parts that it quotes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from grader.diagnosis.formula.expression import write
from grader.diagnosis.formula.node import Node, exchanged
from grader.diagnosis.slips.context import Context
from grader.diagnosis.words import quoted
from grader.records import Diagnosis

Change = tuple[Node, str, str, *tuple[Node, ...]]


Kind = Callable[[Node, Context], Iterator[Change]]


class Edit(NamedTuple):
    """A changed formula, and what is wrong with the unchanged one if this one is right.

    The sentence is written out only when it is said, for most never are.
    """

    formula: Node
    code: str
    text: str
    quotes: Sequence[Node]

    @property
    def diagnosis(self) -> Diagnosis:
        """The edit as it is reported."""
        message = self.text.format(*(quoted(write(node)) for node in self.quotes))
        return Diagnosis(code=self.code, message=message)


def edits(kinds: Sequence[Kind], context: Context) -> Iterator[Edit]:
    """The formulas that changes in one place make, kind by kind and part by part."""
    whole = context.parts
    for kind in kinds:
        for part in whole:
            for new, code, text, *quotes in kind(part, context):
                yield Edit(exchanged(context.formula, part, new), code, text, quotes)
