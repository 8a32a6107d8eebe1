"""The pages as text: what stands in them, and what never does. `test_pages_in_a_browser.py` looks at them."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import math
import re
import struct
import zlib
from collections import Counter
from html.parser import HTMLParser
from urllib.parse import quote, unquote

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from grader import files
from grader.errors import CourseError
from grader.records import CellOutput, CellView, Check, Diagnosis, Evidence, Flag, Grading, GraphNode, HeatMap, Verdict
from grader.reports.cohort_page import CohortRow, cohort_of
from grader.reports.graph_layout import lay_out
from grader.reports.heat_map_png import Gallery, heat_map_png, pictures_of
from grader.reports.html import render_index, render_report
from grader.reports.student_page import page_of
from grader.reports.verdict_text import GLYPHS
from tests.report_samples import (
    FIRST_WRONG,
    HIDDEN_NUMBER,
    HOSTILE_NAMES,
    INPUTS,
    PART,
    SCRIPT,
    SHAPES,
    lecture_graph,
    perfect_grading,
    png,
    sample_cohort,
    sample_grading,
    ungradable_grading,
)


class Tags(HTMLParser):
    """Every tag of a page with its attributes, and the text of its style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inline: dict[str, str] = {}
        self._open = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("style", "script"):
            self.inline[self._open] = self.inline.get(self._open, "") + data

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]


