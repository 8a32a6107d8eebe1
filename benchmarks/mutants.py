"""How well the marking finds a mistake: wrong submissions made mechanically from right ones.

`python -m benchmarks.mutants [--pairs N] [--variant NAME] [--sample N] [-v]`, or `tox -e mutants`

Each line of each solution is changed by each operator; then two lines at once, in every part. What should be wrong is
known without the grader: a tensor is wrong where its own lines, as they were before the change, give something else in
float64 from what the changed program has for the gradients above it. Where they give the same in every case, the mutant
is equivalent and counts as unchanged. In the training loop, where only the ends are checked, a tensor is wrong where
its value is not what it was before the change. Where a change makes a cell raise, what was computed up to there is
judged, and what comes after must be missing.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.operators import ACCEPTED, Mutant, applied, mutants, written
from benchmarks.running import EXERCISE, ROOT, Workbench, case_dtype, run
from grader.catalog import Case
from grader.compare import FLOAT64, conformed
from grader.records import Check, Verdict
from grader.syntax import statements

FINE = (Verdict.EXACT, Verdict.APPROXIMATE, Verdict.CARRIED)
STEP_PARTS = ("every-gradient", "cross-entropy", "batch-norm")


class Tried(NamedTuple):
    """One mutant with what was expected of it and what the grader said.

    `wrong` are the tensors that are wrong by their own lines, `absent` those that a case never came to; `checks` are
    the grader's verdicts, and `seconds` the CPU time that they took together.
    """

    variant: str
    part: str
    mutants: tuple[Mutant, ...]
    wrong: frozenset[str]
    absent: frozenset[str]
    checks: dict[str, Check]
    seconds: float

    @property
    def found(self) -> frozenset[str]:
        """The tensors that the grader calls wrong."""
        return frozenset(name for name, check in self.checks.items() if check.verdict is Verdict.WRONG)

    @property
    def exact(self) -> bool:
        """Whether exactly the mutated tensors are wrong and everything else is right or carried.

        What gets only NaN or zeros from above can't be judged, and is said to be so; what was not computed is missing.
        """
        excused = self.wrong | self.blank | self.missing
        fine = all(check.verdict in FINE for name, check in self.checks.items() if name not in excused)
        return fine and self.missing <= self.absent and self.wrong - self.blank - self.missing == self.found

    @property
    def missing(self) -> frozenset[str]:
        """The tensors that the grader calls missing."""
        return frozenset(name for name, check in self.checks.items() if check.verdict is Verdict.MISSING)

    @property
    def judged(self) -> list[str]:
        """The wrong tensors for which a diagnosis can be asked."""
        return sorted(self.wrong - self.blank - self.missing)

    @staticmethod
    def _blank(check: Check) -> bool:
        return check.verdict is Verdict.UNCHECKED and "further up" in (check.remark or "")

    @property
    def blank(self) -> frozenset[str]:
        """The tensors that get only NaN or zeros from above."""
        return frozenset(name for name, check in self.checks.items() if self._blank(check))


# --- the programs


def solution_cells() -> dict[str, str]:
    """grade_id → source of the solution's gradients cells."""
    notebook = json.loads((ROOT / "solutions" / f"{EXERCISE}.ipynb").read_text(encoding="utf-8"))
    return {
        cell["metadata"]["nbgrader"]["grade_id"]: "".join(cell["source"])
        for cell in notebook["cells"]
        if cell["metadata"]["grader"]["role"] == "gradients"
    }


@cache
def variants() -> dict[str, dict[str, str]]:
    """Every right solution: grade_id → source. Cells that a variant does not write are left out of it."""
    found = {"solution": solution_cells()}
    for path in sorted((ROOT / "benchmarks" / "variants").glob("*.txt")):
        pieces = path.read_text(encoding="utf-8").split("# %% ")[1:]
        found[path.stem] = {piece.split("\n", 1)[0].strip(): piece.split("\n", 1)[1] for piece in pieces}
    return found


