"""The page on which people say who they are."""

from __future__ import annotations

from grader.reports.html import render


def login_page(problem: str | None) -> str:
    """The form; `problem` says why the last try failed."""
    return render("review/login.html.jinja", None, problem=problem)
