"""The instructor's half hour, from `grader grade` to the zip for Moodle, in a real browser."""

from __future__ import annotations

import csv
import json
import shutil
import time
import zipfile

import pytest

from grader.gradebook.gradebook import Gradebook
from tests.review.serving import EXERCISE, ROOT, reviewing
from tests.review.test_pages_in_a_browser import submission
from tests.warm_python import grader

pytestmark = [pytest.mark.slow, pytest.mark.browser]

HANDED_IN = ["ada", "dmitri", "farah", "grete", "mei", "pádraig", "quentin"]
COPIED = {"nora": "mei"}
"""Who handed in somebody else's notebook."""


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A folder that `grader grade` wrote, of examples that lie as Moodle's download does."""
    top = tmp_path_factory.mktemp("story")
    for number, name in enumerate([*HANDED_IN, *COPIED]):
        folder = top / "in" / f"{name}_{100 + number}_assignsubmission_file_"
        folder.mkdir(parents=True)
        shutil.copy(ROOT / "examples" / f"{COPIED.get(name, name)}.ipynb", folder / f"{EXERCISE}.ipynb")
    grader("grade", top / "in", "--out", top / "out", cwd=ROOT, status=3)  # quentin's is no notebook
    return top / "out"


def student_called(graded, name):
    with Gradebook(graded / "gradebook.sqlite") as book:
        return next(grade.student for grade in book.grades() if grade.student.startswith(name))


def soon(read, wanted):
    """What a file holds, as soon as it is written."""
    for _ in range(300):
        text = read()
        if wanted in text:
            return text
        time.sleep(0.1)
    raise AssertionError(f"{wanted!r} never came:\n{text[:2000]}")


def test_the_whole_half_hour(graded, sit_down):
    dmitri, farah = (student_called(graded, name) for name in ("dmitri", "farah"))
    report = graded / dmitri / f"{EXERCISE}.html"
    with reviewing(graded) as (address, _):
        desk = sit_down(address)
        page = desk.page

        # The queue, by keyboard alone.
        for _ in range(100):  # similar code is looked for while the page is up already
            if page.get_by_role("link", name="Similar code").count():
                break
            page.wait_for_timeout(100)
            page.reload()
        kinds = page.locator("tbody td:first-child a").all_inner_texts()
        assert kinds == ["Could not be graded", "Could not be checked", "Similar code"]
        desk.press("j")
        seen = []
        for _ in kinds:
            seen.append(page.locator(".eyebrow").first.inner_text())
            desk.press("d")
        assert page.url.endswith("/queue")
        assert "The queue is empty" in page.locator("main").inner_text()
        desk.press("u")
        assert "Similar code" in page.locator(".eyebrow").first.inner_text()
        assert page.locator(".ln.same").count() > 10
        desk.press("d")
        assert [each.split(": ")[1] for each in seen] == kinds

        # A comment at a line, found by its number, written and sent by keyboard.
        desk.open(submission(dmitri, "every-gradient/dcounts_sum"))
        line = page.locator(".ln.hit")
        cell = page.locator(".cell", has=line).get_attribute("data-cell")
        number = line.get_attribute("data-n")
        page.keyboard.press("c")
        page.keyboard.type("Look at the sign <here>.")
        page.locator("#cell").fill(cell)
        page.locator("#line").fill(number)
        page.keyboard.press("Control+Enter")
        page.locator("#said:not(:empty)").wait_for()
        page.locator("#text").fill("He asked me about this.")
        page.locator("[name=internal]").check()
        page.locator("#comment button").click()
        page.locator("#said", has_text="internal note").wait_for()

        # One comment to everybody with a diagnosis.
        desk.open("/class?diagnosis=sum-missing")
        count = page.locator("#submissions tbody tr").count()
        assert count == 2  # farah and grete
        page.locator("#all-text").fill("Broadcasting needs a sum.")
        with page.expect_navigation():
            page.locator("#to-all button").click()
        assert f"the comment for {count} students" in desk.said()

        # Two marks; one of them is undone.
        desk.open(submission(farah))
        page.locator("#mark-place").select_option(json.dumps([None, None], separators=(",", ":")))
        for given, why in (("40", "Late, as agreed."), ("41", "By mistake.")):
            page.locator("#points").fill(given)
            page.locator("#reason").fill(why)
            page.locator("#mark button").click()
            page.locator("#said", has_text=f"{given} points").wait_for()
        page.locator("#main").focus()
        desk.press("u")
        assert "Taken back: the mark of 41 points" in desk.said()

        text = soon(lambda: report.read_text(encoding="utf-8"), "Look at the sign")
        assert "Look at the sign &lt;here&gt;." in text
        assert "asked me" not in text
        desk.open("/feedback")
        with page.expect_navigation():
            page.get_by_role("button", name="Write the feedback").click()
        assert "moodle.zip with 8" in desk.said()
        assert desk.complaints == []
        assert desk.foreign == []

    # The report, the JSON, the Canvas export, and the zip.
    grade = json.loads((graded / dmitri / f"{EXERCISE}.json").read_text(encoding="utf-8"))
    (comment,) = grade["comments"]
    assert (comment["text"], comment["cell"], comment["line"]) == ("Look at the sign <here>.", int(cell), int(number))
    grade = json.loads((graded / farah / f"{EXERCISE}.json").read_text(encoding="utf-8"))
    assert grade["score"] == 40
    assert [override["reason"] for override in grade["overrides"]] == ["Late, as agreed."]
    done = grader("export", "canvas", graded, cwd=ROOT)
    rows = {row["Student"]: row for row in csv.DictReader(done.stdout.splitlines())}
    assert rows[farah][EXERCISE] == "40"
    with zipfile.ZipFile(graded / "feedback" / "moodle.zip") as archive:
        names = archive.namelist()
        assert f"dmitri_101_assignsubmission_file_/{EXERCISE}.html" in names
        pages = {name: archive.read(name).decode() for name in names}
    assert "Look at the sign &lt;here&gt;." in pages[f"dmitri_101_assignsubmission_file_/{EXERCISE}.html"]
    for name, text in pages.items():
        assert "asked me" not in text
        others = [other for other in (*HANDED_IN, *COPIED) if not name.startswith(other)]
        assert not [other for other in others if f"{other}_1" in text], name
    comments = list(csv.DictReader((graded / "feedback" / "comments.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["comment"] for row in comments} == {"Look at the sign <here>.", "Broadcasting needs a sum."}


def test_one_student_is_graded_again_from_the_page(graded, sit_down):
    ada = student_called(graded, "ada")
    with reviewing(graded) as (address, _):
        desk = sit_down(address)
        desk.open(submission(ada))
        desk.page.locator("#more > summary").click()
        with desk.page.expect_navigation():
            desk.page.get_by_role("button", name="Grade again").click()
        desk.page.locator("#more > summary").click()
        desk.page.locator("#progress", has_text="Graded again: 1 of 1").wait_for(timeout=120_000)
        assert desk.complaints == []
    with Gradebook(graded / "gradebook.sqlite") as book:
        assert [run.results for run in book.runs()] == [8, 1]
        assert len(list(book.grades())) == 8
