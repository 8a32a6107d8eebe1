"""Every page of the review in headless Chromium: accessible, quiet, alone, and deaf to students' scripts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from grader.gradebook.gradebook import Gradebook
from grader.gradebook.review_records import Note, SubmissionKey
from grader.records import Override
from grader.review.users import Users
from tests.hostile.arena import all_scenarios
from tests.hostile.conftest import opened
from tests.report_samples import HOSTILE_NAMES
from tests.review.serving import EXERCISE, fill, invented, reviewing

pytestmark = pytest.mark.browser


def submission(student, check=""):
    return "/submission?" + urlencode({"student": student, "exercise": EXERCISE, "check": check})


PAGES = {
    "queue": "/queue",
    "settled": "/queue?show=settled",
    "a hostile name": submission(HOSTILE_NAMES[0], "every-gradient/dcounts_sum_inv"),
    "comments and marks": submission("alice", "every-gradient/dcounts_sum_inv"),
    "the whole": submission("bob"),
    "not graded": submission("carol"),
    "class": "/class",
    "one diagnosis": "/class?diagnosis=sign-flipped&sort=wrong&down=yes",
    "nobody": "/class?find=nobody",
    "feedback": "/feedback",
    "nothing there": "/item/unchecked-0",
}
EVERYDAY = {"queue", "comments and marks", "not graded", "class", "feedback", "nothing there", "ungradable", "similar"}
"""One page of each kind, at which axe-core looks every day; the slow suite has it look at all of them."""
OPEN_ALL = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    url = folder / "gradebook.sqlite"
    fill(url, folder)
    with Gradebook(url) as book:
        of = SubmissionKey("alice", EXERCISE, invented("alice").submission)
        at = "2026-11-29T12:00:00.000000+00:00"
        for part, name in (("every-gradient", "dC"), ("every-gradient", None), (None, None)):
            book.log.set_mark(of, Override(0.5, 0.0, f"Because of {HOSTILE_NAMES[0]}", at, part, name, "ann"))
        for kind in ("comment", "internal", "disputed"):
            note = Note(of=of, kind=kind, text=f"{kind} {HOSTILE_NAMES[0]}", by="ann", part="every-gradient", name="dC")
            book.log.add_notes([note, Note(of=of, kind=kind, text=kind, by=None, cell=1, line=4)])
        book.log.add_notes([Note(of=of, kind="settled", text="Seen.", by="ann", item="no such question")])
    with reviewing(folder) as (address, _):
        yield address


def every_page(desk):
    """The name of each page while it is shown, with all that can be opened open."""
    for name, path in PAGES.items():
        desk.open(path)
        yield _opened(desk, name)
    for kind in ("ungradable", "unchecked", "autograd", "similar", "disputed"):
        desk.open(f"/queue?kind={kind}")
        desk.press("j")
        assert "/item/" in desk.page.url
        yield _opened(desk, kind)


def _opened(desk, name):
    desk.page.locator("#keys-button").click()
    desk.page.evaluate(OPEN_ALL)
    return name


def wrong(violations):
    return [(each["id"], each["nodes"][0]["html"][:200]) for each in violations]


def test_no_page_is_wider_than_a_phone_all_text_stands_out_and_axe_finds_nothing(served, sit_down, axe, contrast):
    desk = sit_down(served, viewport={"width": 390, "height": 900}, color_scheme="dark")
    found = {}
    for name in every_page(desk):
        assert desk.page.evaluate("document.documentElement.scrollWidth") == 390, name
        found[name] = wrong(axe(desk.page) if name in EVERYDAY else contrast(desk.page))
    assert found.keys() >= EVERYDAY
    assert {name: each for name, each in found.items() if each} == {}


@pytest.mark.slow
def test_nor_in_a_wide_window_in_light_and_dark(served, sit_down, axe, contrast):
    desk = sit_down(served)
    found = {}
    for name in every_page(desk):
        for width, scheme in ((390, "light"), (1280, "light"), (1280, "dark")):
            desk.page.set_viewport_size({"width": width, "height": 900})
            desk.page.emulate_media(color_scheme=scheme)
            assert desk.page.evaluate("document.documentElement.scrollWidth") == width, name
            found[name, width, scheme] = wrong(contrast(desk.page))
        found[name] = wrong(axe(desk.page))
    assert {look: each for look, each in found.items() if each} == {}


def test_logging_in_with_a_name_and_a_password(tmp_path, chromium, axe, contrast):
    fill(tmp_path / "gradebook.sqlite", tmp_path, ["alice"], hostile=False)
    Users(tmp_path / "users").add("tom", "a long password")
    with reviewing(tmp_path, "--users", tmp_path / "users") as (address, _):
        page = chromium.new_context(color_scheme="light", viewport={"width": 390, "height": 700}).new_page()
        page.goto(address)
        assert axe(page) == []
        page.emulate_media(color_scheme="dark")
        assert contrast(page) == []
        for password in ("wrong", "a long password"):
            page.get_by_label("Name").fill("tom")
            page.get_by_label("Password").fill(password)
            page.get_by_role("button", name="Log in").click()
            page.wait_for_load_state()
        page.wait_for_url("**/queue")
        assert page.locator(".desk-bar bdi").inner_text() == "tom"
        page.context.close()


PALE = {
    "text": '<p data-style="color: #ccc">pale</p>',
    "ground": '<p data-style="color: #fff; background: #ccc"><b>pale</b></p>',
    "opacity": '<div data-style="opacity: .2"><p>pale</p></div>',
    "value": '<label>x<input value="pale" data-style="color: #ccc"></label>',
    "choice": '<label>x<select data-style="color: #ccc; background: #fff"><option>pale</select></label>',
}
PUT = """(html) => {
  document.querySelector('main').insertAdjacentHTML('beforeend', `<div id=put>${html}</div>`);
  for (const each of document.querySelectorAll('[data-style]')) each.style.cssText = each.dataset.style;
}"""
"""The page's policy forbids styles in what is put there, and not those that a script sets."""


