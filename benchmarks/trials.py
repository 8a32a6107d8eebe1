"""Every mutant of every right program: what was expected of it, and what the grader said."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from torch import Tensor

from benchmarks.operators import ACCEPTED, Mutant, applied, mutants
from benchmarks.oracle import Oracle
from benchmarks.programs import solution_cells, variants
from grader.notebook.code import Code
from grader.records import Check, Diagnosis, Verdict
from tests.workbench import Workbench, checks_of, stacked

FINE = (Verdict.EXACT, Verdict.APPROXIMATE, Verdict.CARRIED)


class Tried(NamedTuple):
    """One mutant with what was expected of it and what the grader said.

    Attributes:
        exercise: its id.
        variant: which right program was changed.
        part: in which part.
        steps: whether the part computes every tensor once (`Workbench.by_steps`).
        mutants: the changed lines.
        wrong: the tensors that are wrong by their own lines.
        absent: those that a case never came to.
        difference: where every tensor of every hidden case is the right program's, by how much it is off at most.
        checks: the grader's verdicts.
        seconds: the CPU time that these took together.
    """

    exercise: str
    variant: str
    part: str
    steps: bool
    mutants: tuple[Mutant, ...]
    wrong: frozenset[str]
    absent: frozenset[str]
    difference: float | None
    near_zero: frozenset[str]
    checks: dict[str, Check]
    seconds: float

    @property
    def equivalent(self) -> bool:
        """Whether the change makes no difference, in float64 and in every hidden case."""
        return self.difference is not None

    @property
    def title(self) -> str:
        """The mutant in a line."""
        return _title(self.exercise, self.variant, self.part, self.mutants)

    @property
    def found(self) -> frozenset[str]:
        """The tensors that the grader calls wrong."""
        return frozenset(name for name, check in self.checks.items() if check.verdict is Verdict.WRONG)

    @property
    def exact(self) -> bool:
        """Whether exactly the mutated tensors are wrong and everything else is right or carried.

        What gets only NaN or zeros from above can't be judged, and is said to be so; what was not computed is missing.
        """
        if not (self.equivalent or self.wrong or self.missing or self.found):
            return False  # it makes a difference, and the oracle does not know where
        excused = self.charged | self.blank | self.missing | self.unseen
        fine = all(check.verdict in FINE for name, check in self.checks.items() if name not in excused)
        wrong = frozenset(self.judged)
        return fine and self.missing <= self.absent and wrong <= self.found <= wrong | self.unseen

    @property
    def mutated(self) -> frozenset[str]:
        """The names that the changed lines make."""
        return frozenset().union(*(mutant.names for mutant in self.mutants))

    @property
    def charged(self) -> frozenset[str]:
        """The wrong tensors but those whose lines are as they were and did not come to run."""
        return self.wrong - (self.absent - self.mutated)

    @property
    def unseen(self) -> frozenset[str]:
        """The tensors of changed lines that are wrong though no value shows it: from zeros or a wrong shape, say.

        Of a line that makes none of the checked tensors it may be any that did not come to run, and so of two lines in
        methods, one of which raises.
        """
        if self.equivalent:
            return self.mutated & self.near_zero
        in_methods = [mutant for mutant in self.mutants if not mutant.names]
        known = self.mutated <= self.checks.keys() and len(in_methods) < 2
        return self.mutated if known else self.mutated | self.absent

    @property
    def missing(self) -> frozenset[str]:
        """The tensors that the grader calls missing."""
        return frozenset(name for name, check in self.checks.items() if check.verdict is Verdict.MISSING)

    @property
    def judged(self) -> list[str]:
        """The wrong tensors for which a diagnosis can be asked."""
        return sorted(self.charged - self.blank - self.missing)

    @staticmethod
    def _blank(check: Check) -> bool:
        return check.verdict is Verdict.UNCHECKED and "further up" in (check.remark or "")

    @property
    def blank(self) -> frozenset[str]:
        """The tensors that get only NaN or zeros from above."""
        return frozenset(name for name, check in self.checks.items() if self._blank(check))


def singles(
    bench: Workbench, part: str, sources: dict[str, str], shapes: Mapping[str, tuple[int, ...]]
) -> list[Mutant]:
    """All mutants of a part with one changed line."""
    found: list[Mutant] = []
    for cell in bench.cells(part):
        source = sources[cell]
        inside = _solution_lines(source)
        found += mutants(cell, source, shapes, lambda node, inside=inside: node.lineno in inside)  # type: ignore[misc]
    return found


def _solution_lines(source: str) -> set[int]:
    """The lines of a cell that are the student's to write: those between the marks, all where there are none."""
    lines = source.splitlines()
    marks = [(i, "BEGIN" in line) for i, line in enumerate(lines, 1) if re.search(r"### (BEGIN|END) SOLUTION", line)]
    if not marks:
        return set(range(1, len(lines) + 1))
    pairs_of_marks = zip([i for i, begins in marks if begins], [i for i, begins in marks if not begins], strict=True)
    return {line for begin, end in pairs_of_marks for line in range(begin + 1, end)}


def _members(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) and value else [value]


