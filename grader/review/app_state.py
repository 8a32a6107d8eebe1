"""What every page and action of the application works with, and how a page is written out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader.course.course import Course
from grader.gradebook.gradebook import Gradebook
from grader.gradebook.review_log import ReviewLog
from grader.reports.html import render
from grader.review.call import Call
from grader.review.class_cache import ClassCache, Snapshot
from grader.review.regrade import Regrader
from grader.review.reports_on_disk import ReportsOnDisk
from grader.review.static import address


@dataclass(frozen=True)
class AppState:
    """The gradebook under review, and all that keeps step with it.

    Attributes:
        book: the gradebook.
        course: the course.
        folder: where `grader grade --out` wrote; None where only the gradebook is at hand.
        cache: the class as it is now.
        reports: the files in the folder.
        regrader: grades again.
    """

    book: Gradebook
    course: Course
    folder: Path | None
    cache: ClassCache
    reports: ReportsOnDisk
    regrader: Regrader

    @property
    def log(self) -> ReviewLog:
        """Where everything that is done by hand is kept."""
        return self.book.log

    def page(self, template: str, call: Call, now: Snapshot, **context: Any) -> str:
        """A page written out, with what all pages have."""
        shared = {
            "call": call,
            "session": call.session,
            "undo": self.log.last_action(call.session.name, call.session.since),
            "open": len(now.open),
            "problems": [self.reports.problem, self.cache.problem],
            "has_folder": self.folder is not None,
            "address": address,
        }
        return render(f"review/{template}.html.jinja", self.course.templates, **(shared | context))
