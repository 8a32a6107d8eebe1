"""Suspiciously similar submissions are found; right ones that are alike by nature are not."""

from __future__ import annotations

import random
import string

import msgspec
import pytest

from grader.cohort.similarity import Own, own_lines, similar_groups
from grader.records import Submission
from grader.reports.cohort_page import CohortRow
from grader.reports.html import render_index

USUAL = [f"dx{number}=dy{number}*x{number}.sum(0,keepdim=True)" for number in range(12)]
ODD = [
    "#herewegobackthroughthemeanandthisisthetrickybit",
    "tmpthing=torch.zeros_like(logprobs)+0.0",
    "dlogprobs=tmpthing-(1.0/n)*torch.eye(27)[Yb]",
    "dprobs=(probs**-1.0)*dlogprobs#oneoverp",
]


def own(student, *lines):
    return Own(student, "mini", [*USUAL, *lines])


def crowd(size=30):
    """Students who each have long comments of their own."""
    chance = random.Random(1)
    remarks = ["#" + "".join(chance.choices(string.ascii_lowercase, k=200)) for _ in range(size)]
    return [own(f"s{number}", remark) for number, remark in enumerate(remarks)]


def test_usual_answers_are_no_reason_for_suspicion():
    assert similar_groups([own(f"s{number}") for number in range(30)]) == []
    assert similar_groups(crowd()) == []


def test_a_pair_with_the_same_unusual_lines_is_found():
    (group,) = similar_groups([*crowd(), own("ann", *ODD), own("bob", *ODD)])
    assert (group.students, group.alike, group.lines) == (["ann", "bob"], 100, 4)


def test_small_changes_hide_nothing_and_a_ring_is_one_group():
    changed = [line.replace("tmpthing", "mything") for line in ODD]
    (group,) = similar_groups([*crowd(), own("ann", *ODD), own("bob", *changed), own("cy", *changed, "#mine")])
    assert group.students == ["ann", "bob", "cy"]
    assert 90 <= group.alike < 100


def test_little_text_is_not_enough():
    assert similar_groups([*crowd(), own("ann", ODD[0]), own("bob", ODD[0])]) == []


def test_other_exercises_are_other_groups():
    other = msgspec.structs.replace(own("bob", *ODD), exercise="other")
    assert similar_groups([*crowd(), own("ann", *ODD), other]) == []


@pytest.fixture
def graded(pool, solved):
    """A grading of the solved notebook with a comment of the student's."""
    data = solved(("dhsum = (h", "# my own remark\ndhsum =    (h"))
    return pool.grade(Submission(student="ann", exercise="mini", data=data))


def test_released_lines_and_spacing_are_left_out(graded, course):
    lines = own_lines(graded, course.exercise("mini")).lines
    assert "#myownremark" in lines
    assert any(line.startswith("dhsum=(h") for line in lines)
    released = {"".join(line.split()) for cell in course.exercise("mini").cells for line in cell.source.splitlines()}
    assert not released & set(lines)


def test_the_page_lists_them_with_links(graded):
    groups = similar_groups([*crowd(), own("ann", *ODD), own("<i>bob", *ODD)])
    grades = [graded.grade, msgspec.structs.replace(graded.grade, student="<i>bob")]
    grades = [msgspec.structs.replace(grade, exercise="mini") for grade in grades]
    page = render_index([CohortRow(grade, f"{number}/mini.html") for number, grade in enumerate(grades)], groups)
    section = page[page.index('id="similar"') :][:1500]
    assert "100 % alike" in section
    assert 'href="./0/mini.html"' in section
    assert "&lt;i&gt;bob" in section