def test_axe_and_our_own_rule_would_find_something(served, sit_down, axe, contrast):
    desk = sit_down(served)
    desk.page.evaluate(PUT, f'<input><img src="data:,">{PALE["text"]}')
    assert {each["id"] for each in axe(desk.page)} >= {"label", "image-alt", "color-contrast"}
    for what, html in PALE.items():
        desk.page.evaluate("document.querySelector('#put').remove()")
        assert contrast(desk.page) == [], what
        desk.page.evaluate(PUT, html)
        assert [each["id"] for each in contrast(desk.page)] == ["color-contrast"], what


def test_nothing_of_a_students_does_anything_and_nothing_is_loaded_from_elsewhere(served, sit_down):
    desk = sit_down(served)
    cells = 0
    for name in HOSTILE_NAMES:
        student = name.encode("utf-8", "backslashreplace").decode()
        desk.open(submission(student))
        desk.page.evaluate(OPEN_ALL)
        assert desk.page.locator("#mark").count() == 1, name
        cells += desk.page.locator(".cell").count()
        assert desk.page.locator(".cell script, .cell img:not(.output)").count() == 0
    assert cells >= len(all_scenarios())
    for path in ("/queue", "/class"):
        desk.open(path)
        assert desk.page.title() != "owned"
    assert desk.complaints == []
    assert desk.foreign == []


@pytest.mark.slow
def test_what_hostile_notebooks_really_put_out_does_nothing(sit_down, tmp_path):
    folder = tmp_path / "graded"
    folder.mkdir()

    def grade_them():
        with opened(tmp_path, "bwrap") as arena, Gradebook(folder / "gradebook.sqlite") as book:
            run = book.start(folder)
            for scenario in all_scenarios():
                if scenario.name.startswith("shows_"):
                    outcome = arena.grade(arena.notebook(scenario), scenario.seconds, scenario.name)
                    book.add(run, outcome.hostile)

    with ThreadPoolExecutor(1) as thread:  # the browser's driver has an event loop in this one
        thread.submit(grade_them).result()
    with reviewing(folder) as (address, _):
        desk = sit_down(address)
        for name in ("shows_html", "shows_escape_sequences"):
            desk.open("/submission?" + urlencode({"student": name, "exercise": "mini"}))
            desk.page.evaluate(OPEN_ALL)
            assert "TRIED" in desk.page.locator("main").inner_text()
            assert desk.page.locator(".cell script, .cell img:not(.output), .cell svg").count() == 0
        assert desk.complaints == []
        assert desk.foreign == []


def test_even_a_script_that_slipped_through_does_not_run(served, sit_down):
    desk = sit_down(served)
    desk.page.evaluate(
        """() => {
          const owns = "document.title = 'owned'";
          const bait = document.createElement('a');
          Object.assign(bait, { id: 'bait', href: 'javascript:' + owns, textContent: 'x' });
          const image = document.createElement('div');
          image.innerHTML = `<img src="data:," onerror="${owns}">`;
          const script = document.createElement('script');
          script.textContent = owns;
          document.body.append(bait, image, script);
        }"""
    )
    desk.page.locator("#bait").dispatch_event("click")
    desk.page.wait_for_timeout(100)
    assert desk.page.title() != "owned"
    assert any("Content Security Policy" in complaint for complaint in desk.complaints)


def test_a_mark_of_a_hostile_name_is_saved_for_that_very_student(served, sit_down):
    desk = sit_down(served)
    name = next(name for name in HOSTILE_NAMES if "\u202e" in name)
    desk.open(submission(name, "every-gradient/dC"))
    desk.page.locator("#points").fill("0.25")
    desk.page.locator("#reason").fill("Looked twice.")
    desk.page.locator("#mark button").click()
    desk.page.locator("#said:not(:empty)").wait_for()
    assert "Saved: 0.25 points" in desk.said()
    assert "Looked twice." in desk.page.locator(".history").inner_text()


def test_keys_can_be_switched_off(served, sit_down):
    desk = sit_down(served)
    desk.page.locator("#keys-button").click()
    desk.page.locator("#keys-on").uncheck()
    desk.page.locator("#main").focus()
    desk.page.keyboard.press("j")
    desk.page.wait_for_timeout(200)
    assert desk.page.url.endswith("/queue")


def test_a_class_is_filtered_as_one_types(served, sit_down):
    desk = sit_down(served)
    desk.open("/class")
    desk.page.locator("#find").press_sequentially("ali")
    desk.page.locator("#table p", has_text="1 of").wait_for()
    assert desk.page.locator("#submissions tbody tr").count() == 1
    assert "find=ali" in desk.page.url
    assert desk.page.evaluate("document.activeElement.id") == "find"
    desk.page.locator("#find").fill("")
    desk.page.locator("#f-verdict").select_option("unchecked")
    desk.page.locator("#f-check").select_option("every-gradient/dlogprobs")
    desk.page.locator("#table p", has_text="0 of").wait_for()
    assert desk.complaints == []
