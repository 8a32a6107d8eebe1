"""A student's exercises together, by their weights."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from grader.records import Grade, Record

Excused = AbstractSet[tuple[str, str]]
"""Students, each with an exercise that they handed in nothing for and needn't have."""


class Total(Record, frozen=True):
    """A student's exercises together. A score is None, and so is the total, where one could not be graded.

    `excused` are the exercises that don't count for this student.
    """

    student: str
    scores: dict[str, float | None]
    percent: float | None
    excused: list[str] = []


def totals(grades: Sequence[Grade], excused: Excused = frozenset()) -> list[Total]:
    """Each student's total: the mean of the shares of the points, by weight, over the exercises that anyone handed in.

    What a student didn't hand in is a zero, but for what they were excused from. What could not be graded is not known,
    and so the total isn't.
    """
    weights = {
        grade.exercise: grade.standing.weight if grade.standing is not None else 1.0
        for grade in grades
        if grade.max_score > 0
    }
    by_student: dict[str, dict[str, Grade]] = {student: {} for student, _ in excused}
    for grade in grades:
        by_student.setdefault(grade.student, {})[grade.exercise] = grade
    found = []
    for student, own in sorted(by_student.items()):
        scores = {exercise: grade.score if grade.status == "graded" else None for exercise, grade in own.items()}
        left_out = [exercise for exercise in weights if (student, exercise) in excused]
        whole = sum(weight for exercise, weight in weights.items() if exercise not in left_out)
        percent = None
        if whole > 0 and None not in scores.values():
            earned = sum(
                weights[exercise] * grade.score / grade.max_score
                for exercise, grade in own.items()
                if exercise in weights
            )
            percent = 100 * earned / whole
        found.append(Total(student=student, scores=scores, percent=percent, excused=left_out))
    return found
