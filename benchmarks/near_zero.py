"""How many slips the replays find that no comparison of values shows, and whether they ever find one that isn't there.

`python -m benchmarks.near_zero [-v]`

Where the true gradient is zero, each line that computes it, or goes on from it, is changed by each operator of
`benchmarks.operators`, in every right solution; further slips, and further ways to be right, are written by hand. What
a change is worth is known without the grader: the changed lines and the original ones are run on random numbers in
place of all the gradients. Counted are the changes that no case shows.
"""

from __future__ import annotations

import argparse
import ast
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.operators import Mutant, written
from benchmarks.programs import blocks, solution_cells, variants
from benchmarks.trials import singles
from grader.notebook.code import Code, Statement
from grader.records import Check
from tests.workbench import Workbench, case_dtype, checks_of, run

FIRST = "every-gradient"
TRAINING = "training"

MAXES = "dlogit_maxes = -dnorm_logits.sum(1, keepdim=True)"
WINNERS = "+ F.one_hot(logits.max(1).indices, vocab_size) * dlogit_maxes"
LOGITS = f"dlogits = dnorm_logits {WINNERS}"

SLIPS: list[tuple[str, str]] = [
    (MAXES, "dlogit_maxes = (-dnorm_logits).mean(1, keepdim=True)"),
    (MAXES, "dlogit_maxes = -dnorm_logits.sum()"),
    (MAXES, "dlogit_maxes = -dnorm_logits.sum(1).sum() / n"),
    (MAXES,
     "dlogit_maxes = torch.zeros_like(logit_maxes)\nfor i in range(n):\n    dlogit_maxes[i] += dnorm_logits[i].sum()"),
    (MAXES,
     "def back(d):\n    return d.sum(1, keepdim=True)\ndlogit_maxes = back(dnorm_logits)"),
    (MAXES,
     "dlogit_maxes = -(norm_logits.exp() * dnorm_logits / counts).sum(1, keepdim=True) * 2"),
    (MAXES, "dlogit_maxes = -(dnorm_logits + dcounts * 0).sum(1)[:, None] / 27"),
    ("db1 = dhprebn.sum(0)", "db1 = -dhprebn.sum(0)"),
    ("db1 = dhprebn.sum(0)", "db1 = dhprebn.mean(0)"),
    ("db1 = dhprebn.sum(0)", "db1 = dhprebn.sum(0) / n"),
    ("db1 = dhprebn.sum(0)", "db1 = dhprebn.sum()"),
    ("db1 = dhprebn.sum(0)", "db1 = torch.zeros(n_hidden)\nfor row in dhprebn:\n    db1 = db1 - row"),
    ("db1 = dhprebn.sum(0)", "with torch.no_grad():\n    db1 = torch.einsum('ij->j', dhprebn) * 2"),
    (WINNERS, "- F.one_hot(logits.max(1).indices, vocab_size) * dlogit_maxes"),
    (WINNERS, "+ dlogit_maxes"),
    (WINNERS, "+ F.one_hot(Yb, vocab_size) * dlogit_maxes"),
    (WINNERS, "+ F.one_hot(logits.argmin(1), vocab_size) * dlogit_maxes"),
]  # fmt: skip
"""Pieces of the solution, and wrong ones in their place."""

