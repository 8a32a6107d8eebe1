"""Which of an owner's files counts for each exercise: the one called like it, the newest by the platform's own mark."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from grader.errors import SubmissionError
from grader.files import as_text, is_notebook
from grader.intake.handed_in.arrived import Arrived
from grader.intake.handed_in.files import content, holds_cells
from grader.intake.handed_in.names import FileName, is_disguised, is_document, is_script, taken_apart
from grader.intake.handed_in.platforms import Area
from grader.intake.handed_in.python_file import as_notebook, decoded, is_export
from grader.records import Record
from grader.wording import listed

NO_FILE = "It is not a plain file (a link, a folder or a device): hand in the notebook itself."
FEW = 3
"""So many files are named in a sentence."""

Guess = Callable[[bytes], str | None]
"""A notebook's bytes → the exercise that it resembles."""


class Chosen(Record, frozen=True):
    """The file that counts for an exercise, or why none does.

    `exercise` is None where no file says which it is for, `file` where there is nothing that could be one.
    """

    exercise: str | None
    file: Arrived | None
    problem: str | None = None
    remarks: list[str] = []


class _Candidate(Record, frozen=True):
    file: Arrived
    read: FileName
    exercise: str | None
    problem: str | None = None

    def rank(self, area: Area) -> tuple[int, int, int]:
        """The smallest counts: the exercise's own name before others, notebooks before what they became."""
        if self.read.copy:
            name = 3
        elif self.read.exercise is not None and not self.read.rest and (area.marks or not self.read.again):
            name = 0
        else:
            name = 1 if self.read.exercise is not None or area.named else 2
        kind = 0 if is_notebook(Path(self.file.name)) else 1
        return name, kind, len(self.file.parts)


def read_file(file: Arrived) -> bytes:
    """A file's bytes as a notebook's; a script becomes one.

    Raises:
        SubmissionError: it can't be read, or is too large to be.
    """
    data = content(file)
    return as_notebook(data) if is_script(file.name) else data


def chosen(
    area: Area, ids: Sequence[str], wanted: str | None, guess: Guess, course_files: Sequence[str]
) -> list[Chosen]:
    """What counts of an area's files, for each exercise that there is one for.

    Args:
        area: the files of an owner.
        ids: the exercises.
        wanted: the only one that is asked for, whatever the files say.
        guess: says what a notebook resembles.
        course_files: names of files that exercises come with.
    """
    closed = [file for file in area.files if file.kind == "closed"]
    candidates = [_candidate(file, area, ids, wanted, guess) for file in _to_look_at(area, course_files)]
    if not candidates:
        if area.named and not any(is_document(file.name) for file in area.files):
            return []
        named = (taken_apart(file.name, ids).exercise for file in area.files)
        said = wanted or next(filter(None, named), area.exercise)
        return [Chosen(said, closed[0] if closed else None, _nothing(area, closed))]
    groups: dict[str, list[_Candidate]] = defaultdict(list)
    for each in candidates:
        if each.exercise is not None:
            groups[each.exercise].append(each)
    strangers = [each for each in candidates if each.exercise is None]
    if not groups:
        programs = [each for each in strangers if is_script(each.file.name) and not _exported(each.file)]
        if area.named and not area.direct and len(programs) == len(strangers):
            return []  # they lie there
        first = next((each for each in strangers if each.problem is not None), strangers[0])
        if len(strangers) > 1 and first.problem is None:
            return [Chosen(None, first.file, _several(strangers))]
        return [Chosen(None, first.file, first.problem)]
    result = []
    for exercise, group in groups.items():
        narrowed = _resembling(group, guess) if wanted is not None else group
        result.append(_best(exercise, narrowed, area))
    aside = list(dict.fromkeys(file.problem.rstrip(".") for file in closed if file.problem))[:FEW] + [
        f"{as_text(each.file.name)!r} doesn't look like any exercise and was ignored" for each in strangers
    ]
    return [msgspec.structs.replace(each, remarks=[*each.remarks, *aside]) for each in result]