def blocks(sources: Sequence[str], checked: Sequence[str]) -> dict[str, str]:
    """Checked name → the statements that compute it from the other checked names and the forward pass."""
    statements = [node for source in sources for node in _top(ast.parse(source))]
    found = {}
    for name in checked:
        wanted, before = {name}, set[str]()
        while wanted != before:
            before = set(wanted)
            for node in statements:
                if written(node) & wanted:
                    read = {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}
                    inner = {word for other in statements for word in written(other)} - set(checked)
                    wanted |= read & inner
        mine = [node for node in statements if written(node) & wanted]
        found[name] = "\n".join(ast.unparse(node) for node in mine)
    return found


def _top(tree: ast.Module) -> list[ast.stmt]:
    return [child for node in tree.body for child in (node.body if isinstance(node, ast.With) else [node])]


# --- what is expected


class Oracle:
    """Knows which tensors a change makes wrong, without the grader's own marking."""

    def __init__(self, bench: Workbench, part: str, sources: dict[str, str]) -> None:
        self.bench = bench
        self.part = part
        self.checked = bench.exercise.parts[part].gradients
        self.values = bench.exercise.parts[part].values
        cells = [sources[cell] for cell in bench.cells(part)]
        self.blocks = blocks(cells, self.checked) if part in STEP_PARTS else {}
        _, self.right, _ = bench.mark(part, sources)

    def wrong(self, namespaces: Mapping[str, dict[str, Any]], changed: frozenset[str]) -> frozenset[str]:
        """The tensors that are wrong by their own lines, from the namespaces that the cases end with.

        `changed` are the names whose lines were changed: what counts where the lines as they were can't be run.
        """
        cases = [case for case in self.bench.exercise.cases[1:] if case.only_after is None]
        return frozenset(name for case in cases for name in self._wrong_in(case, namespaces[case.id], changed))

    def _wrong_in(self, case: Case, namespace: dict[str, Any], changed: frozenset[str]) -> list[str]:
        found = []
        for name in self.checked:
            shape = self.bench.references[case.id][self.part].gradients[name[1:]].shape
            right = self.right[case.id][name]
            if name in namespace and _same(right, namespace[name], shape):
                continue  # right all the same: what it was computed from was spoiled only later
            before = right if not self.blocks else self._by_its_lines(name, case, namespace)
            if name not in namespace:
                continue
            if name in changed if before is None else not _same(before, namespace[name], shape):
                found.append(name)
        return found

    def _by_its_lines(self, name: str, case: Case, namespace: dict[str, Any]) -> Tensor | None:
        """The value that the unchanged lines give from the changed program's other gradients."""
        copied = {key: value.clone() if key.startswith("d") and isinstance(value, Tensor) else value
                  for key, value in namespace.items() if key != name}  # fmt: skip
        with case_dtype(case):
            try:
                run(self.blocks[name], copied)
            except (RuntimeError, IndexError, TypeError, NameError):  # it needs what the change took away
                return None
        result: Tensor = copied[name]
        return result


def _same(before: Tensor, after: Any, shape: torch.Size) -> bool:
    if not isinstance(after, Tensor):
        return False
    if before.shape != after.shape:
        first, second = conformed(before, shape), conformed(after, shape)
        if first is None or second is None:
            return False
        before, after = first, second
    return FLOAT64.holds(after.detach(), before.detach())


# --- trying


def singles(
    bench: Workbench, part: str, sources: dict[str, str], shapes: Mapping[str, tuple[int, ...]]
) -> list[Mutant]:
    """All mutants of a part with one changed line."""
    found: list[Mutant] = []
    for cell in bench.cells(part):
        source = sources[cell]
        lines = source.splitlines()
        begin = next((i for i, line in enumerate(lines, 1) if "BEGIN SOLUTION" in line), 0)
        end = next((i for i, line in enumerate(lines, 1) if "END SOLUTION" in line), len(lines) + 1)
        found += mutants(cell, source, shapes, lambda node, a=begin, b=end: a < node.lineno < b)  # type: ignore[misc]
    return found


