"""A Grade as Gradescope's `results.json`. Pure functions of records."""

from __future__ import annotations

from typing import Any

import msgspec

from grader.records import Check, Grade
from grader.reports.json_csv_junit import placed
from grader.reports.verdict_text import explain
from grader.wording import in_points, rounded


def gradescope_json(grade: Grade) -> str:
    """Gradescope's `results.json` for one submission: a test for each check, and the whole Grade as extra data."""
    results: dict[str, Any] = {
        "score": grade.score,
        "output": _summary(grade),
        "output_format": "text",
        "visibility": "visible",
        "tests": [_gradescope_test(check, grade) for check in grade.checks],
        "extra_data": {"grade": grade},
    }
    return msgspec.json.format(msgspec.json.encode(results), indent=2).decode() + "\n"


def _summary(grade: Grade) -> str:
    if grade.status == "ungradable":
        lines = [f"This submission could not be graded, so its 0 points mean nothing yet. {grade.reason}"]
        return "\n".join([*lines, *map(placed, grade.comments)])
    lines = [f"{in_points(grade.score)} of {in_points(grade.max_score)} points."]
    lines += grade.standing.reasons if grade.standing is not None else []
    names = {(check.part, check.name) for check in grade.checks}
    lines += [placed(comment) for comment in grade.comments if (comment.part, comment.name) not in names]
    return "\n".join(lines + [flag.message for flag in grade.flags])


def _gradescope_test(check: Check, grade: Grade) -> dict[str, Any]:
    said = [each.text for each in grade.comments if (each.part, each.name) == (check.part, check.name)]
    return {
        "name": f"{check.part}: {check.name}",
        "score": rounded(check.points),
        "max_score": rounded(check.max_points),
        "status": "passed" if check.points == check.max_points else "failed",
        "output": "\n".join([explain(check), *said]),
        "output_format": "text",
        "visibility": "visible",
    }
