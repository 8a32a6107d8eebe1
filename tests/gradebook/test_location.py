"""The gradebook that a folder was graded into is found again without being named."""

from __future__ import annotations

from pathlib import Path

from grader.gradebook.location import REMEMBERED, gradebook_place, remember_place


def test_a_folder_has_its_own_gradebook_until_another_is_said(tmp_path):
    assert gradebook_place(tmp_path, None) == tmp_path / "gradebook.sqlite"
    remember_place(tmp_path, "sqlite:////data/course.sqlite")
    assert gradebook_place(tmp_path, None) == "sqlite:////data/course.sqlite"
    assert gradebook_place(tmp_path, "here.sqlite") == "here.sqlite"


def test_a_password_is_not_kept(tmp_path):
    remember_place(tmp_path, "postgresql://grader:secret@db.example.org/course")
    assert gradebook_place(tmp_path, None) == "postgresql://grader@db.example.org/course"
    assert "secret" not in (tmp_path / REMEMBERED).read_text()


def test_a_path_is_the_same_from_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for said in ("marks/course.sqlite", "sqlite:///marks/course.sqlite"):
        remember_place(tmp_path, said)
        kept = str(gradebook_place(tmp_path, None))
        assert Path(kept.removeprefix("sqlite:///")) == tmp_path / "marks" / "course.sqlite"
