"""What people do: each action writes to the gradebook, and says where to go on. An error: nothing was saved."""

from __future__ import annotations

import msgspec

from grader.cohort.feedback import write_feedback
from grader.errors import UsageError
from grader.gradebook.overrides import new_override
from grader.gradebook.review_records import Changed, Kind, Note, SubmissionKey
from grader.records import Grading
from grader.reports.cell_names import has_line
from grader.review.app_state import AppState
from grader.review.call import Call, read_seen, submission_address
from grader.review.class_page import chosen, read_query, where_diagnosed
from grader.review.work_page import read_place
from grader.wording import points


def mark(state: AppState, call: Call) -> str:
    """Set points for a check, a part or the whole."""
    now = state.cache.now()
    of = call.of(now)
    value, (part, name) = _place(call)
    grade = now.results[of.student, of.exercise].grade
    given = _points(call.form.get("points", ""))
    reason = call.text("reason", "The reason", 1000)
    check = f"{part}/{name}" if name is not None else None
    override = new_override(grade, check, given, reason, part=part, by=call.session.name)
    try:
        state.log.set_mark(of, override, read_seen(call.form.get("seen", "{}")).get(value, 0))
    except Changed as changed:
        where = name or (f"part {part}" if part else "the whole")
        raise UsageError(_both(changed, where, given, reason)) from changed
    state.reports.changed([of])
    call.session.flash = f"Saved: {points(given)} for {name or part or 'the whole'} of {of.student}."
    return call.back


def _both(changed: Changed, where: str, given: float, reason: str) -> str:
    """What was set meanwhile, and what was to be set."""
    mine = f"Yours, not saved: {points(given)}, “{reason}”. Save again to replace it."
    if changed.mark is None:
        return f"The mark for {where} was taken back while you were looking. {mine}"
    theirs = changed.mark.override
    return (
        f"{theirs.by or 'Somebody'} gave {points(theirs.points)} for {where} while you were looking, "
        f"“{theirs.reason}”. {mine}"
    )


def _points(text: str) -> float:
    try:
        return float(text.strip().replace(",", "."))
    except ValueError as error:
        raise UsageError(f"{text[:40]!r} isn't a number of points: nothing was saved.") from error


def _place(call: Call) -> tuple[str, tuple[str | None, str | None]]:
    value = call.form.get("place", "")
    try:
        return value, read_place(value)
    except (ValueError, msgspec.MsgspecError) as error:
        raise UsageError("The form is damaged: load the page again.") from error


def comment(state: AppState, call: Call) -> str:
    """Write to the student, or for colleagues alone: about a line, a check, a part or the whole."""
    of = call.of(state.cache.now())
    _, (part, name) = _place(call)
    if not call.form.get("text", "").strip() and call.form.get("used"):
        call.form = {**call.form, "text": call.form["used"]}
    text = call.text("text", "The comment")
    kind: Kind = "internal" if call.form.get("internal") else "comment"
    cell, line = _line(call, state.cache.grading(of))
    if line is not None:
        part = name = None
    note = Note(of=of, kind=kind, text=text, by=call.session.name, part=part, name=name, cell=cell, line=line)
    state.log.add_notes([note])
    state.reports.changed([of])
    whose = "internal note on" if kind == "internal" else "comment for"
    call.session.flash = f"Saved: the {whose} {of.student}."
    return call.back


def _line(call: Call, grading: Grading | None) -> tuple[int | None, int | None]:
    """The cell and the line of a comment, by the notebook's numbers; None for one about something else."""
    given = call.form.get("cell", "").strip(), call.form.get("line", "").strip()
    if not any(given):
        return None, None
    cells = grading.cells if grading is not None else []
    if not all(each.isascii() and each.isdigit() and len(each) < 7 for each in given):
        raise UsageError("A line is a cell's number and a line's number: give both, or neither. Nothing was saved.")
    cell, line = map(int, given)
    if not has_line(cells, cell, line):
        raise UsageError(f"This page shows no line {line} of a cell {cell}: nothing was saved.")
    return cell, line


