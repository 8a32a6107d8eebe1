"""The pages in headless Chromium: quiet, alone, inert against scripts, and as wide as the window."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from grader.reports.cohort_page import cohort_of
from grader.reports.html import (
    CohortRow,
    render_cell_output,
    render_index,
    render_lines,
    render_progress,
    render_report,
)
from tests.report_samples import SCRIPT, perfect_grading, sample_cohort, sample_grading, ungradable_grading

pytestmark = pytest.mark.browser
pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

PAGES: dict[str, Callable[[], str]] = {
    "report": functools.cache(lambda: render_report(sample_grading())),
    "long-name": lambda: render_report(sample_grading("x" * 300)),
    "perfect": lambda: render_report(perfect_grading()),
    "ungradable": lambda: render_report(ungradable_grading()),
    "index": functools.cache(lambda: render_index(sample_cohort())),
    "empty-index": lambda: render_index([]),
}


class Opened:
    """A page in the browser, and everything that it said and asked for."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_context(**options).new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())

    def every_look(self) -> Iterator[tuple[int, str]]:
        """Widths of the window, in light and dark, while the page is shown in each."""
        for width, scheme in itertools.product([1280, 390], ["light", "dark"]):
            self.page.set_viewport_size({"width": width, "height": 900})
            self.page.emulate_media(color_scheme=scheme)
            yield width, scheme


@pytest.fixture
def show(chromium: Any, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    opened: list[Opened] = []

    def open_page(text: str, width: int = 1280, **options: Any) -> Opened:
        path = tmp_path / "page.html"
        path.write_text(text, encoding="utf-8")
        opened.append(Opened(chromium, path, viewport={"width": width, "height": 900}, **options))
        return opened[-1]

    yield open_page
    for each in opened:
        each.page.context.close()


ALL_RULES = {"label-content-name-mismatch": {"enabled": True}}
"""axe-core's own choice, and what it keeps back as an experiment: a link's name holds what is seen of it."""
OPEN_ALL = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"


def briefly(violations: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["id"], each["nodes"][0]["html"][:200]) for each in violations]


@pytest.mark.parametrize("name", PAGES)
def test_page_is_quiet_alone_no_wider_than_the_window_and_its_text_stands_out(show, contrast, name: str):
    opened = show(PAGES[name]())
    for width, scheme in opened.every_look():
        assert opened.page.evaluate("document.documentElement.scrollWidth") == width, scheme
    opened.page.evaluate(OPEN_ALL)
    for look in opened.every_look():
        assert briefly(contrast(opened.page)) == [], look
        assert opened.page.evaluate("document.documentElement.scrollWidth") == look[0], look
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith(("data:", opened.page.url))] == []


@pytest.mark.parametrize(
    ("name", "width"),
    [(name, 390) for name in PAGES if name != "long-name"]
    + [pytest.param(name, 1280, marks=pytest.mark.slow) for name in PAGES],
)
def test_axe_finds_nothing(show, axe, name: str, width: int):
    page = show(PAGES[name](), width).page
    page.evaluate(OPEN_ALL)
    assert briefly(axe(page, **ALL_RULES)) == []


GROUNDS = {
    "JupyterLab light": ("#ffffff", "rgba(0, 0, 0, 0.87)"),
    "JupyterLab dark": ("#111111", "rgba(255, 255, 255, 0.87)"),
    "VS Code dark": ("#1f1f1f", "#cccccc"),
    "Colab dark": ("#383838", "#d5d5d5"),
}
"""What a cell's output stands on, and the colour in which the front end writes."""


def output_on(ground: str, html: str) -> str:
    back, text = GROUNDS[ground]
    style = f"margin: 0; background: {back}; color: {text}; font: 14px sans-serif"
    return (
        f'<!DOCTYPE html><html lang="en"><head><title>Output</title></head><body style="{style}">'
        f"<main><h1>Output</h1>{html}</main></body></html>"
    )


