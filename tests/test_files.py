"""Files are written whole or not at all, and keep their mode."""

from __future__ import annotations

import os
import stat
import sys

import pytest

from grader.errors import UsageError
from grader.files import replace_file, write_file

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes, as POSIX has them")


@pytest.fixture
def umask():
    """Others may not read what is made here."""
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("umask")
def test_a_new_file_has_the_umasks_mode_and_one_that_was_there_keeps_its_own(tmp_path):
    path = tmp_path / "notebook.ipynb"
    replace_file(path, b"one")
    assert mode(path) == 0o640
    path.chmod(0o600)
    write_file(path, ["tw", "o"])
    assert (mode(path), path.read_text()) == (0o600, "two")


def test_what_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "report.html"
    write_file(path, "old")

    def pieces():
        yield "ne"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(path, pieces())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_said(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="choose another --out folder"):
        write_file(tmp_path / "out" / "index.html", b"x")
