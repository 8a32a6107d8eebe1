"""The plain, frozen records that the stages hand to each other.

`Grade` and what it holds are the public result: their JSON is fixed by `docs/grade.schema.json` and changes only
with `SCHEMA_VERSION`. `Grading` adds what only the reports show.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Literal

import msgspec

SCHEMA_VERSION = 1
VISIBLE = "visible"
"""The id of the case that students see: the exercise's own parameters, in float32."""
FURTHER_UP = "The mistake is further up"
"""How a diagnosis begins where the tensor's own step is right, and a gradient that no check asks for is wrong."""


class Verdict(StrEnum):
    """What the grader says of one tensor; `docs/verdicts.md` explains each."""

    EXACT = "exact"
    APPROXIMATE = "approximate"
    CARRIED = "carried"
    WRONG = "wrong"
    MISSING = "missing"
    UNCHECKED = "unchecked"

    @property
    def is_right(self) -> bool:
        """Whether the value itself is the gradient."""
        return self in (Verdict.EXACT, Verdict.APPROXIMATE)


class Record(msgspec.Struct, frozen=True):
    """Base of all records: immutable, compared by value, serialisable as it stands.

    Each says `frozen=True` again: msgspec inherits it, type checkers don't see that.
    """


class Submission(Record, frozen=True):
    """What one student handed in for one exercise, or why it can't be taken in (`problem`)."""

    student: str
    exercise: str
    data: bytes = b""
    problem: str | None = None

    @property
    def digest(self) -> str:
        """The SHA-256 of the content, or of the words that say why there is none."""
        return hashlib.sha256(self.data or (self.problem or "").encode("utf-8", "replace")).hexdigest()


class Diagnosis(Record, frozen=True):
    """Why a tensor is wrong. `code` names a page section in `docs/diagnoses.md`."""

    code: str
    message: str


class Flag(Record, frozen=True):
    """Something an instructor should look at. A flag by itself changes no marks."""

    code: str
    message: str
    part: str | None = None


class Check(Record, frozen=True):
    """The verdict on one tensor of one part.

    `name` is the student's name for it (`dlogits`, or `W1` for a trained parameter). `case` names the case that
    decided. `maxdiff` is the largest absolute difference from autograd's value on the visible case; None where a hidden
    case decided, whose numbers are shown to nobody, or where there is nothing to compare. `shape` is the student's,
    `expected_shape` the tensor's, both in the deciding case.
    """

    part: str
    name: str
    verdict: Verdict
    points: float
    max_points: float
    case: str = VISIBLE
    maxdiff: float | None = None
    shape: list[int] | None = None
    expected_shape: list[int] | None = None
    diagnosis: Diagnosis | None = None
    remark: str | None = None


def count_verdicts(checks: Iterable[Check]) -> dict[Verdict, int]:
    """How many checks have each verdict, all six of them, in their order."""
    counts = Counter(check.verdict for check in checks)
    return {verdict: counts[verdict] for verdict in Verdict}


class Override(Record, frozen=True):
    """A mark that a person set in place of the grader's, and why.

    `part` and `name` say for which check; without `name` it is that part's points, without both the submission's whole
    score. `was` is what the grader gave. `at` is UTC in ISO 8601, `by` who set it, where that is known.
    """

    points: float
    was: float
    reason: str
    at: str
    part: str | None = None
    name: str | None = None
    by: str | None = None


class Comment(Record, frozen=True):
    """What a person wrote to the student: about a check, a part, a line or, without any of them, the whole submission.

    `cell` is the cell's place among all cells of the notebook, from 1, `line` the 1-based line in it. `at` is UTC in
    ISO 8601, `by` who wrote it, where that is known.
    """

    text: str
    at: str
    by: str | None = None
    part: str | None = None
    name: str | None = None
    cell: int | None = None
    line: int | None = None


class Standing(Record, frozen=True, kw_only=True):
    """Why a grade's score is not, or is, what the submission itself earned: lateness, attempts.

    `earned` is the submission's own score, `late_percent` what was taken off it. `attempt` is its number, `counted`
    that of the one whose points count; both None where the exercise has no rule for that. `reasons` say it in
    sentences. Times are ISO 8601; `submitted` is None where nobody knows.
    """

    earned: float
    weight: float = 1.0
    due: str | None = None
    submitted: str | None = None
    late_percent: float = 0.0
    attempt: int | None = None
    counted: int | None = None
    reasons: list[str] = []


