"""The results as text: printed, and written into the generated section of `docs/performance.md`."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from benchmarks.speed.assignment import TOP
from benchmarks.speed.floor import Floor
from benchmarks.speed.kernels import Bare
from benchmarks.speed.marathon import Stretch
from benchmarks.speed.measure import Used, median

PAGE = TOP / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True)
class Results:
    """All that was measured.

    `runs`: tool → submissions in its short run, in its long run, and both runs of each round. `two` is ours with two
    workers. `floors`, `bares` and `loads` (the system's load average before it) are one a round.
    """

    runs: dict[str, tuple[int, int, list[tuple[Used, Used]]]]
    floors: Sequence[Floor]
    bares: Sequence[Bare]
    kernel: int
    stretches: tuple[Stretch, Stretch]
    loads: Sequence[float]
    cases: int
    peers: dict[str, str]

    def further(self, what: Literal["cpu", "wall"], tool: str) -> list[float]:
        """Seconds of CPU or on the clock that one more submission takes, round by round."""
        few, many, runs = self.runs[tool]
        return [(getattr(long, what) - getattr(short, what)) / (many - few) for short, long in runs]

    def ratio(self, what: Literal["cpu", "wall"], tool: str, by: str) -> float:
        """One tool's seconds by another's: both were measured minutes apart, so the median of the rounds' quotients."""
        rounds = zip(self.further(what, tool), self.further(what, by), strict=True)
        return median(one / other for one, other in rounds)

    def cpu(self, tool: str) -> float:
        """CPU seconds of one more submission: the median of the rounds."""
        return median(self.further("cpu", tool))

    def start(self, tool: str) -> float:
        """CPU seconds of a run besides those of its submissions."""
        return median(long.cpu for _, long in self.runs[tool][2]) - self.runs[tool][1] * self.cpu(tool)

    def memory(self, tool: str) -> int:
        """The largest peak of a run, in bytes."""
        return max(used.memory for pair in self.runs[tool][2] for used in pair)

    def floor(self) -> Floor:
        """The median of the rounds."""
        return Floor(median(one.cells for one in self.floors), median(one.own for one in self.floors))

    def bare(self) -> Bare:
        """The median of the rounds."""
        return Bare(median(one.empty for one in self.bares), median(one.passes for one in self.bares))


def write_document(results: Results) -> str:
    """Write the page's generated section, and return it."""
    text = "\n".join([*_machine(results), "", *_tools(results), "", *_targets(results)])
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return text


def _machine(results: Results) -> list[str]:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    loads = ", ".join(f"{load:.1f}" for load in results.loads)
    return [
        f"Measured on {date.today()}: {os.cpu_count()} cores, {_processor()}, {memory:.0f} GiB of memory, Linux "
        f"{platform.release()}, Python {platform.python_version()}, torch {version('torch')}; "
        f"{', '.join(requirement.replace('==', ' ') for requirement in results.peers.values())}.",
        "",
        f"Rounds: {len(results.loads)}; the median is given, of ratios that of the rounds' own. Load average "
        f"(processes that want a core) before each round: {loads}.",
    ]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _tools(results: Results) -> list[str]:
    names = {
        "ours": "Backprop Grader, `--workers 1`",
        "two": "Backprop Grader, `--workers 2`",
        "nbgrader": "nbgrader",
        "otter": "otter",
    }
    rows = [
        "| | submissions graded | submissions/s | CPU s/submission | (all rounds) | × ours | start, CPU s "
        "| peak memory, MB |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for tool, name in names.items():
        few, many, runs = results.runs[tool]
        cpu, cpus = results.cpu(tool), results.further("cpu", tool)
        wall = median(results.further("wall", tool))
        rows.append(
            f"| {name} | {len(runs)} × ({few} + {many}) | {1 / wall:.2f} | {cpu:.3f} | "
            f"{min(cpus):.3f} to {max(cpus):.3f} | {results.ratio('cpu', tool, 'ours'):.1f} | "
            f"{results.start(tool) if few else 0.0:.1f} | {results.memory(tool) / 1e6:.0f} |"
        )
    return rows


def _targets(results: Results) -> list[str]:
    ours, floor, bare = results.cpu("ours"), results.floor(), results.bare()
    early, late = results.stretches
    rows = [
        ("CPU, nbgrader's by ours", "≥ 30, aim 40", results.ratio("cpu", "nbgrader", "ours"), 30, True, ".1f", ""),
        ("CPU, otter's by ours", "≥ 45, aim 60", results.ratio("cpu", "otter", "ours"), 45, True, ".1f", ""),
        (
            f"CPU, ours by the floor's {1000 * floor.cells:.0f} ms ({results.cases} cases)",
            "≤ 5", ours / floor.cells, 5, False, ".1f", "",
        ),
        ("throughput, two workers by one", "≥ 1.8", results.ratio("wall", "ours", "two"), 1.8, True, ".2f", ""),
        ("memory of each further kernel", "≤ 80 MB", results.kernel / 1e6, 80, False, ".0f", " MB"),
    ]  # fmt: skip
    lines = ["| | wanted | measured | |", "|---|---|--:|---|"]
    for what, wanted, value, bound, at_least, form, unit in rows:
        held = value >= bound if at_least else value <= bound
        lines.append(f"| {what} | {wanted} | {value:{form}}{unit} | {_word(held)} |")
    window = f"submissions {late.first} to {late.last} by {early.first} to {early.last} of another run, meanwhile"
    for what, name in (("throughput", "throughput"), ("the grader's memory", "grader")):
        change = getattr(late, name) / getattr(early, name) - 1
        lines.append(f"| {what}, {window} | within 5 % | {change:+.1%} | {_word(abs(change) <= 0.05)} |")
    lines += [
        "",
        f"Submissions {early.first} to {early.last} of the one run and {late.first} to {late.last} of the other: "
        f"{early.throughput:.2f} and {late.throughput:.2f} submissions/s, {early.cpu:.3f} and {late.cpu:.3f} CPU "
        f"s/submission, {early.grader / 1e6:.0f} and {late.grader / 1e6:.0f} MB in the grader's process, "
        f"{early.everything / 1e6:.0f} and {late.everything / 1e6:.0f} MB in all processes together.",
        "",
        f"Of the floor's {1000 * floor.cells:.1f} ms, the students' own cells take {1000 * floor.own:.1f} ms; the rest "
        f"are the locked cells that they need in each case. Ours is {ours / floor.own:.1f} times the students' own.",
        "",
        f"Two sandboxed kernels in which nothing is run, nbclient included, take {1000 * bare.empty:.1f} ms: "
        f"{bare.empty / floor.cells:.1f} times the floor. With as many cells `pass` in the first of them as a "
        f"submission has, {1000 * bare.passes:.1f} ms: {bare.passes / floor.cells:.1f} times.",
    ]
    return lines


def _word(held: bool) -> str:
    return "held" if held else "**missed**"