def comment_all(state: AppState, call: Call) -> str:
    """One comment to everybody in a filtered table, at the check that the filter is about."""
    query = read_query(call.filters)
    now = state.cache.now()
    found = chosen(now.cohort, query)
    text = call.text("text", "The comment")
    if str(len(found)) != call.form.get("expected"):
        raise UsageError(
            f"Nothing was saved: the filter now finds {len(found)} submissions, and found {call.form.get('expected')} "
            "when you wrote this. Look again, and save it once more."
        )
    notes = []
    for submission in found:
        of = now.of(submission.grade.student, submission.grade.exercise)
        check = where_diagnosed(submission, query)
        if of is not None:
            part, name = (check.part, check.name) if check is not None else (None, None)
            notes.append(Note(of=of, kind="comment", text=text, by=call.session.name, part=part, name=name))
    state.log.add_notes(notes)
    state.reports.changed(note.of for note in notes)
    call.session.flash = f"Saved: the comment for {len(notes)} students."
    return query.address()


def settle(state: AppState, call: Call) -> str:
    """Take a question out of the queue; on to the next."""
    now = state.cache.now()
    item = now.item(call.form.get("item", ""))
    if item is None:
        raise UsageError("This question isn't in the gradebook any more: the student was graded again meanwhile.")
    if item.settled is not None:
        raise UsageError(f"{item.settled.by or 'Somebody'} settled this already: “{item.settled.text}”.")
    keys = [each.key for each in now.open]
    place = keys.index(item.key)
    reason = call.text("reason", "The reason", 1000)
    state.log.add_notes([Note(of=item.of, kind="settled", text=reason, by=call.session.name, item=item.key)])
    call.session.flash = f"Settled: {item.title} of {item.students}."
    left = keys[place + 1 :] or keys[:place][-1:]
    return f"/item/{left[0]}" if left else "/queue"


def dispute(state: AppState, call: Call) -> str:
    """Put a mark into the queue that a student, or a colleague, disagrees with."""
    of = call.of(state.cache.now())
    _, (part, name) = _place(call)
    text = call.text("text", "What is disputed")
    state.log.add_notes([Note(of=of, kind="disputed", text=text, by=call.session.name, part=part, name=name)])
    call.session.flash = f"Saved: a disputed mark of {of.student} is in the queue."
    return call.back


def take_back(state: AppState, call: Call) -> str:
    """Undo an action, one's own or another's: its rows stay in the gradebook, and no longer count."""
    rows = [int(each) for each in call.form.get("rows", "").split(",") if each.isdigit() and len(each) < 10][:5000]
    source = call.form.get("source", "")
    if source not in ("overrides", "notes") or not rows:
        raise UsageError("The form is damaged: load the page again.")
    undone = state.log.withdraw(source, rows, call.session.name)  # type: ignore[arg-type]
    if not undone:
        raise UsageError("Somebody has taken that back already.")
    state.reports.changed(undone)
    call.session.flash = f"Taken back: {call.form.get('label', 'it')[:300]}."
    reopened = call.form.get("reopens", "")
    return f"/item/{reopened}" if reopened else _shown(undone, call)


def _shown(undone: list[SubmissionKey], call: Call) -> str:
    if call.form.get("item") or call.form.get("of"):
        return call.back
    return submission_address(undone[0].student, undone[0].exercise) if len(undone) == 1 else "/class"


def regrade(state: AppState, call: Call) -> str:
    """Grade a student, or everybody whom a filter fits, again."""
    now = state.cache.now()
    if call.form.get("of"):
        meant = call.meant
        result = now.results.get((meant.get("student", ""), meant.get("exercise", "")))
        results, back = [result] if result is not None else [], call.back
    else:
        query = read_query(call.filters)
        keys = [(each.grade.student, each.grade.exercise) for each in chosen(now.cohort, query)]
        results, back = [now.results[key] for key in keys], query.address()
    state.regrader.start(results)
    return back


def feedback(state: AppState, call: Call) -> str:
    """Write what students get into the folder."""
    if state.folder is None:
        raise UsageError("There is no folder to write to: start `grader review DIR`, or use `grader feedback`.")
    written = write_feedback(state.book, state.course, state.folder / "feedback")
    zips = ", ".join(f"{name}.zip with {held}" for name, (held, _) in written.zips.items() if held)
    call.session.flash = f"Written to {written.folder}: {written.reports} reports{f', {zips}' if zips else ''}."
    return "/feedback"
