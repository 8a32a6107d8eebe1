"""From paths on a command line to one submission a student and exercise; nothing that was handed in is lost."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import grader.intake.handed_in.files
from grader.errors import UsageError
from grader.files import safe_name
from grader.intake.collect import collect


@pytest.fixture
def folder(tmp_path):
    """An empty folder for submissions."""
    folder = tmp_path / "handed-in"
    folder.mkdir()
    return folder


@pytest.fixture
def put(folder, solved):
    """Write the solved notebook, or other bytes, to a path below the folder."""

    def write(name, data=None):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(solved() if data is None else data)
        return path

    return write


@pytest.fixture
def collected(folder, course):
    """What is collected from the folder: (student, exercise) → problem."""

    def run(*paths, exercise=None):
        found = collect(paths or [folder], course, exercise)
        return {(item.student, item.exercise): item.problem for item in found}

    return run


NAMES = ["ada", "Ada B", "chloé o'brien", 'a "b" c', "李雷", "a..b", "50%", "semi;colon & $HOME", "-rf", "new\nline"]


@pytest.mark.parametrize("name", NAMES)
def test_a_students_name_is_the_files_name_whatever_is_in_it(name, put, collected):
    put(f"{name}.ipynb")
    assert collected() == {(name, "mini"): None}


@pytest.mark.parametrize("name", NAMES)
def test_a_students_name_is_the_folders_name_whatever_is_in_it(name, put, collected):
    put(f"{name}/mini.ipynb")
    assert collected() == {(name, "mini"): None}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
def test_a_name_that_is_no_text_can_be_written(put, collected):
    put("ad\udce9.ipynb")
    (student, _), problem = next(iter(collected().items()))
    assert student.encode() == b"ad\\udce9"
    assert problem is None


def test_both_ways_of_naming_files_in_one_folder_sorted_by_student(put, collected):
    for name in ("zoe.ipynb", "ben/mini.ipynb", "ada.ipynb"):
        put(name)
    assert list(collected()) == [("ada", "mini"), ("ben", "mini"), ("zoe", "mini")]


@pytest.mark.parametrize("name", ["ada_mini", "ada-mini", "ada mini"])
def test_the_exercises_name_behind_the_students_is_no_part_of_it(name, put, collected):
    put(f"{name}.ipynb")
    assert collected() == {("ada", "mini"): None}


def test_a_notebook_named_by_itself(put, collected):
    path = put("ada/mini.ipynb")
    assert collected(path) == {("ada", "mini"): None}
    assert collected(path.parent / ".." / "ada" / "mini.ipynb") == {("ada", "mini"): None}


def test_a_notebook_named_twice_is_one_submission(put, collected, folder):
    path = put("ada.ipynb")
    assert collected(path, path, folder) == {("ada", "mini"): None}


def test_other_files_and_hidden_folders_are_left_alone(put, collected):
    put("ada.ipynb")
    put("notes.txt", b"")
    put(".ipynb_checkpoints/ada-checkpoint.ipynb")
    put("ben/.ipynb_checkpoints/mini-checkpoint.ipynb")
    put(".hidden.ipynb")
    assert collected() == {("ada", "mini"): None}


def test_two_files_for_one_student_are_a_problem_that_names_both(put, collected):
    put("ada.ipynb")
    put("ada/mini.ipynb")
    put("ben.ipynb")
    found = collected()
    assert list(found) == [("ada", "mini"), ("ben", "mini")]
    assert found["ben", "mini"] is None
    problem = found["ada", "mini"]
    assert problem.startswith("There are 2 files for this student and exercise (")
    assert "ada.ipynb'" in problem
    assert "ada/mini.ipynb'" in problem


def test_two_files_in_a_students_folder_are_that_students(put, collected):
    put("ada/mini.ipynb")
    put("ada/mini-Copy1.ipynb")
    put("ben/Untitled.ipynb")
    put("zoe/Untitled.ipynb")
    found = collected()
    assert list(found) == [("ada", "mini"), ("ben", "mini"), ("zoe", "mini")]
    assert set(found.values()) == {None}


def test_of_two_copies_in_a_students_folder_none_is_chosen(put, collected):
    put("ada/mini-Copy1.ipynb")
    put("ada/mini-Copy2.ipynb", b"{}")
    assert "There are 2 files" in collected()["ada", "mini"]


def test_a_notebook_of_no_known_exercise_is_a_problem(put, collected):
    put("ada.ipynb", b'{"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": []}')
    put("ben.ipynb")
    found = collected()
    assert "It doesn't look like any exercise of this course" in found["ada", "mini"]
    assert found["ben", "mini"] is None


def test_what_the_caller_says_comes_before_what_the_file_says(put, collected):
    put("ada.ipynb", b"not a notebook")
    assert collected(exercise="mini") == {("ada", "mini"): None}


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "is empty"), (b"\x00\xff", "isn't text"), (b"{", "isn't JSON"), (b'{"nbformat": 7}', "format 7")],
)
def test_a_file_that_is_no_notebook_is_one_students_problem(put, collected, data, said):
    put("ada.ipynb", data)
    put("ben.ipynb")
    found = collected()
    assert said in found["ada", "mini"]
    assert found["ben", "mini"] is None


def test_a_file_that_is_too_large_is_not_even_read(put, collected, monkeypatch, course, folder):
    monkeypatch.setattr(grader.intake.handed_in.files, "MAX_BYTES", 2**20)
    path = put("ada.ipynb")
    with path.open("ab") as file:
        file.truncate(5 * 2**20)
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read"))
    assert "has 5 MB and the limit is 1 MB: clear the outputs" in collected()["ada", "mini"]
    submission = collect([folder], course, "mini")[0].submission()
    assert "has 5 MB" in submission.problem
    assert submission.data == b""


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "fifo"])
def test_what_is_no_plain_file_is_never_opened(kind, put, collected, folder, tmp_path):
    put("ben.ipynb")
    path = folder / "ada.ipynb"
    if kind == "link":
        (tmp_path / "secret").write_text("secret")
        path.symlink_to(tmp_path / "secret")
    elif kind == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    found = collected(exercise="mini")
    assert "is not a plain file" in found["ada", "mini"]
    assert found["ben", "mini"] is None
    assert "is not a plain file" in next(problem for (student, _), problem in collected().items() if student == "ada")


def test_a_file_that_vanishes_is_a_problem(put, course, folder):
    path = put("ada.ipynb")
    found = collect([folder], course)[0]
    path.unlink()
    assert found.submission().problem == "The file 'ada.ipynb' can't be read: No such file or directory."


@pytest.fixture
def public(solved):
    """A folder that every user may enter, with two submissions."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    for name in ("ada.ipynb", "ben.ipynb", "zoe/mini.ipynb"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(solved())
    yield folder
    (folder / "zoe").chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def ordinary_user(course):
    """For the rest of the test this process reads files as an ordinary user does, even where root runs it."""
    course.exercise("mini")  # read before its folder may be out of reach
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


