"""What the cohort's page shows, worked out from its grades: plain records that the template only has to write out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean, median

from grader.records import Check, Grade, Record, Verdict, count_verdicts

_BINS = 10
_MOST_COMMON = 10
HARD = 0.2
"""The share of students with a wrong line from which on a tensor is called hard."""


class CohortRow(Record, frozen=True):
    """A grade, and where its report lies: `path` relative to the page, as on disk, with `/` and nothing quoted.

    It is None where there is no report beside this page.
    """

    grade: Grade
    path: str | None


class Submission(Record, frozen=True):
    """A line of the table. `share` is the score's share of the maximum, or None where nothing was graded."""

    grade: Grade
    path: str | None
    share: float | None
    counts: Mapping[Verdict, int]

    @property
    def right(self) -> int:
        """How many tensors are exact or approximate."""
        return _right(self.counts)

    @property
    def flags(self) -> dict[str, list[str]]:
        """The messages of each kind of flag: a cell that ran out of time has one for every gradient in it."""
        found: dict[str, list[str]] = {}
        for flag in self.grade.flags:
            found.setdefault(flag.code, []).append(flag.message)
        return found

    @property
    def tags(self) -> list[str]:
        """What the page can be filtered by."""
        tags: list[str] = [self.grade.status, *(verdict.value for verdict, count in self.counts.items() if count)]
        tags += ["flagged"] if self.grade.flags else []
        tags += ["by-hand"] if self.grade.overrides else []
        return tags + (["full"] if self.share == 1 else [])


class Bin(Record, frozen=True):
    """A bar of the histogram of marks; `height` is its share of the highest bar."""

    label: str
    count: int
    height: float


class TensorStats(Record, frozen=True):
    """How the cohort did on one tensor of one part. `hardest` marks the largest share of `wrong`, where it is large."""

    part: str
    name: str
    total: int
    counts: Mapping[Verdict, int]
    hardest: bool = False

    @property
    def right(self) -> int:
        """How many are exact or approximate."""
        return _right(self.counts)


class DiagnosisStats(Record, frozen=True):
    """A diagnosis: the number of students who have it, and the tensors where, the most frequent first."""

    code: str
    students: int
    tensors: list[tuple[str, int]]


class FlagStats(Record, frozen=True):
    """A flag, and the number of students who have it."""

    code: str
    students: int


class ExerciseStats(Record, frozen=True):
    """One exercise in the cohort. `mean` and `median` are shares of the maximum over the graded submissions."""

    id: str
    graded: int
    ungradable: int
    mean: float | None
    median: float | None
    bins: list[Bin]
    tensors: list[TensorStats]
    diagnoses: list[DiagnosisStats]
    flags: list[FlagStats]

    @property
    def parts(self) -> list[str]:
        """The parts' ids, in order."""
        return list(dict.fromkeys(tensor.part for tensor in self.tensors))


class Cohort(Record, frozen=True):
    """The whole page."""

    submissions: list[Submission]
    students: int
    graded: int
    ungradable: int
    flagged: int
    exercises: list[ExerciseStats]


def cohort_of(rows: Sequence[CohortRow]) -> Cohort:
    """Everything that the page of these grades shows."""
    by_exercise: dict[str, list[Submission]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.grade.exercise, row.grade.student)):
        by_exercise[row.grade.exercise].append(_submission(row))
    submissions = [submission for group in by_exercise.values() for submission in group]
    graded = sum(submission.grade.status == "graded" for submission in submissions)
    return Cohort(
        submissions=submissions,
        students=len({row.grade.student for row in rows}),
        graded=graded,
        ungradable=len(submissions) - graded,
        flagged=sum(bool(submission.grade.flags) for submission in submissions),
        exercises=[_exercise(id_, group) for id_, group in by_exercise.items()],
    )


def _submission(row: CohortRow) -> Submission:
    grade = row.grade
    is_graded = grade.status == "graded" and grade.max_score > 0
    return Submission(
        grade=grade,
        path=row.path,
        share=grade.score / grade.max_score if is_graded else None,
        counts=count_verdicts(grade.checks),
    )


def _right(counts: Mapping[Verdict, int]) -> int:
    return sum(count for verdict, count in counts.items() if verdict.is_right)


def _exercise(id_: str, submissions: Sequence[Submission]) -> ExerciseStats:
    shares = [submission.share for submission in submissions if submission.share is not None]
    grades = [submission.grade for submission in submissions]
    graded = sum(grade.status == "graded" for grade in grades)
    return ExerciseStats(
        id=id_,
        graded=graded,
        ungradable=len(grades) - graded,
        mean=mean(shares) if shares else None,
        median=median(shares) if shares else None,
        bins=_bins(shares),
        tensors=_tensors([grade for grade in grades if grade.status == "graded"]),
        diagnoses=_diagnoses(grades),
        flags=_flags(grades),
    )


def _bins(shares: Sequence[float]) -> list[Bin]:
    """Ten equal bins below the maximum, and one for full marks."""
    counts = Counter(_BINS if share >= 1 else max(int(share * _BINS), 0) for share in shares)
    highest = max(counts.values(), default=1)
    step = 100 // _BINS
    labels = [f"{number * step}–{(number + 1) * step}" for number in range(_BINS)] + ["full"]
    return [
        Bin(label=label, count=counts[number], height=counts[number] / highest) for number, label in enumerate(labels)
    ]


def _tensors(grades: Sequence[Grade]) -> list[TensorStats]:
    checks: dict[tuple[str, str], list[Check]] = defaultdict(list)
    for grade in grades:
        for check in grade.checks:
            checks[check.part, check.name].append(check)
    wrong = {key: sum(check.verdict == Verdict.WRONG for check in group) / len(group) for key, group in checks.items()}
    hardest = max(wrong, key=lambda key: wrong[key], default=None)
    return [
        TensorStats(
            part=key[0],
            name=key[1],
            total=len(group),
            counts=count_verdicts(group),
            hardest=key == hardest and wrong[key] >= HARD,
        )
        for key, group in checks.items()
    ]


def _diagnoses(grades: Sequence[Grade]) -> list[DiagnosisStats]:
    students: dict[str, set[str]] = defaultdict(set)
    tensors: dict[str, Counter[str]] = defaultdict(Counter)
    for grade in grades:
        for check in grade.checks:
            if check.diagnosis is not None:
                students[check.diagnosis.code].add(grade.student)
                tensors[check.diagnosis.code][check.name] += 1
    most_common = sorted(students, key=lambda code: (-len(students[code]), code))[:_MOST_COMMON]
    return [
        DiagnosisStats(code=code, students=len(students[code]), tensors=tensors[code].most_common(3))
        for code in most_common
    ]


def _flags(grades: Sequence[Grade]) -> list[FlagStats]:
    students: dict[str, set[str]] = defaultdict(set)
    for grade in grades:
        for flag in grade.flags:
            students[flag.code].add(grade.student)
    return [
        FlagStats(code=code, students=len(students[code]))
        for code in sorted(students, key=lambda code: (-len(students[code]), code))
    ]


class Group(Record, frozen=True):
    """Students whose unusual lines are nearly the same.

    `alike` is the per cent of the least similar pair that is linked, `lines` how many lines all of them have.
    """

    exercise: str
    students: list[str]
    alike: int
    lines: int
