"""What needs a person, in which order, and what takes it out of the queue."""

from __future__ import annotations

import pytest

from grader.errors import UsageError
from grader.gradebook.gradebook import Gradebook
from grader.gradebook.overrides import new_override
from grader.gradebook.results import GradingKey, Result
from grader.gradebook.review_records import Changed, Note, SubmissionKey
from grader.records import Check, Flag, Grade, Grading, Verdict
from grader.reports.cohort_page import CohortRow, Group, cohort_of
from grader.review.class_page import read_query, table_of
from grader.review.queue import Kind, items_of

SUBMISSION = "a" * 64


def graded(student, *verdicts, flags=(), status="graded", reason=None):
    checks = [Check("p", f"d{number}", verdict, 0.0, 2.0) for number, verdict in enumerate(verdicts)]
    return Grade(
        student=student, exercise="mini", status=status, reason=reason, score=0.0, max_score=4.0, checks=checks,
        flags=list(flags), cpu_seconds=0.0, wall_seconds=0.0,
    )  # fmt: skip


def result(grade):
    return Result(grade, GradingKey(SUBMISSION, "v", "g"))


CLASS = [
    graded("ann", Verdict.EXACT, Verdict.WRONG),
    graded(
        "bob",
        Verdict.UNCHECKED,
        Verdict.UNCHECKED,
        flags=[Flag("unchecked", "d0: died"), Flag("unchecked", "d1: died")],
    ),
    graded("cy", status="ungradable", reason="The file isn't JSON."),
    graded("dee", status="ungradable", reason="The grader itself failed (KeyError: 3): please report this."),
    graded("eve", Verdict.EXACT, Verdict.EXACT, flags=[Flag("autograd-used", "d1 comes from autograd.", "p")]),
    graded("fay", Verdict.EXACT, flags=[Flag("another", "Look at this.", "p")]),
]
GROUPS = [Group("mini", ["ann", "eve"], 97, 4)]


def test_the_queue_has_the_order_of_urgency_and_nothing_of_who_is_fine():
    of = SubmissionKey("ann", "mini", SUBMISSION)
    dispute = Note(
        of=of, kind="disputed", text="She says it is right.", by="tom", at="2026-11-29", part="p", name="d1", id=7
    )
    items = items_of(map(result, CLASS), GROUPS, [], [dispute])
    assert [(item.kind.value, item.of.student) for item in items] == [
        ("ungradable", "cy"), ("unchecked", "bob"), ("autograd", "eve"), ("flagged", "fay"), ("similar", "ann"),
        ("disputed", "ann"), ("failed", "dee"),
    ]  # fmt: skip
    assert [item.kind for item in items] == sorted((item.kind for item in items), key=[*Kind].index)
    by_kind = {item.kind: item for item in items}
    assert by_kind[Kind.UNCHECKED].checks == [("p", "d0"), ("p", "d1")]  # one question, not two
    assert by_kind[Kind.AUTOGRAD].checks == [("p", "d1")]
    assert by_kind[Kind.SIMILAR].others == [SubmissionKey("eve", "mini", SUBMISSION)]
    assert len({item.key for item in items}) == len(items)


def test_a_settled_question_stays_settled_until_another_notebook_is_handed_in():
    (item,) = items_of([result(CLASS[2])], [], [], [])
    note = Note(of=item.of, kind="settled", text="Seen on paper.", by="tom", item=item.key)
    (settled,) = items_of([result(CLASS[2])], [], [], [note])
    assert settled.settled == note
    (again,) = items_of([Result(CLASS[2], GradingKey("b" * 64, "v", "g"))], [], [], [note])
    assert again.settled is None


# --- the log --------------------------------------------------------------------------------------------------------


@pytest.fixture
def book(tmp_path):
    with Gradebook(tmp_path / "gradebook.sqlite") as book:
        run = book.start(tmp_path)
        for grade in CLASS:
            book.add(run, Grading(grade, "Mini", [], [], [], submission=SUBMISSION))
        yield book


OF = SubmissionKey("ann", "mini", SUBMISSION)


def points(book):
    return next(iter(book.gradings(student="ann"))).grade.score


def test_a_mark_for_a_check_a_part_and_the_whole_and_each_taken_back(book):
    grade = CLASS[0]
    rows = [
        book.log.set_mark(OF, new_override(grade, "d1", 1.5, "Nearly.", by="tom"), 0),
        book.log.set_mark(OF, new_override(grade, None, 3.0, "The idea.", part="p", by="tom"), 0),
        book.log.set_mark(OF, new_override(grade, None, 0.5, "Late.", by="tom"), 0),
    ]
    (grading,) = book.gradings(student="ann")
    assert grading.grade.score == 0.5
    assert grading.grade.points_of("p") == 3.0
    assert [(each.part, each.name, each.was, each.by) for each in grading.grade.overrides] == [
        ("p", "d1", 0.0, "tom"), ("p", None, 1.5, "tom"), (None, None, 3.0, "tom"),
    ]  # fmt: skip
    for row, left in zip(reversed(rows), (3.0, 1.5, 0.0), strict=True):
        assert book.log.withdraw("overrides", [row], "tom") == [OF]
        assert points(book) == left
    assert book.log.withdraw("overrides", rows, "eve") == []  # nothing is taken back twice


