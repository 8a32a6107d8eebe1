"""The application without a browser: forms that are refused, files that are not served, and what saving comes to."""

from __future__ import annotations

import contextlib
import re
import threading
from urllib.parse import urlencode

import msgspec
import pytest
from sqlalchemy.exc import OperationalError

from grader.gradebook.gradebook import Gradebook
from grader.records import Override
from grader.review.access import Rules
from grader.review.app import make_app
from grader.review.server import Options, open_state
from grader.review.work_page import place_value
from tests.report_samples import sample_grading
from tests.review.serving import EXERCISE, fill, invented
from tests.review.test_access import ask

RULES = Rules(token="right", name="ann", hosts={"127.0.0.1"})
ALICE = f"student=alice&exercise={EXERCISE}&submission={invented('alice').submission}"


class Client:
    """A browser without pages: it keeps its cookie and the token of its forms."""

    def __init__(self, app, state, folder):
        self.app, self.state, self.folder = app, state, folder
        self.cookie = ask(app, path="/queue?token=right")[1]["set-cookie"].split(";")[0]
        page = self.get(f"/submission?student=alice&exercise={EXERCISE}")[1]
        self.csrf = re.search('name="csrf" value="([^"]+)"', page)[1]

    def get(self, path):
        status, _, body = ask(self.app, path=path, cookie=self.cookie)
        return status, body

    def post(self, path, **fields):
        form = {"csrf": self.csrf, "of": ALICE, "place": place_value(None, None), "seen": "{}", **fields}
        status, headers, body = ask(self.app, "POST", path, urlencode(form).encode(), cookie=self.cookie)
        return status, headers.get("location"), body


@contextlib.contextmanager
def at_work(folder, course, *, files):
    fill(folder / "gradebook.sqlite", folder, hostile=False)
    options = Options(folder=folder if files else None, gradebook=str(folder / "gradebook.sqlite"))
    with Gradebook(options.gradebook) as book, open_state(options, course, book) as state:
        yield Client(make_app(state, RULES), state, folder)


@pytest.fixture
def client(tmp_path, course):
    with at_work(tmp_path, course, files=True) as client:
        yield client


@pytest.fixture(scope="module")
def untouched(tmp_path_factory, course):
    """For those to whom nothing is ever saved."""
    with at_work(tmp_path_factory.mktemp("untouched"), course, files=False) as client:
        yield client


@pytest.mark.parametrize("csrf", ["", "guessed", "ü"])
@pytest.mark.parametrize("path", ["/mark", "/settle", "/take-back", "/comment-all", "/regrade", "/feedback"])
def test_a_form_without_its_sessions_token_does_nothing(untouched, path, csrf):
    status, _, body = untouched.post(path, csrf=csrf, points="1", reason="x", text="x")
    assert status == 403
    assert "nothing was saved" in body
    assert untouched.state.log.latest() == (0, 0, 0)