def test_no_read_permission_is_one_students_problem(public, course, request):
    (public / "ada.ipynb").chmod(0)
    request.getfixturevalue("ordinary_user")
    found = {item.student: item for item in collect([public], course)}
    assert found["ada"].problem == "The file 'ada.ipynb' can't be read: Permission denied."
    assert found["ada"].exercise == "mini"
    assert found["ben"].problem is None
    assert found["ben"].submission().data


def test_a_folder_without_read_permission_is_one_students_problem(public, course, request):
    (public / "zoe").chmod(0)
    request.getfixturevalue("ordinary_user")
    found = {item.student: item.problem for item in collect([public], course)}
    assert found == {"ada": None, "ben": None, "zoe": "The folder 'zoe' can't be read: let the grader's user read it."}
    with pytest.raises(UsageError, match="zoe' can't be read: Permission denied"):
        collect([public / "zoe"], course)


def test_a_folder_with_no_notebook_a_missing_path_and_an_unknown_exercise_are_usage_errors(folder, course, put):
    with pytest.raises(UsageError, match="handed-in' holds no notebook"):
        collect([folder], course)
    with pytest.raises(UsageError, match=r"There is no file or folder .*nobody\.ipynb'"):
        collect([folder / "nobody.ipynb"], course)
    put("ada.ipynb")
    with pytest.raises(UsageError, match="There is no exercise 'nope': give one of mini"):
        collect([folder], course, "nope")


# --- names as folders


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("ada", "ada"),
        ("chloé o'brien", "chloé o%27brien"),
        ("..", "%2e%2e"),
        (".", "%2e"),
        ("../../etc/passwd", "%2e.%2f..%2fetc%2fpasswd"),
        ("a/b\\c", "a%2fb%5cc"),
        ("50%", "50%25"),
        ("a\x00b\n", "a%00b%0a"),
        ("index.html", "%69ndex.html"),
        ("gradebook.sqlite-wal", "%67radebook.sqlite-wal"),
        ("Aux.ipynb", "%41ux.ipynb"),
        ("com¹", "%63om¹"),
        ("constance", "constance"),
        ("a\u3164", "a%e3%85%a4"),
        ("trailing. ", "trailing.%20"),
        ("", "%"),
    ],
)
def test_a_safe_name_is_one_plain_folder(name, safe):
    assert safe_name(name) == safe


def test_long_names_are_cut_and_stay_different():
    first, second = safe_name("é" * 400), safe_name("é" * 401)
    assert first != second
    assert len(first.encode()) <= 120


@given(st.text(max_size=200))
def test_every_name_becomes_one_folder_inside_its_parent(name):
    safe = safe_name(name)
    assert Path("/out", safe).resolve().parent == Path("/out")
    assert "/" not in safe
    assert safe not in ("", ".", "..")
    assert safe.isprintable()
    assert len(safe.encode()) <= 120


@given(st.lists(st.text("aA./ %-éeb2f\x00\x1b\u02fe\u0301", max_size=6), min_size=2, max_size=2, unique=True))
def test_different_names_become_different_folders(names):
    assert safe_name(names[0]) != safe_name(names[1])


@pytest.mark.skipif(sys.platform == "win32", reason="links and FIFOs")
def test_a_folder_that_is_a_link_is_nobodys_submission(put, collected, folder, tmp_path):
    put("ann/mini.ipynb")
    (folder / "bob").symlink_to(folder / "ann")
    (folder / "data").symlink_to(tmp_path / "nothing-here", target_is_directory=True)
    found = collected()
    assert found.pop(("ann", "mini")) is None
    assert list(found.values()) == ["The folder 'bob' is a link: hand in the folder itself."]
    assert collected(folder / "bob") == {("bob", "mini"): None}  # as somebody said on the command line


@pytest.mark.skipif(sys.platform == "win32", reason="links and FIFOs")
def test_what_is_no_plain_file_is_a_sentence(put, collected, folder):
    for name, make in {
        "fifo": os.mkfifo,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "dangling": lambda path: path.symlink_to(folder / "nowhere"),
        "folder": Path.mkdir,
        "linked": lambda path: path.symlink_to(put("ann.ipynb")),
    }.items():
        make(folder / f"{name}.ipynb")
    found = {student: problem for (student, _), problem in collected().items()}
    assert found.pop("ann") is None
    assert len(found) == 5
    assert all("not a plain file" in problem for problem in found.values())
