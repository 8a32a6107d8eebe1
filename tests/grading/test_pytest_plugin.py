"""`pytest --grade`: one item a check, with pytest's own options."""

from __future__ import annotations

import pytest

from tests.warm_python import python


@pytest.fixture
def mini(mini, solved):
    """The mini course, two submissions, and a test."""
    (mini / "ann.ipynb").write_bytes(solved())
    (mini / "bob.ipynb").write_bytes(solved(("dhsum = (h", "dhsum = 3 * (h")))
    (mini / "test_other.py").write_text("def test_other(): assert False")
    return mini


UNCONFINED = ["--sandbox", "none"]


def run(*arguments, cwd):
    """What `pytest ARGUMENTS…` came to."""
    done = python("-m", "pytest", *arguments, cwd=cwd)
    return pytest.RunResult(done.returncode, done.stdout.splitlines(), done.stderr.splitlines(), 0)


def test_one_item_a_check(mini):
    result = run("--grade", "ann.ipynb", "-v", cwd=mini)
    result.assert_outcomes(passed=10)
    result.stdout.fnmatch_lines(["*ann/mini::steps::dscaled PASSED*", "*ann/mini::training::W PASSED*"])


def test_a_wrong_tensor_fails_with_the_reports_words(mini):
    result = run("--grade", "bob.ipynb", *UNCONFINED, cwd=mini)
    result.assert_outcomes(passed=9, failed=1)
    result.stdout.fnmatch_lines(["dhsum is wrong: the mistake is in this line.*"])
    assert "Traceback" not in result.stdout.str()


@pytest.mark.slow
def test_k_and_junitxml_and_several_paths(mini):
    result = run(
        "--grade", "bob.ipynb", "--grade", "ann.ipynb", "-k", "dhsum", "--junitxml=report.xml", *UNCONFINED, cwd=mini
    )
    result.assert_outcomes(passed=1, failed=1, deselected=8 + 10)
    report = (mini / "report.xml").read_text()
    assert 'dhsum"' in report
    assert "dhsum is wrong" in report


@pytest.mark.slow
def test_with_several_processes(mini):
    result = run("--grade", "ann.ipynb", "--grade", "bob.ipynb", "-n", "2", *UNCONFINED, cwd=mini)
    result.assert_outcomes(passed=19, failed=1)


def test_what_could_not_be_checked_is_an_error_and_not_a_failure(mini, solved):
    (mini / "eve.ipynb").write_bytes(solved(("dhsum = (h", "import os; os._exit(0)\ndhsum = (h")))
    result = run("--grade", "eve.ipynb", "-k", "dscaled", *UNCONFINED, cwd=mini)
    result.assert_outcomes(errors=1)
    (mini / "mal.ipynb").write_text("{")
    result = run("--grade", "mal.ipynb", "--exercise", "mini", *UNCONFINED, cwd=mini)
    result.assert_outcomes(errors=10)
    result.stdout.fnmatch_lines(["The file isn't JSON*"])
    assert "Traceback" not in result.stdout.str()
    assert "items.py" not in result.stdout.str()


def test_a_wrong_path_is_a_usage_error(mini):
    result = run("--grade", "nobody.ipynb", cwd=mini)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*There is no file or folder 'nobody.ipynb'.*"])


def test_without_the_option_pytest_is_as_ever(mini):
    run("-q", cwd=mini).assert_outcomes(failed=1)