def text_of(page: str) -> str:
    """The page as a reader meets it: no tags, entities resolved, spaces folded."""
    body = re.sub(r"<(style|script)>.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def row_text(page: str, name: str, part: int = 1) -> str:
    """What the table of the part with this number says of a tensor."""
    bodies = [body for body in page.split("<tbody ")[1:] if f'id="p{part}-' in body.split(">")[0]]
    body = next(body for body in bodies if f"<code>{name}</code></th>" in body)
    return text_of("<tbody " + body.split("</tbody>")[0])


def section_text(page: str, heading: str) -> str:
    """What stands under a heading of the second level."""
    section = next(part for part in page.split("<section")[1:] if f'aria-labelledby="{heading}"' in part)
    return text_of("<section" + section.split("</section>")[0])


def changed(grading: Grading, name: str, **fields: object) -> Grading:
    """The grading with other values in one check."""
    checks = [
        msgspec.structs.replace(check, **fields) if check.name == name else check for check in grading.grade.checks
    ]
    return msgspec.structs.replace(grading, grade=msgspec.structs.replace(grading.grade, checks=checks))


REPORT = render_report(sample_grading())
INDEX = render_index(sample_cohort())
PAGES = {"report": REPORT, "index": INDEX, "ungradable": render_report(ungradable_grading())}


@pytest.fixture(params=list(PAGES))
def page(request: pytest.FixtureRequest) -> str:
    return PAGES[request.param]


# --- the table ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", sample_grading().grade.checks, ids=lambda check: check.name)
def test_every_tensor_has_its_verdict_points_shapes_and_case(check: Check):
    row = row_text(REPORT, check.name, 1 if check.part == PART else 2)
    assert re.search(rf"\b{check.verdict}\b", row)
    assert f"{check.points:g} / {check.max_points:g}" in row
    assert str(tuple(check.expected_shape or ())) in row
    assert check.shape is None or str(tuple(check.shape)) in row
    assert check.case in row


def test_cmp_columns_hold_what_cmp_prints():
    assert "True True 0.0 " in row_text(REPORT, "dlogprobs")
    assert "False True 1.862645149230957e-09 " in row_text(REPORT, "dprobs")
    assert "False False 0.040739259" in row_text(REPORT, FIRST_WRONG)


def test_diagnosis_remark_and_statement_stand_in_the_row():
    row = row_text(REPORT, FIRST_WRONG)
    assert "Every value has the opposite sign: look at the minus." in row
    assert "sign-flipped" in row
    assert "Cell 2, line 4 dcounts_sum_inv = -(counts * dprobs).sum(1, keepdim=True)" in row
    assert "largest difference at [16, 9]" in row
    assert "broadcasts to that of its tensor" in row_text(REPORT, "db1")


def test_numbers_of_a_hidden_case_are_never_shown():
    assert "(32, 27) (19, 27) another-batch-size" in row_text(REPORT, "dlogits", 2)
    assert str(HIDDEN_NUMBER)[:6] not in REPORT
    without_cmp = msgspec.structs.replace(sample_grading(), evidence=[])
    assert str(HIDDEN_NUMBER)[:6] not in render_report(without_cmp)
    rows = [CohortRow(grade=sample_grading().grade, path="a.html")]
    assert str(HIDDEN_NUMBER)[:6] not in render_index(rows)


def test_maxdiff_of_the_visible_case_is_shown_where_cmp_could_not_be_run():
    grading = msgspec.structs.replace(changed(sample_grading(), "dW2", maxdiff=0.75), evidence=[])
    assert "– – 0.75 " in row_text(render_report(grading), "dW2")


def test_a_missing_tensor_points_at_the_line_that_leaves_it_out():
    grading = changed(sample_grading(), FIRST_WRONG, verdict=Verdict.MISSING, diagnosis=None, remark="It is None.")
    assert "It is None. Cell 2, line 4" in row_text(render_report(grading), FIRST_WRONG)


def test_missing_and_unchecked_look_different_from_wrong():
    for name, verdict in (("dbnmeani", "missing"), ("dC", "unchecked"), (FIRST_WRONG, "wrong")):
        row = next(body for body in REPORT.split("<tbody ")[1:] if f"<code>{name}</code></th>" in body)
        assert row.startswith(f'class="v-{verdict}')
        assert f'class="chip v-{verdict}"' in row


def test_checks_of_a_part_that_nobody_described_are_shown_all_the_same():
    assert row_text(render_report(msgspec.structs.replace(sample_grading(), parts=[])), FIRST_WRONG)


# --- the top of the report ------------------------------------------------------------------------------------------


def test_start_here_names_the_first_wrong_tensor_and_why():
    start = section_text(REPORT, "start")
    assert start.startswith(f"Start here {FIRST_WRONG}")
    assert "Every value has the opposite sign" in start
    assert "17 more lines are right, but what reaches them" in start
    assert "Also wrong: dbnvar , dlogits in “Cross-entropy in one expression”." in start


def test_without_a_wrong_tensor_it_starts_at_the_first_missing_then_the_first_unchecked():
    grading = sample_grading()
    for name in (FIRST_WRONG, "dbnvar", "dlogits"):
        grading = changed(grading, name, verdict=Verdict.EXACT, diagnosis=None)
    assert section_text(render_report(grading), "start").startswith("Start here dbnmeani")
    for name in ("dbnmeani", "demb"):
        grading = changed(grading, name, verdict=Verdict.EXACT)
    assert section_text(render_report(grading), "start").startswith("Start here dC")


def test_a_perfect_notebook_is_told_so():
    page = render_report(perfect_grading())
    assert "Every gradient is right" in page
    assert "Start here" not in page
    assert "26 / 26 points" in text_of(page)


def test_an_ungradable_notebook_says_why_and_shows_no_zero():
    page = text_of(PAGES["ungradable"])
    assert "could not be graded" in page
    assert "The file isn't JSON: hand in the notebook itself." in page
    assert "0 / 26" not in page


def test_summary_counts_every_verdict_and_explains_it():
    summary = section_text(REPORT, "summary")
    for verdict, count in page_of(sample_grading()).counts.items():
        assert re.search(rf"\b{count} \S {verdict} \w", summary)


def test_flags_and_notes_are_shown():
    assert "autograd-used Line 3 reads logits.grad" in section_text(REPORT, "flags")
    assert "<code>logits.grad</code>" in REPORT
    assert "A locked cell had been changed and was restored." in section_text(REPORT, "notes")
    assert "One cell was empty." in REPORT


def test_many_flags_of_a_kind_are_one_line_and_the_others_on_demand():
    grading = sample_grading()
    flags = [Flag(code="unchecked", message=f"d{n}: the kernel died.", part=PART) for n in range(5)]
    flags += [Flag(code="unchecked", message="dx: alone.", part="other")]
    page = render_report(msgspec.structs.replace(grading, grade=msgspec.structs.replace(grading.grade, flags=flags)))
    shown = section_text(page, "flags")
    assert "d0: the kernel died. (Every gradient by hand) 4 more like this d1: the kernel died." in shown
    assert shown.endswith("⚑ unchecked dx: alone. (other)")


def test_names_between_backticks_are_code_and_nothing_else_is_markup():
    said = Diagnosis(code="x", message="`a<b>` is <i>not</i> `c`, and ` is none")
    page = render_report(changed(sample_grading(), FIRST_WRONG, diagnosis=said))
    assert "<code>a&lt;b&gt;</code> is &lt;i&gt;not&lt;/i&gt; <code>c</code>, and ` is none" in page


def test_what_shows_in_a_hidden_case_only_says_so():
    assert "That shows in the hidden case another-batch-size, whose numbers are not shown." in row_text(
        REPORT, "dlogits", 2
    )
    assert "hidden case" not in row_text(REPORT, FIRST_WRONG)


def test_two_shapes_have_no_difference_and_it_says_so():
    grading = sample_grading()
    evidence = [
        msgspec.structs.replace(item, difference=None, worst_index=None) if item.name == FIRST_WRONG else item
        for item in grading.evidence
    ]
    row = row_text(render_report(msgspec.structs.replace(grading, evidence=evidence)), FIRST_WRONG)
    assert "The two have different shapes, so there is no difference to draw." in row
    assert "no difference to draw" not in REPORT


def test_where_to_start_says_how_to_open_a_hint():
    assert "grader check 01_backprop_ninja.ipynb --hint opens the next hint." in section_text(REPORT, "start")
    assert "--hint" not in section_text(render_report(perfect_grading()), "start")


# --- the student's cells --------------------------------------------------------------------------------------------


def test_the_wrong_line_is_marked_and_says_why():
    marked = [line for line in REPORT.split('<span class="ln')[1:] if line.startswith(" hit")]
    assert len(marked) == 2
    assert "dcounts_sum_inv = -(counts" in text_of("<b " + marked[0])
    assert '<details class="cell" id="c1" data-cell="2" open>' in REPORT
    assert "dcounts_sum_inv is wrong : Every value has the opposite sign" in text_of("<b " + marked[0])


def test_lines_are_counted_as_python_counts_them():
    cell = CellView(source="a = 1\x0c\u2028\r\ndlogits = 2\n", part=PART, outputs=[])
    evidence = Evidence(part="cross-entropy", name="dlogits", cell=0, line=2)
    grading = msgspec.structs.replace(sample_grading(), cells=[cell], evidence=[evidence])
    assert "Cell 1, line 2 dlogits = 2" in row_text(render_report(grading), "dlogits", 2)


@pytest.mark.parametrize(("cell", "line"), [(99, 1), (-1, 1), (0, 99), (0, 0)])
def test_a_pointer_to_nowhere_is_not_shown(cell: int, line: int):
    evidence = Evidence(part="cross-entropy", name="dlogits", cell=cell, line=line)
    page = render_report(msgspec.structs.replace(sample_grading(), evidence=[evidence]))
    assert "Cell" not in row_text(page, "dlogits", 2)


def test_outputs_and_traceback_are_text_and_the_error_comes_first():
    assert html.escape("return x @ <script>", quote=False) in REPORT
    assert "Error RuntimeError: The size of tensor a (64) must match" in text_of(REPORT)


def test_cells_of_no_part_stand_in_a_closed_section_of_their_own():
    others = REPORT.split('aria-labelledby="others"')[1]
    assert "import torch" in others
    assert "<details open" not in others.split("<summary>")[0]
    assert "import torch" not in REPORT.split('aria-labelledby="others"')[0]


# --- hostile text ---------------------------------------------------------------------------------------------------


def test_no_student_text_becomes_markup():
    assert SCRIPT not in REPORT
    assert str(html.escape(SCRIPT)).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in REPORT
    assert not [tag for tag, _ in Tags(REPORT).tags if tag == "script"]
    assert len([tag for tag, _ in Tags(INDEX).tags if tag == "script"]) == 1


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_a_hostile_name_is_shown_as_it_is_and_breaks_nothing(name: str):
    page = render_report(sample_grading(name))
    page.encode("utf-8")
    shown = name.replace("\u202e", "[U+202E]").replace("\udcff", "\ufffd")
    assert f"<bdi>{html.escape(shown)}</bdi>".replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page
    assert [tag for tag, _ in Tags(page).tags] == [tag for tag, _ in Tags(REPORT).tags]


@pytest.mark.parametrize(
    ("hidden", "shown"), [("\x1b", "\u241b"), ("\x00", "\u2400"), ("\u202e", "[U+202E]"), ("\u2066", "[U+2066]")]
)
def test_characters_that_deceive_the_eye_are_shown(hidden: str, shown: str):
    cell = CellView(source=f"a{hidden}b", part=PART, outputs=[CellOutput(kind="text", content=f"c{hidden}d")])
    page = render_report(msgspec.structs.replace(sample_grading(), cells=[cell]))
    assert hidden not in page
    assert f"a{shown}b" in page
    assert f"c{shown}d" in page


# --- a page of its own ----------------------------------------------------------------------------------------------


def test_nothing_is_loaded_from_elsewhere(page: str):
    tags = Tags(page)
    assert all(value.startswith("data:image/png;base64,") for value in tags.values("src"))
    assert all(value.startswith(("#", "data:", "./")) for value in tags.values("href"))
    assert not {tag for tag, _ in tags.tags} & {"iframe", "object", "embed", "form", "base", "video", "audio"}
    assert "url(" not in page
    assert "@import" not in page


def test_no_inline_handlers_or_styles(page: str):
    names = {name for _, attributes in Tags(page).tags for name in attributes}
    assert not [name for name in names if name.startswith("on") or name == "style"]


def test_policy_allows_the_pages_own_style_and_script_only(page: str):
    tags = Tags(page)
    policy = next(attributes["content"] for _, attributes in tags.tags if "http-equiv" in attributes)
    for name, text in tags.inline.items():
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert ("script-src" in policy) == ("script" in tags.inline)


def test_ids_are_unique_and_every_reference_has_its_target(page: str):
    tags = Tags(page)
    ids = tags.values("id")
    assert len(ids) == len(set(ids))
    referred = [value[1:] for value in tags.values("href") if value.startswith("#")]
    for attribute in ("aria-labelledby", "headers", "for"):
        referred += [each for value in tags.values(attribute) for each in value.split()]
    assert set(referred) <= set(ids)


def test_tables_and_landmarks_can_be_told_apart_by_ear(page: str):
    tags = Tags(page).tags
    names = [tag for tag, _ in tags]
    assert names.count("main") == 1
    assert names.count("h1") == 1
    assert all(attributes.get("scope") for tag, attributes in tags if tag == "th")
    assert names.count("table") <= names.count("caption") + sum(
        "aria-labelledby" in attributes for tag, attributes in tags if tag == "table"
    )
    assert all("alt" in attributes for tag, attributes in tags if tag == "img")


# --- the graph ------------------------------------------------------------------------------------------------------


def test_every_node_links_to_its_row_and_says_its_verdict():
    figure = REPORT.split('<figure class="graph"')[1].split("</figure>")[0]
    for check in sample_grading().grade.checks[: len(SHAPES)]:
        first = " first" if check.name == FIRST_WRONG else ""
        assert f'aria-label="{GLYPHS[check.verdict]} {check.name}{first}: {check.verdict}"' in figure
    assert figure.count('class="node v-wrong first"') == 1
    assert "dprobs : approximate ; passes its gradient on to dcounts , dcounts_sum_inv" in text_of(figure)


def test_edges_show_where_a_mistake_is_carried():
    figure = REPORT.split('<figure class="graph"')[1].split("</figure>")[0]
    assert figure.count('class="edge') == sum(len(inputs) for inputs in INPUTS.values())
    carried = {f"d{name}" for name in SHAPES} - {"dlogprobs", "dprobs", "dW2", "db2", "dbnmeani", "demb", "dC"}
    wrong = {FIRST_WRONG, "dbnvar"}
    expected = sum(
        f"d{name}" in carried and f"d{each}" in carried - wrong for name, inputs in INPUTS.items() for each in inputs
    )
    assert figure.count('class="edge carries"') == expected


def test_a_part_without_a_graph_has_no_picture():
    assert REPORT.count('<figure class="graph"') == 1


@st.composite
def graphs(draw: st.DrawFn) -> list[GraphNode]:
    size = draw(st.integers(0, 25))
    nodes: list[GraphNode] = []
    for index in range(size):
        inputs = draw(st.sets(st.integers(0, index - 1), max_size=4)) if index else set()
        rank = 1 + max((nodes[each].rank for each in inputs), default=-1)
        nodes.append(GraphNode(name=f"t{index}", shape=[], inputs=[f"t{each}" for each in sorted(inputs)], rank=rank))
    return nodes


@given(graphs())
@settings(max_examples=60, deadline=None)
def test_no_two_boxes_overlap_and_every_edge_leads_down(graph: list[GraphNode]):
    layout = lay_out(graph, {})
    boxes = {node.name: node for node in layout.nodes}
    assert set(boxes) == {node.name for node in graph}
    for node in layout.nodes:
        assert node.width / 2 <= node.x <= layout.width - node.width / 2
        for other in layout.nodes:
            if node.name < other.name and abs(node.y - other.y) < layout.node_height:
                assert abs(node.x - other.x) >= (node.width + other.width) / 2
    drawn = {(edge.consumer, edge.input) for edge in layout.edges}
    assert drawn == {(node.name, each) for node in graph for each in node.inputs}
    assert all(boxes[edge.consumer].y < boxes[edge.input].y for edge in layout.edges)


def test_the_lectures_graph_is_narrow_enough_to_stand_beside_its_table():
    labels = {node.name: f"d{node.name}  " for node in lecture_graph()}
    layout = lay_out(lecture_graph(), labels)
    assert layout.width < 430
    spine = [node.x for node in layout.nodes if INPUTS.get(node.name)]
    assert max(spine) - min(spine) < 60


# --- pictures -------------------------------------------------------------------------------------------------------


def pixels(picture: str) -> list[list[tuple[int, ...]]]:
    """The RGBA values of a PNG, row by row."""
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGBA")
    return [[image.getpixel((x, y)) for x in range(image.width)] for y in range(image.height)]


def test_heat_map_tells_sign_by_hue_and_size_by_opacity():
    [[high, low, zero], [minus, infinite, undefined]] = pixels(
        heat_map_png(HeatMap(values=[[2.0, 0.5, 0.0], [-2.0, math.inf, math.nan]], scale=2.0))
    )
    assert high[3] == minus[3] == 255
    assert 0 < low[3] < 255
    assert zero[3] == 0
    assert high[:3] == low[:3]
    assert len({high[:3], minus[:3], infinite[:3]}) == 3
    assert infinite == undefined


def test_heat_map_of_nothing_but_zeros_is_blank():
    assert pixels(heat_map_png(HeatMap(values=[[0.0]], scale=0.0))) == [[(0, 0, 0, 0)]]


def test_yours_and_expected_share_a_scale_and_the_largest_difference_is_framed():
    evidence = Evidence(
        part=PART,
        name="dW1",
        student=HeatMap(values=[[4.0, 1.0], [0.0, 1.0]], scale=4.0),
        expected=HeatMap(values=[[1.0, 1.0], [0.0, 1.0]], scale=1.0),
        difference=HeatMap(values=[[0.5, 0.0], [-3.0, 0.0]], scale=3.0),
    )
    pictures = pictures_of(evidence)
    assert [(each.title, each.scale) for each in pictures] == [("Yours", 4.0), ("Expected", 4.0), ("Difference", 3.0)]
    assert {each.peak for each in pictures} == {(0, 1)}


def test_right_tensors_have_no_pictures():
    page = render_report(changed(sample_grading(), "dcounts", verdict=Verdict.APPROXIMATE))
    assert "dcounts as 32 by 27 pixels" in REPORT
    assert "dcounts as 32 by 27 pixels" not in page


def test_a_students_picture_is_shown_and_a_forged_one_left_out():
    assert REPORT.count("<img ") == 1
    assert f"data:image/png;base64,{png()}" in REPORT
    assert "A picture was left out here" in REPORT


WHOLE = base64.b64decode(png(4, 4))


def with_header(kind: bytes, body: bytes) -> bytes:
    """The whole picture with another first chunk, rightly sized and summed."""
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return WHOLE[:8] + chunk + WHOLE[33:]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg onload=alert(1)>",
        WHOLE[:-1],
        WHOLE[:40] + bytes([WHOLE[40] ^ 1]) + WHOLE[41:],
        bytes(8) + WHOLE[8:],
        WHOLE[:8] + WHOLE[33:],
        with_header(b"IHDX", WHOLE[16:29]),
        with_header(b"IHDR", WHOLE[16:29] + b"0"),
        with_header(b"IHDR", struct.pack(">IIBBBBB", 10**3, 10**3, 8, 2, 0, 0, 0)),
        WHOLE[:8],
    ],
    ids=[
        "empty",
        "svg",
        "cut",
        "damaged",
        "unsigned",
        "no-header",
        "misnamed",
        "long-header",
        "less-than-it-says",
        "signature-only",
    ],
)
def test_what_is_no_whole_picture_is_refused(data: bytes):
    assert Gallery().add(base64.b64encode(data).decode()) is None


