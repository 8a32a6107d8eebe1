"""Downloads as platforms make them, and files as people name them: one student each, nobody lost."""

from __future__ import annotations

import io
import json
import shutil
import unicodedata
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from grader.errors import UsageError
from grader.intake.collect import _in_one_case, _told_apart, collect
from grader.intake.found import Found
from grader.intake.handed_in.arrived import Arrived
from grader.intake.handed_in.names import taken_apart
from grader.intake.handed_in.owners import Identity
from grader.intake.handed_in.platforms import areas
from grader.intake.handed_in.python_file import as_notebook

IDS = ["mini", "01_backprop_ninja", "04_softmax_and_attention"]


@pytest.fixture
def arrive(tmp_path, solved, course):
    """Lay files as they arrive and collect them: as a folder, or as the zip of its content, or of the folder itself."""

    def run(*names: str, files: dict[str, bytes] | None = None, how: str = "folder", exercise: str | None = None):
        root = tmp_path / "download"
        shutil.rmtree(root, ignore_errors=True)
        for name, data in {**dict.fromkeys(names, solved()), **(files or {})}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        place = root if how == "folder" else zipped(root, "." if how == "zip" else "download")
        said: list[str] = []
        found = collect([place], course, exercise, said.append)
        for item in found:
            assert item.problem is not None or item.submission().data != b"{}", f"the wrong file was taken: {item}"
        run.passed_over = said
        return found

    return run


def zipped(root: Path, top: str) -> Path:
    base = root if top == "." else root.parent
    return Path(shutil.make_archive(str(root.parent / "submissions"), "zip", base, top))


