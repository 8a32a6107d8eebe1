"""Class lists and times as spreadsheets and platforms write them: read, or a sentence that says which line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from grader.cohort.csv_file import read_csv
from grader.cohort.times import Times
from grader.errors import UsageError
from grader.intake.handed_in.owners import Identity
from grader.reports.roster import Person
from grader.timestamps import NotATime, parse_time

ROWS = [["Name", "E-Mail-Adresse"], ["Müller, Jürgen", "jm@example.org"], ["Zoë “Z” Zed", "zz@example.org"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("begin", ["", "sep={}\r\n"])
def test_every_encoding_and_separator(tmp_path, encoding, separator, begin):
    path = tmp_path / "x.csv"
    lines = [separator.join(f'"{cell}"' if separator in cell or "," in cell else cell for cell in row) for row in ROWS]
    path.write_bytes((begin.format(separator) + "\r\n".join(lines) + "\r\n\r\n").encode(encoding))
    table = read_csv(path, "roster")
    assert [table.columns, *[list(row.values()) for row in table.rows]] == ROWS
    assert table.lines == ([3, 4] if begin else [2, 3])


def test_what_can_not_be_read_says_why(tmp_path):
    path = tmp_path / "x.csv"
    for data, said in [
        (b"a,b,a\n", "has the column 'a' twice"),
        (b"\x81\x8d,\xff\n", "can't be read"),
        (b"", "is empty"),
    ]:
        path.write_bytes(data)
        with pytest.raises(UsageError, match=said):
            read_csv(path, "roster")


WHEN = datetime(2026, 12, 24, 21, 9, 56, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-12-24T21:09:56Z",
        "2026-12-24T22:09:56+01:00",
        "2026-12-24 21:09:56.000000000 Z",  # Gradescope's metadata
        "2026-12-24 13:09:56 -0800",  # Gradescope's scores
        "2026-12-24 21:09:56.000000 UTC",  # nbgrader
    ],
)
def test_times_with_an_offset(text):
    assert parse_time(text) == WHEN


@pytest.mark.parametrize(
    "text",
    [
        "24.12.2026 22:09",
        "12/24/2026 22:09",
        "24/12/2026 22:09",
        "12/24/2026 10:09 PM",
        "2026/12/24 22:09",
        "Thursday, 24 December 2026, 10:09 PM",  # Moodle
        "24 December 2026, 22:09",
        "Dec 24, 2026 at 10:09 PM",
        "2026-12-24 22:09",
    ],
)
def test_times_of_spreadsheets_and_platforms_want_a_zone(text):
    with pytest.raises(NotATime, match="has no time zone"):
        parse_time(text)
    assert parse_time(text, ZoneInfo("Europe/Berlin")) == datetime(2026, 12, 24, 21, 9, tzinfo=UTC)


def test_a_date_that_may_be_two_is_refused():
    with pytest.raises(NotATime, match="could be two dates"):
        parse_time("04/12/2026 22:09", UTC)
    assert parse_time("04/04/2026 22:09", UTC).month == 4
    for text in ("last Friday", "", "2026-12-24", "45285.5"):
        with pytest.raises(NotATime):
            parse_time(text)


def test_fractions_and_odd_offsets_stay():
    found = parse_time("2026-12-24 21:09:56.586938123 +0530")
    assert found == datetime(2026, 12, 24, 21, 9, 56, 586938, tzinfo=timezone(timedelta(hours=5, minutes=30)))


PEOPLE = [Person("Ann Ash", [Identity("email", "ann@example.org")]), Person("Ben Box", [Identity("moodle", "12346")])]


def test_gradescopes_and_moodles_own_lists_are_files_of_times(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text(
        "First Name,Last Name,SID,Email,Status,Submission Time\n"
        "A.,Ash,7,ann@example.org,Graded,2026-12-24 13:09:56 -0800\nCy,Coe,8,cy@example.org,Missing,\n"
    )
    times = Times(path, people=PEOPLE)
    assert (times.of("Ann Ash", "mini"), times.of("Cy Coe", "mini")) == (WHEN, None)
    path.write_text(
        "Identifier,Full name,Status,Grade,Last modified (submission)\n"
        'Participant 12345,A.,,,-\nParticipant 12346,B.,,,"Thursday, 24 December 2026, 10:09 PM"\n'
    )
    times = Times(path, ZoneInfo("Europe/Berlin"), PEOPLE)
    assert times.of("Ben Box", "mini") == WHEN.replace(second=0)
    with pytest.raises(UsageError, match=r"Line 3 of .*, column Last modified \(submission\): .* has no time zone"):
        Times(path, people=PEOPLE)


def test_a_file_of_times_without_its_columns_says_what_it_has(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("a;b\n1;2\n")
    with pytest.raises(UsageError, match=r"needs the columns student and submitted .* It has a, b"):
        Times(path)
