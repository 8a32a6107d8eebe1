"""The queue: what needs a person, and in which order. Pure functions of grades, groups and what was written by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from grader.gradebook.results import Result
from grader.gradebook.review_records import Mark, Note, SubmissionKey
from grader.grading.ungradable import ITSELF_FAILED
from grader.records import Check, Flag, Grade, Record, Verdict
from grader.reports.cohort_page import Group
from grader.reports.verdict_text import explain
from grader.wording import listed, points


class Kind(StrEnum):
    """Why something is in the queue, the most urgent first."""

    UNGRADABLE = "ungradable"
    UNCHECKED = "unchecked"
    AUTOGRAD = "autograd"
    FLAGGED = "flagged"
    SIMILAR = "similar"
    DISPUTED = "disputed"
    FAILED = "failed"


TITLES: Mapping[Kind, str] = {
    Kind.UNGRADABLE: "Could not be graded",
    Kind.UNCHECKED: "Could not be checked",
    Kind.AUTOGRAD: "May use autograd",
    Kind.FLAGGED: "Flagged",
    Kind.SIMILAR: "Similar code",
    Kind.DISPUTED: "Disputed mark",
    Kind.FAILED: ITSELF_FAILED,
}
_AUTOGRAD = {"autograd-used", "unexplained-value", "unusual-code"}
_ORDER = {kind: place for place, kind in enumerate(Kind)}


class Item(Record, frozen=True, kw_only=True):
    """A question for a person. `key` stays the same as long as the submissions' content does.

    `checks` are those that it is about, as part and name. `others` are further submissions that it is about.
    """

    key: str
    kind: Kind
    of: SubmissionKey
    says: list[str]
    part: str | None = None
    checks: list[tuple[str, str]] = []
    others: list[SubmissionKey] = []
    settled: Note | None = None

    @property
    def title(self) -> str:
        """Why it is in the queue."""
        return TITLES[self.kind]

    @property
    def students(self) -> str:
        """Whom it is about."""
        return listed([self.of.student, *(other.student for other in self.others)], 3)


def items_of(
    results: Iterable[Result], groups: Sequence[Group], marks: Iterable[Mark], notes: Iterable[Note]
) -> list[Item]:
    """Every question, settled or not, in the queue's order: by kind, then by exercise and student."""
    grades = {(each.grade.student, each.grade.exercise): each for each in results}
    of_key = {key: SubmissionKey(*key, each.key.submission) for key, each in grades.items()}
    found = [item for key, each in grades.items() for item in _of_grade(each.grade, of_key[key])]
    found += _similar(groups, of_key)
    found += _disputed(marks, notes := list(notes), {*of_key.values()})
    settled = {note.item: note for note in notes if note.kind == "settled"}
    found = [_with(item, settled.get(item.key)) for item in found]
    return sorted(found, key=lambda item: (_ORDER[item.kind], item.of.exercise, item.of.student, item.part or ""))


def _with(item: Item, note: Note | None) -> Item:
    return item if note is None else msgspec.structs.replace(item, settled=note)


def item_key(kind: Kind, of: SubmissionKey, *detail: str) -> str:
    """A short name for a question about a submission's content."""
    text = "\0".join([kind, of.student, of.exercise, of.submission, *detail])
    return f"{kind}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:20]}"


def _of_grade(grade: Grade, of: SubmissionKey) -> list[Item]:
    if grade.status == "ungradable":
        failed = (grade.reason or "").startswith(ITSELF_FAILED)
        kind = Kind.FAILED if failed else Kind.UNGRADABLE
        return [Item(key=item_key(kind, of), kind=kind, of=of, says=[grade.reason or "No reason was given."])]
    unchecked: dict[str, list[Check]] = {}
    for check in grade.checks:
        if check.verdict is Verdict.UNCHECKED:
            unchecked.setdefault(check.part, []).append(check)
    flagged: dict[tuple[Kind, str | None], list[Flag]] = {}
    for flag in grade.flags:
        if flag.code != "unchecked":
            kind = Kind.AUTOGRAD if flag.code in _AUTOGRAD else Kind.FLAGGED
            flagged.setdefault((kind, flag.part), []).append(flag)
    found = [
        Item(
            key=item_key(Kind.UNCHECKED, of, part),
            kind=Kind.UNCHECKED,
            of=of,
            part=part,
            checks=[(part, check.name) for check in checks],
            says=[explain(check) for check in checks],
        )
        for part, checks in unchecked.items()
    ]
    return found + [
        Item(
            key=item_key(kind, of, part or ""), kind=kind, of=of, part=part, says=[flag.message for flag in flags],
            checks=_named(grade, part, flags),
        )
        for (kind, part), flags in flagged.items()
    ]  # fmt: skip


def _named(grade: Grade, part: str | None, flags: Sequence[Flag]) -> list[tuple[str, str]]:
    """The checks of a part that flags speak of by name."""
    words = {word.strip(".,:;()`") for flag in flags for word in flag.message.split()}
    return [(check.part, check.name) for check in grade.checks if check.part == part and check.name in words]


def _similar(groups: Sequence[Group], of_key: Mapping[tuple[str, str], SubmissionKey]) -> list[Item]:
    found = []
    for group in groups:
        members = [of_key[student, group.exercise] for student in group.students if (student, group.exercise) in of_key]
        if len(members) < 2:
            continue
        key = item_key(Kind.SIMILAR, members[0], *(part for of in members[1:] for part in (of.student, of.submission)))
        says = f"{group.alike} % of their unusual lines are alike, and {group.lines} are the same."
        found.append(Item(key=key, kind=Kind.SIMILAR, of=members[0], others=members[1:], says=[says]))
    return found


def _disputed(marks: Iterable[Mark], notes: Sequence[Note], current: set[SubmissionKey]) -> list[Item]:
    """Marks that a person was told are disputed, and those that two people set differently."""
    found = [
        Item(
            key=item_key(Kind.DISPUTED, note.of, str(note.id)),
            kind=Kind.DISPUTED,
            of=note.of,
            part=note.part,
            checks=[(note.part, note.name)] if note.part is not None and note.name is not None else [],
            says=[f"{note.text} ({note.by or 'unknown'}, {note.at[:10]})"],
        )
        for note in notes
        if note.kind == "disputed" and note.of in current
    ]
    by_place: dict[tuple[SubmissionKey, str | None, str | None], list[Mark]] = {}
    for mark in marks:
        if mark.of in current:
            by_place.setdefault((mark.of, mark.override.part, mark.override.name), []).append(mark)
    for (of, part, name), here in by_place.items():
        if len(here) < 2:
            continue
        first, second = (each.override for each in here[-2:])
        if first.by != second.by and first.points != second.points:
            says = " ".join(
                f"{each.by or 'Somebody'} gave {points(each.points)}: {each.reason}" for each in (first, second)
            )
            checks = [(part, name)] if part is not None and name is not None else []
            key = item_key(Kind.DISPUTED, of, "marks", *(str(each.id) for each in here[-2:]))
            found.append(Item(key=key, kind=Kind.DISPUTED, of=of, part=part, checks=checks, says=[says]))
    return found
