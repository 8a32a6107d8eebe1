"""The pages: each reads the class as it is now, and writes out a template."""

from __future__ import annotations

from collections import Counter

from grader.review.app_state import AppState
from grader.review.call import Call, quoted, submission_address
from grader.review.class_page import COLUMNS, read_query, table_of
from grader.review.queue import TITLES, Kind
from grader.review.work_page import work_on

ITEMS = 200
"""Questions on a page of the queue."""


class NotThere(Exception):
    """The gradebook has nothing under this address."""


def queue(state: AppState, call: Call) -> str:
    """What needs a person, in order; or what was settled, and by whom."""
    now = state.cache.now()
    settled = call.query.get("show") == "settled"
    items = [item for item in now.items if (item.settled is not None) is settled]
    wanted = call.query.get("kind", "")
    counts = Counter(item.kind for item in items)
    shown = [item for item in items if wanted in ("", item.kind.value)]
    return state.page(
        "queue", call, now, items=shown[:ITEMS], found=len(shown), counts=[(kind, counts[kind]) for kind in Kind],
        TITLES=TITLES, kind=wanted, settled=settled, total=len(now.items),
        comparing=state.cache.groups is None,
    )  # fmt: skip


def work(state: AppState, call: Call) -> str:
    """One submission, at a question or a check."""
    now = state.cache.now()
    fields = {**call.meant, **call.form} if call.form else call.query
    key = call.form.get("item", "") or (call.path.removeprefix("/item/") if call.path.startswith("/item/") else "")
    item = now.item(key) if key else None
    if key and item is None:
        raise NotThere("This question isn't in the gradebook any more: the student was graded again, or renamed.")
    of = item.of if item is not None else now.of(fields.get("student", ""), fields.get("exercise", ""))
    check = fields.get("check", "").rsplit("/", 1)
    found = work_on(state.cache, now, of, item, (check[0], check[1]) if len(check) == 2 else None) if of else None
    if found is None:
        raise NotThere("The gradebook has no such submission.")
    return state.page("work", call, now, work=found, submission_address=submission_address, quoted=quoted)


def class_table(state: AppState, call: Call) -> str:
    """The class, filtered and sorted."""
    now = state.cache.now()
    query = read_query(call.filters if call.form else call.query)
    return state.page(
        "class", call, now, table=table_of(now.cohort, now.totals, query), cohort=now.cohort, totals=now.totals,
        COLUMNS=COLUMNS, submission_address=submission_address, progress=state.regrader.progress,
    )  # fmt: skip


def after_regrade(state: AppState, call: Call) -> str:
    """The page on which a regrading was asked for."""
    return work(state, call) if call.form.get("of") else class_table(state, call)


def regrading(state: AppState, call: Call) -> str:
    """How far a regrading is: a piece of a page."""
    return state.page("progress", call, state.cache.now(), progress=state.regrader.progress)


def feedback(state: AppState, call: Call) -> str:
    """What students get, and a button that writes it."""
    now = state.cache.now()
    comments = sum(len(result.grade.comments) for result in now.results.values())
    return state.page(
        "feedback", call, now, folder=state.folder, comments=comments, submissions=len(now.results),
    )  # fmt: skip


def problem(state: AppState, call: Call, text: str) -> str:
    """A page that says why there is nothing."""
    return state.page("problem", call, state.cache.now(), text=text)
