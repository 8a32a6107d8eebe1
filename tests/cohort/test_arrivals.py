"""From a platform's download to that platform's import: every submission graded, every row found."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from msgspec import structs

from grader.cohort.arrivals import Naming, arrive
from grader.cohort.changes import extend_due_date, override_mark, remove_student, rename_student
from grader.cohort.export import export_grades
from grader.cohort.naming import handed_in_csv, without_submission
from grader.cohort.run import grade_cohort
from grader.cohort.similarity import own_lines, similar, similar_groups
from grader.course.catalog import Late, Terms
from grader.errors import UsageError
from grader.gradebook.gradebook import Gradebook
from grader.grading.workers import InProcess
from tests.intake.test_handed_in import PLATFORMS, WHO

AS_IT_IS = Naming()
LISTS = {
    "canvas": (
        "canvas",
        'Student,ID,SIS User ID,SIS Login ID,Section\n    Points Possible,,,,\n"Ash, Ann",12345,s1,a1,\n'
        '"Box, Ben",12346,s2,b2,\n',
    ),
    "moodle": (
        "moodle",
        "Identifier,Full name,Email address,Status,Grade,Maximum Grade,Last modified (grade)\n"
        "Participant 12345,Ann Ash,a@example.org,,,16,-\nParticipant 12346,Ben Box,b@example.org,,,16,-\n",
    ),
    "moodle flat": (
        "moodle",
        "Vorname;Nachname;ID-Nummer;E-Mail-Adresse\nAnn;Ash;1;a@example.org\nBen;Box;2;b@example.org\n",
    ),
    "gradescope": (
        "canvas",
        'Student,ID,SIS User ID,SIS Login ID,Section\n"Ash, Ann",1,007,a1,\n"Box, Ben",2,8,ben@example.org,\n'
        '"Zed, Zoë",3,9,zz,\n',
    ),
    "github": ("canvas", "Student,ID,SIS Login ID,GitHub\nAnn,1,a,Ann-Ash\nBen,2,b,ben\n"),
    "nbgrader": ("moodle", "First name,Surname,Email address\nAnn,Ash,ann@example.org\nBen,Box,ben@example.org\n"),
}


@pytest.fixture
def book(tmp_path):
    with Gradebook(tmp_path / "gradebook.sqlite") as book:
        yield book


@pytest.fixture
def put(tmp_path, solved):
    """Lay files below a folder: the solved notebook, or other bytes."""

    def run(*names, files=None):
        root = tmp_path / "download"
        shutil.rmtree(root, ignore_errors=True)
        for name, data in {**dict.fromkeys(names, solved()), **(files or {})}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return root

    return run


class Remembering:
    """Graders that grade a notebook once, whoever hands it in: here it matters whose it is."""

    def __init__(self, pool):
        self.pool, self.known = pool, {}

    def check_names(self, exercise):
        return self.pool.check_names(exercise)

    def grade(self, submission):
        key = submission.exercise, submission.data, submission.problem
        if key not in self.known:
            self.known[key] = self.pool.grade(submission)
        grading = self.known[key]
        return structs.replace(grading, grade=structs.replace(grading.grade, student=submission.student))


@pytest.fixture(scope="module")
def remembering(pool):
    return Remembering(pool)


@pytest.fixture
def graded(course, remembering, book, tmp_path):
    """Collect and grade a folder or zip; the grades."""

    def run(path, naming=AS_IT_IS):
        run.arrivals = arrivals = arrive([path], course, None, naming).under(book.people.renames())
        book.people.remember(arrivals.identities())
        run.counted = Counting(remembering)
        return grade_cohort(
            arrivals.found, course, book, tmp_path / "out", lambda _: contextlib.nullcontext(run.counted),
            submitted=arrivals.submitted,
        )  # fmt: skip

    return run


class Counting(InProcess):
    """Grades as ever, and counts."""

    count = 0

    def grade(self, found, done):
        self.count += len(found)
        super().grade(found, done)


def a_list(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "list.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("platform", LISTS)
@pytest.mark.parametrize("roster_first", [True, False])
def test_a_download_is_graded_and_every_row_of_the_platforms_list_found(
    platform, roster_first, put, graded, book, tmp_path
):
    names, files = PLATFORMS[platform]
    kind, text = LISTS[platform]
    roster = a_list(tmp_path, text)
    zipped = Path(shutil.make_archive(str(tmp_path / "class"), "zip", put(*names, files=files)))
    grades = graded(zipped, Naming(roster=roster) if roster_first else Naming())
    assert [grade.score for grade in grades] == [16.0] * len(WHO[platform])
    text, unknown = export_grades(kind, grades, roster, None, book.people.identities())
    assert unknown == []
    rows = [row for row in csv.DictReader(io.StringIO(text)) if "Points Possible" not in row.get("Student", "")]
    assert [row.get("mini") or row.get("Grade") for row in rows] == ["16"] * len(grades)


def test_gradescope_gets_a_result_for_each(put, graded, book, tmp_path):
    names, files = PLATFORMS["gradescope"]
    grades = graded(put(*names, files=files))
    export_grades("gradescope", grades, None, tmp_path / "results")
    assert len(list((tmp_path / "results").rglob("results.json"))) == 3


def test_a_group_is_graded_once_counts_for_each_and_is_not_suspicious(put, graded, book, course, solved):
    names, files = PLATFORMS["gradescope"]
    own = "# " + "an unusual remark, " * 12 + "\ndhsum = (h"
    grades = graded(put(*names, files={**files, "submission_12/src/notebook.ipynb": solved(("dhsum = (h", own))}))
    assert {grade.student: grade.score for grade in grades} == {"Ann Ash": 16, "Ben Box": 16, "Zoë Zed": 16}
    assert graded.counted.count == 2
    alike = similar_groups(own_lines(each, course.exercise("mini")) for each in book.gradings())
    assert [group.students for group in alike] == [["Ben Box", "Zoë Zed"]]
    assert similar(book, course) == []


def test_a_list_of_names_and_a_pattern(put, graded, tmp_path):
    names = a_list(tmp_path, "name;student\nteam1;Ann\nteam1;Ben\nTEAM2;Cy\nnobody;Dan\n")
    grades = graded(put("team1/mini.ipynb", "team2/mini.ipynb"), Naming(names=names))
    assert [grade.student for grade in grades] == ["Ann", "Ben", "Cy"]
    assert any("'nobody'" in sentence for sentence in graded.arrivals.said)
    (grade,) = graded(put("x-s17-mini.ipynb"), Naming(pattern=r"-(?P<student>s\d+)-"))
    assert grade.student == "s17"
    for pattern, said in [("(", "isn't a regular expression"), ("x", "needs a group named student")]:
        with pytest.raises(UsageError, match=said):
            graded(put("x.ipynb"), Naming(pattern=pattern))
    with pytest.raises(UsageError, match="columns name and student"):
        graded(put("x.ipynb"), Naming(names=a_list(tmp_path, "a,b\n1,2\n")))


def test_two_names_of_one_person_become_one_by_the_roster(put, course, tmp_path):
    roster = a_list(
        tmp_path, "Name,Login,Email\nAnn Ash,ann7,ann@example.org\nBen Box,ben,b@example.org\nCy,c,c@x.org\n"
    )
    root = put("ann7/mini.ipynb", "Ash, Ann/mini.ipynb", "eve/mini.ipynb")
    arrivals = arrive([root], course, None, Naming(roster=roster))
    assert [(item.student, item.problem is None) for item in arrivals.found] == [("Ann Ash", False), ("eve", True)]
    assert "There are 2 files" in arrivals.found[0].problem
    assert any("'eve'" in sentence for sentence in arrivals.said)
    assert without_submission(arrivals.roster, {"Ann Ash": [], "eve": []}) == ["Ben Box", "Cy"]


def test_a_print_of_nobody_in_the_class_list_is_no_submission(put, course, tmp_path):
    root = put("ann.ipynb", files={"ben.pdf": b"%PDF", "slides.pdf": b"%PDF"})
    without = arrive([root], course, None, AS_IT_IS)
    assert [item.student for item in without.found] == ["ann", "ben", "slides"]
    assert any("slides (mini): if it is nobody's" in sentence for sentence in without.said)
    roster = a_list(tmp_path, "Name,Login\nAnn Ash,ann\nBen Box,ben\n")
    arrivals = arrive([root], course, None, Naming(roster=roster))
    assert [(item.student, item.problem is None) for item in arrivals.found] == [("Ann Ash", True), ("Ben Box", False)]
    assert arrivals.about_names == ["Ignored: slides.pdf."]


def test_two_people_of_one_name_in_the_roster_stay_two(put, course, tmp_path):
    roster = a_list(tmp_path, "Name,Login\nAnn Ash,ann1\nAnn Ash,ann2\n")
    arrivals = arrive([put("ann1.ipynb", "ann2.ipynb")], course, None, Naming(roster=roster))
    assert [item.student for item in arrivals.found] == ["Ann Ash (ann1)", "Ann Ash (ann2)"]


def test_a_platforms_time_counts_and_a_file_of_times_corrects_it(put, course, tmp_path):
    names, files = PLATFORMS["gradescope"]
    times = a_list(tmp_path, "student,submitted\nAnn Ash,2026-12-04 12:00\n")
    root = put(*names, files=files)
    arrivals = arrive([root], course, None, Naming(times=times, timezone="Europe/Berlin"))
    assert arrivals.submitted("Ann Ash", "mini") == datetime.fromisoformat("2026-12-04T11:00Z")
    assert arrivals.submitted("Ben Box", "mini") == datetime.fromisoformat("2026-12-05T01:00Z")
    written = [line.split(",")[3] for line in handed_in_csv(arrivals.found, arrivals.times).splitlines()]
    assert written[1:3] == ["2026-12-04T12:00:00+01:00", "2026-12-05T01:00:00+00:00"]
    with pytest.raises(UsageError, match=r"Line 2 .*, column submitted: .* has no time zone"):
        arrive([root], course, None, Naming(times=times))
    with pytest.raises(UsageError, match="There is no time zone 'Berlin'"):
        arrive([root], course, None, Naming(times=times, timezone="Berlin"))
    late = arrive([put("ashann_LATE_12345_678901_mini.ipynb")], course, None, Naming())
    assert any("Marked late without a time" in sentence for sentence in late.said)
    assert handed_in_csv(late.found, late.times).splitlines()[1].split(",")[4] == "yes"


# --- afterwards


def test_a_student_is_renamed_without_grading_anew_and_for_good(put, graded, book, course, tmp_path):
    root = put("s17.ipynb", "ben.ipynb")
    graded(root)
    override_mark(book, course, tmp_path / "out", "s17", None, None, 3, "Looked at.")
    (grade,) = rename_student(book, course, tmp_path / "out", "s17", "Ann Ash")
    assert (grade.student, grade.score) == ("Ann Ash", 3)
    assert (tmp_path / "out" / "Ann Ash" / "mini.html").is_file()
    assert not (tmp_path / "out" / "s17").exists()
    assert "s17" not in (tmp_path / "out" / "grades.csv").read_text()
    grades = graded(root)
    assert {grade.student: grade.score for grade in grades} == {"Ann Ash": 3, "ben": 16}
    assert graded.counted.count == 0
    with pytest.raises(UsageError, match="no 's17' to rename"):
        rename_student(book, course, tmp_path / "out", "s17", "x")
    rename_student(book, course, tmp_path / "out", "Ann Ash", "s17")
    assert {grade.student: grade.score for grade in graded(root)} == {"s17": 3, "ben": 16}


def test_two_who_are_one_are_made_one(put, graded, book, course, tmp_path, solved):
    graded(put("ann.ipynb"))
    graded(put("s17.ipynb", files={"s17.ipynb": solved(("dhsum = (h", "dhsum = 3 * (h"))}))
    rename_student(book, course, tmp_path / "out", "s17", "ann")
    assert [(grade.student, grade.score) for grade in book.grades()] == [("ann", 14)]  # the last run's counts
    graded(put("x.ipynb", "y.ipynb"))
    with pytest.raises(UsageError, match="'x' and 'y' both handed in mini, and no time says which counts"):
        rename_student(book, course, tmp_path / "out", "x", "y")
    assert {grade.student for grade in book.grades()} == {"ann", "x", "y"}


def test_of_two_in_one_run_the_later_one_counts(put, graded, book, course, tmp_path, solved):
    times = a_list(tmp_path, "student,submitted\nx,2026-12-04T12:00Z\ny,2026-12-04T14:00+03:00\n")
    graded(put("x.ipynb", files={"y.ipynb": solved(("dhsum = (h", "dhsum = 3 * (h"))}), Naming(times=times))
    (grade,) = rename_student(book, course, tmp_path / "out", "y", "x")
    assert (grade.student, grade.score) == ("x", 16)


def test_what_is_removed_counts_nowhere(put, graded, book, course, tmp_path):
    graded(put("template.ipynb", "ann.ipynb"))
    assert ">template<" in (tmp_path / "out" / "index.html").read_text()
    assert remove_student(book, course, tmp_path / "out", "template", None) == ["mini"]
    assert [grade.student for grade in book.grades()] == ["ann"]
    assert not (tmp_path / "out" / "template").exists()
    assert ">template<" not in (tmp_path / "out" / "index.html").read_text()
    with pytest.raises(UsageError, match="nothing of 'template'"):
        remove_student(book, course, tmp_path / "out", "template", None)


TERMS = Terms(due=datetime.fromisoformat("2026-12-04T12:00Z"), late=Late(percent_a_day=10))


def test_one_student_has_longer_and_another_is_excused(put, graded, book, course, tmp_path, monkeypatch):
    monkeypatch.setattr(type(course.catalog), "terms", {"mini": TERMS})
    times = a_list(
        tmp_path, "student,submitted\n" + "".join(f"{name},2026-12-06T11:00Z\n" for name in ("ann", "ben", "cy"))
    )
    scores = {
        grade.student: grade.score for grade in graded(put("ann.ipynb", "ben.ipynb", "cy.ipynb"), Naming(times=times))
    }
    assert scores == dict.fromkeys(("ann", "ben", "cy"), 16 * 0.8)
    out = tmp_path / "out"
    (ann,) = extend_due_date(book, course, out, "ann", "mini", datetime.fromisoformat("2026-12-05T12:00Z"), "Was ill.")
    (ben,) = extend_due_date(book, course, out, "ben", None, None, "The server was down.")
    assert (ann.score, ben.score) == (16 * 0.9, 16)
    assert ann.standing.reasons[0] == "You have until 2026-12-05 12:00+00:00: Was ill."
    assert ben.standing.reasons[0] == "Being late is excused: The server was down."
    assert "Was ill" in (out / "ann" / "mini.html").read_text()
    assert {grade.student: grade.score for grade in book.grades()} == {"ann": 14.4, "ben": 16, "cy": 12.8}
    for name in ("eve", "gus"):
        assert extend_due_date(book, course, out, name, None, None, "Was ill.") == []
    extend_due_date(book, course, out, "gus", "mini", datetime.fromisoformat("2026-12-05T12:00Z"), "No longer.")
    assert book.people.excused([*book.grades()]) == {("eve", "mini")}  # ben handed it in
    assert "eve,excused," in (out / "totals.csv").read_text()
    with pytest.raises(UsageError, match="needs a reason"):
        extend_due_date(book, course, out, "cy", None, None, " ")
    with pytest.raises(UsageError, match="no exercise 'nope'"):
        extend_due_date(book, course, out, "cy", "nope", None, "x")


@pytest.mark.parametrize("mark", ["# In[{}]:\n\n", "# %%\n", "\n# {}\n"])
def test_an_exported_script_earns_what_its_notebook_does(mark, put, graded, solved):
    """As Jupyter, editors, and with no marks at all Colab, export a notebook."""
    cells = [cell for cell in json.loads(solved())["cells"] if cell["cell_type"] == "code"]
    script = "#!/usr/bin/env python\n" + "\n\n".join(
        mark.format(number) + "".join(cell["source"]) for number, cell in enumerate(cells)
    )
    (grade,) = graded(put(files={"ann/mini.py": script.encode()}))
    assert (grade.status, grade.score) == ("graded", 16)
