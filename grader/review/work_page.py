"""One submission on the state: where the question is, what can be set, and what was. Plain records for the template."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from grader.cohort.similarity import own_lines
from grader.gradebook.review_records import Mark, Note, SubmissionKey
from grader.records import Grade, Grading, Record
from grader.reports.heat_map_png import Picture
from grader.reports.student_page import Cell, Page, Row, page_of
from grader.review.class_cache import ClassCache, Snapshot
from grader.review.queue import Item, Kind


class Place(Record, frozen=True):
    """What a mark can be set for. `value` names it in the form; `seen` is the mark that stands there, 0 for none."""

    value: str
    label: str
    points: float
    most: float
    seen: int


class Panel(Record, frozen=True):
    """A submission as far as a question is about it; `shared` are the lines that others have, too."""

    of: SubmissionKey
    page: Page
    rows: list[Row]
    cells: list[Cell]
    shared: set[tuple[str, int]]


class Work(Record, frozen=True, kw_only=True):
    """The whole page. `before` and `after` are the keys of the open questions next to this one."""

    of: SubmissionKey
    item: Item | None
    position: int
    left: int
    before: str | None
    after: str | None
    panels: list[Panel]
    places: list[Place]
    chosen: str
    marks: list[Mark]
    notes: list[Note]
    used: list[str]
    path: str | None

    @property
    def grade(self) -> Grade:
        """The grade as it counts."""
        return self.panels[0].page.grading.grade

    @property
    def seen(self) -> str:
        """The marks that stand, for the form: who saves says what they saw."""
        return msgspec.json.encode({place.value: place.seen for place in self.places}).decode()


def place_value(part: str | None, name: str | None) -> str:
    """What names a check, a part or the whole in a form."""
    return msgspec.json.encode([part, name]).decode()


def read_place(value: str) -> tuple[str | None, str | None]:
    """The part and the name in a form's field.

    Raises:
        ValueError: no form of ours has that field.
    """
    part, name = msgspec.json.decode(value or "[null,null]", type=tuple[str | None, str | None])
    return part, name


def work_on(
    cache: ClassCache, now: Snapshot, of: SubmissionKey, item: Item | None, check: tuple[str, str] | None
) -> Work | None:
    """Everything about a submission: in the light of a question, or of a check; None where it is no longer there."""
    grading = cache.grading(of)
    if grading is None:
        return None
    checks = item.checks if item is not None else [check] if check is not None else []
    page = page_of(_without_pictures(grading, checks))
    panels = [_panel(of, page, checks, item.part if item is not None else None)]
    if item is not None and item.kind is Kind.SIMILAR:
        panels = _compared(cache, item, grading)
    marks = [mark for mark in now.marks if mark.of == of]
    # A question that is settled keeps its place among those that are open.
    order = [each.key for each in now.items if each.settled is None or (item is not None and each.key == item.key)]
    place = order.index(item.key) if item is not None else 0
    places = _places(grading.grade, marks)
    chosen = place_value(*checks[0]) if checks else place_value(item.part if item is not None else None, None)
    return Work(
        of=of,
        item=item,
        panels=panels,
        places=places,
        chosen=chosen if any(place.value == chosen for place in places) else place_value(None, None),
        marks=marks,
        notes=[note for note in now.notes if note.of == of],
        used=_used_comments(now.notes, of.exercise)[:30],
        path=now.results[of.student, of.exercise].path,
        position=place + 1 if item is not None else 0,
        left=len(now.open),
        before=order[place - 1] if item is not None and place else None,
        after=next(iter(order[place + 1 :] if item is not None else order), None),
    )


def _without_pictures(grading: Grading, checks: Sequence[tuple[str, str]]) -> Grading:
    """The grading without what this page doesn't draw: graphs, and the tensors of other checks."""
    evidence = [
        each
        if (each.part, each.name) in checks
        else msgspec.structs.replace(each, student=None, expected=None, difference=None)
        for each in grading.evidence
    ]
    parts = [msgspec.structs.replace(part, graph=[]) for part in grading.parts]
    return msgspec.structs.replace(grading, evidence=evidence, parts=parts)


def _panel(of: SubmissionKey, page: Page, checks: Sequence[tuple[str, str]], part: str | None) -> Panel:
    wanted = {*checks}
    rows = [row for each in page.parts for row in each.rows if (row.check.part, row.check.name) in wanted]
    cells = [cell for each in page.parts for cell in each.cells] + page.other_cells
    lines = {f"c{row.cell}" for row in rows if row.cell is not None}
    parts = {part} if part is not None else {name for name, _ in wanted}
    if not lines:  # nothing of the student's is known to bind it: all of the part
        lines = {cell.anchor for each in page.parts if each.view.id in parts for cell in each.cells}
    chosen = [cell for cell in cells if cell.anchor in lines] or cells
    rows = [msgspec.structs.replace(row, pictures=[_theirs(picture) for picture in row.pictures]) for row in rows]
    return Panel(of, page, rows, sorted(chosen, key=lambda cell: int(cell.anchor[1:])), set())


def _theirs(picture: Picture) -> Picture:
    """Whose it is: a report says "yours" to the student."""
    return msgspec.structs.replace(picture, title="The student’s") if picture.title == "Yours" else picture


def _compared(cache: ClassCache, item: Item, first: Grading) -> list[Panel]:
    """Each student's cells, with the lines that all of the group have."""
    gradings = [first, *filter(None, (cache.grading(of) for of in item.others))]
    lines = [{*own_lines(each, cache.course.exercise(each.grade.exercise)).lines} for each in gradings]
    common = set.intersection(*lines)
    panels = []
    for number, grading in enumerate(gradings):
        page = page_of(_without_pictures(grading, []))
        cells = [
            msgspec.structs.replace(cell, anchor=f"s{number}-{cell.anchor}")
            for part in page.parts
            for cell in part.cells
        ]
        shared = {
            (cell.anchor, line.number) for cell in cells for line in cell.lines if "".join(line.text.split()) in common
        }
        of = SubmissionKey(grading.grade.student, grading.grade.exercise, grading.submission)
        panels.append(Panel(of, page, [], [cell for cell in cells if cell.lines], shared))
    return panels


def _places(grade: Grade, marks: Sequence[Mark]) -> list[Place]:
    """Everything that a mark can be set for: the whole, each part, each check."""
    standing = {(mark.override.part, mark.override.name): mark.id for mark in marks}
    earned = grade.standing.earned if grade.standing is not None else grade.score
    places = [
        Place(place_value(None, None), "the whole submission", earned, grade.max_score, standing.get((None, None), 0))
    ]
    for part in dict.fromkeys(check.part for check in grade.checks):
        own = [check for check in grade.checks if check.part == part]
        most = sum(check.max_points for check in own)
        seen = standing.get((part, None), 0)
        places.append(Place(place_value(part, None), f"part {part}", grade.points_of(part), most, seen))
        places += [
            Place(
                place_value(part, check.name), f"{check.name} ({part})", check.points, check.max_points,
                standing.get((part, check.name), 0),
            )
            for check in own
        ]  # fmt: skip
    return places


def _used_comments(notes: Sequence[Note], exercise: str) -> list[str]:
    """The comments written before in an exercise, the most recent first, each once."""
    said = (note for note in reversed(notes) if note.kind == "comment" and note.of.exercise == exercise)
    return list(dict.fromkeys(note.text for note in said))