def test_what_is_not_base64_is_refused_and_what_follows_the_picture_is_cut():
    assert Gallery().add(png()[:40] + '"' + png()[40:]) is None
    assert Gallery().add(base64.b64encode(WHOLE + b"<script>").decode()) == base64.b64encode(WHOLE).decode()
    assert Gallery().add("\n".join(png(4, 4))) == png(4, 4)


# --- the cohort -----------------------------------------------------------------------------------------------------


def test_links_lead_to_the_files_whatever_the_names():
    hrefs = [value for value in Tags(INDEX).values("href") if value.startswith("./")]
    paths_ = {unquote(href.removeprefix("./"), errors="surrogateescape") for href in hrefs}
    assert paths_ == {row.path for row in sample_cohort()}
    for href in hrefs:
        assert re.fullmatch(r"\./[A-Za-z0-9._~%/-]*", href)


def test_names_are_isolated_against_writing_direction():
    assert "<bdi>שלום עולם</bdi>" in INDEX


def test_each_submission_has_its_line():
    lines = {each.split('href="')[1].split('"')[0]: text_of("<b" + each) for each in INDEX.split("<tr data-tags")[1:]}
    assert len(lines) == len(sample_cohort())
    for row in sample_cohort():
        counts = Counter(check.verdict for check in row.grade.checks)
        verdicts = (Verdict.CARRIED, Verdict.WRONG, Verdict.MISSING, Verdict.UNCHECKED)
        numbers = [counts[Verdict.EXACT], *(counts[verdict] for verdict in verdicts)]
        line = lines[f"./{quote(row.path, errors='surrogateescape')}"]
        assert " ".join(map(str, numbers)) in line
        assert row.grade.status == "ungradable" or f"{row.grade.score:g} / 26" in line
    assert "01_backprop_ninja – – ? not graded The file isn't JSON" in lines["./carol/01_backprop_ninja.html"]


