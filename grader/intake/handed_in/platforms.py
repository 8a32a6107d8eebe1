"""The layouts of platforms: whose is which file of a download, by the names that each platform gives.

Canvas and Blackboard put all of it into the file's name, Moodle into a folder's or a file's, Gradescope beside the
folders, GitHub into the repositories' common beginning, nbgrader into the folders' order. What none of them made is
`<student>.ipynb` or `<student>/…`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from grader.errors import SubmissionError
from grader.files import as_text, is_notebook
from grader.intake.handed_in.arrived import Arrived, Kind, is_zip
from grader.intake.handed_in.files import content, folder_name, holds_cells
from grader.intake.handed_in.gradescope_export import METADATA, submissions_in, submitters
from grader.intake.handed_in.names import composed, is_disguised, is_document, is_script, taken_apart
from grader.intake.handed_in.owners import Identity, Owner
from grader.intake.handed_in.platform_names import bare, blackboard, canvas, moodle, moodle_owner, named, repositories
from grader.records import Record
from grader.timestamps import NotATime, parse_time

_NBGRADER = {"submitted", "source", "release", "autograded", "feedback", "solution", "assignments"}
"""The folders of an nbgrader course."""


class Area(Record, frozen=True):
    """The files of one owner, among which is what was handed in. `parts` of each are their way inside of the area.

    `named` tells that the files' own names say whose they are, `direct` that the one file was named by the caller.
    `marks` are the platform's numbers of the files, larger ones being newer. `exercise` is the one that a folder around
    it is called like. Without an owner it is what lies beside the submissions and isn't looked at.
    """

    owners: list[Owner]
    files: list[Arrived]
    named: bool = False
    direct: bool = False
    marks: dict[str, int] = {}
    where: str = ""
    exercise: str | None = None


def areas(files: Sequence[Arrived], root: Path, ids: Sequence[str]) -> list[Area]:
    """Whose is what of the files below a folder, or in a zip."""
    found: dict[str, Area] = {}
    for number, area in enumerate(_areas(files, folder_name(root), ids, packed=not root.is_dir())):
        known = [str((owner.student, owner.identities, area.exercise)) for owner in area.owners if owner.identities]
        key = "\n".join(known) or str(number)
        if key in found:  # Moodle has a folder for files, and another for a text
            found[key].files.extend(area.files)
            found[key].marks.update(area.marks)
        else:
            found[key] = area
    return list(found.values())


def area_of_file(path: Path, ids: Sequence[str]) -> Area:
    """A notebook that was named by itself."""
    owner, rest, _ = named(path.name, path.absolute().parent.name, ids)
    kind: Kind = "other" if path.is_symlink() or not path.is_file() else "file"
    file = Arrived([rest or path.name], str(path), kind=kind)
    return Area([owner], [file], named=rest is None, direct=True, where=path.name)


def _areas(files: Sequence[Arrived], root: str, ids: Sequence[str], *, packed: bool) -> Iterator[Area]:
    folders: dict[str, list[Arrived]] = defaultdict(list)
    top: list[Arrived] = []
    for file in files:
        if len(file.parts) > 1 or file.kind in ("folder", "closed"):
            folders[file.parts[0] if file.parts else root].append(file)
        else:
            top.append(file)
    if "submitted" in folders and set(folders) <= _NBGRADER and not any(map(_is_candidate, (f.name for f in top))):
        yield from _areas(_inside(folders["submitted"]), "submitted", ids, packed=False)  # an nbgrader course
        return
    metadata = next((file for file in top if file.name == METADATA), None)
    if metadata is not None:
        yield from _gradescope(metadata, folders)
        return
    for name in [*folders]:  # all that was handed in for an exercise
        read = taken_apart(bare(name), ids)
        if read.exercise is not None and not (read.rest or read.copy) and _holds_candidate(folders[name]):
            for area in _areas(_inside(folders.pop(name)), root, ids, packed=packed):
                yield msgspec.structs.replace(area, exercise=area.exercise or read.exercise)
    for name in [
        name
        for name in folders
        if _is_download(name, folders[name], ids, alone=len(folders) == 1 and not top, packed=packed)
    ]:
        yield from _areas(_inside(folders.pop(name)), bare(name), ids, packed=packed)
    yield from _loose(top, bare(root) if packed else root, ids)
    called = repositories(folders)
    with_work = {name for name, inside in folders.items() if _holds_candidate(inside)}
    loose_work = any(_is_candidate(file.name) for file in top)
    for name, inside in folders.items():
        if name in with_work or not loose_work or (with_work and _may_be_handed_in(inside)):
            yield _folder(name, inside, called, ids)
        else:  # beside notebooks that lie there themselves, a folder without any is no student's
            yield Area([], inside, where=f"{name}/")


def _inside(files: Iterable[Arrived]) -> list[Arrived]:
    return [file.below(1) for file in files if len(file.parts) > 1]


def _is_candidate(name: str) -> bool:
    return is_notebook(Path(name)) or is_disguised(name)


def _holds_candidate(files: Iterable[Arrived]) -> bool:
    return any(file.kind == "closed" or _is_candidate(file.name) or is_script(file.name) for file in files)


def _may_be_handed_in(files: Iterable[Arrived]) -> bool:
    """Whether a folder without a notebook may be a student's: it is empty, or holds a print or a picture."""
    return any(file.kind == "folder" or is_document(file.name) for file in files)


