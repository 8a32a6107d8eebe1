"""Finding submissions: from the paths on a command line to one submission a student and exercise."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from grader.course.course import Course
from grader.errors import UsageError
from grader.files import as_text, safe_name
from grader.intake.found import Found
from grader.intake.handed_in.arrived import is_zip
from grader.intake.handed_in.choice import Chosen, chosen, too_many
from grader.intake.handed_in.files import files_in
from grader.intake.handed_in.owners import Identity, Owner
from grader.intake.handed_in.platforms import Area, area_of_file, areas
from grader.intake.take_in import guess_exercise

UNKNOWN = "unknown"
_STRAY = "if it is nobody's, move it elsewhere, or give the class list with --roster"


def collect(
    paths: Iterable[Path],
    course: Course,
    exercise_id: str | None = None,
    passed_over: Callable[[str], None] = lambda _: None,
) -> list[Found]:
    """All submissions among `paths`: notebooks, folders and zips of them, sorted by student and exercise.

    A folder or zip is a platform's download as it is, or holds `<student>.ipynb` and `<student>/<any name>.ipynb`.
    Which exercise a notebook is for is, best evidence first: what the caller says, the file's name, that of a folder
    around it, what the notebook itself says or resembles. A folder that is a student's and holds nothing to grade
    becomes a submission with a problem, for nobody may vanish. `passed_over` is called with what was not looked at.

    Raises:
        UsageError: a path does not exist or holds no notebook, or `exercise_id` is unknown.
    """
    if exercise_id is not None:
        course.spec(exercise_id)
    ids = course.catalog.ids
    course_files = [name for id_ in ids for name in course.files(course.spec(id_))]

    def guess(data: bytes) -> str | None:
        return guess_exercise(data, [course.exercise(id_) for id_ in ids])

    found: list[Found] = []
    seen: set[str] = set()
    for path in sorted(paths, key=lambda path: not path.is_dir()):  # a student's folder says more than a file's name
        here: list[Found] = []
        any_file = False
        for area in _areas_of(path, ids):
            picked = chosen(area, ids, exercise_id, guess, course_files) if area.owners else []
            if not picked and any(file.name not in course_files for file in area.files):
                passed_over(as_text(area.where))
            here += [_found(each, owner, area, path, ids) for each in picked for owner in area.owners]
            any_file |= any(each.file is not None for each in picked)
        if not any_file:
            raise UsageError(_no_notebook(path, here))
        here = _told_apart(here)
        found += [item for item in here if item.shown not in seen]
        seen |= {item.shown for item in here}
    found = _in_one_case(_as_the_others(found))
    return once_each(found)


def collect_one(folder: Path, student: str, course: Course, exercise_id: str) -> Found:
    """The submission of a student whose folder it is, for an exercise that is known."""
    files = files_in(folder) if folder.is_dir() else []
    area = Area([Owner(student)], files, where=folder.name)
    names = list(course.files(course.spec(exercise_id)))

    def guess(data: bytes) -> str | None:
        return guess_exercise(data, [course.exercise(exercise_id)])

    (picked,) = chosen(area, course.catalog.ids, exercise_id, guess, names)
    return _found(picked, area.owners[0], area, folder.parent, course.catalog.ids)


def _areas_of(path: Path, ids: Sequence[str]) -> list[Area]:
    if (path.is_dir() and path.suffix.lower() != ".ipynb") or (path.is_file() and is_zip(path.name)):
        return areas(files_in(path), path, ids)
    if path.exists() or path.is_symlink():
        return [area_of_file(path, ids)]
    raise UsageError(f"There is no file or folder {str(path)!r}.")


def _no_notebook(path: Path, here: Sequence[Found]) -> str:
    what = "zip" if is_zip(path.name) else "folder"
    holds = f" {here[0].problem}" if here else ""
    return f"The {what} {str(path)!r} holds no notebook: give a folder of .ipynb files.{holds}"


def _found(each: Chosen, owner: Owner, area: Area, root: Path, ids: Sequence[str]) -> Found:
    problem = each.problem
    if each.exercise is None and problem is None:
        problem = (
            "It doesn't look like any exercise of this course: say which it is with --exercise, or hand in the right "
            "file."
        )
    file = each.file
    return Found(
        student=owner.student,
        exercise=each.exercise if each.exercise is not None else ids[0] if len(ids) == 1 else UNKNOWN,
        path=file.path if file is not None else str(root / area.where),
        inside=file.inside if file is not None else [],
        problem=problem,
        identities=owner.identities,
        submitted=owner.submitted,
        late=owner.late,
        group=[one.student for one in area.owners] if len(area.owners) > 1 else [],
        remarks=[*owner.remarks, *each.remarks, *([_STRAY] if file is None and area.named else [])],
        empty=file is None,
        stray=file is None and area.named,
    )


def _as_the_others(found: Sequence[Found]) -> list[Found]:
    """Where all that can be told is of one exercise, a student's only file is taken to be for that one, too."""
    known = {item.exercise for item in found} - {UNKNOWN, ""}
    students = Counter(item.student for item in found)
    if len(known) != 1:
        return list(found)
    (exercise,) = known
    return [
        msgspec.structs.replace(item, exercise=exercise)
        if item.exercise == UNKNOWN and students[item.student] == 1
        else item
        for item in found
    ]


