"""Grading submissions again, from the page: one at a time, with progress."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from grader.choices import Sandbox
from grader.course.course import Course
from grader.errors import UsageError
from grader.gradebook.results import Result
from grader.intake.found import Found
from grader.records import Record
from grader.review.regrade_process import Order, Said


class Progress(Record, frozen=True):
    """How far a regrading is. `left_out` are those whose notebook isn't where it was."""

    total: int
    done: int
    running: bool
    left_out: list[str]
    error: str | None = None


@dataclass(eq=False)
class Regrader:
    """Has submissions graded in a process of its own.

    Attributes:
        course: the course.
        gradebook: its URL or file.
        folder: where the reports go; None where there is no such folder.
        sandbox: what confines the submissions.
        finished: is called when a regrading has ended.
    """

    course: Course
    gradebook: str
    folder: Path | None
    sandbox: Sandbox
    finished: Callable[[], None]

    def __post_init__(self) -> None:
        self.progress: Progress | None = None
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, results: Sequence[Result]) -> Progress:
        """Begin to grade these again.

        Raises:
            UsageError: another regrading goes on, or no notebook is where it was.
        """
        there: list[Found] = []
        left_out: list[str] = []
        for each in results:
            path = Path(each.path) if each.path is not None else None
            if path is not None and path.is_file() and not path.is_symlink():
                there.append(Found(each.grade.student, each.grade.exercise, str(path)))
            else:
                left_out.append(each.grade.student)
        if not there:
            raise UsageError(
                "Nothing was graded: the notebooks aren't where they were last graded. "
                "Use `grader grade PATH --no-resume`."
            )
        with self._lock:
            if self.progress is not None and self.progress.running:
                raise UsageError("A regrade is already running: wait until it is done.")
            self.progress = Progress(len(there), 0, True, left_out)
        threading.Thread(target=self._run, args=(there,), daemon=True).start()
        return self.progress

    def stop(self) -> None:
        """End what goes on; what was graded so far is kept."""
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            process.wait()

    def _run(self, found: list[Found]) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            folder = str(self.folder if self.folder is not None else scratch)
            order = Order(found, str(self.course.exercises), self.gradebook, folder, self.sandbox)
            command = [sys.executable, "-m", "grader.review.regrade_process"]
            with subprocess.Popen(  # noqa: S603 - this very interpreter, and a module of ours
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process:
                self._process = process
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(msgspec.json.encode(order))
                process.stdin.close()
                for line in process.stdout:
                    self._heard(line)
        assert self.progress is not None
        error = self.progress.error
        if error is None and self.progress.done < self.progress.total:
            error = "The regrade stopped early. What was graded is kept: start it again."
        self.finished()
        self.progress = msgspec.structs.replace(self.progress, running=False, error=error)

    def _heard(self, line: bytes) -> None:
        assert self.progress is not None
        try:
            said = msgspec.json.decode(line, type=Said)
        except msgspec.MsgspecError:
            return
        if said.error is not None:
            self.progress = msgspec.structs.replace(self.progress, error=said.error)
        else:
            self.progress = msgspec.structs.replace(self.progress, done=self.progress.done + 1)
