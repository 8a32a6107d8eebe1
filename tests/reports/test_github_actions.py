"""What GitHub Actions is told: in its own escapes, within its limits, at the student's own lines."""

from __future__ import annotations

import json

import msgspec
import pytest

from grader.records import CellView, Check, Diagnosis, Evidence, Grading, Verdict
from grader.reports.github_actions import MAX_SUMMARY, annotations_for, first_of_each_kind, job_summary, line_in
from tests.reports.test_exports import grade, ungradable

SOURCE = 'a = 1\nda = -b  # "wrong"\n\ndb = 2'


def notebook(*sources: str | list[str], **options: object) -> str:
    cells = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": source} for source in sources]
    return json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}, **options)  # type: ignore[arg-type]


def grading(check: Check) -> Grading:
    base = msgspec.structs.replace(grade("ann"), checks=[check])
    cells = [CellView(source=SOURCE, part="p", outputs=[])]
    return Grading(grade=base, title="T", parts=[], cells=cells, evidence=[Evidence("p", "da", cell=0, line=2)])


WRONG = Check(
    part="p", name="da", verdict=Verdict.WRONG, points=0.0, max_points=1.0,
    diagnosis=Diagnosis(code="sign-flipped", message="Look: at 50 %\nof it, twice."),
)  # fmt: skip


@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize("options", [{"indent": 1}, {"indent": 1, "ensure_ascii": False}, {}])
def test_the_line_of_the_notebooks_json(as_list, options):
    source = SOURCE + "\n# é"
    text = notebook("x = 1", source.splitlines(True) if as_list else source, **options)
    line = line_in(text, source, 2)
    row = text.splitlines()[line - 1]
    assert "da = -b" in row
    if as_list and options:
        assert row.strip().startswith('"da')


def test_a_line_that_stands_in_several_cells_is_found_in_its_own():
    text = notebook(["y = 0\n", "z = 1"], ["x = 0\n", "z = 1"], indent=1)
    first, second = line_in(text, "y = 0\nz = 1", 2), line_in(text, "x = 0\nz = 1", 2)
    assert first < second
    assert text.splitlines()[first - 2].strip() == '"y = 0\\n",'


def test_a_source_that_is_not_there_points_at_the_file():
    assert line_in(notebook("x"), "nothing of the kind\n at all", 2) == 1
    assert line_in("", "", None) == 1


def test_a_wrong_gradient_is_an_error_at_its_line_with_everything_escaped():
    (found,) = annotations_for(grading(WRONG), "work/a,b:c.ipynb", notebook(SOURCE.splitlines(True), indent=1))
    assert found.command.startswith("::error file=work/a%2Cb%3Ac.ipynb,line=")
    assert "Look: at 50 %25%0Aof it, twice." in found.command
    assert "\n" not in found.command


@pytest.mark.parametrize(
    ("verdict", "kinds"),
    [("exact", []), ("carried", []), ("wrong", ["error"]), ("missing", ["error"]), ("unchecked", ["warning"])],
)
def test_kinds(verdict, kinds):
    check = msgspec.structs.replace(WRONG, verdict=Verdict(verdict))
    assert [one.kind for one in annotations_for(grading(check), "f", "")] == kinds


def test_what_can_not_be_graded_is_an_error_at_the_file():
    base = msgspec.structs.replace(grading(WRONG), grade=ungradable("ben"))
    (found,) = annotations_for(base, "f.ipynb", "")
    assert found.command == "::error file=f.ipynb,line=1,title=01_mini can't be graded::It is empty."


def test_no_more_than_github_shows():
    (one,) = annotations_for(grading(WRONG), "f", "")
    warning = msgspec.structs.replace(one, kind="warning")
    assert [found.kind for found in first_of_each_kind([one, warning] * 30)] == ["error"] * 10 + ["warning"] * 10


def test_the_summary_shows_strangers_text_as_it_is():
    text = job_summary([grade("<script>|*_[x](y)\n# z @everyone"), ungradable("ben")])
    assert "<script>" not in text
    assert "&lt;script&gt;\\|\\*\\_\\[x\\](y)" in text
    assert all(line.count("|") - line.count("\\|") in (0, 4, 5) for line in text.splitlines())
    assert "| ben | 01\\_mini | – | could not be graded: It is empty. |" in text


def test_the_summary_keeps_to_githubs_limit_and_says_so():
    text = job_summary([grade("ü" * 100)] * 8000)
    assert len(text.encode()) <= MAX_SUMMARY
    assert text.rstrip().endswith("*Cut here: GitHub shows no more than 1 MiB. The reports have everything.*")


def test_code_in_a_sentence_stays_code():
    text = job_summary([grade("a `x` b ``y`` `z")])
    assert "| a `x` b \\`\\`y\\`\\` \\`z |" in text
    sentence = "Look at `(h * d_w) @ W.T | 1`, not at *this_one*."
    check = msgspec.structs.replace(WRONG, diagnosis=Diagnosis(code="x", message=sentence))
    text = job_summary([msgspec.structs.replace(grade("ann"), checks=[check])], {"01_mini/p": "A title_of"})
    assert "`(h * d_w) @ W.T \\| 1`" in text
    assert "\\*this\\_one\\*" in text
    assert "(A title\\_of)" in text