def _told_apart(found: Sequence[Found]) -> list[Found]:
    """Two people of one name in one download get what the platform tells them apart by behind their names.

    Moodle numbers its participants anew in every assignment: there they are two where they hand in the same exercise.
    """
    called: dict[str, dict[Identity, set[str]]] = defaultdict(lambda: defaultdict(set))
    for item in found:
        for identity in item.identities[:1]:
            called[item.student][identity].add(item.exercise)
    apart = {student for student, known in called.items() if _are_several(known)}
    return [
        msgspec.structs.replace(item, student=f"{item.student} ({item.identities[0].value})")
        if item.identities and item.student in apart
        else item
        for item in found
    ]


def _are_several(known: Mapping[Identity, set[str]]) -> bool:
    exercises = [exercise for each in known.values() for exercise in each]
    return len(known) > 1 and (
        any(identity.kind != "moodle" for identity in known) or len(set(exercises)) < len(exercises)
    )


def _in_one_case(found: Sequence[Found]) -> list[Found]:
    """Names that differ in capitals alone are one student's, as long as no exercise was handed in under two of them."""
    spelled: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for item in found:
        spelled[item.student.casefold()][item.student].add(item.exercise)
    first: dict[str, str] = {}
    for names in spelled.values():
        exercises = [exercise for each in names.values() for exercise in each]
        if len(names) > 1 and len(set(exercises)) == len(exercises):
            first |= dict.fromkeys(names, next(iter(names)))
    return [
        msgspec.structs.replace(
            item, student=name, remarks=[*item.remarks, f"{item.student!r} was taken to be {name!r}"]
        )
        if (name := first.get(item.student, item.student)) != item.student
        else item
        for item in found
    ]


def once_each(found: Iterable[Found]) -> list[Found]:
    """A submission for each student and exercise, sorted; of two files the newer one by what the platform says.

    Where it says nothing the grader doesn't choose: the submission has a problem that names them.
    """
    groups: dict[tuple[str, str], list[Found]] = defaultdict(list)
    for item in found:
        groups[safe_name(item.student), item.exercise].append(item)
    with_files = [[item for item in group if not item.empty] or group[:1] for group in groups.values()]
    kept = [group[0] if len(group) == 1 else _one_of(group) for group in with_files]
    return sorted(kept, key=lambda item: (item.student, item.exercise))


def _one_of(group: Sequence[Found]) -> Found:
    times = [item.submitted for item in group if item.submitted is not None]
    if len(set(times)) == len(group):
        *older, newest = sorted(group, key=lambda item: times[group.index(item)])
        left = " and ".join(repr(item.shown) for item in older)
        return msgspec.structs.replace(newest, remarks=[*newest.remarks, f"{left} was handed in earlier"])
    return msgspec.structs.replace(group[0], problem=too_many([item.shown for item in group]))