def test_counts_of_a_submission():
    [submission] = cohort_of([CohortRow(grade=sample_grading().grade, path="a.html")]).submissions
    assert submission.right == 4
    assert submission.counts[Verdict.CARRIED] == 17
    assert submission.counts[Verdict.WRONG] == 3
    assert set(submission.tags) >= {"graded", "flagged", "wrong", "missing", "unchecked"}
    assert "full" not in submission.tags


def test_marks_are_binned_and_the_ungradable_count_in_no_mean():
    grades = [perfect_grading().grade, ungradable_grading().grade]
    grades += [
        msgspec.structs.replace(grades[0], student=f"s{score}", score=score) for score in (0.0, 2.6, 13.0, 25.999)
    ]
    [exercise] = cohort_of([CohortRow(grade=grade, path="x") for grade in grades]).exercises
    assert [each.count for each in exercise.bins] == [1, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1]
    assert (exercise.graded, exercise.ungradable) == (5, 1)
    assert exercise.mean == pytest.approx((26 + 2.6 + 13 + 25.999) / 26 / 5)
    assert exercise.median == pytest.approx(0.5)


def test_every_tensor_has_its_shares_and_one_is_the_hardest():
    [exercise] = cohort_of(sample_cohort(200)).exercises
    assert [each.name for each in exercise.tensors] == [f"d{name}" for name in SHAPES]
    assert all(sum(each.counts.values()) == each.total == 200 for each in exercise.tensors)
    [hardest] = [each for each in exercise.tensors if each.hardest]
    assert hardest.counts[Verdict.WRONG] == max(each.counts[Verdict.WRONG] for each in exercise.tensors)


