"""The gradebook keeps every grading as it was made, and a run grades only what it doesn't have."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import multiprocessing
import os
import random
import re
import sqlite3
import unicodedata
from urllib.parse import unquote

import msgspec
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, make_url
from sqlalchemy.exc import DBAPIError

from grader.cohort.changes import override_mark
from grader.cohort.run import grade_cohort
from grader.course.catalog import Terms
from grader.errors import UsageError
from grader.files import safe_name
from grader.gradebook.diff import changes
from grader.gradebook.gradebook import Gradebook
from grader.gradebook.results import GradingKey, Result
from grader.gradebook.schema import gradings, metadata
from grader.grading.ungradable import ungradable
from grader.intake.found import Found
from grader.records import Check, Grade, Grading, Submission, Verdict
from grader.version import grader_version
from tests import gradebook_killed
from tests.gradebook_killed import STUDENTS

POSTGRESQL = "GRADER_TEST_POSTGRESQL"
"""The environment variable with the URL of a PostgreSQL server on which databases may be made and dropped."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'gradebook.sqlite'}"
    address = os.environ.get(POSTGRESQL)
    if address is None:
        pytest.skip(f"{POSTGRESQL} names no database")
    name = f"grader_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"  # processes that run at once have one each
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {name}")
    return make_url(address).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def book(url):
    with Gradebook(url) as book:
        yield book


def grading(student="ann", verdict=Verdict.WRONG, submission="1" * 64, **rest):
    """An invented grading of two checks worth a point each; `b` has the given verdict."""
    checks = [
        Check("p", "a", Verdict.EXACT, 1.0, 1.0),
        Check("p", "b", verdict, float(verdict is not Verdict.WRONG), 1.0),
    ]
    grade = Grade(
        student=student, exercise="mini", status="graded", score=sum(check.points for check in checks), max_score=2.0,
        checks=checks, flags=[], cpu_seconds=0.1, wall_seconds=0.2,
    )  # fmt: skip
    return Grading(grade, "Mini", [], [], [], submission=submission, exercise_version="v1", **rest)


class Graders:
    """Workers that invent gradings and note whom they graded; the files say `wrong` or not."""

    def __init__(self):
        self.graded = []

    @contextlib.contextmanager
    def open(self, left):
        yield self

    def grade(self, found, done):
        for item in found:
            self.graded.append(item.student)
            submission = item.submission()
            if submission.data == b"unreadable":
                done(ungradable(submission, None, "No notebook."))
            else:
                verdict = Verdict.WRONG if b"wrong" in submission.data else Verdict.EXACT
                done(grading(item.student, verdict, submission.digest))


@pytest.fixture
def handed_in(tmp_path):
    """Writes files and gives them as found: `handed_in(ann="right", bob="wrong")`."""

    def write(**contents):
        found = []
        for student, content in contents.items():
            path = tmp_path / f"{student}.ipynb"
            path.write_text(content)
            found.append(Found(student=student, exercise="mini", path=str(path)))
        return found

    return write


@pytest.fixture
def run(course, book, tmp_path):
    """Grades with `Graders`; whom they graded."""

    def run(found, **options):
        graders = Graders()
        run.grades = grade_cohort(found, course, book, tmp_path / "out", graders.open, **options)
        return graders.graded

    return run


def test_what_is_kept_comes_back_whole(book, tmp_path):
    number = book.start(tmp_path)
    kept = grading("zoë \u202e'; DROP TABLE runs", notes=["a note"])
    book.add(number, kept)
    book.finish(number)
    assert list(book.gradings()) == [kept]
    assert list(book.grades()) == [kept.grade]
    (only,) = book.runs()
    assert (only.id, only.results, only.finished is not None) == (number, 1, True)


