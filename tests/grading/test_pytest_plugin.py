"""`pytest --grade`: one item a check, with pytest's own options."""

from __future__ import annotations

import shutil

import pytest

from tests.conftest import HERE


@pytest.fixture
def mini(pytester, solved):
    """The mini course in pytester's folder, and three submissions."""
    shutil.copytree(HERE / "courses" / "mini", pytester.path, dirs_exist_ok=True)
    (pytester.path / "ann.ipynb").write_bytes(solved())
    (pytester.path / "bob.ipynb").write_bytes(solved(("dhsum = (h", "dhsum = 3 * (h")))
    (pytester.path / "test_other.py").write_text("def test_other(): assert False")
    return pytester


def test_one_item_a_check(mini):
    result = mini.runpytest_subprocess("--grade", "ann.ipynb", "-v")
    result.assert_outcomes(passed=10)
    result.stdout.fnmatch_lines(["*ann/mini::steps::dscaled PASSED*", "*ann/mini::training::W PASSED*"])


def test_a_wrong_tensor_fails_with_the_reports_words(mini):
    result = mini.runpytest_subprocess("--grade", "bob.ipynb")
    result.assert_outcomes(passed=9, failed=1)
    result.stdout.fnmatch_lines(["dhsum is wrong: the mistake is in this line.*"])
    assert "Traceback" not in result.stdout.str()


@pytest.mark.slow
def test_k_and_junitxml_and_several_paths(mini):
    result = mini.runpytest_subprocess(
        "--grade", "bob.ipynb", "--grade", "ann.ipynb", "-k", "dhsum", "--junitxml=report.xml"
    )
    result.assert_outcomes(passed=1, failed=1, deselected=8 + 10)
    report = (mini.path / "report.xml").read_text()
    assert 'dhsum"' in report
    assert "dhsum is wrong" in report


@pytest.mark.slow
def test_with_several_processes(mini):
    result = mini.runpytest_subprocess("--grade", "ann.ipynb", "--grade", "bob.ipynb", "-n", "2")
    result.assert_outcomes(passed=19, failed=1)


def test_what_could_not_be_checked_is_an_error_and_not_a_failure(mini, solved):
    (mini.path / "eve.ipynb").write_bytes(solved(("dhsum = (h", "import os; os._exit(0)\ndhsum = (h")))
    result = mini.runpytest_subprocess("--grade", "eve.ipynb", "-k", "dscaled")
    result.assert_outcomes(errors=1)
    (mini.path / "mal.ipynb").write_text("{")
    result = mini.runpytest_subprocess("--grade", "mal.ipynb", "--exercise", "mini")
    result.assert_outcomes(errors=10)
    result.stdout.fnmatch_lines(["The file is not JSON*"])
    assert "Traceback" not in result.stdout.str()
    assert "items.py" not in result.stdout.str()


def test_a_wrong_path_is_a_usage_error(mini):
    result = mini.runpytest_subprocess("--grade", "nobody.ipynb")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*There is no file or folder 'nobody.ipynb'.*"])


def test_without_the_option_pytest_is_as_ever(mini):
    mini.runpytest_subprocess("-q").assert_outcomes(failed=1)