def _to_look_at(area: Area, course_files: Sequence[str]) -> list[Arrived]:
    if area.direct:
        return list(area.files)
    files = [file for file in area.files if file.kind in ("file", "other") and file.name not in course_files]
    notebooks = [file for file in files if is_notebook(Path(file.name)) or is_disguised(file.name)]
    plain = [file for file in files if file.kind == "file"]
    scripts = [file for file in plain if is_script(file.name) and (not notebooks or _exported(file))]
    if notebooks or scripts:
        return notebooks + scripts
    return [file for file in plain if holds_cells(file)]


def _exported(file: Arrived) -> bool:
    try:
        data = content(file)
        return is_export(decoded(data))
    except SubmissionError:
        return False


def _candidate(file: Arrived, area: Area, ids: Sequence[str], wanted: str | None, guess: Guess) -> _Candidate:
    read = taken_apart(file.name, ids)
    if file.kind == "other":
        return _Candidate(file, read, wanted or read.exercise or "", NO_FILE)
    folder = next((part for part in reversed(file.parts[:-1]) if part in ids), None)
    exercise = wanted or read.exercise or folder or area.exercise
    if exercise is not None:
        return _Candidate(file, read, exercise)
    try:
        return _Candidate(file, read, guess(read_file(file)))
    except SubmissionError as error:
        return _Candidate(file, read, None, str(error))


def _resembling(group: list[_Candidate], guess: Guess) -> list[_Candidate]:
    """Of several files that are said to be for one exercise, those that say so or resemble it, if any do."""
    if len(group) == 1:
        return group
    wanted = group[0].exercise
    found = [each for each in group if each.read.exercise == wanted or _guessed(each.file, guess) == wanted]
    return found or group


def _guessed(file: Arrived, guess: Guess) -> str | None:
    try:
        return guess(read_file(file))
    except SubmissionError:
        return None


def _best(exercise: str, group: Sequence[_Candidate], area: Area) -> Chosen:
    ranked = sorted(group, key=lambda each: (each.rank(area), -_mark(each, area)))
    first, others = ranked[0], ranked[1:]
    rivals = [each for each in others if _equal(each, first, area)]
    if rivals and (_may_be_several_peoples([first, *rivals]) or not all(_same_content(each, first) for each in rivals)):
        return Chosen(exercise, first.file, _several([first, *rivals]))
    remarks = []
    if others:
        left = listed([repr(as_text("/".join(each.file.parts))) for each in others], FEW)
        remarks = [f"{as_text('/'.join(first.file.parts))!r} counts; ignored: {left}"]
    return Chosen(exercise, first.file, first.problem, remarks)


def _equal(other: _Candidate, first: _Candidate, area: Area) -> bool:
    """Whether nothing says which of two counts: neither their names nor the platform."""
    return other.rank(area) == first.rank(area) and _mark(other, area) == _mark(first, area)


def _mark(each: _Candidate, area: Area) -> int:
    return area.marks.get(each.file.shown, each.read.again)


def _same_content(one: _Candidate, other: _Candidate) -> bool:
    try:
        return read_file(one.file) == read_file(other.file)
    except SubmissionError:
        return False


def _may_be_several_peoples(group: Sequence[_Candidate]) -> bool:
    """Whether each file is named differently, and not after the exercise alone."""
    return len({each.read.rest for each in group} - {""}) == len(group)


def _several(group: Sequence[_Candidate]) -> str:
    otherwise = ", or give this folder itself if they are different students'" if _may_be_several_peoples(group) else ""
    return too_many([each.file.shown for each in group], otherwise)


def too_many(paths: Sequence[str], otherwise: str = "") -> str:
    """That nothing says which of several files counts; `otherwise` is what else can be done about it."""
    names = " and ".join(map(repr, paths[:FEW]))
    return f"There are {len(paths)} files for this student and exercise ({names}): keep the one that counts{otherwise}."


def _nothing(area: Area, closed: Sequence[Arrived]) -> str:
    """Why nothing of an area can be graded."""
    if closed:
        return closed[0].problem or "It can't be read."
    names = [repr(as_text(file.name)) for file in area.files if file.kind == "file"]
    if any(area.where.endswith(file.name) for file in area.files if file.kind == "file"):
        return f"{listed(names, FEW)} {'is' if len(names) == 1 else 'are'} not a notebook: hand in the .ipynb file."
    holds = f"it holds {listed(names, FEW)}" if names else "it is empty"
    return f"There is no notebook in {as_text(area.where)!r}, {holds}: hand in the .ipynb file."
