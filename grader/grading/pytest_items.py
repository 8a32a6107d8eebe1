"""A check as a pytest item: what `pytest --grade` and `grader grade` both run.

A notebook is executed once, when the first of its items is set up. A wrong or missing tensor fails its item; one that
could not be checked is an error, because it says nothing about the student.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from grader.errors import GraderError
from grader.files import safe_name
from grader.garbage_collection import seldom_collected
from grader.grading.pool import GraderPool
from grader.records import Check, Grading, Submission, Verdict
from grader.reports.verdict_text import explain
from grader.safe_text import safe_text


class CheckFailed(Exception):
    """A tensor is wrong or missing. Its text is what the student reads."""


class CouldNotCheck(Exception):
    """A tensor could not be checked."""


class SubmissionNode(pytest.Collector):
    """One submission; its children are its checks."""

    def __init__(self, *, submission: Submission, pool: GraderPool, **rest: Any) -> None:
        super().__init__(**rest)
        self.submission = submission
        self.pool = pool
        self._grading: Grading | None = None

    def collect(self) -> Iterator[CheckItem]:
        """One item a check, as the exercise names them; nothing is executed yet."""
        names = [("submission", "can be read")]
        if self.submission.problem is None:
            names = self.pool.check_names(self.submission.exercise)
        for part_id, name in names:
            yield CheckItem.from_parent(self, name=f"{part_id}::{name}", part_id=part_id, check_name=name)

    @property
    def grading(self) -> Grading:
        """The submission's grading, made when it is first asked for."""
        if self._grading is None:
            self._grading = self.pool.grade(self.submission)
        return self._grading

    def forget(self) -> None:
        """Let go of the grading, so that a long session stays small."""
        self._grading = None


class CheckItem(pytest.Item):
    """One check of one submission."""

    parent: SubmissionNode

    def __init__(self, *, part_id: str, check_name: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.part_id = part_id
        self.check_name = check_name

    def setup(self) -> None:
        """Execute the notebook if this is its first item; a check that could not be made ends here, as an error."""
        grade = self.parent.grading.grade
        if grade.status == "ungradable":
            raise CouldNotCheck(grade.reason)
        if self._check().verdict is Verdict.UNCHECKED:
            raise CouldNotCheck(explain(self._check()))

    def runtest(self) -> None:
        """Fail with the words of the report where the tensor is wrong or missing."""
        check = self._check()
        self.user_properties.append(("verdict", check.verdict.value))
        self.user_properties.append(("points", f"{check.points:g}/{check.max_points:g}"))
        if check.verdict in (Verdict.WRONG, Verdict.MISSING):
            raise CheckFailed(explain(check))

    def _check(self) -> Check:
        for check in self.parent.grading.grade.checks:
            if (check.part, check.name) == (self.part_id, self.check_name):
                return check
        raise CouldNotCheck(f"The grading has no check {self.check_name} in part {self.part_id}.")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        """The sentence alone: a traceback through the grader would tell a student nothing."""
        if isinstance(excinfo.value, CheckFailed | CouldNotCheck | GraderError):
            return safe_text(str(excinfo.value), "terminal")
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where the item comes from, for pytest's own reports."""
        return self.path, None, f"{self.parent.name}::{self.name}"


class Submissions:
    """Collects the checks of the given submissions, and nothing else.

    Args:
        submissions: what to grade.
        pool: who grades it.
        done: is handed each finished grading, in order.
        unnamed: nobody reads the node IDs: they are numbers, the same in each session. pytest puts every ID into the
            process's environment, and the C library never frees what was once in there: 11 KB with each submission.

    Attributes:
        error: what `done` raised, which ends the session.
    """

    def __init__(
        self,
        submissions: Iterable[Submission],
        pool: GraderPool,
        done: Callable[[Grading], None] = lambda _: None,
        *,
        unnamed: bool = False,
    ) -> None:
        self.submissions = list(submissions)
        self.pool = pool
        self.done = done
        self.unnamed = unnamed
        self.error: Exception | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> bool:
        """Fill the session in place of pytest's own search; `-k` and the other plugins still have their say."""
        hook = session.config.hook
        for number, submission in enumerate(self.submissions):
            named = f"{safe_name(submission.student)}/{safe_name(submission.exercise)}"  # unlike any other's
            name = str(number) if self.unnamed else named
            node = SubmissionNode.from_parent(session, name=name, nodeid=name, submission=submission, pool=self.pool)
            items = list(node.collect())
            report = pytest.CollectReport(name, "passed", None, result=list(items))
            hook.pytest_collectreport(report=report)  # what the terminal counts by
            session.items.extend(items)
        hook.pytest_collection_modifyitems(session=session, config=session.config, items=session.items)
        session.testscollected = len(session.items)
        hook.pytest_collection_finish(session=session)
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """For what could not be checked, too, the sentence alone: pytest asks `repr_failure` only of failed checks."""
        report = yield
        if call.excinfo is not None and isinstance(call.excinfo.value, CouldNotCheck):
            report.longrepr = safe_text(str(call.excinfo.value), "terminal")
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """After a submission's last item, hand over its grading and forget it."""
        if isinstance(item, CheckItem) and (nextitem is None or nextitem.parent is not item.parent):
            try:
                self.done(item.parent.grading)
            except Exception as error:  # noqa: BLE001 - pytest would report it as the item's own error and go on
                self.error = error
                item.session.shouldstop = str(error)
            item.parent.forget()


_QUIET = [f"-pno:{name}" for name in ("terminal", "cacheprovider", "capture", "logging", "doctest", "unittest",
                                      "junitxml", "faulthandler", "tmpdir", "pastebin", "stepwise", "python",
                                      "xdist", "hypothesispytest", "anyio", "setuponly", "setupplan",
                                      "unraisableexception", "threadexception", "warnings", "recwarn", "monkeypatch",
                                      "legacypath", "debugging")]  # fmt: skip
"""pytest plugins that have nothing to do where the reports are ours. One costs most of what a session took: at its end
`unraisableexception` collects garbage twice, over all that torch and dask have allocated."""


def grade_batch(submissions: Sequence[Submission], pool: GraderPool, done: Callable[[Grading], None]) -> None:
    """Run the submissions' checks in a pytest session of their own, silently.

    Args:
        submissions: what to grade; its start costs 0.02 s of CPU, and its items stay in memory until it ends.
        pool: the graders.
        done: is handed each grading, in order, as soon as it is there; what it raises ends the session.

    Raises:
        GraderError: the session itself failed; a failing check is no such failure.
    """
    plugin = Submissions(submissions, pool, done, unnamed=True)
    root = str(Path(__file__).parent.parent)
    # Else pytest looks at each module that is imported meanwhile, torch's thousand too, for asserts to rewrite.
    arguments = [*_QUIET, "--assert=plain", "-c", os.devnull, "--rootdir", root, "--noconftest"]
    with seldom_collected():
        status = pytest.main(arguments, plugins=[plugin])
    if plugin.error is not None:
        raise plugin.error
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if status in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
        raise GraderError("The grader's own pytest session failed: run it again with `pytest --grade` to see why.")
