"""The pages: each reads the class as it is now, and writes out a template."""

from __future__ import annotations

from collections import Counter

from grader.review.class_page import COLUMNS, read_query, table_of
from grader.review.desk import Call, Desk, quoted, submission_address
from grader.review.queue import TITLES, Item, Kind
from grader.review.work_page import work_on

ITEMS = 200
"""Questions on a page of the queue."""


class NotThere(Exception):
    """The gradebook has nothing under this address."""


def queue(desk: Desk, call: Call) -> str:
    """What needs a person, in order; or what was settled, and by whom."""
    now = desk.classroom.now()
    settled = call.query.get("show") == "settled"
    items = [item for item in now.items if (item.settled is not None) is settled]
    wanted = call.query.get("kind", "")
    counts = Counter(item.kind for item in items)
    shown = [item for item in items if wanted in ("", item.kind.value)]
    return desk.page(
        "queue", call, now, items=shown[:ITEMS], found=len(shown), counts=[(kind, counts[kind]) for kind in Kind],
        TITLES=TITLES, kind=wanted, settled=settled, address_of=_item_address, total=len(now.items),
        comparing=desk.classroom.groups is None,
    )  # fmt: skip


def _item_address(item: Item) -> str:
    return f"/item/{item.key}"


def work(desk: Desk, call: Call) -> str:
    """One submission, at a question or a check."""
    now = desk.classroom.now()
    fields = {**call.meant, **call.form} if call.form else call.query
    key = call.form.get("item", "") or (call.path.removeprefix("/item/") if call.path.startswith("/item/") else "")
    item = now.item(key) if key else None
    if key and item is None:
        raise NotThere("This question isn't in the gradebook any more: the student was graded again, or renamed.")
    of = item.of if item is not None else now.of(fields.get("student", ""), fields.get("exercise", ""))
    check = fields.get("check", "").rsplit("/", 1)
    found = work_on(desk.classroom, now, of, item, (check[0], check[1]) if len(check) == 2 else None) if of else None
    if found is None:
        raise NotThere("The gradebook has no such submission.")
    return desk.page("work", call, now, work=found, submission_address=submission_address, quoted=quoted)


def class_table(desk: Desk, call: Call) -> str:
    """The class, filtered and sorted."""
    now = desk.classroom.now()
    query = read_query(call.filters if call.form else call.query)
    return desk.page(
        "class", call, now, table=table_of(now.cohort, now.totals, query), cohort=now.cohort, totals=now.totals,
        COLUMNS=COLUMNS, submission_address=submission_address, progress=desk.regrader.progress,
    )  # fmt: skip


def after_regrade(desk: Desk, call: Call) -> str:
    """The page on which a regrading was asked for."""
    return work(desk, call) if call.form.get("of") else class_table(desk, call)


def regrading(desk: Desk, call: Call) -> str:
    """How far a regrading is: a piece of a page."""
    return desk.page("progress", call, desk.classroom.now(), progress=desk.regrader.progress)


def feedback(desk: Desk, call: Call) -> str:
    """What students get, and a button that writes it."""
    now = desk.classroom.now()
    comments = sum(len(result.grade.comments) for result in now.results.values())
    return desk.page(
        "feedback", call, now, folder=desk.folder, comments=comments, submissions=len(now.results),
    )  # fmt: skip


def problem(desk: Desk, call: Call, text: str) -> str:
    """A page that says why there is nothing."""
    return desk.page("problem", call, desk.classroom.now(), text=text)