def zip_of(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def students(found: list[Found]) -> dict[str, str | None]:
    return {item.student: item.problem for item in found}


METADATA = b"""---
submission_11:
  :submitters:
  - :name: Ann Ash
    :sid: '007'
    :email: ann@example.org
  :created_at: 2026-12-04 21:09:56.586938000 Z
  :status: processed
submission_12:
  :submitters:
  - :name: Ben Box
    :sid:
    :email: ben@example.org
  - :name: Zo\xc3\xab Zed
    :sid: '9'
    :email: zoe@example.org
  :created_at: 2026-12-05 01:00:00.000000000 Z
"""

PLATFORMS = {
    "canvas": (["ashann_12345_678901_mini-1.ipynb", "boxben_LATE_12346_678902_mini.ipynb"], {}),
    "moodle": (
        ["Ann Ash_12345_assignsubmission_file_/mini.ipynb", "Ben Box_12346_assignsubmission_file/my work.ipynb"],
        {},
    ),
    "moodle flat": (
        ["Ann Ash_12345_assignsubmission_file_mini.ipynb", "Ben Box_12346_assignsubmission_file_my_work.ipynb"],
        {},
    ),
    "gradescope": (
        ["submission_11/mini.ipynb", "submission_12/src/notebook.ipynb"],
        {"submission_metadata.yml": METADATA},
    ),
    "github": (["hw1-ann-ash/mini.ipynb", "hw1-ben/deeper/down/mini.ipynb"], {"hw1-ben/README.md": b"#"}),
    "github's zips": (["hw1-ann-ash-main/mini.ipynb", "hw1-ben-main/mini.ipynb"], {}),
    "nbgrader": (
        ["submitted/ann/mini/mini.ipynb", "submitted/ben/mini/problem1.ipynb"],
        {"submitted/ann/mini/timestamp.txt": b"2026-12-04 21:09:56.586938 UTC"},
    ),
    "blackboard": (["hw1_ann_attempt_2026-12-04-21-09-56_mini.ipynb", "hw1_ben_attempt_2026-12-04-21-09-57.ipynb"], {}),
}
WHO = {
    "canvas": ["ashann", "boxben"],
    "moodle": ["Ann Ash", "Ben Box"],
    "moodle flat": ["Ann Ash", "Ben Box"],
    "gradescope": ["Ann Ash", "Ben Box", "Zoë Zed"],
    "github": ["ann-ash", "ben"],
    "github's zips": ["ann-ash", "ben"],
    "nbgrader": ["ann", "ben"],
    "blackboard": ["ann", "ben"],
}
JUNK = {
    "__MACOSX/._x.ipynb": b"junk",
    ".DS_Store": b"junk",
    "._x.ipynb": b"junk",
    ".ipynb_checkpoints/x-checkpoint.ipynb": b"junk",
}


@pytest.mark.parametrize("how", ["folder", "zip", "zip of the folder"])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_download_is_taken_as_it_is(platform, how, arrive):
    names, files = PLATFORMS[platform]
    found = arrive(*names, files={**files, **JUNK}, how=how)
    assert students(found) == dict.fromkeys(WHO[platform])
    assert {item.exercise for item in found} == {"mini"}


def test_what_platforms_say_is_kept(arrive):
    def said(platform):
        names, files = PLATFORMS[platform]
        return {item.student: item for item in arrive(*names, files=files)}

    canvas = said("canvas")
    assert canvas["ashann"].identities == [("canvas", "12345")]
    assert (canvas["ashann"].late, canvas["boxben"].late) == (False, True)
    assert said("moodle")["Ben Box"].identities == [("moodle", "12346")]
    gradescope = said("gradescope")
    assert gradescope["Ann Ash"].identities == [("email", "ann@example.org"), ("sid", "007")]
    assert gradescope["Ann Ash"].submitted == datetime(2026, 12, 4, 21, 9, 56, 586938, tzinfo=UTC)
    assert gradescope["Ben Box"].group == ["Ben Box", "Zoë Zed"]
    assert said("github")["ben"].identities == [("github", "ben")]
    assert said("nbgrader")["ann"].submitted == datetime(2026, 12, 4, 21, 9, 56, 586938, tzinfo=UTC)
    assert said("nbgrader")["ben"].submitted is None


def test_the_downloads_of_several_assignments_beside_each_other(arrive, solved):
    zip_ = zip_of({"ashann_12345_678901_mini.ipynb": solved()})
    found = arrive("moodle/Ben Box_1_assignsubmission_file_/mini.ipynb", files={"canvas.zip": zip_})
    assert students(found) == {"ashann": None, "Ben Box": None}


def test_two_people_of_one_name_are_told_apart(arrive):
    found = arrive("Ann Ash_1_assignsubmission_file_/mini.ipynb", "Ann Ash_2_assignsubmission_file_/mini.ipynb")
    assert students(found) == {"Ann Ash (1)": None, "Ann Ash (2)": None}


def test_moodles_numbers_of_two_assignments_are_one_person(arrive, course, monkeypatch):
    found = arrive("one/Ann Ash_1_assignsubmission_file_/mini.ipynb", "two/Ann Ash_2_assignsubmission_file_/mini.ipynb")
    assert students(found) == {"Ann Ash (1)": None, "Ann Ash (2)": None}  # the same exercise: they are two
    first = Found(student="Ann", exercise="a", path="a", identities=[Identity("moodle", "1")])
    second = Found(student="Ann", exercise="b", path="b", identities=[Identity("moodle", "2")])
    assert [item.student for item in _told_apart([first, second])] == ["Ann", "Ann"]


def test_moodles_folder_for_a_text_is_no_second_submission(arrive):
    found = arrive(
        "Ann Ash_1_assignsubmission_file_/mini.ipynb",
        files={"Ann Ash_1_assignsubmission_onlinetext_/onlinetext.html": b"<p>See the file."},
    )
    assert students(found) == {"Ann Ash": None}


@pytest.mark.parametrize("again", ["-{}", "{}"])
def test_canvas_newest_file_counts(arrive, again):
    first, second = again.format(1), again.format(2)
    found = arrive(
        f"ashann_12345_678903_mini{second}.ipynb",
        files={"ashann_12345_678901_mini.ipynb": b"{}", f"ashann_12345_678902_mini{first}.ipynb": b"{}"},
    )
    assert students(found) == {"ashann": None}
    assert f"mini{second}.ipynb' counts" in found[0].remarks[0]


@pytest.mark.parametrize("how", ["folder", "zip"])
def test_a_students_zip_in_canvas_or_blackboards_download(arrive, solved, how):
    zipped = zip_of({"work/mini.ipynb": solved(), "work/data.csv": b""})
    files = {
        "boxben_12346_678902_my work.zip": zipped,
        "boxben_12346_678903_screen.png": b"PNG",
        "hw1_cy_attempt_2026-12-04-21-09-56_work.zip": zipped,
        "Dan Dee_7_assignsubmission_file_work.zip": zipped,
    }
    found = arrive("ashann_12345_678901_mini.ipynb", files=files, how=how)
    assert students(found) == {"Dan Dee": None, "ashann": None, "boxben": None, "cy": None}
    assert found[2].identities == [("canvas", "12346")]


def test_broken_metadata_loses_nobody(arrive):
    found = arrive("submission_11/mini.ipynb", files={"submission_metadata.yml": b"a: [b\n\t- x", "x.pdf": b""})
    assert students(found) == {"submission_11": None}
    assert "doesn't say whose" in found[0].remarks[0]


# --- names


@pytest.mark.parametrize(
    ("name", "rest", "exercise"),
    [
        ("ann_01_backprop_ninja.ipynb", "ann", "01_backprop_ninja"),
        ("01_backprop_ninja_ann.ipynb", "ann", "01_backprop_ninja"),
        ("01-Backprop-Ninja-Ann Ash.IPYNB", "Ann Ash", "01_backprop_ninja"),
        ("01_backprop_ninja (2).ipynb", "", "01_backprop_ninja"),
        ("01_backprop_ninja-Copy1.ipynb", "", "01_backprop_ninja"),
        ("01_backprop_ninja.before-reset-1.ipynb", "", "01_backprop_ninja"),
        ("Copy of 01_backprop_ninja.ipynb", "", "01_backprop_ninja"),
        ("Kopie von 01_backprop_ninja_ann.ipynb", "ann", "01_backprop_ninja"),
        ("ann_01_backprop_ninja_final.ipynb", "ann", "01_backprop_ninja"),
        ("ann_final_01_backprop_ninja.ipynb", "ann", "01_backprop_ninja"),
        ("ann (1).ipynb", "ann", None),
        ("ann - Copy (2).ipynb", "ann", None),
        ("ann.ipynb.txt", "ann", None),
        ("ann_MINI.ipynb.json", "ann", "mini"),
        ("ann.ipynb (1).txt", "ann", None),
        ("minimal.ipynb", "minimal", None),
        ("gemini.ipynb", "gemini", None),
        ("final.ipynb", "final", None),
        ("copy.ipynb", "copy", None),
        ("Ann-Lee.ipynb", "Ann-Lee", None),
        (unicodedata.normalize("NFD", "zoë_mini.ipynb"), "zoë", "mini"),
    ],
)
def test_a_name_is_taken_apart(name, rest, exercise):
    read = taken_apart(name, IDS)
    assert (read.rest, read.exercise) == (rest, exercise)


@pytest.mark.parametrize(
    "copy", ["mini-Copy1", "mini (1)", "Copy of mini", "mini_final", "mini.before-reset-1", "Mini"]
)
def test_the_one_called_like_the_exercise_counts(copy, arrive):
    found = arrive("ann/mini.ipynb", files={f"ann/{copy}.ipynb": b"{}"}) if copy != "Mini" else arrive("ann/Mini.ipynb")
    assert students(found) == {"ann": None}


def test_a_copy_is_its_students_and_it_is_said(arrive):
    (found,) = arrive("ann (1).ipynb")
    assert (found.student, found.problem) == ("ann", None)
    assert "'ann (1).ipynb' was taken to be from 'ann'" in found.remarks
    (found,) = arrive("ann.ipynb", files={"ann-Copy1.ipynb": b"{}"})
    assert (found.student, found.problem) == ("ann", None)
    assert "'ann-Copy1.ipynb'" in found.remarks[-1]
    assert "ignored" in found.remarks[-1]


def test_the_same_file_twice_is_no_question(arrive, solved):
    assert students(arrive("ann (1).ipynb", "ann (2).ipynb")) == {"ann": None}


def test_files_that_may_be_of_several_students_are_never_one_of_them(arrive):
    (hw1, hw2) = arrive("hw1/ann.ipynb", "hw1/ben.ipynb", "hw2/ann.ipynb")
    assert "There are 2 files" in hw1.problem
    assert hw1.problem.endswith("or give this folder itself if they are different students'.")
    assert hw2.problem is None


def test_composed_and_decomposed_letters_are_one_student(arrive):
    (found,) = arrive(unicodedata.normalize("NFD", "zoë") + ".ipynb")
    assert found.student == "zoë"


def test_names_that_differ_in_capitals_are_one_student_as_long_as_no_exercise_is_there_twice():
    def found(*handed_in):
        return _in_one_case([Found(student=student, exercise=exercise, path="x") for student, exercise in handed_in])

    one = found(("Ann", "a"), ("ann", "b"), ("ben", "a"))
    assert [item.student for item in one] == ["Ann", "Ann", "ben"]
    assert one[1].remarks == ["'ann' was taken to be 'Ann'"]
    assert [item.student for item in found(("Ann", "a"), ("ann", "a"))] == ["Ann", "ann"]


def test_beginnings_by_chance_are_no_repositories(arrive):
    assert students(arrive("ann-lee/mini.ipynb", "ann-ray/mini.ipynb")) == {"ann-lee": None, "ann-ray": None}


# --- nobody vanishes


def test_whatever_they_handed_in_is_graded_or_named(arrive, solved):
    script = b"# In[1]:\n\nx = 1\n"
    found = arrive(
        "ann/mini.ipynb",
        "ben/sub/notebooks/x.ipynb",
        "cy/mini.ipynb.txt",
        "dan/x.ipynb.json",
        "gus/saved.json",
        files={
            "eve/work.zip": zip_of({"work/mini.ipynb": solved()}),
            "fay.zip": zip_of({"mini.ipynb": solved()}),
            "hal/mini.py": script,
            "ida/essay.pdf": b"%PDF",
            "jo/locked.zip": b"PK no zip",
        },
    )
    said = students(found)
    assert [name for name, problem in said.items() if problem is None] == [
        "ann", "ben", "cy", "dan", "eve", "fay", "gus", "hal",
    ]  # fmt: skip
    assert said["ida"] == "There is no notebook in 'ida', it holds 'essay.pdf': hand in the .ipynb file."
    assert "The zip 'locked.zip' can't be read" in said["jo"]


def test_what_lies_beside_notebooks_is_passed_over_and_named(arrive):
    files = {
        "README.txt": b"",
        "roster.csv": b"a",
        "mini.pdf": b"",  # a handout
        "mini_data.py": b"SIZE = 1",  # the exercise's own
        "tool.py": b"print(1)",
        "data/x.csv": b"",
        "handouts/x.pdf": b"",
    }
    assert students(arrive("ann.ipynb", files=files)) == {"ann": None}
    assert sorted(arrive.passed_over) == ["data/", "handouts/", "mini.pdf", "tool.py"]


@pytest.mark.parametrize(
    "name", ["ben.pdf", "ben.HTML", "ben.docx", "ben (1).jpg", "ben.tar.gz", "ben.7z", "ben.ipynb.pdf"]
)
def test_a_print_called_as_the_notebooks_beside_it_is_somebodys_submission(name, arrive):
    (_, ben) = arrive("ann.ipynb", files={name: b"%PDF"})
    assert (ben.student, ben.problem) == ("ben", f"{name!r} is not a notebook: hand in the .ipynb file.")


def test_a_print_that_is_not_called_as_the_notebooks_are_is_nobodys(arrive):
    prints = ["ben_mini.pdf", "slides.pdf", "mini.pdf", "ann_mini.html"]
    found = arrive("ann_mini.ipynb", files=dict.fromkeys(prints, b"%PDF"))
    assert list(students(found)) == ["ann", "ben"]
    assert arrive.passed_over == ["mini.pdf", "slides.pdf"]
    found = arrive("ann/mini.ipynb", files={"slides.pdf": b"%PDF"})
    assert (students(found), arrive.passed_over) == ({"ann": None}, ["slides.pdf"])


def test_a_platform_says_whose_a_print_is(arrive):
    found = arrive("ashann_12345_678901_mini.ipynb", files={"boxben_12346_678902_essay.pdf": b"%PDF"})
    assert students(found)["boxben"] == "'essay.pdf' is not a notebook: hand in the .ipynb file."


def test_folders_beside_loose_notebooks_are_students_where_another_one_is(arrive, solved):
    files = {"ben/mini.ipynb": solved(), "cy/essay.pdf": b"%PDF", "data/x.csv": b""}
    found = arrive("ann.ipynb", files=files)
    assert [name for name, problem in students(found).items() if problem is not None] == ["cy"]
    assert arrive.passed_over == ["data/"]


def test_a_loose_file_that_holds_a_notebook_is_one_whatever_its_ending(arrive, solved):
    files = {"ben.json": solved(), "cy.txt": solved(), "settings.json": b"{}", "dan.py": b"# In[1]:\n\nx = 1\n"}
    found = arrive("ann.ipynb", files=files)
    assert [name for name, problem in students(found).items() if problem is None] == ["ann", "ben", "cy"]
    assert "doesn't look like any exercise" in students(found)["dan"]


def test_several_deeper_ones_are_named_and_none_is_chosen(arrive):
    files = {"zoe/mini.ipynb": b"{}", "ann/b/y.ipynb": b"{}"}
    ann = next(item for item in arrive("ann/a/x.ipynb", files={**files, "zoe/mini.ipynb": b"[]"}, exercise="mini"))
    assert (ann.problem, ann.path.endswith("a/x.ipynb")) == (None, True)  # the other one is nothing of the exercise's
    ann = arrive("ann/a/mini.ipynb", files={"ann/b/mini.ipynb": b"[]", "zoe/mini.ipynb": b"[]"})[0]
    assert "There are 2 files" in ann.problem
    assert "b/mini.ipynb" in ann.problem
    ann = arrive("ann/mini.ipynb", files={"ann/old/mini.ipynb": b"{}"})[0]
    assert (ann.problem, ann.remarks) == (None, ["'mini.ipynb' counts; ignored: 'old/mini.ipynb'"])


@pytest.mark.parametrize("how", ["folder", "zip"])
def test_what_lies_too_deep_is_named(arrive, how):
    deep = "/".join("abcdefghijklmno")
    said = {
        item.student: item
        for item in arrive("ann/mini.ipynb", f"ben/{deep}/mini.ipynb", f"ann/{deep}/x.ipynb", how=how)
    }
    assert "nested too deeply" in said["ben"].problem
    assert said["ann"].problem is None
    assert "nested too deeply" in said["ann"].remarks[0]


def test_the_only_folder_of_several_students_is_no_student(arrive):
    assert students(arrive("class/ann/mini.ipynb", "class/ben/mini.ipynb")) == {"ann": None, "ben": None}


def test_a_folder_called_like_an_exercise_is_no_student_and_says_which_it_is(arrive, course, tmp_path):
    broken = {"mini/cy.ipynb": b"{"}
    found = {item.student: item for item in arrive("mini/ann.ipynb", "mini/ben/x.ipynb", files=broken)}
    assert [(name, item.exercise) for name, item in found.items()] == [("ann", "mini"), ("ben", "mini"), ("cy", "mini")]
    files = [
        Arrived([folder, "ashann_12345_678901_x.ipynb"], f"{folder}/ashann_12345_678901_x.ipynb")
        for folder in ("01_backprop_ninja", "mini")
    ]
    assert [(area.owners[0].student, area.exercise) for area in areas(files, tmp_path, IDS)] == [
        ("ashann", "01_backprop_ninja"), ("ashann", "mini"),
    ]  # fmt: skip


def test_a_script_becomes_a_notebook():
    cells = json.loads(
        as_notebook(b"#!/usr/bin/env python\r\n# %%\r\nx = 1\n# %% [markdown]\n# Hi\n# In[2]:\ny = 2\n")
    )["cells"]
    assert [(cell["cell_type"], cell["source"]) for cell in cells] == [
        ("code", "#!/usr/bin/env python"), ("code", "x = 1"), ("markdown", "# Hi"), ("code", "y = 2"),
    ]  # fmt: skip


def test_an_empty_folder_in_a_zip_is_a_student_with_nothing(tmp_path, course, solved):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("ann/mini.ipynb", solved())
        archive.mkdir("eve")
        archive.mkdir("fay/empty")
    said = students(collect([tmp_path / "x.zip"], course))
    assert said["ann"] is None
    assert "no notebook in 'eve', it is empty" in said["eve"]
    assert "no notebook in 'fay', it is empty" in said["fay"]


def test_an_empty_folder_in_one_of_two_downloads_takes_nobodys_place(tmp_path, course, solved):
    for place in ("one", "two"):
        (tmp_path / place / "eve").mkdir(parents=True)
        (tmp_path / place / "ann").mkdir()
        (tmp_path / place / "ann" / "mini.ipynb").write_bytes(solved())
    paths = [tmp_path / "one", tmp_path / "two"]
    assert "no notebook in 'eve'" in students(collect(paths, course))["eve"]
    (tmp_path / "two" / "eve" / "mini.ipynb").write_bytes(solved())
    assert students(collect(paths, course))["eve"] is None


def test_a_folder_called_submitted_beside_students_hides_nobody(arrive):
    found = arrive("submitted/mini.ipynb", "ann/mini.ipynb")
    assert sorted(students(found)) == ["ann", "submitted"]


# --- hostile zips


def test_names_without_end_and_zips_without_number_end(arrive, solved):
    many = {f"{number}.zip": zip_of({"a.txt": b"x"}) for number in range(50)}
    files = {"ben.zip": zip_of({"-" * 60_000 + ".ipynb": solved()}), "cy.zip": zip_of(many)}
    assert set(students(arrive("ann/mini.ipynb", files=files))) == {"ann", "ben", "cy"}


def test_a_zip_writes_nothing_and_its_names_are_labels_alone(arrive, tmp_path, solved):
    found = arrive("ann/mini.ipynb", files={"ben.zip": zip_of({"../../../evil/mini.ipynb": solved()})})
    assert students(found) == {"ann": None, "ben": None}
    assert not list(tmp_path.rglob("evil"))


def test_a_zip_bomb_is_one_students_problem(arrive, monkeypatch, solved):
    monkeypatch.setattr("grader.intake.handed_in.zips.MAX_BYTES", 2**16)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mini.ipynb", b" " * 2**20)
    (ann, ben) = arrive("ann/mini.ipynb", files={"ben.zip": data.getvalue()})
    assert "more than 0 MB" in ben.submission().problem
    assert ann.submission().problem is None


def test_a_zip_in_a_zip_in_a_zip_ends(arrive, solved):
    data = solved()
    for _ in range(9):
        data = zip_of({"x.zip" if data.startswith(b"PK") else "mini.ipynb": data})
    found = students(arrive("ann/mini.ipynb", files={"ben.zip": data}))
    assert "too deep" in found["ben"]


def test_a_zip_that_is_none_is_a_sentence(tmp_path, course):
    (tmp_path / "x.zip").write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"x\.zip' can't be read"):
        collect([tmp_path / "x.zip"], course)
    (tmp_path / "y.zip").write_bytes(zip_of({"a.pdf": b""}))
    with pytest.raises(UsageError, match=r"The zip .* holds no notebook"):
        collect([tmp_path / "y.zip"], course)