def test_a_grading_can_be_neither_changed_nor_deleted(book, tmp_path):
    book.add(book.start(tmp_path), grading())
    for statement in (gradings.update().values(score=2.0), gradings.delete()):
        with pytest.raises(DBAPIError, match="kept as they were made"), book._engine.begin() as connection:
            connection.execute(statement)


def test_a_run_has_one_result_a_submission(book, tmp_path):
    number = book.start(tmp_path)
    book.add(number, grading())
    with pytest.raises(DBAPIError, match=r"(?i)unique"):
        book.add(number, grading())
    with book._engine.connect() as connection:
        assert len(connection.execute(gradings.select()).all()) == 1  # neither half of the second try is there


def test_the_tables_are_what_the_migrations_make(book):
    with book._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_rerun_grades_only_what_changed(run, handed_in, book):
    assert run(handed_in(ann="right", bob="wrong", cy="unreadable")) == ["ann", "bob", "cy"]
    assert run(handed_in(ann="right", bob="better", cy="unreadable")) == ["bob", "cy"]
    assert [(grade.student, grade.score) for grade in run.grades] == [("ann", 2.0), ("bob", 2.0), ("cy", 0.0)]
    assert run(handed_in(ann="right", bob="better"), resume=False) == ["ann", "bob"]
    assert [each.results for each in book.runs()] == [3, 3, 2]


def test_a_later_run_adds_to_what_is_there(run, handed_in, book, course, tmp_path):
    run(handed_in(ann="wrong", bob="right"))
    run(handed_in(ann="right", late="wrong"))
    assert [(grade.student, grade.score) for grade in run.grades] == [("ann", 2.0), ("late", 1.0)]
    everybody = [("ann", 2.0), ("bob", 2.0), ("late", 1.0)]
    assert [(grade.student, grade.score) for grade in book.grades()] == everybody
    assert [(each.grade.student, each.grade.score) for each in book.gradings()] == everybody
    assert [grade.student for grade in book.grades(1)] == ["ann", "bob"]
    rows = list(csv.DictReader((tmp_path / "out" / "grades.csv").read_text().splitlines()))
    assert [(row["student"], float(row["score"])) for row in rows] == everybody
    page = (tmp_path / "out" / "index.html").read_text()
    assert [f'href="./{name}/mini.html"' in page for name in ("ann", "bob", "late")] == [True] * 3
    assert override_mark(book, course, tmp_path / "out", "bob", None, "b", 0.5, "Looked again.").score == 1.5
    with pytest.raises(UsageError, match="no run 7"):
        list(book.grades(7))


def test_who_was_graded_into_another_folder_is_listed_without_a_link(course, book, handed_in, tmp_path):
    for folder, found in (("one", handed_in(ann="right")), ("two", handed_in(bob="right"))):
        grade_cohort(found, course, book, tmp_path / folder, Graders().open)
    page = (tmp_path / "two" / "index.html").read_text()
    assert "ann" in page
    assert ("./ann/mini.html" in page, "./bob/mini.html" in page) == (False, True)


