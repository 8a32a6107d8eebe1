"""The result for a submission that could not be graded."""

from __future__ import annotations

from grader.course.catalog import ExerciseSpec
from grader.records import Grade, Grading, Submission

ITSELF_FAILED = "The grader itself failed"
"""How the reason begins where the fault is ours: a person must look at it."""


def ungradable(submission: Submission, spec: ExerciseSpec | None, reason: str) -> Grading:
    """No verdicts, and the reason. `spec` is None where not even the exercise is known."""
    grade = Grade(
        student=submission.student,
        exercise=submission.exercise,
        status="ungradable",
        reason=reason,
        score=0.0,
        max_score=sum(part.points for part in spec.parts) if spec else 0.0,
        checks=[],
        flags=[],
        cpu_seconds=0.0,
        wall_seconds=0.0,
    )
    title = spec.title if spec else "Unknown exercise"
    return Grading(grade=grade, title=title, parts=[], cells=[], evidence=[], submission=submission.digest)