@pytest.mark.parametrize(
    "path",
    ["/static/../gradebook.sqlite", "/static/gradebook.sqlite", "/static/%2e%2e/base.html.jinja", "/gradebook.sqlite",
     "/alice/01_backprop_ninja.html", "/static/htmx.LICENSE.txt", "/static//etc/passwd", "/item/../../etc/passwd"],
)  # fmt: skip
def test_no_other_file_is_served(untouched, path):
    assert untouched.get(path)[0] == 404


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        ("/mark", {"points": "3", "place": place_value("every-gradient", "dC"), "reason": "x"}, "worth 0 to 1"),
        ("/mark", {"points": "nan", "reason": "x"}, "can&#39;t be given"),
        ("/mark", {"points": "-1", "reason": "x"}, "can&#39;t be given"),
        ("/mark", {"points": "many", "reason": "x"}, "a number of points: nothing was saved"),
        ("/mark", {"points": "1", "reason": "  "}, "reason is missing"),
        ("/mark", {"points": "1", "reason": "x", "place": "{"}, "form is damaged"),
        ("/mark", {"points": "1", "reason": "x", "seen": "[]"}, "form is damaged"),
        ("/mark", {"points": "1", "reason": "x", "place": place_value("nowhere", None)}, "no part"),
        ("/mark", {"points": "1", "reason": "x", "of": "student=nobody"}, "no such submission"),
        ("/mark", {"points": "1", "reason": "x", "of": ALICE + "0"}, "handed in another notebook"),
        ("/comment", {"text": " "}, "comment is missing"),
        ("/comment", {"text": "x" * 10_001}, "limit is 10000"),
        ("/comment", {"text": "x", "cell": "2"}, "give both"),
        ("/comment", {"text": "x", "cell": "2", "line": "999"}, "no line 999 of a cell 2"),
        ("/comment", {"text": "x", "cell": "0", "line": "1"}, "no line 1 of a cell 0"),
        ("/settle", {"item": "unchecked-0", "reason": "x"}, "graded again"),
        ("/take-back", {"source": "gradings", "rows": "1"}, "form is damaged"),
        ("/take-back", {"source": "notes", "rows": "77"}, "already"),
        ("/comment-all", {"text": "x", "filters": "diagnosis=sign-flipped", "expected": "1"}, "finds 4 submissions"),
        ("/regrade", {}, "aren&#39;t where they were last graded"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_a_sentence_and_nothing_is_saved(untouched, path, fields, message):
    status, _, body = untouched.post(path, **fields)
    assert (status, untouched.state.log.latest()) == (409, (0, 0, 0))
    assert message in body
    typed = fields.get("text", fields.get("reason", "")).strip()
    if typed and "nobody" not in fields.get("of", "") and path in ("/mark", "/comment"):
        assert typed in body  # what was typed is still there


def test_a_comment_used_before_is_offered_again_and_an_empty_text_takes_it(client):
    client.post("/comment", text="Mind the <sum>.")
    assert '<option value="Mind the &lt;sum&gt;.">' in client.get("/submission?student=bob&exercise=" + EXERCISE)[1]
    assert client.post("/comment", text="", used="Mind the <sum>.")[0] == 303
    assert [note.text for note in client.state.log.notes()] == ["Mind the <sum>."] * 2


def test_what_is_saved_shows_at_once_and_soon_in_the_files(client):
    status, location, _ = client.post("/mark", points="0,5", reason="A good start.")
    assert (status, location) == (303, f"/submission?student=alice&exercise={EXERCISE}")
    assert "Saved: 0.5 points for the whole of alice" in client.get("/queue")[1]
    assert "by hand" in client.get("/class?status=by-hand")[1]
    client.state.reports.close()
    assert "A good start." in (client.folder / "alice" / f"{EXERCISE}.html").read_text(encoding="utf-8")
    assert "alice,01_backprop_ninja,graded,0.5" in (client.folder / "grades.csv").read_text(encoding="utf-8")


def test_what_another_process_writes_is_seen(client):
    with Gradebook(client.folder / "gradebook.sqlite") as book:
        of = client.state.cache.now().of("bob", EXERCISE)
        book.log.set_mark(of, Override(3.0, 0.0, "From elsewhere.", "2026-11-29T12:00:00+00:00"))
        assert client.state.cache.now().results["bob", EXERCISE].grade.score == 3.0
        run = book.start(client.folder)
        book.add(run, msgspec.structs.replace(invented("late"), submission="9" * 64))
        assert client.state.cache.now().of("late", EXERCISE).submission == "9" * 64
        book.add(run, msgspec.structs.replace(invented("later"), submission="8" * 64))
        assert client.state.cache.now().of("later", EXERCISE) is not None


def test_a_gradebook_that_is_gone_is_said_and_nothing_is_called_saved(client, monkeypatch):
    def gone(*_):
        raise OperationalError("INSERT", {}, Exception("server closed the connection"))

    monkeypatch.setattr(client.state.log, "set_mark", gone)
    status, _, body = client.post("/mark", points="1", reason="x")
    assert status == 503
    assert "nothing was saved" in body
    monkeypatch.setattr(client.state.book, "size", gone)
    assert client.get("/queue")[0] == 503


def test_two_threads_that_save_for_one_check_never_both_think_they_were_first(client):
    place = place_value("every-gradient", "dC")
    answers = []

    def save(number):
        seen = msgspec.json.encode({place: 0}).decode()
        answers.append(client.post("/mark", points="1", reason=f"{number}", place=place, seen=seen)[0])

    threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [303] + [409] * 7
    assert len(client.state.log.marks()) == 1


@pytest.mark.slow
def test_pages_of_a_large_class_stay_small(tmp_path, course):
    grading = msgspec.structs.replace(sample_grading(), evidence=[])  # pictures, which only a report shows
    with Gradebook(tmp_path / "gradebook.sqlite") as book:
        run = book.start(tmp_path)
        for number in range(300):
            grade = msgspec.structs.replace(grading.grade, student=f"{'a long name ' * 5}{number}")
            book.add(run, msgspec.structs.replace(grading, grade=grade, submission=f"{number:064}"))
        options = Options(folder=None, gradebook=str(tmp_path / "gradebook.sqlite"))
        with open_state(options, course, book) as state:
            client = Client.__new__(Client)
            client.app = make_app(state, RULES)
            client.cookie = ask(client.app, path="/queue?token=right")[1]["set-cookie"].split(";")[0]
            for path in ("/queue", "/class", "/class?page=3", "/class?find=7"):
                status, body = client.get(path)
                assert (status, len(body) < 300_000) == (200, True), path
            assert "100 more come after these" in client.get("/queue?kind=unchecked")[1]
            assert "page 3 of 3" in client.get("/class?page=99")[1]
