"""What students get: laid out as each platform wants it back, and nothing in it that isn't theirs."""

from __future__ import annotations

import csv
import shutil
import zipfile
from pathlib import PurePath

import pytest

from grader.cohort.feedback import canvas_place, gradescope_place, moodle_place, write_feedback
from grader.files import safe_name
from grader.gradebook.gradebook import Gradebook
from grader.gradebook.review_records import Note, SubmissionKey
from tests.report_samples import HIDDEN_NUMBER
from tests.review.serving import EXERCISE, fill, invented


@pytest.mark.parametrize(
    ("place", "path", "inside"),
    [
        (moodle_place, "in/Ann Lee_123_assignsubmission_file_/01.ipynb", "Ann Lee_123_assignsubmission_file_/x.html"),
        (moodle_place, "in/Ann Lee_123_assignsubmission_file_01.ipynb", "Ann Lee_123_assignsubmission_file_/x.html"),
        (moodle_place, "in/ann/01.ipynb", None),
        (moodle_place, "in/leeann_123_456_01.ipynb", None),
        (canvas_place, "in/leeann_123_456_01-1.ipynb", "leeann_123_456_01-1.html"),
        (canvas_place, "in/leeann_LATE_123_456_01.ipynb", "leeann_LATE_123_456_01.html"),
        (canvas_place, "in/01_backprop_ninja.ipynb", None),
        (canvas_place, "in/Ann_123_assignsubmission_file_01_02_x.ipynb", None),
        (gradescope_place, "in/assignment_1_export/submission_22/01.ipynb", "assignment_1_export/submission_22/x.html"),
        (gradescope_place, "submission_22/deep/01.ipynb", "submission_22/x.html"),
        (gradescope_place, "in/submission_22.ipynb", None),
        (gradescope_place, "in/my_submission_2/01.ipynb", None),
    ],
)
def test_where_a_platform_looks_for_a_report(place, path, inside):
    assert place(PurePath(path), "x") == inside


@pytest.fixture(scope="module")
def written(tmp_path_factory, course):
    """Feedback for a class of which one notebook each lay as a platform names it; with hostile names and notes."""
    paths = {
        "alice": "/in/Alice A_11_assignsubmission_file_/01.ipynb",
        "bob": "/in/bobb_112_13_01.ipynb",
        "cy": "/in/assignment_4_export/submission_14/01.ipynb",
    }
    folder = tmp_path_factory.mktemp("feedback")
    with Gradebook(folder / "gradebook.sqlite") as book:
        fill(folder / "gradebook.sqlite", folder, paths=paths)
        for kind in ("comment", "internal", "disputed", "settled"):
            of = SubmissionKey("alice", EXERCISE, invented("alice").submission)
            book.log.add_notes([Note(of=of, kind=kind, text=f"={kind} note", by="tom", cell=1, line=4, item="x")])
        yield write_feedback(book, course, folder / "feedback")


def test_a_folder_each_and_a_zip_for_each_platform_that_says_whom_it_lacks(written):
    assert written.reports == 14
    for name, inside in (
        ("moodle", "Alice A_11_assignsubmission_file_/01_backprop_ninja.html"),
        ("canvas", "bobb_112_13_01.html"),
        ("gradescope", "assignment_4_export/submission_14/01_backprop_ninja.html"),
    ):
        with zipfile.ZipFile(written.folder / f"{name}.zip") as archive:
            assert archive.namelist() == [inside]
        held, lacks = written.zips[name]
        assert (held, len(lacks), "dana" in lacks) == (1, 13, True)
    with zipfile.ZipFile(written.folder / "moodle.zip") as archive:
        page = archive.read(archive.namelist()[0]).decode()
    assert page == (written.folder / "alice" / f"{EXERCISE}.html").read_text(encoding="utf-8")
    assert "=comment note" in page
    ours = {path.name for path in written.folder.iterdir() if path.is_file()}
    assert ours >= {"comments.csv", "canvas.zip"}
    assert not [name for name in ours if safe_name(name) == name], "a student of this name would take its place"


def test_no_report_shows_internal_notes_other_students_or_hidden_numbers(written):
    pages = {path: path.read_text(encoding="utf-8") for path in written.folder.rglob("*.html")}
    assert len(pages) == 14
    for path, page in pages.items():
        for word in ("internal note", "disputed note", "settled note", str(HIDDEN_NUMBER)):
            assert word not in page, path
        assert [name for name in ("alice", "dana") if f">{name}<" in page and name != path.parent.name] == []


def test_comments_as_csv_hold_no_formula_and_nothing_internal(written):
    rows = list(csv.DictReader((written.folder / "comments.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["student"], row["cell"], row["line"], row["comment"]) for row in rows] == [
        ("alice", "1", "4", "'=comment note")
    ]


def test_a_zip_of_an_earlier_time_does_not_stay(written, tmp_path, course):
    fill(tmp_path / "other.sqlite", tmp_path, ["alice"], hostile=False)
    with Gradebook(tmp_path / "other.sqlite") as book:
        earlier = shutil.copytree(written.folder, tmp_path / "feedback")
        write_feedback(book, course, earlier)
    assert list(written.folder.glob("*.zip"))
    assert not list(earlier.glob("*.zip"))
