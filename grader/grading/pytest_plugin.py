"""The pytest plugin: `pytest --grade alice.ipynb` collects one item a check, and `grader grade` runs those items.

pytest loads this module in every run on a machine that has the grader, so torch is imported only with `--grade`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.errors import GraderError
from grader.extras import naming_the_extra
from grader.safe_text import safe_text


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--grade` and what goes with it."""
    group = parser.getgroup("grader", "grading notebooks in which students write gradients by hand")
    group.addoption(
        "--grade", action="append", metavar="PATH", help="Grade this notebook, or this folder of notebooks."
    )
    group.addoption("--exercise", metavar="ID", help="With --grade: the exercise the notebooks are for.")
    group.addoption("--kernel", choices=["snapshot", "cold"], help="With --grade: how kernels start.")
    group.addoption("--sandbox", choices=["bwrap", "none"], default="bwrap", help="With --grade: what confines them.")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """With `--grade`, run no `conftest.py`: pytest looks for it in folders called `test…`, which may be a student's."""
    if early_config.known_args_namespace.grade:
        early_config.known_args_namespace.noconftest = True


def pytest_configure(config: pytest.Config) -> None:
    """With `--grade`, collect submissions in place of tests."""
    paths = config.getoption("grade")
    if not paths:
        return
    import grader.startup  # noqa: F401  (before what imports nbformat)
    from grader.course.course import find_course
    from grader.grading.pool import GraderPool
    from grader.grading.pytest_items import Submissions
    from grader.intake.collect import collect
    from grader.kernels import default_kind

    try:
        course = find_course(Path.cwd())
        with naming_the_extra():  # that of an export of Gradescope's
            found = collect([Path(path) for path in paths], course, config.getoption("exercise"))
        pool = GraderPool(course, config.getoption("kernel") or default_kind(), config.getoption("sandbox"))
    except GraderError as error:
        raise pytest.UsageError(safe_text(str(error), "terminal")) from error
    config.add_cleanup(pool.close)
    config.pluginmanager.register(Submissions([item.submission() for item in found], pool), "grader-submissions")