def test_what_a_submission_costs_does_not_grow_with_the_gradebook(tmp_path):
    with Gradebook(tmp_path / "gradebook.sqlite") as book:
        asked = []
        event.listen(book._engine, "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
        number = book.start(tmp_path, {"mini": Terms(counts="best")})
        book.add(number, grading())
        known = book.known(["ann"], "mini", GradingKey("1" * 64, "v1", grader_version()))
        book.take_over(book.start(tmp_path, {"mini": Terms(counts="best")}), known, "ann")
        selects = [call for call in asked if call[0].startswith("SELECT")]
        assert len(selects) > 5
        with contextlib.closing(sqlite3.connect(tmp_path / "gradebook.sqlite")) as connection:
            for statement, parameters in selects:
                plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
                assert not [row for row in plan if row[3].startswith("SCAN")], statement


def test_another_exercise_or_grader_grades_anew(run, handed_in, course, monkeypatch):
    found = handed_in(ann="right")
    assert run(found) == ["ann"]
    monkeypatch.setattr(course.exercise("mini"), "version", "another")
    assert run(found) == ["ann"]
    assert run(found) == []
    for module in ("cohort.run", "gradebook.gradebook"):
        monkeypatch.setattr(f"grader.{module}.grader_version", lambda: "another")
    assert run(found) == ["ann"]


def test_a_run_takes_over_the_files_of_another_folder(run, handed_in, tmp_path):
    found = handed_in(ann="right")
    run(found)
    report = tmp_path / "out" / "ann" / "mini.html"
    report.unlink()
    (tmp_path / "out" / "ann" / "mini.json").unlink()
    assert run(found) == []
    assert "Mini" in report.read_text()


def test_an_interrupted_run_goes_on_where_it_was(course, book, handed_in, tmp_path, run):
    found = handed_in(ann="right", bob="wrong", cy="right")

    class Interrupted(Graders):
        def grade(self, found, done):
            super().grade(found[:2], done)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grade_cohort(found, course, book, tmp_path / "out", Interrupted().open)
    assert book.runs()[0].finished is None
    assert "bob" in (tmp_path / "out" / "grades.csv").read_text()
    assert run(found) == ["cy"]
    assert len(list(book.grades())) == 3


def test_diff_says_whose_marks_changed_and_why(run, handed_in, book, course, monkeypatch):
    run(handed_in(ann="right", bob="wrong", cy="right"))
    run(handed_in(ann="right", bob="better", dee="right"))
    first, second = book.pair()
    old, new = book.results(upto=first.id), book.results(upto=second.id)
    found = {change.student: change for change in changes(old, new)}
    assert set(found) == {"bob", "dee"}  # of cy, who was not graded again, the first result counts
    assert (found["bob"].before, found["bob"].after) == (1.0, 2.0)
    assert found["bob"].why == ["another notebook was handed in"]
    (check,) = found["bob"].checks
    assert (check.name, check.before, check.after, check.points_after) == ("b", "wrong", "exact", 1.0)
    assert found["dee"].why == ["was not there before"]
    (back,) = [each for each in changes(book.results(2), book.results(1)) if each.student == "dee"]
    assert back.why == ["is no longer there"]
    with pytest.raises(UsageError, match="nothing to compare"):
        book.pair(None, first.id)


def test_diff_names_versions_overrides_and_what_could_not_be_graded(book, tmp_path):
    ours = GradingKey("1", "v1", "g1")
    before = grading().grade
    results = {}
    results["old"] = [Result(before, ours)]
    results["new"] = [Result(msgspec.structs.replace(before, score=2.0), GradingKey("1", "v2", "g2"))]
    (change,) = changes(results["old"], results["new"])
    assert change.why == ["the exercise changed", "the grader changed from g1 to g2"]
    failed = ungradable(Submission("ann", "mini"), None, "It is empty.").grade
    (change,) = changes(results["old"], [Result(failed, ours)])
    assert (change.after, change.why) == (None, ["could not be graded now: It is empty."])


def test_an_override_is_kept_shown_and_holds_in_the_next_run(run, handed_in, book, course, tmp_path):
    found = handed_in(ann="wrong", bob="right")
    run(found)
    out = tmp_path / "out"
    grade = override_mark(book, course, out, "ann", None, "b", 0.5, "Nearly <b>right</b>.")
    assert (grade.score, [check.points for check in grade.checks]) == (1.5, [1.0, 0.5])
    report = (out / "ann" / "mini.html").read_text()
    assert "Nearly &lt;b&gt;right&lt;/b&gt;." in report
    assert json.loads((out / "ann" / "mini.json").read_text())["overrides"][0]["was"] == 0
    assert "ann,mini,graded,1.5,2" in (out / "grades.csv").read_text()
    assert "by hand" in (out / "index.html").read_text()
    assert run(found, resume=False) == ["ann", "bob"]
    assert [grade.score for grade in run.grades] == [1.5, 2.0]
    run(handed_in(ann="wrong again", bob="right"))
    assert [(grade.score, grade.overrides) for grade in run.grades] == [(1.0, []), (2.0, [])]


def test_a_score_set_by_hand_counts_where_nothing_could_be_graded(run, handed_in, book, course, tmp_path):
    run(handed_in(ann="right", cy="unreadable"))
    with pytest.raises(UsageError, match="worth 0 to 0"):  # invented gradings know no exercise
        override_mark(book, course, tmp_path / "out", "cy", None, None, 1.0, "Seen on paper.")
    grade = override_mark(book, course, tmp_path / "out", "ann", "mini", None, 0.25, "Copied.")
    assert (grade.status, grade.score) == ("graded", 0.25)
    grade = override_mark(book, course, tmp_path / "out", "ann", "mini", None, 2.0, "No: she was copied from.")
    assert (grade.score, [override.was for override in grade.overrides]) == (2.0, [2.0])


def test_a_name_and_a_reason_in_no_known_encoding(run, handed_in, book, course, tmp_path):
    run(handed_in(**{r"b\udcffb": "right"}))  # as `collect` spells it
    grade = override_mark(book, course, tmp_path / "out", "b\udcffb", None, None, 0.5, "Wei\udcdf nicht.")
    assert [override.reason for override in grade.overrides] == [r"Wei\udcdf nicht."]


@pytest.mark.parametrize(
    ("student", "check", "points", "reason", "message"),
    [
        ("nobody", "b", 1, "r", "no submission of 'nobody'"),
        ("ann", "c", 1, "r", "no check 'c'"),
        ("ann", "b", 1.5, "r", "worth 0 to 1"),
        ("ann", "b", float("nan"), "r", "can't be given"),
        ("ann", "b", -1, "r", "can't be given"),
        ("ann", "b", 1, " ", "needs a reason"),
    ],
)
def test_an_override_that_makes_no_sense_is_refused(
    run, handed_in, book, course, tmp_path, student, check, points, reason, message
):
    run(handed_in(ann="wrong"))
    with pytest.raises(UsageError, match=message):
        override_mark(book, course, tmp_path / "out", student, None, check, points, reason)
    assert [grade.score for grade in book.grades()] == [1.0]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://localhost/x", "SQLite or PostgreSQL"),
        ("://", "isn't a database URL"),
        ("postgresql://nobody:secret@127.0.0.1:9/x", "can't be opened"),
    ],
)
def test_a_gradebook_that_can_not_be_is_a_sentence(url, message):
    with pytest.raises(UsageError, match=message) as caught:
        Gradebook(url)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_said_and_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("These are my notes, and they are longer than a database's header is." * 20)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="not a database"):
        Gradebook(path)
    assert path.read_bytes() == before


