"""How well the marking finds a mistake: wrong submissions made mechanically from right ones.

`python -m benchmarks.mutants [--exercise ID] [--pairs N] [--variant NAME] [--only REGEXP] [--sample N] [-v]`,
or `tox -e mutants`

Each line of each solution is changed by each operator; then two lines at once, in every part. What should be wrong is
known without the grader (`oracle.py`). Where a change makes no difference in float64, in any case, the mutant is
equivalent, and listed with the largest difference. Where a change makes a cell raise, what was computed up to there is
judged, and what comes after must be missing.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence

from benchmarks.programs import solution_cells
from benchmarks.trials import Trials, Tried, misdiagnosed, slips
from grader.course.course import Course
from tests.workbench import ROOT, Workbench


def report(results: Sequence[Tried], verbose: bool) -> bool:
    """Print the figures of one exercise, or of all; whether they are as they must be."""
    raised = [tried for tried in results if tried.missing]
    equivalent = [tried for tried in results if tried.equivalent]
    rest = [tried for tried in results if not tried.equivalent]
    judged = [(tried, name) for tried in rest for name in tried.judged]
    silent = [(tried, name) for tried, name in judged if tried.checks[name].diagnosis is None]
    twice = [(tried, name) for tried, name in judged if len(slips(tried, name)) > 1]
    mute = [tried for tried, name in twice if tried.checks[name].diagnosis is None]
    false = [(tried, name) for tried in rest for name in misdiagnosed(tried)]
    once = len(judged) - len(twice)
    print(f"mutants                    {len(results):5d}")
    print(f"  with two changed lines   {len([tried for tried in results if len(tried.mutants) > 1]):5d}")
    print(f"  equivalent in float64    {len(equivalent):5d}")
    print(f"  judged                   {len(rest):5d}, {len(raised)} of which raise an error")
    print(f"exactly the mutated wrong  {_share(len([t for t in rest if t.exact]), len(rest))}")
    print(f"wrong tensors              {len(judged):5d}")
    print(f"  with a diagnosis         {_share(len(judged) - len(silent), len(judged))}")
    print(f"    with one slip in them  {_share(once - len(silent) + len(mute), once)}")
    print(f"    with two at once       {_share(len(twice) - len(mute), len(twice))}")
    for exercise, part in dict.fromkeys((tried.exercise, tried.part) for tried in results):
        whole = [tried for tried, _ in judged if (tried.exercise, tried.part) == (exercise, part)]
        none = [tried for tried, _ in silent if (tried.exercise, tried.part) == (exercise, part)]
        print(f"    {exercise[:2]} {part:19s} {_share(len(whole) - len(none), len(whole))}")
    print(f"  with a wrong diagnosis   {_share(len(false), len(judged))}")
    seconds = sorted(tried.seconds for tried in rest)
    share = [seconds[int(part * (len(seconds) - 1))] for part in (0.5, 0.9, 0.99, 1.0)] if seconds else [0.0] * 4
    print("CPU of a mutant's verdicts  {:.3f} s median, {:.3f} s 90 %, {:.3f} s 99 %, {:.3f} s most".format(*share))
    if verbose:
        _list(judged, raised)
    return all(tried.exact for tried in results) and not false and len(silent) <= 0.1 * len(judged)


def exceptions(results: Sequence[Tried]) -> None:
    """List what is equivalent, what was not marked exactly, and the wrong diagnoses."""
    for tried in results:
        if tried.equivalent:
            print(f"equivalent, by {tried.difference:.0e} at most: {tried.title}")
    for tried in results:
        if not tried.exact:
            print(f"not exact: {tried.title}\n    expected {sorted(tried.wrong)}, found {sorted(tried.found)}")
        for name in misdiagnosed(tried):
            print(f"wrong diagnosis: {name} {tried.checks[name].diagnosis}: {tried.title}")


def _list(judged: Sequence[tuple[Tried, str]], raised: Sequence[Tried]) -> None:
    for tried in raised:
        print(f"raises: {tried.title}")
    for tried, name in judged:
        print(f"said: {name} {tried.checks[name].diagnosis}: {tried.title}")
    codes = Counter(found.code for t, name in judged if (found := t.checks[name].diagnosis) is not None)
    print(", ".join(f"{code} {count}" for code, count in codes.most_common()))


def _share(part: int, whole: int) -> str:
    return f"{part:5d} of {whole}, {100 * part / max(1, whole):.1f} %"


def main() -> int:
    """Run the benchmark; 0 when every figure is as it must be."""
    ids = Course(ROOT / "exercises").catalog.ids
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exercise", choices=ids, help="only this exercise")
    parser.add_argument("--pairs", type=int, default=40, help="mutants with two changed lines, a solution and part")
    parser.add_argument("--variant", help="only this solution")
    parser.add_argument("--only", metavar="REGEXP", help="only mutants whose line in the report matches")
    parser.add_argument("-v", "--verbose", action="store_true", help="list every sentence, and what raises")
    parser.add_argument("--sample", type=int, metavar="N", help="only so many of an exercise, drawn at random")
    options = parser.parse_args()
    started = time.monotonic()
    everything: list[Tried] = []
    good = True
    for exercise in [options.exercise] if options.exercise else ids:
        results = _tried(exercise, options)
        if results:
            print(f"\n{exercise}")
            good &= report(results, options.verbose)
        everything += results
    if not options.exercise:
        print("\nAll exercises")
        report(everything, verbose=False)
    exceptions(everything)
    print(f"{time.monotonic() - started:.0f} s")
    return 0 if good else 1


def _tried(exercise: str, options: argparse.Namespace) -> list[Tried]:
    trials = Trials(Workbench(solution_cells(exercise), exercise), options.pairs)
    planned = list(trials.planned(options.variant))
    if options.only is not None:
        planned = [mutant for mutant in planned if re.search(options.only, trials.title(*mutant))]
    if options.sample is not None:
        planned = random.Random(options.sample).sample(planned, min(options.sample, len(planned)))
    return [trials.run(*mutant) for mutant in planned]


if __name__ == "__main__":
    sys.exit(main())