def try_out(
    bench: Workbench, oracle: Oracle, variant: str, sources: dict[str, str], changed: tuple[Mutant, ...]
) -> Tried:
    """Run and mark one mutant."""
    marks, namespaces, errors = bench.mark(oracle.part, applied(sources, changed))
    started = time.process_time()
    checks = {name: marks.check(name) for name in oracle.checked}
    seconds = time.process_time() - started
    absent = {
        name for name in oracle.checked for found in namespaces.values() if not isinstance(found.get(name), Tensor)
    }
    edited = applied(sources, changed)
    for error in errors:  # what a statement that was not reached, or not finished, would have written
        source = edited.get(bench.exercise.cells[error.cell].grade_id, "")
        absent |= {name for left in statements(source) if left.last >= (error.line or 0) for name in left.names}
    names = frozenset(name for mutant in changed for name in mutant.names)
    wrong = oracle.wrong(namespaces, names)
    return Tried(variant, oracle.part, changed, wrong, frozenset(absent), checks, seconds)


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
        self.right = solution_cells()
        self.oracle = cache(self._oracle)

    def planned(self, only: str | None = None) -> Iterator[tuple[str, str, tuple[Mutant, ...]]]:
        """Variant, part and changes of each mutant."""
        for variant, cells in variants().items():
            for part in self.bench.parts:
                if only in (None, variant) and set(self.bench.cells(part)) <= set(cells):
                    found = singles(self.bench, part, self._sources(variant), self._shapes(variant, part))
                    chosen = [(mutant,) for mutant in found] + pairs(found, self.pair_count, seed=len(found))
                    yield from ((variant, part, changed) for changed in chosen)

    def run(self, variant: str, part: str, changed: tuple[Mutant, ...]) -> Tried:
        """Try one of them."""
        return try_out(self.bench, self.oracle(variant, part), variant, self._sources(variant), changed)

    def _oracle(self, variant: str, part: str) -> Oracle:
        return Oracle(self.bench, part, self._sources(variant))

    def _sources(self, variant: str) -> dict[str, str]:
        return {**self.right, **variants()[variant]}

    def _shapes(self, variant: str, part: str) -> dict[str, tuple[int, ...]]:
        oracle = self.oracle(variant, part)
        twin = oracle.right["twin"]
        wanted = [*self.bench.references["twin"][part].forward, *oracle.checked]
        return {name: tuple(twin[name].shape) for name in wanted if isinstance(twin.get(name), Tensor)}


# --- the figures


def accepted(tried: Tried, name: str) -> set[str]:
    """The codes that are true of a wrong tensor: those of the operators that changed its lines."""
    # The loop's tensors are computed from each other: a change in the line of one is one in the formulas of the rest.
    own = slips(tried, name) if tried.part in STEP_PARTS else list(tried.mutants)
    codes = set().union(*(ACCEPTED[mutant.operator] for mutant in own or tried.mutants))
    if tried.part not in STEP_PARTS:
        codes |= {"further-up"}  # said only of a tensor that follows from what is above it
    # A factor dropped in one term and put into another is just what missing brackets do.
    return codes | {"brackets"} if len(own) > 1 else codes


def slips(tried: Tried, name: str) -> list[Mutant]:
    """The changes in the lines of one tensor, those of the names in between included."""
    return [mutant for mutant in tried.mutants if name in mutant.names or not mutant.names & set(tried.checks)]


def misdiagnosed(tried: Tried) -> list[str]:
    """The wrong tensors whose diagnosis is not true of what was done to their lines."""
    found = {name: tried.checks[name].diagnosis for name in tried.judged}
    return [
        name
        for name, diagnosis in found.items()
        if diagnosis is not None and diagnosis.code not in accepted(tried, name)
    ]


