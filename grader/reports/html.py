"""HTML reports: pure functions of records, written out through the templates in `templates/`.

Everything that a student wrote passes through autoescape as text. The pages load nothing and, by their content security
policy, could not; the cohort's one script is named there by its hash.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from grader.errors import CourseError
from grader.files import data_dir
from grader.records import Grading, Verdict
from grader.reports.cell_names import line_name
from grader.reports.cohort_page import CohortRow, Group, cohort_of
from grader.reports.student_page import page_of
from grader.reports.totals import Excused, totals
from grader.reports.verdict_text import GLYPHS, MEANINGS, carried_by_reason, explain, missing_by_reason, own_remark
from grader.safe_text import safe_text
from grader.wording import in_points, shape


def render_report(grading: Grading, templates: Path | None = None) -> str:
    """One student's report on one exercise, as a whole HTML page that needs no other file.

    Args:
        grading: what it shows.
        templates: a folder of templates that take the place of the package's of the same name.

    Raises:
        CourseError: a template in that folder fails.
    """
    return render("report.html.jinja", templates, page=page_of(grading))


def render_index(
    rows: Sequence[CohortRow],
    similar: Sequence[Group] = (),
    templates: Path | None = None,
    titles: Mapping[str, str] | None = None,
    excused: Excused = frozenset(),
) -> str:
    """The cohort's page, with a link to each report, as a whole HTML page that needs no other file.

    `titles` are those of the exercises, by id, and of their parts, by `exercise/part`.

    Raises:
        CourseError: a template in the folder `templates` fails.
    """
    grades = [row.grade for row in rows]
    found = totals(grades, excused) if len({grade.exercise for grade in grades}) > 1 else []
    paths = {(row.grade.exercise, row.grade.student): row.path for row in rows}
    shown = {"cohort": cohort_of(rows), "similar": similar, "paths": paths, "totals": found, "titles": titles or {}}
    return render("index.html.jinja", templates, **shown)


def compile_pages(templates: Path | None) -> None:
    """Compile all templates of reports, which whoever renders the first would wait for; one that fails says so then."""
    environment = _environment(_own(templates))
    for template in environment.list_templates(filter_func=lambda name: "/" not in name):
        with contextlib.suppress(jinja2.TemplateError):
            environment.get_template(template)


def render_cell_output(grading: Grading, next_exercise: str | None = None) -> str:
    """The verdicts as a piece of HTML for a notebook's output: inline styles and pictures as data, nothing else.

    `next_exercise` is named where everything is right.
    """
    told = {"explain": explain, "carried_by_reason": carried_by_reason, "missing_by_reason": missing_by_reason}
    done = next_exercise if all(check.verdict.is_right for check in grading.grade.checks) else None
    return render("cell_output.html.jinja", None, page=page_of(grading), COLORS=_COLORS, next=done, **told)


def render_lines(lines: Sequence[str]) -> str:
    """Sentences, as hints are, for a notebook's output."""
    return render("hint_output.html.jinja", None, lines=lines)


def render_progress(what: str, done: int, total: int) -> str:
    """A bar and what is being done, for a notebook's output."""
    return render("progress_output.html.jinja", None, what=what, done=done, total=total)


_COLORS = {
    Verdict.EXACT: "#2e7d32",
    Verdict.APPROXIMATE: "#2e7d32",
    Verdict.CARRIED: "#8a5300",
    Verdict.WRONG: "#c62828",
    Verdict.MISSING: "#5f6368",
    Verdict.UNCHECKED: "#7b1fa2",
}
"""Grounds on which white text has a contrast of 4.5 to 1. No colour of text has it on light and dark grounds alike."""


def render(template: str, templates: Path | None, **context: object) -> str:
    """A template written out, escaped, with nothing in it that the eye wouldn't see.

    Raises:
        CourseError: a template in the folder `templates` fails.
    """
    templates = _own(templates)
    try:
        page = _environment(templates).get_template(template).render(context)
    except jinja2.TemplateError as error:
        if templates is None:
            raise
        raise CourseError(f"A template in {templates} fails: {error}; see docs/authoring.md.") from error
    return safe_text(page, "page")


def _own(templates: Path | None) -> Path | None:
    """None, too, where there is no such folder: as for every other course, the package's are then compiled once."""
    return templates if templates is not None and templates.is_dir() else None


@cache
def _environment(templates: Path | None) -> jinja2.Environment:
    """The course's templates before the package's, which are also to be had as `grader/NAME`, to be extended."""
    package = jinja2.FileSystemLoader(data_dir("templates"))
    own = [jinja2.FileSystemLoader(templates)] if templates is not None else []
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([*own, package, jinja2.PrefixLoader({"grader": package})]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"points": in_points, "shape": shape, "href": _href, "percent": _percent}
    environment.filters |= {"prose": _prose, "base64": _base64}
    environment.globals |= {"own_remark": own_remark, "line_name": line_name}
    meanings = {verdict: f"{text[0].upper()}{text[1:]}." for verdict, text in MEANINGS.items()}
    environment.globals |= {"GLYPHS": GLYPHS, "MEANINGS": meanings, "sha256": partial(_sha256, environment)}
    return environment


_QUOTED = re.compile("`([^`]+)`")


def _prose(text: str) -> Markup:
    """A sentence of the grader's, in which names of tensors stand between backticks."""
    return Markup(_QUOTED.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def _sha256(environment: jinja2.Environment, template: str) -> str:
    """The hash of an included template's text, as a content security policy names it."""
    text = environment.get_template(template).render()
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def _base64(text: str) -> str:
    """A picture's text as it stands in a `data:` address."""
    return base64.b64encode(str(text).encode("utf-8", "replace")).decode("ascii")


def _percent(share: float) -> str:
    """A share in whole per cent; what is not quite nothing or everything never reads 0 % or 100 %."""
    percent = round(100 * share)
    if share > 0:
        percent = max(percent, 1)
    if share < 1:
        percent = min(percent, 99)
    return f"{percent} %"


def _href(path: str) -> str:
    """A relative path with `/` between folders as a link; whatever the names hold, it stays a path below the page."""
    return "./" + quote(path, safe="/", errors="surrogateescape")
