"""Where hostile notebooks are graded: small limits, a trap for everything that must not be touched, and a neighbour.

A scenario is a file of `scenarios/`: the source of the attack, put into the solved mini notebook. Comment lines at its
top say what it attacks and what must come of it:

    promise: the promise that it tries to break
    place:   where it stands: `top` (before the first gradient; the default), `end` (behind the first cell's gradients),
             `instead` (of them),
             `training` (at the end of the last part's cell), `own` (a cell of its own after the forward pass) or
             `first` (a cell of its own before everything)
    seconds: the time limit of a cell, 6 unless told
    unchecked, missing, wrong, carried: the checks with that verdict, `part/name`; every other check must be right
    nothing: the checks of which nothing may be said, be it `unchecked` or `missing`
    says:    what the report must show of it

An attack prints TRIED where it had its turn, and ESCAPED where it got what it wanted. `@NAME@` stands for one of
the arena's traps. Nothing of it is trusted: that the neighbour keeps its marks and that nothing is left is seen from
outside.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from grader.choices import Sandbox
from grader.course.course import Course
from grader.course.exercise import Exercise
from grader.grading.grade import Grader
from grader.grading.pool import PROBE_FOLDER, GraderPool
from grader.kernels import KernelSource, Limits, open_source, scratch_folders
from grader.records import Grading, Submission
from grader.reports.html import render_report
from tests.conftest import HERE, MINI, ROOT

SCENARIOS = Path(__file__).parent / "scenarios"
SMALL = Limits(memory_mb=400, processes=40, open_files=128, file_size_mb=8, tmp_mb=16, cpu_seconds=20, output_mb=24)
"""Little enough that reaching every limit at once would not hurt the machine."""
CELL_SECONDS, NOTEBOOK_SECONDS = 6.0, 20.0
FULL_MARKS = 16
CANARY = "canary-that-must-not-sing"
SCREAM = f"orphan-{os.getpid()}"
"""What attacks name processes that they leave behind, at most 15 characters, as the system keeps it. Others may be
tried meanwhile, by another process of pytest."""

_HEADER = re.compile(r"^# (\w+): ?(.*)$")
_VERDICTS = (
    "unchecked", "missing", "wrong", "carried", "nothing", "wrong_or_unchecked", "right_or_unchecked"
)  # fmt: skip
"""The last two where an attack races with the grader, and may come to nothing or hide what it is about."""


class Scenario(msgspec.Struct, frozen=True):
    """One attack and what must come of it."""

    name: str
    promise: str
    source: str
    place: str = "top"
    seconds: float = CELL_SECONDS
    says: str | None = None
    expected: dict[str, str] = {}
    """`part/name` → verdict, of the checks that can't be right."""


def read_scenario(path: Path) -> Scenario:
    """Parse a scenario's file."""
    text = path.read_text()
    fields: dict[str, str] = {}
    for line in text.splitlines():
        match = _HEADER.match(line)
        if match is None:
            break
        fields[match[1]] = f"{fields.get(match[1], '')} {match[2]}".strip()
    expected = {name: verdict for verdict in _VERDICTS for name in fields.pop(verdict, "").split()}
    return Scenario(
        name=path.stem,
        promise=fields.pop("promise"),
        source=text,
        place=fields.pop("place", "top"),
        seconds=float(fields.pop("seconds", CELL_SECONDS)),
        says=fields.pop("says", None),
        expected=expected,
        **fields,
    )


def all_scenarios() -> list[Scenario]:
    """Every scenario, by name."""
    return [read_scenario(path) for path in sorted(SCENARIOS.glob("*.py"))]


class SmallPool(GraderPool):
    """A pool whose kernels have the arena's limits."""

    def _kernels(self, exercise: Exercise) -> KernelSource:
        files = exercise.files
        return open_source(self.kernel, self.sandbox, exercise.setup_sources, files, [PROBE_FOLDER], SMALL)


class Traps:
    """What the machine holds besides the kernel, and no student may reach: each says whether it was touched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.victim = folder / "bob.ipynb"
        self.victim.write_text(json.dumps({"secret": CANARY}))
        self.gradebook = folder / "gradebook.sqlite"
        with sqlite3.connect(self.gradebook) as database:
            database.execute("create table grades (note)")
            database.execute("insert into grades values (?)", [CANARY])
        database.close()
        for path in (folder, self.victim, self.gradebook):
            path.chmod(0o777)  # what keeps a student out must not be the file's mode
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self._abstract = f"grader-{folder.name}-{os.getpid()}"
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind(f"\0{self._abstract}")
        self.abstract.listen()
        self.path = socket.socket(socket.AF_UNIX)
        self.path.bind(str(folder / "socket"))
        self.path.listen()
        (folder / "socket").chmod(0o777)
        for one in (self.tcp, self.udp, self.abstract, self.path):
            one.setblocking(False)
        self._before = self._contents()

    def names(self) -> dict[str, str]:
        """What stands for `@NAME@` in an attack."""
        return {
            "VICTIM": str(self.victim),
            "GRADEBOOK": str(self.gradebook),
            "FOLDER": str(self.folder),
            "SOLUTION": str(HERE / "courses" / "mini" / "solutions" / "mini.ipynb"),
            "COURSE": str(HERE / "courses" / "mini"),
            "GRADER": str(ROOT / "grader"),
            "RUNTIME": str(scratch_folders._process_folder()),
            "PID": str(os.getpid()),
            "TCP": str(self.tcp.getsockname()[1]),
            "UDP": str(self.udp.getsockname()[1]),
            "ABSTRACT": self._abstract,
            "SOCKET": str(self.folder / "socket"),
            "SCREAM": SCREAM,
        }

    def touched(self) -> list[str]:
        """Which of them something reached."""
        found = [name for name in ("tcp", "abstract", "path") if _accepts(getattr(self, name))]
        with contextlib.suppress(BlockingIOError):
            found.append(f"udp {self.udp.recv(100)!r}")
        return found + (["files"] if self._contents() != self._before else [])

    def _contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}

    def close(self) -> None:
        for one in (self.tcp, self.udp, self.abstract, self.path):
            one.close()


def _accepts(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


class Outcome(msgspec.Struct):
    """What came of a hostile notebook, and what the neighbour got meanwhile and afterwards."""

    hostile: Grading
    neighbours: list[Grading]
    seconds: float

    @property
    def text(self) -> str:
        """Everything that its cells printed and the report shows."""
        return "\n".join(output.content for cell in self.hostile.cells for output in cell.outputs)

    @property
    def said(self) -> str:
        """The data without the student's own sources, which may say what they like."""
        cells = [msgspec.structs.replace(cell, source="") for cell in self.hostile.cells]
        return msgspec.json.encode(msgspec.structs.replace(self.hostile, cells=cells)).decode()

    @property
    def everything(self) -> str:
        """All that leaves the grader: the page and the data."""
        return render_report(self.hostile) + msgspec.json.encode(self.hostile).decode()


