"""The files that pages load: the style sheet, the script, and htmx. Nothing else on the disk is ever served."""

from __future__ import annotations

import hashlib
from functools import cache

from grader.files import data_dir
from grader.reports.html import render

TYPES = {"review.js": "text/javascript", "htmx.min.js": "text/javascript", "style.css": "text/css"}


@cache
def content(name: str) -> str:
    """The text of one of these files."""
    if name == "style.css":
        return render("_style.css.jinja", None) + render("review/style.css.jinja", None)
    return (data_dir("templates") / "review" / name).read_text(encoding="utf-8")


@cache
def address(name: str) -> str:
    """A file's address, which changes with its content."""
    return f"/static/{name}?v={_version(name)}"


def is_current(name: str, version: str | None) -> bool:
    """Whether an address is that of the content as it is, so that a browser may keep it."""
    return version == _version(name)


def _version(name: str) -> str:
    return hashlib.sha256(content(name).encode()).hexdigest()[:12]