@pytest.mark.parametrize("ground", GROUNDS)
def test_an_output_in_the_notebook_can_be_read_on_every_ground_and_on_a_phone(show, axe, ground: str):
    hints = render_lines(["Hint 1 of 1 for dh: Look at `tanh`.", "That was the last hint for dh."])
    html = render_cell_output(sample_grading()) + render_cell_output(ungradable_grading()) + hints
    page = show(output_on(ground, html + render_progress("Running your cells", 2, 3)), 390).page
    page.evaluate(OPEN_ALL)
    assert briefly(axe(page, **ALL_RULES)) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.fixture(scope="module")
def report(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The report, for tests that only look at it and may open what is closed."""
    path = tmp_path_factory.mktemp("report") / "page.html"
    path.write_text(PAGES["report"](), encoding="utf-8")
    page = Opened(chromium, path).page
    yield page
    page.context.close()


def test_a_sentence_below_a_line_of_code_stands_in_one_piece(report):
    assert (
        report.evaluate("[...document.querySelectorAll('.says code')].map((e) => getComputedStyle(e).display)")
        == ["inline"] * report.locator(".says code").count()
    )
    assert report.locator(".says code").count() > 0


def test_a_printed_legend_keeps_its_colours(show):
    page = show(PAGES["index"]()).page
    page.emulate_media(media="print")
    look = "[...document.querySelectorAll('.key')].map((each) => getComputedStyle(each).printColorAdjust)"
    assert set(page.evaluate(look)) == {"exact"}


@pytest.mark.parametrize("name", ["report", "index"])
def test_a_table_fits_on_a_desktop(show, name: str):
    page = show(PAGES[name](), 1280).page
    too_wide = "[...document.querySelectorAll('table')].filter((t) => t.offsetWidth > t.parentElement.clientWidth)"
    assert page.evaluate(f"{too_wide}.map((t) => t.className)") == []


def test_a_reason_can_be_read_on_a_phone_without_scrolling_the_table(report):
    report.set_viewport_size({"width": 390, "height": 900})
    edge = report.evaluate(
        "Math.max(...[...document.querySelectorAll('.stay')].map((e) => e.getBoundingClientRect().right))"
    )
    assert edge <= 390


@pytest.mark.parametrize("name", ["report", "index"])
def test_a_script_in_student_material_does_not_run(show, name: str):
    opened = show(PAGES[name]())
    assert opened.page.title() != "owned"
    assert "<script>document.title" in opened.page.content().replace("&lt;", "<").replace("&gt;", ">")


@pytest.mark.parametrize("name", ["report", "index"])
def test_even_a_script_that_slipped_through_unescaped_does_not_run(show, name: str):
    text = PAGES[name]().replace(
        "</main>", f"{SCRIPT}<a id=bait href='javascript:document.title=\"owned\"'>x</a></main>"
    )
    opened = show(text)
    opened.page.locator("#bait").dispatch_event("click")
    opened.page.wait_for_timeout(100)
    assert opened.page.title() != "owned"
    assert any("Content Security Policy" in complaint for complaint in opened.complaints)


def test_dark_and_light_are_told_apart(show):
    look = "getComputedStyle(document.body).backgroundColor"
    colours = {show(PAGES["report"](), color_scheme=scheme).page.evaluate(look) for scheme in ("light", "dark")}
    assert len(colours) == 2


def test_the_graph_can_be_used_by_keyboard(show):
    page = show(PAGES["report"]()).page
    page.locator("a.node.first").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector(':target').textContent").split()[0] == "dcounts_sum_inv"


def test_printed_report_shows_the_code_of_closed_cells(show):
    page = show(PAGES["report"](), 700).page
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") == 700
    assert page.get_by_text("dlogits = probs / 32").is_visible()


def names(page: Any) -> list[str]:
    shown = "[...document.querySelectorAll('#submissions tbody tr')].filter((row) => !row.hidden)"
    return list(page.evaluate(f"{shown}.map((row) => row.cells[0].textContent)"))


def column(page: Any, index: int) -> list[str]:
    shown = "[...document.querySelectorAll('#submissions tbody tr')].filter((row) => !row.hidden)"
    return list(page.evaluate(f"{shown}.map((row) => row.cells[{index}].textContent)"))


def test_sorting_by_number_and_by_name_both_ways(show):
    page = show(PAGES["index"]()).page
    wrong = page.get_by_role("button", name="Wrong")
    wrong.click()
    assert column(page, 7) == sorted(column(page, 7), key=int, reverse=True)
    assert wrong.locator("..").get_attribute("aria-sort") == "descending"
    wrong.click()
    assert column(page, 7) == sorted(column(page, 7), key=int)
    page.get_by_role("button", name="Student").click()
    students = [name for name in names(page) if name.startswith("student ")]
    assert students == [f"student {number}" for number in range(9, 40)]
    assert wrong.locator("..").get_attribute("aria-sort") is None
    page.get_by_role("button", name="Share").click()
    assert names(page)[-1] == "carol"


def test_shares_are_sorted_as_numbers_whatever_their_digits(show):
    scores = [13.0, 12.0, 26.0, 2.6, 0.0]
    grades = [msgspec.structs.replace(perfect_grading().grade, score=score) for score in scores]
    page = show(render_index([CohortRow(grade=grade, path="x") for grade in grades])).page
    page.get_by_role("button", name="Share").click()
    assert column(page, 3) == ["100 %", "50 %", "46 %", "10 %", "0 %"]


def test_filtering_by_text_and_by_kind(show):
    page = show(PAGES["index"]()).page
    total = len(names(page))
    page.get_by_label("Find").fill("STUDENT 1")
    assert names(page) == [f"student {number}" for number in range(10, 20)]
    assert page.locator("#shown").inner_text() == f"10 of {total} shown"
    page.get_by_label("Find").fill("")
    page.get_by_label("Show").select_option("ungradable")
    assert names(page) == ["carol"]
    page.get_by_label("Show").select_option("flagged")
    assert all("autograd-used" in text for text in column(page, 10))
    page.get_by_label("Show").select_option("")
    assert len(names(page)) == total


def test_a_flag_of_the_statistics_leads_to_the_students_who_have_it(show):
    page = show(PAGES["index"]()).page
    (students,) = {each.students for each in cohort_of(sample_cohort()).exercises[0].flags}
    page.get_by_role("link", name="autograd-used").click()
    assert len(names(page)) == students > 0
    assert page.locator("#submissions").is_visible()


def test_totals_are_sorted_without_touching_the_submissions(show):
    grades = [msgspec.structs.replace(perfect_grading().grade, student=f"s{n}", score=float(n)) for n in range(3)]
    grades += [msgspec.structs.replace(grade, exercise="02_more") for grade in grades]
    page = show(render_index([CohortRow(grade=grade, path="x") for grade in grades])).page
    before = names(page)
    page.get_by_role("button", name="Total").click()
    assert page.locator("#totals-table tbody th").all_inner_texts() == ["s2", "s1", "s0"]
    assert names(page) == before


def test_without_scripts_the_table_is_whole_and_no_dead_control_is_shown(show):
    page = show(PAGES["index"](), java_script_enabled=False).page
    assert page.locator("#submissions tbody tr").count() == len(sample_cohort())
    assert not page.get_by_label("Find").is_visible()
    assert page.get_by_role("button").count() == 0


def test_a_thousand_submissions_are_sorted_and_filtered_at_once(show):
    page = show(render_index(sample_cohort(1000))).page
    seconds = "(() => { const start = performance.now(); %s; return (performance.now() - start) / 1000; })()"
    assert page.evaluate(seconds % "document.querySelectorAll('#submissions button')[2].click()") < 1
    page.get_by_label("Find").fill("student 99")
    assert len(names(page)) == 11


def test_a_student_is_one_click_away(show, tmp_path: Path):
    (tmp_path / "student 20").mkdir()
    (tmp_path / "student 20" / "01_backprop_ninja.html").write_text(PAGES["perfect"](), encoding="utf-8")
    page = show(PAGES["index"]()).page
    page.get_by_role("link", name="student 20").click()
    assert page.title() == "Becoming a backprop ninja · bob"