class Arena:
    """A pool with small limits, in which a hostile notebook and honest ones are graded side by side."""

    def __init__(self, traps: Traps, sandbox: Sandbox = "bwrap") -> None:
        self.traps = traps
        self.course = Course(HERE / "courses" / "mini" / "exercises")
        self.exercise = self.course.exercise(MINI)
        self.plain_spec = self.exercise.spec
        self.honest = self.course.solution_path(MINI).read_bytes()
        self.pool = SmallPool(self.course, "snapshot", sandbox)
        self._neighbour: Grader | None = None

    def close(self) -> None:
        self.pool.close()

    @property
    def neighbour(self) -> Grader:
        """A grader of its own on the very kernels of the pool, so that it can grade in another thread."""
        if self._neighbour is None:
            grader = self.pool._grader(MINI)
            assert grader.kernels.source.branch([])  # what cells above the locked ones are run in: it stays
            exercise = Course(HERE / "courses" / "mini" / "exercises").exercise(MINI)
            self._neighbour = Grader(exercise, contextlib.nullcontext(grader.kernels.source))
            self._neighbour.kernels = grader.kernels
            # What changes the process (its folder, its default dtype) is done before there is a second thread.
            for one in (self._neighbour, grader):
                assert one.grade(self.submission("warm", self.honest)).grade.score == FULL_MARKS
        return self._neighbour

    @staticmethod
    def submission(student: str, data: bytes) -> Submission:
        return Submission(student=student, exercise=MINI, data=data)

    def notebook(self, scenario: Scenario) -> bytes:
        """The solved notebook with the attack in its place."""
        source = scenario.source
        for name, value in self.traps.names().items():
            source = source.replace(f"@{name}@", value)
        return place(self.honest, scenario.place, source)

    def grade(self, data: bytes, seconds: float = CELL_SECONDS, student: str = "mallory") -> Outcome:
        """Grade a hostile notebook while the neighbour is graded again and again, and once more after it."""
        neighbour = self.neighbour
        over = threading.Event()
        neighbours: list[Grading] = []

        def keep_grading() -> None:
            last = False
            while not last:
                last = over.is_set()
                neighbours.append(neighbour.grade(self.submission("neighbour", self.honest)))

        thread = threading.Thread(target=keep_grading)
        thread.start()
        started = time.monotonic()
        spec = msgspec.structs.replace(self.plain_spec, cell_seconds=seconds, notebook_seconds=NOTEBOOK_SECONDS)
        self.exercise.spec = spec
        try:
            hostile = self.pool.grade(self.submission(student, data))
        finally:
            self.exercise.spec = self.plain_spec
            took = time.monotonic() - started
            over.set()
            thread.join()
        return Outcome(hostile, neighbours, took)


def place(notebook: bytes, where: str, source: str) -> bytes:
    """The notebook with `source` in it."""
    parsed: dict[str, Any] = json.loads(notebook)
    cells = parsed["cells"]
    by_id = {cell["id"]: cell for cell in cells}

    def edit(cell_id: str, change: Callable[[str], str]) -> None:
        by_id[cell_id]["source"] = change("".join(by_id[cell_id]["source"]))

    if where == "top":
        edit("gradients-top", lambda text: f"{source}\n{text}")
    elif where == "end":
        edit("gradients-top", lambda text: f"{text}\n{source}")
    elif where == "instead":
        edit("gradients-top", lambda _: source)
    elif where == "training":
        edit("train", lambda text: f"{text}\n{source}")
    else:
        own = {"cell_type": "code", "id": "own", "metadata": {}, "outputs": [], "execution_count": None}
        position = {"first": 0, "own": cells.index(by_id["gradients-top"])}[where]
        cells.insert(position, {**own, "source": source})
    return json.dumps(parsed).encode()


def unexpected(scenario: Scenario, grading: Grading) -> list[str]:
    """The checks whose verdict is not the one that should have come, a sentence each."""
    several = {"right": ("exact", "approximate"), "nothing": ("unchecked", "missing")}

    def wanted(name: str) -> list[str]:
        words = scenario.expected.get(name, "right").split("_or_")
        return [verdict for word in words for verdict in several.get(word, (word,))]

    return [
        f"{check.part}/{check.name} is {check.verdict}: {check.remark}"
        for check in grading.grade.checks
        if check.verdict not in wanted(f"{check.part}/{check.name}")
    ]
