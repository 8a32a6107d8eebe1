"""What counts of a submission's points: due dates, lateness, attempts and weights."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import sqlite3
from datetime import UTC, datetime

import msgspec
import pytest

from grader.cohort.times import Times
from grader.course.catalog import Late, Terms, read_catalog
from grader.course.course import Course
from grader.errors import CourseError, UsageError
from grader.gradebook.gradebook import Gradebook
from grader.gradebook.late_policy import Attempt, with_standing
from grader.gradebook.overrides import new_override
from grader.gradebook.review_records import SubmissionKey
from grader.records import Check, Grade, Grading, Override, Verdict
from grader.reports.json_csv_junit import grades_csv, totals_csv
from grader.reports.totals import totals
from tests.conftest import HERE, MINI
from tests.warm_python import grader

DUE = datetime.fromisoformat("2026-12-04T23:59:00+01:00")
LATE = Late(percent_a_day=10, grace_minutes=15, at_most=25)
TERMS = Terms(due=DUE, late=LATE)


def grade(score=8.0, exercise="mini", student="ann", **rest):
    checks = [Check("p", "a", Verdict.EXACT, score, 10.0)]
    return Grade(
        student=student, exercise=exercise, status="graded", score=score, max_score=10.0, checks=checks, flags=[],
        cpu_seconds=0.1, wall_seconds=0.2, **rest,
    )  # fmt: skip


def settled(terms, *attempts, which=-1):
    """The grade of one of these attempts, each `(score, submitted)`."""
    made = [Attempt(submission=str(n), grade=grade(score), submitted=when) for n, (score, when) in enumerate(attempts)]
    return with_standing(made, made[which].submission, terms)


# --- lateness ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("submitted", "score", "said"),
    [
        ("2026-12-04T23:59:00+01:00", 8.0, None),
        ("2026-12-04T22:59:00Z", 8.0, None),  # the same moment in UTC
        ("2026-12-05T00:14:00+01:00", 8.0, None),  # within the grace
        ("2026-12-05T00:14:01+01:00", 7.2, "on day 1 after it was due (2026-12-04 23:59+01:00): 10 % of the 8 points"),
        ("2026-12-05T23:59:00+01:00", 7.2, "on day 1 "),
        ("2026-12-05T23:59:01+01:00", 6.4, "on day 2 "),
        ("2026-12-31T00:00:00-08:00", 6.0, "25 % of the 8 points are taken off"),  # the most that is taken off
        (None, 8.0, "It is not known when this was handed in, so nothing is taken off"),
    ],
)
def test_lateness_is_taken_off_the_score_by_the_day(submitted, score, said):
    found = settled(TERMS, (8.0, submitted))
    assert found.score == pytest.approx(score)
    assert found.standing.earned == 8.0
    assert found.checks == grade().checks  # never the checks' verdicts or points
    assert [said in reason for reason in found.standing.reasons] == ([True] if said else [])


def test_without_a_policy_lateness_is_said_and_costs_nothing():
    found = settled(Terms(due=DUE), (8.0, "2026-12-06T00:00:00+01:00"))
    assert found.score == 8.0
    assert found.standing.reasons[0].endswith("nothing is taken off.")


def test_without_terms_a_grade_is_what_it_was():
    assert settled(Terms(), (8.0, None)) == grade()


def test_what_could_not_be_graded_stays_that():
    lost = msgspec.structs.replace(grade(0.0), status="ungradable", reason="It is empty.", checks=[])
    assert with_standing([Attempt(submission="x", grade=lost, submitted="2027-01-01T00:00:00Z")], "x", TERMS) == lost


def test_a_score_set_by_hand_is_what_counts():
    by_hand = Override(points=8.0, was=3.0, reason="Was ill.", at="2026-12-09T10:00:00+00:00")
    late = Attempt(submission="2", grade=grade(8.0, overrides=[by_hand]), submitted="2026-12-07T00:00:00Z")
    better = Attempt(submission="1", grade=grade(9.5), submitted="2026-12-01T00:00:00Z")
    found = with_standing([better, late], "2", Terms(due=DUE, late=LATE, counts="best"))
    assert (found.score, found.standing.late_percent, found.standing.counted) == (8.0, 0.0, 2)


# --- attempts ---------------------------------------------------------------------------------------------------------

EARLY = "2026-12-01T00:00:00Z"


@pytest.mark.parametrize(
    ("terms", "scores", "score", "counted"),
    [
        (Terms(counts="best"), [3, 9, 5], 9.0, 2),
        (Terms(counts="best", attempts=3), [3, 5, 9, 10], 9.0, 3),
        (Terms(counts="last", attempts=2), [3, 9, 5], 9.0, 2),
        (Terms(counts="last", attempts=5), [3, 9, 5], 5.0, 3),
        (Terms(counts="best"), [7, 7], 7.0, 1),
    ],
)
def test_attempts_count_as_the_terms_say(terms, scores, score, counted):
    found = settled(terms, *((float(one), EARLY) for one in scores))
    assert (found.score, found.standing.counted, found.standing.attempt) == (score, counted, len(scores))
    assert found.standing.earned == scores[-1]
    assert f"with {score:g} points" in found.standing.reasons[-1]


@pytest.mark.parametrize(
    ("terms", "scores", "said"),
    [
        (Terms(attempts=3), [4.0, 7.0], "Attempt 2 of 3: it counts, with 7 points."),
        (Terms(attempts=1), [4.0, 7.0], "Attempt 2 (only the first counts): attempt 1 counts, with 4 points."),
        (Terms(counts="best"), [7 + 1 / 3, 5.0], "Attempt 2: attempt 1 counts, the best, with 7.33 points."),
    ],
)
def test_one_short_sentence_tells_which_attempt_counts(terms, scores, said):
    assert settled(terms, *[(score, None) for score in scores]).standing.reasons == [said]


def test_the_best_attempt_is_the_best_after_lateness():
    terms = Terms(due=DUE, late=LATE, counts="best")
    found = settled(terms, (8.0, EARLY), (9.0, "2026-12-06T12:00:00Z"))
    assert (found.score, found.standing.counted) == (8.0, 1)
    assert len(found.standing.reasons) == 2


# --- kept in the gradebook --------------------------------------------------------------------------------------------


def grading(score, submission, exercise="mini"):
    return Grading(grade(score, exercise), "Mini", [], [], [], submission=submission, exercise_version="v1")


@pytest.fixture
def book(tmp_path):
    with Gradebook(tmp_path / "gradebook.sqlite") as book:
        yield book


def test_attempts_are_what_the_runs_graded_each_content_once(book, tmp_path):
    terms = {"mini": Terms(counts="best", attempts=2)}
    for score, submission in ((4.0, "a"), (4.0, "a"), (7.0, "b"), (9.0, "c")):
        number = book.start(tmp_path, terms)
        shown = book.add(number, grading(score, submission))
        book.finish(number)
    (found,) = book.grades()
    assert found == shown.grade
    assert (found.score, found.standing.attempt, found.standing.counted) == (7.0, 3, 2)
    assert [each.grade.score for each in book.results(3)] == [7.0]  # an earlier run knows of no later attempt
    assert [each.grade.score for each in book.results(1)] == [4.0]


def test_a_mark_set_by_hand_on_an_earlier_attempt_counts_in_the_best(book, tmp_path):
    terms = {"mini": Terms(counts="best")}
    for score, submission in ((4.0, "a"), (7.0, "b")):
        number = book.start(tmp_path, terms)
        book.add(number, grading(score, submission))
        book.finish(number)
    first = grading(4.0, "a")
    key = SubmissionKey(first.grade.student, first.grade.exercise, first.submission)
    book.log.set_mark(key, new_override(first.grade, "a", 8.5, "Right idea."))
    (found,) = book.grades()
    assert (found.score, found.standing.counted) == (8.5, 1)


def test_each_result_keeps_its_runs_terms_and_a_weight_is_the_same_for_all(book, tmp_path):
    for student, terms in (("ann", TERMS), ("bob", Terms(due=DUE, weight=3.0)), ("eve", Terms(weight=5.0))):
        number = book.start(tmp_path, {"mini": terms})
        kept = msgspec.structs.replace(grading(8.0, student), grade=grade(8.0, student=student))
        book.add(number, kept, datetime.fromisoformat("2026-12-05T12:00:00Z"))
        book.finish(number)
    assert {each.student: each.score for each in book.grades()} == {"ann": pytest.approx(7.2), "bob": 8.0, "eve": 8.0}
    assert {each.standing.weight for each in book.grades()} == {5.0}
    assert [each.grade.standing.weight for each in book.results(upto=2)] == [3.0, 3.0]
    assert [each.standing.weight for each in book.grades(1)] == [1.0]


def test_a_time_is_kept_for_the_same_content_and_can_be_corrected(book, tmp_path):
    def graded(submission, when):
        number = book.start(tmp_path, {"mini": TERMS})
        found = book.add(number, grading(8.0, submission), datetime.fromisoformat(when) if when else None).grade
        book.finish(number)
        return found.score

    late = "2026-12-05T12:00:00Z"
    assert graded("a", late) == pytest.approx(7.2)
    assert graded("a", None) == pytest.approx(7.2)
    assert graded("a", "2026-12-04T12:00:00Z") == 8.0
    assert graded("b", None) == 8.0  # of another notebook nothing was said


def test_a_gradebook_from_before_there_were_due_dates_is_brought_up_to_date(tmp_path):
    path = tmp_path / "old.sqlite"
    with Gradebook(path) as book:
        number = book.start(tmp_path)
        book.add(number, grading(8.0, "a"))
        book.finish(number)
    with contextlib.closing(sqlite3.connect(path)) as connection:  # as the first version left it
        for table in ("withdrawn", "notes", "identities", "renames", "extensions"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("ALTER TABLE overrides DROP COLUMN author")
        connection.execute("ALTER TABLE results DROP COLUMN path")
        connection.execute("DROP INDEX results_by_student")
        connection.execute("ALTER TABLE runs DROP COLUMN terms")
        connection.execute("ALTER TABLE results DROP COLUMN submitted")
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
        connection.commit()
    with Gradebook(path) as book:
        assert list(book.grades()) == [grade(8.0)]
        book.add(
            book.start(tmp_path, {"mini": TERMS}), grading(8.0, "a"), datetime.fromisoformat("2026-12-05T12:00:00Z")
        )
        assert [each.score for each in book.grades(2)] == [pytest.approx(7.2)]


# --- totals -----------------------------------------------------------------------------------------------------------


def weighted(score, exercise, weight, student="ann"):
    found = with_standing(
        [Attempt(submission="x", grade=grade(score, exercise, student), submitted=None)], "x", Terms(weight=weight)
    )
    assert found.score == score
    return found


def test_a_total_is_the_mean_of_the_shares_by_weight():
    given = [weighted(8.0, "01", 1), weighted(5.0, "02", 3), weighted(10.0, "01", 1, "ben"), grade(10.0, "03", "ben")]
    assert {total.student: total.percent for total in totals(given)} == {
        "ann": pytest.approx(100 * (0.8 + 1.5) / 5),
        "ben": pytest.approx(100 * (1 + 0 + 1) / 5),  # ben has not handed 02 in: that is a zero
    }
    lost = msgspec.structs.replace(grade(0.0, "02", "ben"), status="ungradable", reason="Empty.")
    assert {total.student: total.percent for total in totals([*given, lost])}["ben"] is None
    assert [total.percent for total in totals([weighted(8.0, "01", 0)])] == [None]


def test_what_a_student_is_excused_from_is_no_zero():
    given = [weighted(8.0, "01", 1), weighted(5.0, "02", 3), weighted(10.0, "01", 1, "ben")]
    excused = {("ben", "02"), ("cy", "01"), ("cy", "02"), ("ann", "03")}
    found = {total.student: total for total in totals(given, excused)}
    assert {student: total.percent for student, total in found.items()} == {
        "ann": pytest.approx(100 * (0.8 + 1.5) / 4), "ben": 100.0, "cy": None,
    }  # fmt: skip
    assert totals_csv(given, excused).splitlines()[2:] == ["ben,10,excused,100", "cy,excused,excused,"]


def test_the_totals_can_be_had_from_the_rows_that_are_exported():
    given = [weighted(8.0, "01", 1), weighted(5.0, "02", 2.5), settled(TERMS, (9.0, "2026-12-05T12:00:00Z"))]
    lines = list(csv.DictReader(grades_csv(given).splitlines()))
    shares = [(float(line["weight"]), float(line["score"]) / float(line["max_score"])) for line in lines]
    (total,) = csv.DictReader(totals_csv(given).splitlines())
    assert float(total["total_percent"]) == pytest.approx(
        100 * sum(weight * share for weight, share in shares) / sum(weight for weight, _ in shares), abs=0.005
    )
    assert [total[line["exercise"]] for line in lines] == [line["score"] for line in lines]
    assert [float(line["earned"]) for line in lines] == [8.0, 5.0, 9.0]


# --- the catalogue and the file of times ------------------------------------------------------------------------------


def with_terms(folder, text, late=""):
    catalog = folder / "exercises" / "catalog.toml"
    catalog.write_text(late + catalog.read_text().replace("[exercises.visible]", f"{text}\n[exercises.visible]"))
    return catalog


def test_the_catalogue_says_the_terms_and_moving_them_regrades_nobody(mini):
    before = Course(mini / "exercises").exercise(MINI).version
    text = "[exercises.terms]\ndue = 2026-12-04T23:59:00+01:00\nweight = 2\nattempts = 3\ncounts = 'best'\n"
    with_terms(mini, text, "[late]\npercent_a_day = 10\ngrace_minutes = 15\nat_most = 25\n")
    course = Course(mini / "exercises")
    assert course.catalog.terms[MINI] == Terms(due=DUE, late=LATE, weight=2, attempts=3, counts="best")
    assert course.exercise(MINI).version == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("due = 2026-12-04T23:59:00", "timezone"),
        ("due = 'tomorrow'", "due"),
        ("weight = -1", "weight"),
        ("attempts = 0", "attempts"),
        ("late = { percent_a_day = 110 }", "percent_a_day"),
        ("counts = 'first'", "counts"),
        ("penalty = 3", "penalty"),
    ],
)
def test_terms_that_mean_nothing_are_refused(mini, text, said):
    with pytest.raises(CourseError, match=said):
        read_catalog(with_terms(mini, f"[exercises.terms]\n{text}"))


def test_a_file_of_times_is_by_student_and_exercise(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("student,exercise,submitted\nann,01,2026-12-04T23:00:00Z\nann,,2026-12-05T00:00:00+01:00\n")
    times = Times(path)
    assert times.of("ann", "01") == datetime(2026, 12, 4, 23, tzinfo=UTC)
    assert times.of("ann", "02") == datetime.fromisoformat("2026-12-05T00:00:00+01:00")
    assert times.of("ben", "01") is None
    assert times.of_nobody({("ann", "01")}) == []
    assert times.of_nobody({("ann", "02"), ("ben", "01")}) == ["'ann' (01)"]
    assert times.of_nobody({("anne", "01")}) == ["'ann' (01)", "'ann'"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("student,when\nann,2026-12-04\n", "needs the columns student and submitted"),
        ("student,submitted\nann,2026-12-04 23:00\n", "Line 2 .* has no time zone"),
        ("student,submitted\nann,last Friday\n", "Line 2 .* isn't a time"),
        (
            "student,submitted\nann,2026-12-04T23:00:00Z\nann,2026-12-05T23:00:00Z\n",
            "Line 3 .* is the second for 'ann'",
        ),
        ("", "is empty"),
    ],
)
def test_a_file_of_times_that_is_wrong_is_said(tmp_path, text, said):
    (tmp_path / "times.csv").write_text(text)
    with pytest.raises(UsageError, match=said):
        Times(tmp_path / "times.csv")


# --- as a user has it -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_late_submission_from_the_catalogue_to_every_output(tmp_path):
    shutil.copytree(HERE / "courses" / "mini" / "exercises", tmp_path / "exercises")
    terms = "[exercises.terms]\ndue = 2026-12-04T23:59:00+01:00\nlate = { percent_a_day = 10 }\n"
    catalog = with_terms(tmp_path, terms)
    (tmp_path / "in").mkdir()
    for name in ("ann", "ben"):
        shutil.copy(HERE / "courses" / "mini" / "solutions" / f"{MINI}.ipynb", tmp_path / "in" / f"{name}.ipynb")
    (tmp_path / "times.csv").write_text("student,submitted\nann,2026-12-06T12:00:00+01:00\n")
    grade = ("grade", "in", "--out", "out", "--workers", "1")
    done = grader(*grade, "--times", "times.csv", cwd=tmp_path)
    assert "12.8 / 16" in done.stdout
    reason = "This was handed in late, on day 2 after it was due (2026-12-04 23:59+01:00): 20 % of the 16 points"

    data = json.loads((tmp_path / "out" / "ann" / f"{MINI}.json").read_text())
    assert (data["score"], data["standing"]["earned"]) == (12.8, 16.0)
    assert {check["verdict"] for check in data["checks"]} <= {"exact", "approximate"}
    assert sum(check["points"] for check in data["checks"]) == 16
    assert reason in (tmp_path / "out" / "ann" / f"{MINI}.html").read_text()
    assert "It is not known when" in (tmp_path / "out" / "ben" / f"{MINI}.html").read_text()
    assert reason in (tmp_path / "out" / "index.html").read_text()
    for kind in ("csv", "totals", "moodle"):
        (row, *_) = csv.DictReader(grader("export", kind, "out", cwd=tmp_path).stdout.splitlines())
        assert row["score" if kind == "csv" else MINI] == "12.8"

    # The due date moves: nobody is graded anew, and the marks say why they changed.
    catalog.write_text(catalog.read_text().replace("2026-12-04T23:59", "2026-12-07T23:59"))
    assert "16 / 16" in grader(*grade, cwd=tmp_path).stdout
    assert reason not in (tmp_path / "out" / "ann" / f"{MINI}.html").read_text()
    out = grader("diff", "out", cwd=tmp_path, status=1).stdout
    assert "nothing is taken off any more" in out
    assert "ben" not in out