def try_out(
    bench: Workbench, oracle: Oracle, variant: str, sources: dict[str, str], changed: tuple[Mutant, ...]
) -> Tried:
    """Run and mark one mutant."""
    edited = applied(sources, changed)
    marks, namespaces, errors = bench.mark(oracle.part, edited)
    started = time.process_time()
    found = checks_of(marks)
    checks = {name: found[name] for name in oracle.checked}
    seconds = time.process_time() - started
    lists = {f"d{name}" for name in bench.references["twin"][oracle.part].lists}
    absent = {
        name
        for name in oracle.checked
        for found in namespaces.values()
        if not all(
            isinstance(one, Tensor) for one in (found.get(name) if name in lists else [found.get(name)]) or [None]
        )
    }
    for error in errors:  # what a statement that was not reached, or not finished, would have written
        cell = bench.exercise.cells[error.cell]
        source = edited.get(cell.grade_id, cell.source)
        absent |= {name for left in Code(source).unfinished(error.line or 0) for name in left.binds}
    return Tried(
        exercise=bench.exercise.id,
        variant=variant,
        part=oracle.part,
        steps=oracle.by_steps,
        mutants=changed,
        wrong=oracle.wrong(namespaces, [mutant.names for mutant in changed]),
        absent=frozenset(absent),
        difference=oracle.difference(namespaces),
        near_zero=frozenset(f"d{edge.lower}" for edge in bench.tried[oracle.part]),
        checks=checks,
        seconds=seconds,
    )


def pairs(found: Sequence[Mutant], count: int, seed: int) -> list[tuple[Mutant, ...]]:
    """A sample of pairs of mutants of different statements."""
    chance = random.Random(seed)
    chosen: dict[tuple[str, ...], tuple[Mutant, ...]] = {}
    for _ in range(20 * count if len(found) > 1 else 0):
        first, second = chance.sample(found, 2)
        if (first.cell, first.place) != (second.cell, second.place) and len(chosen) < count:
            chosen.setdefault((first.source, second.source), (first, second))
    return list(chosen.values())


class Trials:
    """All mutants of all solutions.

    Args:
        bench: where they are run.
        pair_count: how many with two changed lines, for each solution and part.
    """

    def __init__(self, bench: Workbench, pair_count: int) -> None:
        self.bench = bench
        self.pair_count = pair_count
        self.right = solution_cells(bench.exercise.id)
        self.variants = variants(bench.exercise.id)
        self.oracle = cache(self._oracle)

    def planned(self, only: str | None = None) -> Iterator[tuple[str, str, tuple[Mutant, ...]]]:
        """Variant, part and changes of each mutant, in the parts that ask for gradients."""
        for variant, cells in self.variants.items():
            for part in self.bench.parts:
                if not self.bench.exercise.parts[part].gradients:
                    continue  # values alone, as an optimizer's: no chain rule says which of them only follows
                if only in (None, variant) and set(self.bench.cells(part)) <= set(cells):
                    found = singles(self.bench, part, self._sources(variant), self._shapes(variant, part))
                    chosen = [(mutant,) for mutant in found] + pairs(found, self.pair_count, seed=len(found))
                    yield from ((variant, part, changed) for changed in chosen)

    def run(self, variant: str, part: str, changed: tuple[Mutant, ...]) -> Tried:
        """Try one of them."""
        return try_out(self.bench, self.oracle(variant, part), variant, self._sources(variant), changed)

    def title(self, variant: str, part: str, changed: tuple[Mutant, ...]) -> str:
        """One of them in a line, before it is tried."""
        return _title(self.bench.exercise.id, variant, part, changed)

    def _oracle(self, variant: str, part: str) -> Oracle:
        return Oracle(self.bench, part, self._sources(variant))

    def _sources(self, variant: str) -> dict[str, str]:
        return {**self.right, **self.variants[variant]}

    def _shapes(self, variant: str, part: str) -> dict[str, tuple[int, ...]]:
        oracle = self.oracle(variant, part)
        twin = oracle.right["twin"]
        wanted = [*self.bench.references["twin"][part].forward, *oracle.checked]
        found = {name: stacked(twin.get(name)) for name in wanted}
        return {name: tuple(value.shape) for name, value in found.items() if isinstance(value, Tensor)}


def _title(exercise: str, variant: str, part: str, changed: Sequence[Mutant]) -> str:
    what = " & ".join(f"[{mutant.operator}] {mutant.line!r}" for mutant in changed)
    return f"{exercise[:2]}/{variant}/{part} {what}"


# --- what would be a true diagnosis


def accepted(tried: Tried, name: str) -> set[str]:
    """The codes that are true of a wrong tensor: those of the operators that changed its lines."""
    # The loop's tensors are computed from each other: a change in the line of one is one in the formulas of the rest.
    own = slips(tried, name) if tried.steps else list(tried.mutants)
    codes = set().union(*(ACCEPTED[mutant.operator] for mutant in own or tried.mutants))
    if not tried.steps:
        codes |= {"further-up"}  # said only of a tensor that follows from what is above it
    # A factor lost in one term and put into another is just what missing brackets do.
    factors = all(mutant.operator in ("factor", "dropped factor") for mutant in own)
    return codes | {"brackets"} if len(own) > 1 and factors else codes


def slips(tried: Tried, name: str) -> list[Mutant]:
    """The changes in the lines of one tensor, those of the names in between included."""
    return [mutant for mutant in tried.mutants if name in mutant.names or not mutant.names & set(tried.checks)]


def misdiagnosed(tried: Tried) -> list[str]:
    """The wrong tensors whose diagnosis is not true of what was done to their lines."""
    found = {name: tried.checks[name].diagnosis for name in tried.judged}
    return [name for name, diagnosis in found.items() if diagnosis is not None and not _true(tried, name, diagnosis)]


def _true(tried: Tried, name: str, diagnosis: Diagnosis) -> bool:
    if diagnosis.code == "wrong-intermediate":  # true of whatever was done to the line that it names
        changed = {word for mutant in slips(tried, name) for word in mutant.names}
        return any(f"`{word}`: look at" in diagnosis.message for word in changed)
    return diagnosis.code in accepted(tried, name)
