"""What `grader check` prints: the report's own words, and never markup of a student's."""

from __future__ import annotations

import io
import re
import time

import msgspec
import pytest
from rich.console import Console
from rich.text import Text

from grader.cli import progress, show_class, show_student
from grader.records import Check, Diagnosis, Verdict
from grader.reports import terminal
from grader.reports.verdict_text import explain
from tests.report_samples import FIRST_WRONG, sample_grading
from tests.submissions import COURSE


@pytest.fixture
def shown(monkeypatch):
    """What `show_grading` prints of a grading, on a wide terminal."""

    def show(grading):
        out = io.StringIO()
        monkeypatch.setattr(terminal, "console", Console(file=out, width=500))
        terminal.show_grading(grading)
        return out.getvalue()

    return show


def test_a_wrong_gradient_is_explained_in_the_reports_words_with_the_students_line(shown):
    grading = sample_grading()
    check = next(check for check in grading.grade.checks if check.name == FIRST_WRONG)
    lines = shown(grading).splitlines()
    place = next(number for number, line in enumerate(lines) if explain(check) in line)
    assert lines[place + 1].strip() == "Cell 2, line 4:  dcounts_sum_inv = -(counts * dprobs).sum(1, keepdim=True)"


def test_only_what_is_wrong_has_a_line_to_mend(shown):
    grading = sample_grading()
    wrong = [check for check in grading.grade.checks if check.verdict is Verdict.WRONG]
    lines = shown(grading).splitlines()
    assert 0 < len([line for line in lines if line.startswith("      ")]) <= len(wrong)


def test_a_students_line_is_neither_markup_nor_obeyed(shown):
    grading = sample_grading()
    cells = [msgspec.structs.replace(cell, source=cell.source.replace("-(counts", "[red]\x1b[2J-(counts"))
             for cell in grading.cells]  # fmt: skip
    text = shown(msgspec.structs.replace(grading, cells=cells))
    assert "[red]" in text
    assert "\x1b[2J" not in text


def test_who_is_excused_is_told_among_those_who_handed_in_nothing(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(show_class, "console", Console(file=out, width=500))
    show_class.show_without_submission(["Ann", "Ben"], {"Ben", "Cy"})
    assert out.getvalue() == "2 of the roster handed in nothing: Ann, Ben (excused).\n"


def test_a_pointer_to_nowhere_is_no_line(shown):
    grading = sample_grading()
    evidence = [msgspec.structs.replace(item, line=9999) for item in grading.evidence]
    assert FIRST_WRONG in shown(msgspec.structs.replace(grading, evidence=evidence))


def test_progress_shows_how_many_how_fast_and_how_long_it_will_take(monkeypatch):
    seen = io.StringIO()
    monkeypatch.setattr(progress, "error_console", Console(file=seen, force_terminal=True, width=100))
    with progress.grading_progress(40) as done:
        for _ in range(10):
            time.sleep(0.03)
            done(sample_grading().grade)
        time.sleep(1.2)  # the time left is worked out once a second
    shown = Text.from_ansi(seen.getvalue()).plain
    assert re.search(r"10/40 +\d+\.\d/s +0:\d\d:\d\d", shown), shown


@pytest.fixture
def narrow(monkeypatch):
    """What `show_grading` prints of a grading on a terminal of 80 columns."""

    def show(grading, way_to_hints=None):
        out = io.StringIO()
        monkeypatch.setattr(terminal, "console", Console(file=out, width=80))
        terminal.show_grading(grading, way_to_hints)
        return out.getvalue()

    return show


def test_at_80_columns_further_lines_stand_below_the_text_and_no_word_is_cut(narrow, shown):
    text = narrow(sample_grading())
    lines = text.split("\n")
    assert max(map(len, lines)) <= 80
    assert set(shown(sample_grading()).split()) == set(text.split())
    place = next(number for number, line in enumerate(lines) if line.startswith(f"  ✗ {FIRST_WRONG}"))
    assert lines[place + 1].startswith("    ")
    assert lines[place + 1].strip()


def test_each_fact_is_said_once(narrow):
    text = " ".join(narrow(sample_grading(), "%hint").split())
    assert text.count("Stuck?") == 1
    assert "Stuck? For a hint: %hint" in text
    assert text.count("(32, 27)") == text.count("in the hidden case another-batch-size is (32, 27)")


def test_a_shape_that_the_diagnosis_names_is_not_named_again():
    check = Check(
        part="p", name="db", verdict=Verdict.WRONG, points=0.0, max_points=1.0, shape=[32, 64], expected_shape=[64],
        diagnosis=Diagnosis(code="missing-sum", message="It is (32, 64) and should be (64,): sum over the rows."),
        remark="db has shape (32, 64), its tensor (64,): a gradient must have its tensor's shape.",
    )  # fmt: skip
    assert explain(check).count("(32, 64)") == 1
    assert "sum over the rows" in explain(check)


def test_the_class_rows_show_flags():
    out = show_class._summary(sample_grading().grade)
    assert out.endswith("look at autograd-used")


def test_after_full_marks_comes_the_next_exercise(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(terminal, "console", Console(file=out, width=80))
    show_student.show_next(COURSE.catalog, "01_backprop_ninja")
    show_student.show_next(COURSE.catalog, COURSE.catalog.ids[-1])
    assert out.getvalue().split("\n")[:2] == ["Next: 02_layers", "That was the last exercise."]