@pytest.mark.parametrize(("part", "most"), [("p", 5.0), ("q", 1.0)])
def test_a_part_that_is_worth_less_or_is_not_there_gets_no_mark(part, most):
    with pytest.raises(UsageError):
        new_override(CLASS[0], None, most, "Because.", part=part)


def test_who_did_not_see_the_mark_that_stands_there_is_told_which_it_is(book):
    tom, eve = (new_override(CLASS[0], "d1", given, "Because.", by=by) for given, by in ((1.0, "tom"), (2.0, "eve")))
    first = book.log.set_mark(OF, tom, 0)
    with pytest.raises(Changed) as changed:
        book.log.set_mark(OF, eve, 0)
    assert changed.value.mark.override.by == "tom"
    assert points(book) == 1.0
    book.log.set_mark(OF, eve, first)
    assert points(book) == 2.0
    book.log.set_mark(OF, new_override(CLASS[0], "d0", 1.0, "Another check.", by="tom"), 0)
    kinds = [item.kind for item in items_of(book.results(), [], book.log.marks(), book.log.notes())]
    assert Kind.DISPUTED in kinds  # two people, two marks


def test_comments_reach_the_grade_and_internal_notes_never_do(book):
    notes = [Note(of=OF, kind=kind, text=kind, by="tom") for kind in ("comment", "internal", "settled", "disputed")]
    book.log.add_notes(notes)
    (grading,) = book.gradings(student="ann")
    assert [comment.text for comment in grading.grade.comments] == ["comment"]
    book.log.withdraw("notes", [note.id for note in book.log.notes()], None)
    assert next(iter(book.gradings(student="ann"))).grade.comments == []


def test_undo_takes_back_the_last_action_of_that_person_whole_and_then_the_one_before(book):
    since = "2020"
    book.log.set_mark(OF, new_override(CLASS[0], "d1", 1.0, "Because.", by="tom"), 0)
    both = [
        Note(of=SubmissionKey(student, "mini", SUBMISSION), kind="comment", text="To all.", by="tom")
        for student in ("ann", "bob")
    ]
    book.log.add_notes(both)
    book.log.add_notes([Note(of=OF, kind="comment", text="Of another.", by="eve")])
    action = book.log.last_action("tom", since)
    assert (action.source, len(action.rows), action.label) == ("notes", 2, "the comment for 2 students")
    book.log.withdraw(action.source, action.rows, "tom")
    action = book.log.last_action("tom", since)
    assert action.label == "the mark of 1 point for d1 of ann"
    book.log.withdraw(action.source, action.rows, "tom")
    assert book.log.last_action("tom", since) is None
    assert [note.text for note in book.log.notes()] == ["Of another."]
    assert book.log.last_action("eve", "2999") is None


def test_whose_page_changed_is_known_without_reading_everything(book):
    before = book.log.latest()
    book.log.add_notes([Note(of=OF, kind="comment", text="x", by=None)])
    assert book.log.students_since(before) == {"ann"}
    (row,) = (note.id for note in book.log.notes())
    before = book.log.latest()
    book.log.withdraw("notes", [row], None)
    assert book.log.students_since(before) == {"ann"}


# --- the class ------------------------------------------------------------------------------------------------------


def names(query, totals=None):
    cohort = cohort_of([CohortRow(grade, None) for grade in CLASS])
    return [each.grade.student for each in table_of(cohort, totals or {}, read_query(query)).rows]


@pytest.mark.parametrize(
    ("query", "students"),
    [
        ({"check": "p/d1", "verdict": "wrong"}, ["ann"]),
        ({"verdict": "wrong", "check": "p/d0"}, []),
        ({"verdict": "unchecked"}, ["bob"]),
        ({"flag": "autograd-used"}, ["eve"]),
        ({"status": "ungradable", "sort": "student", "down": "yes"}, ["dee", "cy"]),
        ({"find": "A", "sort": "wrong", "down": "yes"}, ["ann", "fay"]),
        ({"find": "nobody"}, []),
        ({"page": "-3", "exercise": "mini", "sort": "no such column"}, ["ann", "bob", "cy", "dee", "eve", "fay"]),
    ],
)
def test_a_filter_fits_who_fits_all_of_it(query, students):
    assert names(query) == students


def test_totals_are_sorted_as_numbers_and_the_unknown_ones_come_last():
    totals = {"ann": 9.5, "bob": 80.0, "cy": None, "dee": 10.0, "eve": 100.0, "fay": 0.0}
    assert names({"sort": "total", "down": "yes"}, totals) == ["eve", "bob", "dee", "ann", "fay", "cy"]