def test_no_step_is_called_the_hardest_where_few_were_wrong():
    grades = [perfect_grading().grade for _ in range(9)]
    slip = msgspec.structs.replace(grades[0].checks[0], verdict=Verdict.WRONG)
    grades.append(msgspec.structs.replace(grades[0], checks=[slip, *grades[0].checks[1:]]))
    assert ">hardest<" not in render_index([CohortRow(grade=grade, path="x") for grade in grades])


def test_the_class_is_told_titles_in_place_of_ids():
    titles = {"01_backprop_ninja": "Becoming a ninja", "01_backprop_ninja/every-gradient": "Every single one"}
    page = render_index(sample_cohort(), titles=titles)
    assert '<a href="#e1">Becoming a ninja</a>' in page
    assert '<th scope="rowgroup" colspan="7">Every single one</th>' in page


def test_no_step_is_the_hardest_where_nothing_is_wrong():
    page = render_index([CohortRow(grade=perfect_grading().grade, path="x")])
    assert ">hardest<" not in page
    assert "100 %" in page


def test_diagnoses_count_students_not_tensors():
    grading = changed(sample_grading("a"), "dbnvar", diagnosis=sample_grading().grade.checks[2].diagnosis)
    rows = [CohortRow(grade=grade, path="x") for grade in (grading.grade, sample_grading("b").grade)]
    [exercise] = cohort_of(rows).exercises
    assert [(each.code, each.students) for each in exercise.diagnoses] == [("hard-coded-size", 2), ("sign-flipped", 2)]
    assert exercise.diagnoses[1].tensors == [(FIRST_WRONG, 2), ("dbnvar", 1)]
    assert [(each.code, each.students) for each in exercise.flags] == [("autograd-used", 2)]