def test_a_sqlite_file_is_in_wal_mode(tmp_path):
    with Gradebook(tmp_path / "new" / "g.sqlite"):
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / "new" / "g.sqlite")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.slow
def test_killed_a_hundred_times_it_loses_and_doubles_nothing(url, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(STUDENTS):
        (tmp_path / "in" / f"s{number:03}.ipynb").write_text(f"notebook {number}")
    chance = random.Random(5)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.gradebook_killed"])  # importing torch a hundred times would take minutes
    kept_before: set[str] = set()
    kills, amid = 0, 0
    while kills < 100:
        begun, grading_begun = context.Event(), context.Event()
        process = context.Process(target=gradebook_killed.main, args=(tmp_path, url, begun.set, grading_begun.set))
        process.start()
        assert begun.wait(60)
        if kills % 4:  # else it is killed on its way to the first submission
            while process.is_alive() and not grading_begun.wait(0.05):
                pass
        process.join(chance.uniform(0.0, 0.4))
        if process.is_alive():
            process.kill()
            kills += 1
        process.join()
        with Gradebook(url) as book, book._engine.connect() as connection:
            kept = [(row.student, row.submission) for row in connection.execute(gradings.select())]
        assert len(kept) == len(set(kept)), "a grading is there twice"
        now = handed_in_now(tmp_path)
        rows = {student for student, submission in kept if submission in now}
        told = set((tmp_path / "kept").read_text().split()) if (tmp_path / "kept").exists() else set()
        assert told | kept_before <= rows, "a grading that was said to be kept is lost"
        amid += len(rows) - len(kept_before) > 0 and len(rows) < STUDENTS
        kept_before = rows
        if len(rows) == STUDENTS:  # all is graded: from here on, other notebooks
            for path in (tmp_path / "in").iterdir():
                path.write_text(path.read_text() + ".")
            (tmp_path / "kept").unlink()
            kept_before = set()
    assert amid > 20, f"only {amid}: most kills came before or after everything: the test has shown little"
    gradebook_killed.main(tmp_path, url, lambda: None, lambda: None)
    with Gradebook(url) as book:
        grades = list(book.grades())
        assert [grade.student for grade in grades] == [f"s{number:03}" for number in range(STUDENTS)]
        assert [grade.score for grade in grades] == list(range(STUDENTS))
    for grade in grades:
        written = json.loads((tmp_path / "out" / grade.student / "mini.json").read_text())
        assert written["score"] == grade.score
        assert (tmp_path / "out" / grade.student / "mini.html").exists()


def handed_in_now(folder):
    """The digests of the notebooks as they are now."""
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "in").iterdir()}