def report(results: Sequence[Tried], verbose: bool) -> bool:
    """Print the figures; whether they are as they must be."""
    raised = [tried for tried in results if tried.missing]
    equivalent = [tried for tried in results if not tried.wrong and not tried.missing]
    rest = [tried for tried in results if tried.wrong or tried.missing]
    inexact = [tried for tried in results if not tried.exact]
    judged = [(tried, name) for tried in rest for name in tried.judged]
    silent = [(tried, name) for tried, name in judged if tried.checks[name].diagnosis is None]
    false = [(tried, name) for tried in rest for name in misdiagnosed(tried)]
    print(f"mutants                    {len(results):5d}")
    print(f"  with two changed lines   {len([tried for tried in results if len(tried.mutants) > 1]):5d}")
    print(f"  equivalent in float64    {len(equivalent):5d}")
    print(f"  judged                   {len(rest):5d}, {len(raised)} of which raise an error")
    print(f"exactly the mutated wrong  {_share(len(rest) - len([t for t in rest if not t.exact]), len(rest))}")
    print(f"wrong tensors              {len(judged):5d}")
    twice = [(tried, name) for tried, name in judged if len(slips(tried, name)) > 1]
    mute = [tried for tried, name in twice if tried.checks[name].diagnosis is None]
    once = len(judged) - len(twice)
    print(f"  with a diagnosis         {_share(once - len(silent) + len(mute), once)} of those with one slip in them")
    print(f"                           {_share(len(twice) - len(mute), len(twice))} of those with two at once")
    for part in dict.fromkeys(tried.part for tried in results):
        whole = [tried for tried, _ in judged if tried.part == part]
        print(f"    {part:22s} {_share(len(whole) - len([t for t, _ in silent if t.part == part]), len(whole))}")
    print(f"  with a wrong diagnosis   {_share(len(false), len(judged))}")
    seconds = sorted(tried.seconds for tried in rest)
    share = [seconds[int(part * (len(seconds) - 1))] for part in (0.5, 0.9, 0.99, 1.0)] if seconds else [0.0] * 4
    print("CPU of a mutant's verdicts  {:.3f} s median, {:.3f} s 90 %, {:.3f} s 99 %, {:.3f} s most".format(*share))
    for tried in inexact:
        print(f"not exact: {_describe(tried)}\n    expected {sorted(tried.wrong)}, found {sorted(tried.found)}")
    for tried, name in false:
        print(f"wrong diagnosis: {name} {tried.checks[name].diagnosis}: {_describe(tried)}")
    if verbose:
        for tried, name in silent:
            print(f"no diagnosis: {name}: {_describe(tried)}")
        for tried in equivalent:
            print(f"equivalent: {_describe(tried)}")
        for tried in raised:
            print(f"raises: {_describe(tried)}")
        for tried, name in judged:
            print(f"said: {name} {tried.checks[name].diagnosis}: {_describe(tried)}")
        codes = Counter(found.code for t, name in judged if (found := t.checks[name].diagnosis) is not None)
        print(", ".join(f"{code} {count}" for code, count in codes.most_common()))
    return not inexact and not false and len(silent) - len(mute) <= 0.1 * once


def _share(part: int, whole: int) -> str:
    return f"{part:5d} of {whole}, {100 * part / max(1, whole):.1f} %"


def _describe(tried: Tried) -> str:
    what = " & ".join(f"[{mutant.operator}] {mutant.line!r}" for mutant in tried.mutants)
    return f"{tried.variant}/{tried.part} {what}"


def main() -> int:
    """Run the benchmark; 0 when every figure is as it must be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=40, help="mutants with two changed lines, a solution and part")
    parser.add_argument("--variant", help="only this solution")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="list every sentence, and what has none, is equivalent or raises"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="only so many of them, drawn at random")
    options = parser.parse_args()
    started = time.monotonic()
    trials = Trials(Workbench(solution_cells()), options.pairs)
    planned = list(trials.planned(options.variant))
    if options.sample is not None:
        planned = random.Random(options.sample).sample(planned, min(options.sample, len(planned)))
    results = [trials.run(*mutant) for mutant in planned]
    good = report(results, options.verbose)
    print(f"{time.monotonic() - started:.0f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
