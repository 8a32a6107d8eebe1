"""Strangers' text at the end of every way out: the terminal, pages, tables, logs."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from grader.reports.cohort_page import CohortRow
from grader.reports.github_actions import job_summary
from grader.reports.html import render_index
from grader.reports.json_csv_junit import csv_text, grades_csv, totals_csv
from grader.reports.lms_csv import canvas_csv, moodle_csv
from grader.reports.terminal import SafeConsole
from grader.safe_text import UNSEEN, safe_text
from tests.reports.test_exports import grade

NAMES = [
    "ann\rbob,01_mini,graded,999", "ann\r\nbob", "ann\n=cmd|' /C calc'!A1", '"\r=1', "a,b;c\td", "=1+1", "\uff1d1+1",
    "\u200b=1+1", "\u00a0\u2003\ufeff=1+1", "\u2028=1", "\u2800-1", "'", "\x1b]0;owned\x07\x1b[2J", "\u202egnp.exe",
    "::error::hello", "  ::stop-commands::x", "##[error]x", "\u061c\u2066x\u2069", "ann\u200d", "ann", "\u3164",
    "ann\x85bob", "ann\x0bbob", "ann\x0cbob", "ann\x1ebob", "\x00",
]  # fmt: skip


def test_only_what_is_unseen_or_reorders_is_spelt_out():
    unseen = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    signs = (
        set(range(0x600, 0x606)) | {0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD} | set(range(0x13430, 0x13440))
    )
    for code in range(0x110000):
        if unicodedata.category(chr(code)) in unseen and code not in signs:  # which are seen
            assert UNSEEN.match(chr(code)), hex(code)
    for seen in ("Zoë O’Brien", "李小龍", "Нина", "नेहा", "می\u200cخواهم", "👩\u200d🔬 ❤\ufe0f", "e\u0301"):
        assert safe_text(seen, "page") == safe_text(seen, "line") == safe_text(seen, "csv") == seen


@given(st.text())
def test_no_line_for_a_terminal_moves_the_cursor_or_is_obeyed(text):
    shown = safe_text(text, "line")
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    assert not shown.lstrip().startswith(("::", "##["))


@pytest.mark.parametrize("name", NAMES)
def test_the_console_writes_nothing_that_a_terminal_obeys_but_its_own_styles(name):
    out = io.StringIO()
    console = SafeConsole(file=out, force_terminal=True, width=200)
    console.print(f"Report: {name}", markup=False, highlight=False)
    console.print(Text(name, style="bold"))
    assert not UNSEEN.search(re.sub(r"\x1b\[[\d;]*m|\n", "", out.getvalue()).replace("ann\u200d", ""))
    assert not any(line.lstrip().startswith(("::", "##[")) for line in out.getvalue().splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_pages_and_summaries_show_what_is_hidden_in_a_name(name):
    page = render_index([CohortRow(grade=grade(name), path=None)])
    for text in (page, job_summary([grade(name)])):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069]", text)
    assert not any(line.startswith("::") for line in job_summary([grade(name)]).splitlines())


# --- tables -----------------------------------------------------------------------------------------------------------


def tables() -> dict[str, str]:
    grades = [grade(name) for name in NAMES]
    return {
        "csv": grades_csv(grades),
        "totals": totals_csv(grades),
        "canvas": canvas_csv(grades).text,
        "moodle": moodle_csv(grades).text,
    }


def naive_rows(text: str) -> list[str]:
    """As readers see rows that don't know of line ends in quotes."""
    return text.splitlines()


@pytest.mark.parametrize("kind", ["csv", "totals", "canvas", "moodle"])
def test_every_reader_finds_one_row_a_student_and_no_formula(kind):
    text = tables()[kind]
    expected = 1 + len(NAMES) + (kind == "canvas")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(rows) == len(naive_rows(text)) == expected
    assert len({tuple(row) for row in rows}) == expected, "two students look the same"
    for cell in (cell for row in rows for cell in row):
        assert not re.match(r"\s*[=+\-@|]", unicodedata.normalize("NFKC", cell)), cell


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="needs the sqlite3 program, an independent reader of CSV")
@pytest.mark.parametrize("kind", ["csv", "totals", "canvas", "moodle"])
def test_sqlite_reads_the_same_rows(kind, tmp_path):
    path = tmp_path / "grades.csv"
    path.write_text(tables()[kind], encoding="utf-8", newline="")
    commands = f".import --csv {path} t\nSELECT count(*) FROM t;\n"
    done = subprocess.run(["sqlite3", ":memory:"], input=commands, capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == (str(len(NAMES) + (kind == "canvas")), "")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("soffice") is None, reason="needs LibreOffice")
@pytest.mark.parametrize("kind", ["csv", "totals", "canvas", "moodle"])
def test_libreoffice_reads_the_same_rows_and_calculates_nothing(kind, tmp_path):
    (tmp_path / "grades.csv").write_text(tables()[kind], encoding="utf-8", newline="")
    convert = ["soffice", f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}", "--headless", "--convert-to"]
    subprocess.run([*convert, "fods", "--outdir", tmp_path, tmp_path / "grades.csv"], check=True, capture_output=True)
    sheet = (tmp_path / "grades.fods").read_text(encoding="utf-8")
    assert "table:formula" not in sheet


def test_numbers_stay_numbers():
    assert csv_text(["a", "b", "c"], [["-1", -1.5, None]]).splitlines()[1] == "'-1,-1.5,"