def test_no_name_of_a_student_stops_a_class_or_takes_anothers_place(run, handed_in, course, book, tmp_path):
    """Also where case doesn't count: each file's folded name is its own."""
    names = ["gradebook.sqlite", "gradebook.sqlite-wal", "index.html", "grades.csv", "totals.csv", "junit.xml", "nul"]
    names += ["ann", "Ann", "ANN", "K", "\u212a", "\u1100\u1161", "\uac00", "x" * 200, "stra\u00dfe", "strasse"]
    run(handed_in(**dict.fromkeys(names, "right")))
    out = tmp_path / "out"
    assert sorted(grade.student for grade in run.grades) == sorted(names)
    reports = [str(path.relative_to(out)) for path in out.rglob("*/mini.json")]
    folded = {unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", one).casefold()) for one in reports}
    assert len(folded) == len(reports) == len(names)
    assert {msgspec.json.decode((out / one).read_bytes())["student"] for one in reports} == set(names)
    ours = {path.name for path in out.iterdir() if path.is_file()}
    assert ours >= {"index.html", "grades.csv", "totals.csv", "junit.xml"}
    assert not [name for name in ours if safe_name(name) == name], "a student of this name would take its place"
    assert {"ann/mini.json", "strasse/mini.json"} <= set(reports)


def test_who_shares_a_folder_with_somebody_new_gets_one_of_their_own(run, handed_in, tmp_path):
    run(handed_in(Ann="wrong"))
    assert (tmp_path / "out" / "Ann" / "mini.json").is_file()
    run(handed_in(ann="right"))
    page = (tmp_path / "out" / "index.html").read_text()
    hrefs = sorted(set(re.findall(r'href="\./([^"]*)/mini.html"', page)))
    assert len(hrefs) == 2
    found = {name: json.loads((tmp_path / "out" / unquote(name) / "mini.json").read_text()) for name in hrefs}
    assert {grade["student"]: grade["score"] for grade in found.values()} == {"Ann": 1.0, "ann": 2.0}


def test_an_error_of_the_database_is_a_sentence_and_keeps_what_there_is(tmp_path):
    path = tmp_path / "gradebook.sqlite"

    def used() -> None:
        with Gradebook(path) as book, contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("DROP TABLE results")
            book.runs()

    with pytest.raises(UsageError, match="can't be used"):
        used()