RIGHT: list[tuple[str, str]] = [
    (MAXES, "dlogit_maxes = torch.zeros_like(logit_maxes)"),
    (MAXES, "dlogit_maxes = -(counts * dcounts).sum(1, keepdim=True)"),
    (MAXES, f"{MAXES}\nother = dnorm_logits\nother += dlogit_maxes"),
    (MAXES,
     "dlogit_maxes = dnorm_logits.sum(1, keepdim=True)\nflip = dlogit_maxes\nflip *= -1"),
    (MAXES,
     "dlogit_maxes = dnorm_logits.sum(1, keepdim=True).detach()\ntorch.neg(dlogit_maxes, out=dlogit_maxes)"),
    (MAXES,
     "def flip(tensor):\n    tensor.neg_()\ndlogit_maxes = dnorm_logits.sum(1, keepdim=True)\nflip(dlogit_maxes)"),
    (MAXES,
     "negative = -dnorm_logits\ndlogit_maxes = negative @ torch.ones(vocab_size, 1)"),
    (MAXES,
     "dlogit_maxes = -norm_logits.grad.sum(1, keepdim=True)"),
    (MAXES,
     "dlogit_maxes = torch.zeros_like(logit_maxes)\nfor i in range(n):\n    for j in range(vocab_size):\n"
     "        dlogit_maxes[i, 0] -= dnorm_logits[i, j]"),
    (MAXES,
     "memory = {}\ndef back(name):\n    if name not in memory:\n"
     "        memory[name] = -dnorm_logits.sum(1, keepdim=True)\n    return memory[name]\n"
     "dlogit_maxes = back('logit_maxes')"),
    (MAXES,
     "dlogit_maxes = -dnorm_logits.sum(1, keepdim=True)\nassert dlogit_maxes.abs().max() < 1e-6"),
    ("dnorm_logits = counts * dcounts\n",
     "def times(tensor, factor):\n    tensor.mul_(factor)\n"
     "dnorm_logits = dcounts.clone()\ntimes(dnorm_logits, counts)\n"),
    ("dnorm_logits = counts * dcounts\n",
     "dnorm_logits = torch.empty(counts.shape)\ntorch.mul(counts.detach(), dcounts.detach(), out=dnorm_logits)\n"),
    ("dnorm_logits = counts * dcounts\n", "dnorm_logits = dcounts.clone()\nother = dnorm_logits\nother *= counts\n"),
    (LOGITS,
     "dlogits = dnorm_logits - F.one_hot(logits.max(1).indices, vocab_size) * dnorm_logits.sum(1, keepdim=True)"),
    (LOGITS, "dlogits = dnorm_logits.clone()"),
    (LOGITS, "dlogits = dnorm_logits"),
    (LOGITS,
     "dlogits = dnorm_logits\ndlogits[range(n), logits.argmax(1)] += dlogit_maxes[:, 0]"),
    (LOGITS,
     "dlogits = dcounts * counts + F.one_hot(logits.max(1).indices, vocab_size) * dlogit_maxes"),
    (LOGITS,
     "dlogits = (F.softmax(logits, 1) - F.one_hot(Yb, vocab_size)) / n"),
    (LOGITS,
     "dlogits = (F.softmax(logits, 1) - F.one_hot(Yb, vocab_size)) / n + (logits == logit_maxes) * dlogit_maxes"),
    ("db1 = dhprebn.sum(0)", "db1 = dhprebn.sum(0, keepdim=True)"),
    ("db1 = dhprebn.sum(0)", "db1 = torch.zeros(n_hidden)"),
    ("db1 = dhprebn.sum(0)", "db1 = torch.ones(n) @ dhprebn"),
    ("db1 = dhprebn.sum(0)", "db1 = n * dhprebn.mean(0)"),
    ("db1 = dhprebn.sum(0)", "db1 = dbndiff.sum(0) + dbnmeani.view(-1)"),
    ("db1 = dhprebn.sum(0)", "db1 = torch.where(dhprebn.sum(0).abs() < 1e-9, torch.zeros(n_hidden), dhprebn.sum(0))"),
    ("db1 = dhprebn.sum(0)", "db1 = (dbndiff + dbnmeani / n).sum(0)"),
    ("dhprebn = dbndiff + dbnmeani / n", "dhprebn = dbndiff.clone()\nearly = dhprebn.sum(0)\ndhprebn += dbnmeani / n"),
    ("grad_hprebn", "dhprebn"),
    ("db1 = grad_hprebn.sum(0)", "db1 = (torch.ones(1, n) @ grad_hprebn).view(-1)"),
]  # fmt: skip
"""Pieces of the solution, and others in their place that make no mistake."""


class Tried(NamedTuple):
    """One changed program: what was changed, whether it is a slip, and what the grader says of the tensor."""

    where: str
    name: str
    what: str
    slips: bool
    check: Check

    @property
    def told(self) -> str:
        """What the grader makes of it."""
        if self.check.diagnosis is not None:
            return "found"
        return "said that it can't tell" if "proves little" in (self.check.remark or "") else "taken for right"


class Trial:
    """One part of one solution, and what can go wrong unseen in it."""

    def __init__(self, bench: Workbench, part: str, sources: dict[str, str], where: str) -> None:
        self.bench, self.part, self.sources, self.where = bench, part, sources, where
        self.names = sorted({f"d{edge.lower}" for edge in bench.tried[part]})
        _, namespaces, _ = bench.mark(part, sources)
        self.namespace = namespaces["twin"]

    def changed(self, cells: Mapping[str, str], what: str, *, names: frozenset[str] | None = None,
                slips: bool | None = None) -> Iterator[Tried]:  # fmt: skip
        """What the grader says of a changed program, where no value shows that it was changed."""
        edited = {**self.sources, **cells}
        marks, _, errors = self.bench.mark(self.part, edited)
        if errors or not all(marks.right_by_value(name) for name in marks.part.checks.names):
            if slips is not None:
                raise ValueError(f"values show what was written as unseen: {what!r} {errors}")
            return
        checks = checks_of(marks)
        for name in self.names if names is None else sorted(names & set(self.names)):
            truth = self._slips(name, edited) if slips is None else slips
            if truth is not None:
                yield Tried(f"{self.where}/{self.part}", name, what, truth, checks[name])

    def reads_unfinished(self, mutant: Mutant) -> bool:
        """Whether a changed line reads a gradient that is bound again further down: what it holds there, who knows."""
        lines = Code(mutant.source).statements
        changed = [line for line in lines if ast.unparse(ast.parse(mutant.line)) in _text(mutant.source, line)]
        read = {name for line in changed for name in line.reads - set(line.binds) if name.startswith("d")}
        return any(read & set(line.binds) and line.first > changed[0].first for line in lines)

    def _slips(self, name: str, edited: Mapping[str, str]) -> bool | None:
        """Whether the changed lines for a tensor make something else of random gradients; None where they can't."""
        before, after = (self._on_random(name, sources) for sources in (self.sources, edited))
        if before is None or after is None or before.numel() < after.numel():
            return None
        return not torch.allclose(before, after.expand_as(before))

    def _on_random(self, name: str, sources: Mapping[str, str]) -> Tensor | None:
        cells = [sources[cell] for cell in self.bench.cells(self.part)]
        given = {key: value for key, value in self.namespace.items() if key != name}
        generator = torch.Generator().manual_seed(1)
        lines = (
            _lines(cells) if self.part == TRAINING else blocks(cells, self.bench.exercise.parts[self.part].gradients)
        )
        upstream = [key for key in given if key.startswith(("d", "grad_")) and isinstance(given[key], Tensor)]
        for key in upstream:
            given[key] = torch.randn(given[key].shape, generator=generator, dtype=torch.float64)
        with case_dtype(self.bench.exercise.cases[1]):
            try:
                run(lines[name], given)
            except Exception:  # noqa: BLE001 - a mutant may raise anything
                return None
        found: Any = given.get(name)
        return found if isinstance(found, Tensor) else None


