"""Groups of suspiciously similar gradients cells: a list for an instructor to look at, and never a mark.

Right answers to the same short questions are alike by nature. So two submissions are compared in their unusual lines
only: what the release itself holds is left out, and what more than a few students wrote. Comments stay in, since they
are the least likely to be alike by chance. A pair is suspicious where both have enough that is unusual, and it is
nearly the same text.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from grader.course.course import Course
from grader.course.exercise import Exercise
from grader.gradebook.gradebook import Gradebook
from grader.records import Grading, Record
from grader.reports.cohort_page import Group

ALIKE = 90
"""Per cent of the unusual text, by rapidfuzz's ratio (insertions and deletions), from which a pair is suspicious."""
ENOUGH = 120
"""Characters of unusual text below which nothing is concluded."""
LONG = 20_000
"""Characters of unusual text that are compared, which takes time with the square of their number."""
FEW = 5
"""A line of more students than this, and than one in fifty, is the usual way to write it."""
_BLOCK = 200


class Own(Record, frozen=True):
    """A student's own lines of an exercise: without indentation, spacing and what was released."""

    student: str
    exercise: str
    lines: list[str]


def similar(book: Gradebook, course: Course) -> list[Group]:
    """The groups of suspiciously similar submissions, of all that the gradebook's students handed in last.

    Who handed something in together is no such group.
    """
    known = course.catalog.ids
    together = {student: {*said} for student, said in book.people.identities().items()}
    found = similar_groups(
        own_lines(grading, course.exercise(grading.grade.exercise))
        for grading in book.gradings()
        if grading.grade.exercise in known and grading.cells
    )
    shared = [set.intersection(*(together.get(student, set()) for student in group.students)) for group in found]
    return [group for group, same in zip(found, shared, strict=True) if not any(each.kind == "group" for each in same)]


def own_lines(grading: Grading, exercise: Exercise) -> Own:
    """What of a submission's gradients cells is the student's own."""
    released = {_plain(line) for cell in exercise.cells for line in cell.source.splitlines()}
    sources = [cell.source for cell in grading.cells if cell.part is not None]
    lines = dict.fromkeys(_plain(line) for source in sources for line in source.splitlines())
    return Own(grading.grade.student, exercise.id, [line for line in lines if line and line not in released])


def _plain(line: str) -> str:
    return sys.intern("".join(line.split()))  # ten thousand students write the same few lines


def similar_groups(submissions: Iterable[Own]) -> list[Group]:
    """The groups, by exercise, the most similar first."""
    by_exercise: dict[str, list[Own]] = defaultdict(list)
    for own in submissions:
        by_exercise[own.exercise].append(own)
    return [group for id_ in sorted(by_exercise) for group in _groups(by_exercise[id_])]


def _groups(submissions: Sequence[Own]) -> list[Group]:
    holders = Counter(line for own in submissions for line in own.lines)
    usual = max(FEW, len(submissions) // 50)
    unusual = [
        Own(own.student, own.exercise, [line for line in own.lines if holders[line] <= usual]) for own in submissions
    ]
    unusual = [own for own in unusual if sum(map(len, own.lines)) >= ENOUGH]
    links = _links(["\n".join(own.lines)[:LONG] for own in unusual])
    groups = []
    for members, alike in _connected(links):
        shared = set.intersection(*(set(unusual[member].lines) for member in members))
        students = sorted(unusual[member].student for member in members)
        groups.append(Group(submissions[0].exercise, students, alike, len(shared)))
    return sorted(groups, key=lambda group: (-group.alike, -group.lines, group.students))


def _links(texts: Sequence[str]) -> list[tuple[int, int, int]]:
    """Pairs of suspiciously similar texts, with the per cent; the matrix is gone through in blocks of rows."""
    if len(texts) < 2:
        return []
    from rapidfuzz import fuzz, process

    found = []
    for start in range(0, len(texts), _BLOCK):
        block = texts[start : start + _BLOCK]
        scores = process.cdist(block, texts, scorer=fuzz.ratio, score_cutoff=ALIKE)
        for row, column in zip(*scores.nonzero(), strict=True):
            first, second = start + int(row), int(column)
            if first < second:
                found.append((first, second, int(scores[row, column])))
    return found


def _connected(links: Sequence[tuple[int, int, int]]) -> list[tuple[list[int], int]]:
    """The connected components of the links, each with its weakest link."""
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for first, second, _ in links:
        parent[root(first)] = root(second)
    members: dict[int, set[int]] = defaultdict(set)
    weakest: dict[int, int] = {}
    for first, second, alike in links:
        members[root(first)] |= {first, second}
        weakest[root(first)] = min(alike, weakest.get(root(first), 100))
    return [(sorted(group), weakest[node]) for node, group in members.items()]
