"""The invented cohort: every example gets the marks that a human marker wrote down beside it."""

from __future__ import annotations

import tomllib

import pytest

from grader.course.course import Course
from grader.execution.time_limits import FACTOR
from grader.grading.pool import GraderPool
from grader.intake.collect import collect
from grader.intake.found import Found
from grader.records import Grade, Grading, Verdict
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
RIGHT = "right"


@pytest.fixture(scope="module")
def course():
    return Course(ROOT / "exercises")


@pytest.fixture(scope="module")
def found(course) -> dict[str, Found]:
    return {item.student: item for item in collect([EXAMPLES], course)}


def marks_of(student: str) -> dict:
    return tomllib.loads((EXAMPLES / f"{student}.marks.toml").read_text(encoding="utf-8"))


def expected_verdicts(marks: dict, names: list[tuple[str, str]]) -> dict[str, str]:
    """`part/name` → verdict, where exact and approximate are both `right`, for everything that is not listed."""
    wanted = {f"{part}/{name}": RIGHT for part, name in names}
    for part, by_verdict in marks.get("verdicts", {}).items():
        for verdict, listed in by_verdict.items():
            for name in [name for of, name in names if of == part] if listed == "all" else listed:
                assert wanted[f"{part}/{name}"] == RIGHT, f"{part}/{name} is listed twice, or a name that is no check"
                wanted[f"{part}/{name}"] = Verdict(verdict).value
    return wanted


def given_verdicts(grade: Grade) -> dict[str, str]:
    return {
        f"{check.part}/{check.name}": RIGHT if check.verdict.is_right else check.verdict.value for check in grade.checks
    }


def differences(marks: dict, grading: Grading, names: list[tuple[str, str]]) -> list[str]:
    """Where the grader and the human marker disagree, a line each."""
    grade = grading.grade
    lines = []
    for key, said in (("status", grade.status), ("score", grade.score), ("max", grade.max_score)):
        if marks[key] != said:
            lines.append(f"{key}: the marker says {marks[key]}, the grader {said} ({grade.reason or 'no reason'})")
    if grade.status == "ungradable":
        return lines
    given, remarks = given_verdicts(grade), {f"{check.part}/{check.name}": check.remark for check in grade.checks}
    for check, verdict in expected_verdicts(marks, names).items():
        if given.get(check) != verdict:
            lines.append(f"{check}: the marker says {verdict}, the grader {given.get(check)} ({remarks.get(check)})")
    return lines


@pytest.fixture(scope="module")
def cold(course):
    with GraderPool(course, "cold", "bwrap") as pool:
        yield pool


STUDENTS = sorted(path.name.removesuffix(".marks.toml") for path in EXAMPLES.glob("*.marks.toml"))


def test_every_example_has_its_marks_and_no_marks_lack_an_example(found):
    assert sorted(found) == STUDENTS
    assert len(STUDENTS) >= 14


EVERY_DAY = STUDENTS[::2]


@pytest.mark.parametrize(
    "student",
    [student if student in EVERY_DAY else pytest.param(student, marks=pytest.mark.slow) for student in STUDENTS],
)
def test_the_grader_marks_as_the_marker_did(student, found, real_pool, monkeypatch):
    monkeypatch.setenv(FACTOR, "0.15")  # one has a loop that never ends
    marks = marks_of(student)
    grading = real_pool.grade(found[student].submission())
    names = real_pool.check_names("01_backprop_ninja")
    found_differences = differences(marks, grading, names)
    assert not found_differences, f"{student}: {marks['what']}\n" + "\n".join(found_differences)
    unchecked = [check.name for check in grading.grade.checks if check.verdict is Verdict.UNCHECKED]
    assert len([flag for flag in grading.grade.flags if flag.code == "unchecked"]) == len(unchecked)


@pytest.mark.slow
@pytest.mark.parametrize("student", STUDENTS)
def test_cold_kernels_give_the_same_marks_for_the_same_reasons(student, found, real_pool, cold):
    warm, anew = (pool.grade(found[student].submission()).grade for pool in (real_pool, cold))
    told = [[(check.part, check.name, check.verdict, check.points, check.case, check.shape, check.diagnosis,
              check.remark) for check in grade.checks] for grade in (warm, anew)]  # fmt: skip
    assert told[0] == told[1]
    assert (warm.status, warm.score, warm.flags) == (anew.status, anew.score, anew.flags)