def test_a_kind_of_flag_is_shown_once_a_student_with_its_number():
    flags = [Flag(code="unchecked", message=f"Look at {name}.") for name in ("da", "db", "db")]
    grade = msgspec.structs.replace(perfect_grading().grade, flags=[*flags, Flag(code="other", message="<b>")])
    page = render_index([CohortRow(grade=grade, path="x")])
    line = page.split("<tr data-tags")[1].split("</tr>")[0]
    assert "⚑ unchecked × 3 ⚑ other" in text_of("<b" + line)
    assert 'title="Look at da. Look at db."' in line


def test_who_has_no_report_beside_the_page_has_no_link_and_no_marks_make_no_picture():
    page = render_index(
        [CohortRow(grade=msgspec.structs.replace(ungradable_grading().grade, exercise="unknown"), path=None)]
    )
    assert not [value for value in Tags(page).values("href") if value.startswith("./")]
    assert "carol" in page
    assert "Exercise not known" in page
    assert "<svg" not in page


def test_an_empty_cohort_still_makes_a_page():
    assert "Cohort" in render_index([])


def test_a_share_is_rounded_to_all_or_nothing_only_where_it_is():
    grades = [msgspec.structs.replace(perfect_grading().grade, score=25.99)]
    page = render_index([CohortRow(grade=grade, path="x") for grade in grades])
    assert "mean 99 %" in text_of(page)


# --- where the templates are ----------------------------------------------------------------------------------------


def test_the_wheels_own_folder_comes_first(tmp_path, monkeypatch):
    package = tmp_path / "grader"
    (tmp_path / "templates").mkdir()
    package.mkdir()
    monkeypatch.setattr(files, "_PACKAGE", package)
    assert files.data_dir("templates") == tmp_path / "templates"
    (package / "_data" / "templates").mkdir(parents=True)
    assert files.data_dir("templates") == package / "_data" / "templates"
    with pytest.raises(CourseError, match="exercises/ is missing"):
        files.data_dir("exercises")
