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
_LEAD = 2 * HALF
"""How many before the late place the second run is started: it takes some seconds to its first submission."""
_ROOM = 100
"""Submissions that follow, so that neither run ends while the other is looked at."""


@dataclass(frozen=True)
class Look:
    """One moment of a run: reports there, the clock, CPU seconds so far, and bytes of memory.

    `grader` is the proportional set size of the grader's own process, `everything` of all processes together.
    """

    done: int
    clock: float
    cpu: float
    grader: int
    everything: int


@dataclass(frozen=True)
class Stretch:
    """A stretch of a run: its first and last submission, submissions a second, CPU seconds a submission.

    `grader` and `everything` are bytes of memory, as in `Look`.
    """

    first: int
    last: int
    throughput: float
    cpu: float
    grader: float
    everything: float

    @classmethod
    def of(cls, looks: Sequence[Look]) -> Stretch:
        """What some successive looks say; of memory, the median."""
        first, last = looks[0], looks[-1]
        count = last.done - first.done
        return cls(
            first.done,
            last.done,
            count / (last.clock - first.clock),
            (last.cpu - first.cpu) / count,
            median(look.grader for look in looks),
            median(look.everything for look in looks),
        )


class Watched:
    """A command of the grader's, looked at again and again until it has ended."""

    def __init__(self, command: Sequence[str], out: Path, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._process = start(command, folder)
        self._out = out
        self._log = folder / "output.log"
        self.looks: list[Look] = []

    @property
    def done(self) -> int:
        """Reports at the last look."""
        return self.looks[-1].done if self.looks else 0

    def look(self) -> bool:
        """Look once; whether it still runs.

        Raises:
            RuntimeError: it failed; its output is in the text.
        """
        if self._process.poll() is None:
            done = len(os.listdir(self._out)) if self._out.exists() else 0
            sizes = {pid: proportional(pid) for pid in family(self._process.pid)}
            used = spent(self._process.pid)
            self.looks.append(Look(done, time.monotonic(), used, sizes.get(self._process.pid, 0), sum(sizes.values())))
            return True
        if self._process.returncode:
            raise RuntimeError(self._log.read_text(errors="replace")[-2000:])
        return False

    def around(self, place: int, half: int = HALF) -> list[Look]:
        """The looks at up to `half` submissions before and after a place."""
        return [look for look in self.looks if place - half <= look.done <= place + half]


def run_marathon(ours: Ours, late: int = LATE) -> tuple[Stretch, Stretch]:
    """A run's submissions around the 50th, and a longer run's around its `late`th, which it grades meanwhile.

    At the same time, because a machine is not as fast now as some minutes later.
    """
    long = Watched(*ours.command(in_turn(late + _ROOM)), ours.folder / "long")
    while long.done < late - _LEAD and long.look():
        time.sleep(LOOK_SECONDS)
    other = Watched(*ours.command(in_turn(EARLY + HALF + _ROOM)), ours.folder / "other")
    while long.look() | other.look():
        time.sleep(LOOK_SECONDS)
    orphans()
    early = other.around(EARLY)
    meanwhile = [look for look in long.looks if early[0].clock <= look.clock <= early[-1].clock]
    return Stretch.of(early), Stretch.of(meanwhile)
