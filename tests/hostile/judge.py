"""What must hold after a hostile notebook was graded: a sentence for each promise that was broken."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec

from grader.kernels import scratch_folders
from grader.reports.html import render_report
from tests.hostile.arena import CANARY, FULL_MARKS, SCREAM, Outcome, Scenario, Traps, unexpected

PATIENCE_SECONDS = 3.0
"""How long what is on its way out may take: the kernels' ends are waited for, threads of libraries are not."""

_MOVING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Left(msgspec.Struct, frozen=True):
    """What a grader holds of the machine, between two submissions."""

    descriptors: int
    processes: frozenset[tuple[int, str]]
    """Its descendants, by number and name; and whatever is called `SCREAM`, whosoever child it is."""
    folders: frozenset[str]
    """What lies in its runtime folder."""
    sockets: int
    """Unix sockets of the machine's network namespace that are bound in it."""
    mounts: frozenset[str]


def left() -> Left:
    """What there is at this moment."""
    folder = scratch_folders._process_folder()
    return Left(
        descriptors=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        processes=frozenset(processes_below(os.getpid())),
        folders=frozenset(str(path.relative_to(folder)) for path in folder.rglob("*")),
        sockets=Path("/proc/net/unix").read_text().count(str(folder)),
        mounts=frozenset(
            line
            for line in Path("/proc/self/mounts").read_text().splitlines()
            if not f"{line.split()[1]}/".startswith("/run/netns/")  # of `test_hosts.py`, which may run meanwhile
        ),
    )


def processes_below(root: int) -> Iterator[tuple[int, str]]:
    """Number and name of every descendant of `root`, and of whatever is called `SCREAM`."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, _, fields = entry.joinpath("stat").read_text().partition("(")[2].rpartition(")")
            except OSError:
                continue  # it ended meanwhile
            names[int(entry.name)], parents[int(entry.name)] = name, int(fields.split()[1])
    for pid, name in names.items():
        above = pid
        while above not in (0, root):
            above = parents.get(above, 0)
        if name == SCREAM or (above == root and pid != above):
            yield pid, name


def what_stays(before: Left) -> list[str]:
    """What there is more of than `before`, a sentence each; what is still going gets a moment."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := _more(before, left())) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _more(before: Left, after: Left) -> list[str]:
    found = []
    if after.descriptors > before.descriptors:
        found.append(f"{after.descriptors - before.descriptors} descriptors stay open")
    if after.sockets > before.sockets:
        found.append(f"{after.sockets - before.sockets} sockets stay bound")
    for name in ("processes", "folders", "mounts"):
        if more := getattr(after, name) - getattr(before, name):
            found.append(f"{name} stay: {sorted(more)}")
    if gone := before.processes - after.processes:
        found.append(f"processes of the grader's own are gone: {sorted(gone)}")
    return found


def broken(scenario: Scenario, outcome: Outcome, traps: Traps) -> list[str]:
    """What did not hold of a scenario's promise, a sentence each."""
    grade = outcome.hostile.grade
    found = [] if grade.status == "graded" else [f"it was not graded: {grade.reason}"]
    if "ESCAPED" in outcome.said:
        found.append(f"it escaped: {_around(outcome.said, 'ESCAPED')}")
    if CANARY in outcome.everything:
        found.append(f"what is secret was shown: {_around(outcome.everything, CANARY)}")
    if "LEAKED" in outcome.said:
        found.append(f"a hidden case spoke: {_around(outcome.said, 'LEAKED')}")
    if 'print("TRIED' in scenario.source and "TRIED" not in outcome.text:
        found.append(f"it never had its turn: {outcome.text[-2000:]}")
    if scenario.says is not None and scenario.says not in outcome.text + str(grade.checks):
        found.append(f"the report does not say {scenario.says!r}: {outcome.text[-2000:]}")
    found += unexpected(scenario, outcome.hostile)
    found += _unsafe(render_report(outcome.hostile), allowed=_Scripts(render_report(outcome.neighbours[0])).found)
    found += [f"it reached a trap: {name}" for name in traps.touched()]
    for neighbour in outcome.neighbours:
        if neighbour.grade.score != FULL_MARKS or neighbour.grade.flags:
            found.append(f"the neighbour got {neighbour.grade.score}: {neighbour.grade.reason} {neighbour.grade.flags}")
    return found


class _Scripts(HTMLParser):
    """What could act in a page: scripts with their text, handlers, addresses of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script"
        for name, value in attrs:
            if name.startswith("on") or (value or "").strip().lower().startswith(("javascript:", "vbscript:")):
                self.found.add(f"{tag} {name}={value}")
        if tag in ("iframe", "object", "embed", "base", "link", "form"):
            self.found.add(tag)

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found.add(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


def _unsafe(page: str, allowed: set[str]) -> list[str]:
    """What of a student's is alive in the page: markup, or characters that move or reorder what is around them."""
    found = [f"the page would run {one[:200]!r}" for one in _Scripts(page).found - allowed]
    if moving := sorted(set(_MOVING.findall(page))):
        found.append(f"the page holds {moving}")
    return found


def _around(text: str, word: str) -> str:
    at = text.index(word)
    return text[max(0, at - 100) : at + 300]
