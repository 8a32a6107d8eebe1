"""What a kernel's processes use together: the limits that the system can only set for each process alone."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    """Of one kernel: the resident bytes of each of its processes (shared pages counted in each) and CPU seconds."""

    resident: dict[int, int]
    cpu_seconds: float


class _Process(NamedTuple):
    parent: int
    resident: int
    cpu_seconds: float


def measure(roots: Mapping[int, tuple[int, int | None]]) -> dict[int, Usage]:
    """For each number the usage of a process and all of its descendants, and of those of its guardian, if any."""
    if not roots:
        return {}
    processes = _processes()
    families = _families(processes)
    return {number: _usage(_family(both, families), processes) for number, both in roots.items()}


def descendants(*roots: int | None) -> list[int]:
    """All processes below some."""
    return [pid for pid in _family(roots, _families(_processes())) if pid not in roots]


def waited(pids: Iterable[int | None]) -> float:
    """How many seconds processes and all of their descendants were ready to run and had no core.

    From the second field of `/proc/PID/schedstat`, in nanoseconds; 0 where the system doesn't keep it.
    """
    return sum(map(_waited, _family(pids, _families(_processes()))))


def _waited(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def excess(usage: Usage, memory: int, cpu_seconds: float) -> str | None:
    """Which limit is exceeded: `"cpu"`, `"memory"` (in bytes) or none.

    Forks share most of their pages, so the cheap sum says only that a closer look is due.
    """
    if usage.cpu_seconds > cpu_seconds:
        return "cpu"
    if sum(usage.resident.values()) <= memory:
        return None
    return "memory" if sum(_proportional(*one) for one in usage.resident.items()) > memory else None


def _family(roots: Iterable[int | None], families: Mapping[int, list[int]]) -> list[int]:
    found = [root for root in roots if root is not None]
    for pid in found:
        found.extend(families.get(pid, ()))
    return found


def _usage(pids: Iterable[int], processes: Mapping[int, _Process]) -> Usage:
    found = {pid: processes[pid] for pid in pids if pid in processes}
    return Usage({pid: one.resident for pid, one in found.items()}, sum(one.cpu_seconds for one in found.values()))


def _processes() -> dict[int, _Process]:
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            cpu = sum(map(int, fields[11:15])) / _TICK
            found[int(name)] = _Process(int(fields[1]), int(fields[21]) * _PAGE, cpu)
    return found


def _families(processes: Mapping[int, _Process]) -> dict[int, list[int]]:
    families: dict[int, list[int]] = {}
    for pid, process in processes.items():
        families.setdefault(process.parent, []).append(pid)
    return families


def _proportional(pid: int, resident: int) -> int:
    """Proportional set size in bytes: a page that n processes share counts 1/n in each."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return sum(int(line.split()[1]) << 10 for line in file if line.startswith("Pss:"))
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it ended meanwhile
    except OSError:
        return resident  # a process may forbid the look, and gains nothing by it