def _text(source: str, line: Statement) -> str:
    return "\n".join(source.splitlines()[line.first - 1 : line.last])


def _lines(cells: list[str]) -> dict[str, str]:
    """Name → the one statement of a loop that binds it."""
    found = [node for cell in cells for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Assign)]
    return {name: ast.unparse(node) for node in found for name in written(node)}


def mechanical(bench: Workbench, right: dict[str, str]) -> Iterator[Tried]:
    """Every operator on every line in question of every right solution."""
    for variant, cells in variants().items():
        for part in (FIRST, TRAINING):
            if not set(bench.cells(part)) <= set(cells):
                continue
            trial = Trial(bench, part, {**right, **cells}, variant)
            wanted = [*bench.references["twin"][part].forward, *trial.bench.exercise.parts[part].gradients]
            shapes = {name: tuple(trial.namespace[name].shape) for name in wanted
                      if isinstance(trial.namespace.get(name), Tensor)}  # fmt: skip
            yield from trial.changed({}, "as it is", slips=False)
            for mutant in singles(bench, part, trial.sources, shapes):
                if mutant.names & set(trial.names) and not trial.reads_unfinished(mutant):
                    what = f"[{mutant.operator}] {mutant.line}"
                    yield from trial.changed({mutant.cell: mutant.source}, what, names=mutant.names)


def by_hand(bench: Workbench, right: dict[str, str]) -> Iterator[Tried]:
    """The slips and the right ways that are written above."""
    trials = {part: Trial(bench, part, right, "by hand") for part in (FIRST, TRAINING)}
    for slips, pieces in ((True, SLIPS), (False, RIGHT)):
        for old, new in pieces:
            hits = {cell: source.replace(old, new) for cell, source in right.items() if old in source}
            if not hits:
                raise ValueError(f"the solution has no {old!r}")
            for part, trial in trials.items():
                cells = {cell: source for cell, source in hits.items() if cell in bench.cells(part)}
                names = frozenset(written(ast.parse(new))) if slips else None
                if slips and old == WINNERS:
                    names = frozenset({"dlogits"})
                if cells:
                    yield from trial.changed(cells, new, names=names, slips=slips)


def report(found: list[Tried], verbose: bool) -> bool:
    """Print the figures; whether nothing right was called a slip, and no slip was taken for right in silence."""
    for title, group in (("mechanical", False), ("by hand", True)):
        tried = [one for one in found if one.where.startswith("by hand") is group]
        slips = [one for one in tried if one.slips]
        print(f"{title}: slips that no value shows {len(slips):4d}")
        for told, count in Counter(one.told for one in slips).most_common():
            print(f"    {told:26s} {count:4d}")
        right = [one for one in tried if not one.slips]
        print(f"{title}: right lines               {len(right):4d}")
        for told, count in Counter(one.told for one in right).most_common():
            print(f"    {told:26s} {count:4d}")
    false = [one for one in found if not one.slips and one.told == "found"]
    missed = [one for one in found if one.slips and one.told == "taken for right"]
    for kind, group in (("false alarm", false), ("missed", missed)):
        for one in group:
            print(f"{kind}: {one.where} {one.name}: {one.what!r}\n    {one.check}")
    if verbose:
        for one in found:
            message = one.check.diagnosis.message if one.check.diagnosis else one.check.remark
            print(
                f"{'slip' if one.slips else 'right'}, {one.told}: {one.where} {one.name}: {one.what!r}\n    {message}"
            )
    return not false and not missed


def main() -> int:
    """Run the benchmark; 0 when nothing right was called a slip and no slip passed in silence."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-v", "--verbose", action="store_true", help="list every changed line and what was said of it")
    options = parser.parse_args()
    started = time.monotonic()
    right = solution_cells()
    bench = Workbench(right)
    good = report([*mechanical(bench, right), *by_hand(bench, right)], options.verbose)
    print(f"{time.monotonic() - started:.0f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
