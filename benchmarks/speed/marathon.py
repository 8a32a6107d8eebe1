"""A thousand submissions in one run: neither speed nor memory may depend on how many came before."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.measure import LOOK_SECONDS, family, median, orphans, proportional, spent, start
from benchmarks.speed.tools import Ours, in_turn

EARLY, LATE = 50, 1000
HALF = 45
"""Submissions before and after these places that are looked at."""


@dataclass(frozen=True)
class Stretch:
    """Around one place in a long run: submissions a second, CPU seconds a submission, and bytes of memory.

    `grader` is the proportional set size of the grader's own process, `everything` of all processes together.
    """

    throughput: float
    cpu: float
    grader: float
    everything: float


@dataclass(frozen=True)
class Look:
    """One moment of a run: reports there, the clock, CPU seconds so far, bytes of memory as in `Stretch`."""

    done: int
    clock: float
    cpu: float
    grader: int
    everything: int


def run_marathon(ours: Ours, late: int = LATE) -> tuple[Stretch, Stretch]:
    """Grade `late` submissions and some more in one run; the stretches around the 50th and around the last."""
    looks = watch(*ours.command(in_turn(late + HALF + 1)), ours.folder)
    return stretch(looks, EARLY), stretch(looks, late)


def watch(command: Sequence[str], out: Path, folder: Path) -> list[Look]:
    """Run a command in `folder` to its end, and look again and again at it and at the reports in `out`.

    Raises:
        RuntimeError: it failed; its output is in the text.
    """
    looks: list[Look] = []
    process = start(command, folder)
    while process.poll() is None:
        looks.append(_look(process.pid, out))
        time.sleep(LOOK_SECONDS)
    orphans()
    if process.returncode:
        raise RuntimeError((folder / "output.log").read_text(errors="replace")[-2000:])
    return looks


def _look(root: int, out: Path) -> Look:
    done = len(os.listdir(out)) if out.exists() else 0
    members = family(root)
    sizes = {pid: proportional(pid) for pid in members}
    return Look(done, time.monotonic(), spent(root), sizes[root], sum(sizes.values()))


def stretch(looks: Sequence[Look], place: int, half: int = HALF) -> Stretch:
    """What the looks around a place say: up to `half` submissions before and after it."""
    within = [look for look in looks if place - half <= look.done <= place + half]
    first, last = within[0], within[-1]
    count = last.done - first.done
    return Stretch(
        count / (last.clock - first.clock),
        (last.cpu - first.cpu) / count,
        median(look.grader for look in within),
        median(look.everything for look in within),
    )
