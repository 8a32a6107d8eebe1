"""A file that was handed in, found and not read yet: whose it is, and for which exercise."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from grader.errors import SubmissionError
from grader.intake.handed_in.arrived import Arrived
from grader.intake.handed_in.choice import read_file
from grader.intake.handed_in.owners import Identity
from grader.records import Record, Submission


class Found(Record, frozen=True):
    """A file that was handed in: whose, for which exercise, or why it can't be taken in.

    `exercise` is empty where the file gives no hint of one. `inside` are the members to go through where `path` is a
    zip. `identities`, `submitted` and `late` are what the platform says, `group` is everybody who handed it in
    together, and `remarks` say what was guessed, and what was left aside. `empty` tells that there is no file to grade,
    and `stray` that nothing but the name of some other file says that it is somebody's.
    """

    student: str
    exercise: str
    path: str
    problem: str | None = None
    inside: list[str] = []
    identities: list[Identity] = []
    submitted: datetime | None = None
    late: bool | None = None
    group: list[str] = []
    remarks: list[str] = []
    empty: bool = False
    stray: bool = False

    @property
    def shown(self) -> str:
        """The file's path in a message, through its zip."""
        return self._file().shown

    def read(self) -> bytes:
        """The file's bytes, as a notebook's.

        Raises:
            SubmissionError: it can't be read, or is too large to be.
        """
        return read_file(self._file())

    def size(self) -> int:
        """The file's size in bytes, or what most have where it is in a zip; 0 where it can't be read."""
        if self.inside:
            return 1 << 20
        try:
            return Path(self.path).stat().st_size
        except OSError:
            return 0

    def submission(self) -> Submission:
        """The submission itself; a file that can't be read becomes one that says so."""
        try:
            problem, data = self.problem, b"" if self.problem else self.read()
        except SubmissionError as error:
            problem, data = str(error), b""
        return Submission(student=self.student, exercise=self.exercise, data=data, problem=problem)

    def _file(self) -> Arrived:
        way = [self.path, *self.inside][-1].replace("\\", "/").split("/")
        return Arrived(way[-1:], self.path, self.inside)