def _own_name(file: Arrived, ids: Sequence[str]) -> str:
    return taken_apart(file.name, ids).rest


def _is_download(name: str, files: Sequence[Arrived], ids: Sequence[str], *, alone: bool, packed: bool) -> bool:
    """Whether a folder or zip is a whole download, and not a student's.

    It is one where a platform made it. The only folder there is also one where it holds several students' folders, or
    in a zip, several students' notebooks.
    """
    if moodle(bare(name)) or blackboard(bare(name)) or canvas(name):
        return False
    inside = _inside(files)
    tops = {file.parts[0] for file in inside}
    if METADATA in tops or any(moodle(top) or canvas(top) for top in tops):
        return True
    if not alone or "submitted" in tops:
        return alone
    with_work = {file.parts[0] for file in inside if len(file.parts) > 1 and _is_candidate(file.name)}
    students = {_own_name(file, ids) for file in inside if len(file.parts) == 1 and _is_candidate(file.name)} - {""}
    return len(with_work) > 1 or (len(students) > 1 and (packed or is_zip(name)))


# --- one platform after the other -----------------------------------------------------------------------------------


def _loose(files: Sequence[Arrived], root: str, ids: Sequence[str]) -> Iterator[Area]:
    """Files that lie there without a folder, by what their names say.

    A print or a picture is somebody's where it is called as the notebooks beside it are: after a student, and after the
    exercise where they are.
    """
    found: dict[str, Area] = {}
    named_so = {taken_apart(file.name, ids).exercise is not None for file in files if _is_candidate(file.name)}
    for file in files:
        owner, rest, mark = named(file.name, root, ids)
        if rest is None and is_document(file.name):
            read = taken_apart(file.name, ids)
            if not read.rest or (read.exercise is not None) not in named_so:
                yield Area([], [file], where=file.name)
                continue
        elif rest is None and not (_is_candidate(file.name) or is_script(file.name) or holds_cells(file)):
            continue  # a list, a read-me: nobody's
        key = "\n".join([owner.student, *sorted(str(each) for each in owner.identities)])
        area = found.setdefault(key, Area([owner], [], named=rest is None, where=file.name))
        inside = Arrived([rest or file.name], file.path, file.inside, file.kind, file.problem)
        area.files.append(inside)
        if mark is not None:
            area.marks[inside.shown] = mark
        if owner.late and not area.owners[0].late:
            area.owners[0] = owner
    yield from found.values()


def _folder(name: str, files: Sequence[Arrived], repositories: tuple[str, str], ids: Sequence[str]) -> Area:
    """A folder that is a student's, or a zip that is one."""
    inside = [file.below(1) for file in files]
    shown = as_text(composed(bare(name)))
    if match := moodle(bare(name)):
        return Area([moodle_owner(match)], inside, where=name)
    before, behind = repositories
    if before:
        user = shown[len(before) : len(shown) - len(behind)]
        return Area([Owner(user, [Identity("github", user)])], inside, where=name)
    owner = Owner(shown)
    if is_zip(name) and (canvas(name) or blackboard(name)):  # a student's zip in a download of files
        owner, _, mark = named(name, "", ids)
        marks = {file.shown: mark for file in inside} if mark is not None else {}
        return Area([owner], inside, marks=marks, where=name)
    if is_zip(name):
        read = taken_apart(name, ids)
        owner = Owner(as_text(read.rest or shown))
    stamp = next((file for file in inside if file.name == "timestamp.txt"), None)
    if stamp is not None:
        owner = _stamped(owner, stamp)
    return Area([owner], inside, where=name)


def _stamped(owner: Owner, stamp: Arrived) -> Owner:
    """Nbgrader's time of the submission, which lies beside it."""
    try:
        time = parse_time(content(stamp).decode("utf-8", "replace").strip())
    except (SubmissionError, NotATime):
        return Owner(
            owner.student, owner.identities, remarks=[*owner.remarks, "its timestamp.txt holds no time with a zone"]
        )
    return Owner(owner.student, owner.identities, submitted=time, remarks=owner.remarks)


def _gradescope(metadata: Arrived, folders: dict[str, list[Arrived]]) -> Iterator[Area]:
    said = submissions_in(metadata)
    for name in dict.fromkeys([*said, *folders]):
        if name in said or name.startswith("submission_"):
            owners = submitters(said.get(name)) or [
                Owner(as_text(name), remarks=[f"{METADATA} doesn't say whose {as_text(name)} is"])
            ]
            yield Area(owners, _inside(folders.get(name, [])), where=name)