class Grade(Record, frozen=True, kw_only=True):
    """The result of grading one submission: what `<exercise>.json` holds.

    `checks` and `score` are after `overrides`. The score is the sum of the checks' points, unless it or a part's points
    were set or there are due dates and attempts: then it is what counts, and `standing` says why.
    """

    schema_version: int = SCHEMA_VERSION
    student: str
    exercise: str
    status: Literal["graded", "ungradable"]
    reason: str | None = None
    score: float
    max_score: float
    checks: list[Check]
    flags: list[Flag]
    overrides: list[Override] = []
    comments: list[Comment] = []
    standing: Standing | None = None
    cpu_seconds: float
    wall_seconds: float

    @property
    def start(self) -> Check | None:
        """Where to begin: the first line, in the order of the backward pass, that isn't right on its own.

        Where there is none, the first that could not be checked.
        """
        for verdicts in ((Verdict.WRONG, Verdict.MISSING), (Verdict.UNCHECKED,)):
            for check in self.checks:
                if check.verdict in verdicts:
                    return check
        return None

    def points_of(self, part: str) -> float:
        """A part's points: the sum of its checks', or what a person set for it."""
        for override in self.overrides:
            if override.part == part and override.name is None:
                return override.points
        return sum(check.points for check in self.checks if check.part == part)


# --- what only the reports show -------------------------------------------------------------------------------------


class CmpLine(Record, frozen=True):
    """What the lecture's own `cmp` prints for a tensor on the visible case."""

    exact: bool
    approximate: bool
    maxdiff: float


class HeatMap(Record, frozen=True):
    """A matrix small enough to draw: at most 32 × 32 values, each that of the largest magnitude in its place.

    `values` are multiples of `unit`: whole numbers, which take less room than what they stand for. `scale` is the
    largest magnitude.
    """

    values: list[list[float]]
    scale: float
    unit: float = 1.0


class Evidence(Record, frozen=True):
    """What the report shows beside a check: never anything of a hidden case but its id and shapes.

    `cell` and `line` point at the student's statement: the index into `Grading.cells` and the 1-based line in it.
    `student`, `expected` and `difference` are heat maps of the visible case.
    """

    part: str
    name: str
    cmp: CmpLine | None = None
    cell: int | None = None
    line: int | None = None
    worst_index: list[int] | None = None
    student: HeatMap | None = None
    expected: HeatMap | None = None
    difference: HeatMap | None = None


class CellOutput(Record, frozen=True):
    """One output of a cell, already reduced to what the report may show: text, or one PNG picture as base64."""

    kind: Literal["text", "error", "image"]
    content: str


class CellView(Record, frozen=True):
    """One of the student's cells as it was run, or a stretch of one. `part` is None where it belongs to no part.

    `number` is the cell's place among all cells of the notebook, from 1, and `first_line` the line in it with which
    `source` begins. A cell of the exercise that the notebook lacks has no number; `label` is then its name.
    """

    source: str
    part: str | None
    outputs: list[CellOutput]
    seconds: float | None = None
    number: int | None = None
    first_line: int = 1
    label: str = ""


class GraphNode(Record, frozen=True):
    """A tensor of the forward pass, placed on the picture of the computation graph.

    `inputs` are the names of the named tensors it was computed from. `rank` is the longest distance from a leaf.
    """

    name: str
    shape: list[int]
    inputs: list[str]
    rank: int


class PartView(Record, frozen=True):
    """A part as the report shows it: its title, its graph (empty where it has none) and the notes on its cells."""

    id: str
    title: str
    graph: list[GraphNode]
    notes: list[str] = []


class Grading(Record, frozen=True):
    """A `Grade` and everything a report shows beside it."""

    grade: Grade
    title: str
    parts: list[PartView]
    cells: list[CellView]
    evidence: list[Evidence]
    notes: list[str] = []
    """What intake found and said: restored locked cells, missing or duplicated ones."""
    submission: str = ""
    """The SHA-256 of what was handed in: `Submission.digest`."""
    exercise_version: str = ""
    """`Exercise.version`; empty where the exercise is unknown."""
