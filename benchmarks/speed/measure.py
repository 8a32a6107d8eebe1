"""What a command and all the processes that it starts use: time, CPU time, memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS, END_SECONDS = 2.0, 0.05
"""How often memory is looked at, and whether the command has ended. Adding up the pages of ten processes takes some 50
ms, which they must share the cores with: looked at ten times a second, two workers got no more than one core. So a run
is looked at the more rarely, the longer it takes."""
LATER = 2.0
"""A run's next look is when it has taken this many times as long."""
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Used:
    """Seconds on the clock, seconds of CPU of the command and its descendants, and their peak memory.

    `memory` is in bytes: the largest sum of proportional set sizes (pages shared by n processes count 1/n in each).
    """

    wall: float
    cpu: float
    memory: int


def run(command: Sequence[str], cwd: Path, programs: Path | None = None) -> Used:
    """Run a command to its end; `programs` is the folder that comes first in its PATH.

    Raises:
        RuntimeError: it failed; its output is in the text.
    """
    orphans()  # what an earlier measurement in this process has left is none of this command's
    started = time.monotonic()
    process = start(command, cwd, programs)
    peak, look = 0, started + LOOK_SECONDS
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        if time.monotonic() > look:
            peak = max(peak, sum(proportional(pid) for pid in family(process.pid)))
            look = started + LATER * (time.monotonic() - started)
        time.sleep(END_SECONDS)
    wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = (cwd / "output.log").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{' '.join(command)} failed with {process.returncode}:\n{said}")
    return Used(wall, usage.ru_utime + usage.ru_stime + orphans(), peak)


def start(command: Sequence[str], cwd: Path, programs: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a command whose orphans will be this process's to wait for; what it prints goes to `cwd/output.log`."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    path = os.pathsep.join([*([str(programs)] if programs else []), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled, a clone after its first run
    with open(cwd / "output.log", "wb") as log:
        return subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def orphans() -> float:
    """Wait for the descendants whose own parent did not (bubblewrap does not); their CPU seconds."""
    seconds = 0.0
    with contextlib.suppress(ChildProcessError):
        while True:
            _, _, usage = os.wait4(-1, 0)
            seconds += usage.ru_utime + usage.ru_stime
    return seconds


def family(root: int) -> list[int]:
    """A process and its descendants."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            children.setdefault(_parent(name), []).append(int(name))
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def _parent(name: str) -> int:
    try:
        return int(Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()[1])
    except OSError:
        return 0  # it ended meanwhile


def proportional(pid: int) -> int:
    """The proportional set size of a process in bytes; 0 when it has ended."""
    try:
        lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def spent(root: int) -> float:
    """CPU seconds so far of a process, its living descendants, and those that these have waited for."""
    tick = os.sysconf("SC_CLK_TCK")
    seconds = 0.0
    for pid in family(root):
        try:
            fields = Path("/proc", str(pid), "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # it ended meanwhile: from now on it is its parent's
        seconds += sum(map(int, fields[11:15])) / tick
    return seconds


def median(values: Iterable[float]) -> float:
    """The middle value; of an even number of them, the mean of the middle two."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
