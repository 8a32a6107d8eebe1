"""What several test files share: the mini course, a warm pool of graders for it, and ways to fill in its blank."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from grader import startup  # noqa: F401  (before what imports nbformat)
from grader.course.course import Course
from grader.course.exercise import Exercise
from grader.garbage_collection import uncollected
from grader.grading.pool import GraderPool
from grader.kernels import template_process
from grader.records import Check, Grading, Submission
from tests import warm_python

HERE = Path(__file__).parent
ROOT = HERE.parent
MINI = "mini"

CHROMIUMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
"""The first draws the same pages and has no window to keep ready for them: a page takes a fifth of the CPU."""
CHROMIUM = next(filter(None, map(shutil.which, CHROMIUMS)), None)
CHROMIUM_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync",
]  # fmt: skip

Fill = Callable[..., bytes]
GradeNotebook = Callable[..., Grading]


def pytest_configure(config: pytest.Config) -> None:
    """Let the commands that tests start hear an interrupt, also where a shell has started the tests with `&`.

    Such a shell has its background jobs ignore interrupts, and theirs inherit that. Limits are the catalogue's, also
    where the machine is slow: tests wait for them, and say which.
    """
    os.environ.setdefault("GRADER_TIME_FACTOR", "1")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Have no garbage looked for while tests are imported: nothing of it is."""
    with uncollected():
        return (yield)


@pytest.fixture(scope="session")
def course() -> Course:
    """The mini course, on which the grader's own tests run."""
    return Course(HERE / "courses" / "mini" / "exercises")


@pytest.fixture(scope="session")
def pool(course: Course) -> Iterator[GraderPool]:
    """Graders of the mini course with warm, confined kernels."""
    with GraderPool(course, "snapshot", "bwrap") as pool:
        yield pool


@pytest.fixture(scope="session")
def real_pool() -> Iterator[GraderPool]:
    """Graders of this repository's own course; nothing confines their kernels, so that those start in no time."""
    with GraderPool(Course(ROOT / "exercises"), "snapshot", "none") as pool:
        yield pool


@pytest.fixture(scope="session", autouse=True)
def warm_templates() -> Iterator[None]:
    """Kernels that nothing confines come from forks of the warm process, and PyTorch isn't imported for each source."""
    if sys.platform != "linux":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(template_process, "can_fork", lambda: True)
        patch.setattr(template_process, "Fork", warm_python.template)
        yield


class Borrowing(GraderPool):
    """A pool that has judged nothing yet, with the kernels of one that has: to start their template takes seconds."""

    def __init__(self, course: Course, lender: GraderPool) -> None:
        super().__init__(course, lender.kernel, lender.sandbox)
        self._lender = lender

    def _kernels(self, exercise: Exercise) -> Any:
        lent = self._lender._grader(exercise.id)
        assert exercise.setup_sources == lent.exercise.setup_sources, "these kernels have another setup run"
        return contextlib.nullcontext(lent.kernels.source)


@pytest.fixture
def fresh_pool(pool: GraderPool) -> Iterator[Callable[[Course], GraderPool]]:
    """Pools for the mini course, or for a copy of it with other cells after the setup, that have judged nothing yet."""
    with contextlib.ExitStack() as left_open:
        yield lambda course: left_open.enter_context(Borrowing(course, pool))


@pytest.fixture
def mini(tmp_path: Path) -> Path:
    """A copy of the mini course, with a folder of submissions."""
    shutil.copytree(HERE / "courses" / "mini", tmp_path, dirs_exist_ok=True)
    (tmp_path / "handed-in").mkdir()
    return tmp_path


@pytest.fixture
def solved(course: Course) -> Fill:
    """The solved mini notebook as bytes, with pieces of its student's cells replaced: `solved(("a", "b"), …)`.

    `edit` may change the parsed notebook further.
    """

    def fill(*replacements: tuple[str, str], edit: Callable[[dict], None] = lambda notebook: None) -> bytes:
        notebook = json.loads(course.solution_path(MINI).read_text())
        notebook["cells"] = [cell for cell in notebook["cells"] if cell["metadata"]["grader"]["role"] != "reference"]
        for old, new in replacements:
            hits = 0
            for cell in notebook["cells"]:
                source = "".join(cell["source"])
                if cell["metadata"]["grader"]["role"] == "gradients":
                    hits += old in source
                    source = source.replace(old, new)
                cell["source"] = source
            assert hits, f"no student's cell holds {old!r}"
        edit(notebook)
        return json.dumps(notebook).encode()

    return fill


@pytest.fixture
def grade(pool: GraderPool) -> GradeNotebook:
    """Grade notebook bytes of the mini exercise."""

    def run(data: bytes) -> Grading:
        return pool.grade(Submission(student="student", exercise=MINI, data=data))

    return run


def verdicts(grading: Grading) -> dict[str, str]:
    """`part/name` → verdict, for short comparisons."""
    return {f"{check.part}/{check.name}": check.verdict.value for check in grading.grade.checks}


def check_named(grading: Grading, part: str, name: str) -> Check:
    """One check of a grading."""
    return next(check for check in grading.grade.checks if (check.part, check.name) == (part, name))


def link_or_copy(package: str, packages: Path) -> None:
    """Have an installed package in another environment's `site-packages`, as hard links where the disk allows."""
    found = distribution(package)
    for file in found.files or []:
        source, target = Path(str(found.locate_file(file))), packages / file
        if ".." in file.parts or "__pycache__" in file.parts or not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


@pytest.fixture
def contrast() -> Callable[[Any], list[dict[str, Any]]]:
    """Too little contrast on a page, in a fraction of the time that axe-core takes for it."""
    rule = (HERE / "contrast.js").read_text(encoding="utf-8")
    return lambda page: page.evaluate(rule)


@pytest.fixture
def axe(contrast: Callable[[Any], list[dict[str, Any]]]) -> Callable[..., list[dict[str, Any]]]:
    """What axe-core finds wrong on a page, and too little contrast.

    axe-core is told not to describe all that passes, which is most of its other work.
    """
    sync = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")

    def look(page: Any, **rules: Any) -> list[dict[str, Any]]:
        options = {"resultTypes": ["violations"], "rules": {"color-contrast": {"enabled": False}, **rules}}
        return sync.Axe().run(page, options=options).response["violations"] + contrast(page)

    return look


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A headless Chromium; without one, or without playwright, the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine's PATH")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()
