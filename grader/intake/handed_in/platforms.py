"""The layouts of platforms: whose is which file of a download, by the names that each platform gives.

Canvas and Blackboard put all of it into the file's name, Moodle into a folder's or a file's, Gradescope beside the
folders, GitHub into the repositories' common beginning, nbgrader into the folders' order. What none of them made is
`<student>.ipynb` or `<student>/…`.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from grader.errors import SubmissionError
from grader.files import as_text, is_notebook
from grader.intake.handed_in.files import Arrived, Kind, folder_name, is_zip, read_member, read_plain
from grader.intake.handed_in.names import composed, is_disguised, is_script, taken_apart
from grader.intake.handed_in.people import Identity, Owner
from grader.records import Record
from grader.when import NotATime, parse_time

METADATA = "submission_metadata.yml"
_CANVAS = re.compile(r"(?P<name>[^/]+?)(?P<late>_LATE)?_(?P<id>\d+)_(?P<file>\d+)_(?P<rest>.+)", re.DOTALL)
_MOODLE = re.compile(r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_(?:file|onlinetext)(?:_(?P<rest>.*))?", re.DOTALL)
_BLACKBOARD = re.compile(
    r"(?P<work>.+?)_(?P<name>[^_]+)_attempt_(?P<time>\d{4}(?:-\d{2}){5})(?:_(?P<rest>.+)|\.\w+)", re.DOTALL
)
_REPOSITORIES = re.compile(r"\d|hw|homework|assignment|exercise|exercice|aufgabe|lab|project|week|task|pset", re.I)

_NBGRADER = {"submitted", "source", "release", "autograded", "feedback", "solution", "assignments"}
"""The folders of an nbgrader course."""
_WRONG_KINDS = {".pdf", ".html", ".htm", ".doc", ".docx", ".odt", ".rtf", ".rar", ".7z", ".gz", ".tar", ".png", ".jpg"}
"""What somebody may have handed in by mistake: it is named where it lies beside the others' notebooks."""


class Area(Record, frozen=True):
    """The files of one owner, among which is what was handed in. `parts` of each are their way inside of the area.

    `named` tells that the files' own names say whose they are, `direct` that the one file was named by the caller.
    `marks` are the platform's numbers of the files, larger ones being newer. Without an owner it is what lies beside
    the submissions and isn't looked at.
    """

    owners: list[Owner]
    files: list[Arrived]
    named: bool = False
    direct: bool = False
    marks: dict[str, int] = {}
    where: str = ""


def areas(files: Sequence[Arrived], root: Path, ids: Sequence[str]) -> list[Area]:
    """Whose is what of the files below a folder, or in a zip."""
    found: dict[str, Area] = {}
    for number, area in enumerate(_areas(files, folder_name(root), ids, packed=not root.is_dir())):
        known = [str((owner.student, owner.identities)) for owner in area.owners if owner.identities]
        key = "\n".join(known) or str(number)
        if key in found:  # Moodle has a folder for files, and another for a text
            found[key].files.extend(area.files)
            found[key].marks.update(area.marks)
        else:
            found[key] = area
    return list(found.values())


def area_of_file(path: Path, ids: Sequence[str]) -> Area:
    """A notebook that was named by itself."""
    owner, rest, _ = _named(path.name, path.absolute().parent.name, ids)
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
    for name in [
        name
        for name in folders
        if _is_download(name, folders[name], ids, alone=len(folders) == 1 and not top, packed=packed)
    ]:
        yield from _areas(_inside(folders.pop(name)), _bare(name), ids, packed=packed)
    yield from _loose(top, _bare(root) if packed else root, ids)
    called = _repositories(folders)
    flat = any(_is_candidate(file.name) for file in top)
    for name, inside in folders.items():
        if _holds_candidate(inside) or not flat:
            yield _folder(name, inside, called, ids)
        else:  # beside notebooks that lie there themselves, a folder without any is no student's
            yield Area([], inside, where=f"{name}/")


def _inside(files: Iterable[Arrived]) -> list[Arrived]:
    return [file.below(1) for file in files if len(file.parts) > 1]


def _bare(name: str) -> str:
    return name[:-4] if is_zip(name) else name


def _is_candidate(name: str) -> bool:
    return is_notebook(Path(name)) or is_disguised(name)


def _holds_candidate(files: Iterable[Arrived]) -> bool:
    return any(file.kind == "closed" or _is_candidate(file.name) or is_script(file.name) for file in files)


def _own_name(file: Arrived, ids: Sequence[str]) -> str:
    return taken_apart(file.name, ids).rest


def _is_download(name: str, files: Sequence[Arrived], ids: Sequence[str], *, alone: bool, packed: bool) -> bool:
    """Whether a folder or zip is a whole download, and not a student's.

    It is one where a platform made it. The only folder there is also one where it holds several students' folders, or
    in a zip, several students' notebooks.
    """
    if any(pattern.fullmatch(_bare(name)) for pattern in (_MOODLE, _BLACKBOARD)) or _canvas(name):
        return False
    inside = _inside(files)
    tops = {file.parts[0] for file in inside}
    if METADATA in tops or any(map(_MOODLE.fullmatch, tops)):
        return True
    if any(map(_canvas, tops)):
        return True
    if not alone or "submitted" in tops:
        return alone
    with_work = {file.parts[0] for file in inside if len(file.parts) > 1 and _is_candidate(file.name)}
    students = {_own_name(file, ids) for file in inside if len(file.parts) == 1 and _is_candidate(file.name)} - {""}
    return len(with_work) > 1 or (len(students) > 1 and (packed or is_zip(name)))


# --- one platform after the other -----------------------------------------------------------------------------------


def _loose(files: Sequence[Arrived], root: str, ids: Sequence[str]) -> Iterator[Area]:
    """Files that lie there without a folder, by what their names say."""
    found: dict[str, Area] = {}
    for file in files:
        owner, rest, mark = _named(file.name, root, ids)
        if rest is None and not (_is_candidate(file.name) or is_script(file.name)):
            if Path(file.name).suffix.lower() in _WRONG_KINDS:
                yield Area([], [file], where=file.name)
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


def _named(name: str, root: str, ids: Sequence[str]) -> tuple[Owner, str | None, int | None]:
    """Whose a loose file is; a platform's name of the file without what the platform put before it, and its number."""
    if match := _MOODLE.fullmatch(name):
        return _moodle(match), match["rest"] or name, None
    if match := _canvas(name):
        identity = Identity("canvas", match["id"])
        owner = Owner(composed(as_text(match["name"])), [identity], late=match["late"] is not None)
        return owner, match["rest"], int(match["file"])
    if match := _BLACKBOARD.fullmatch(name):
        ending = Path(name).suffix
        return (
            Owner(composed(as_text(match["name"]))),
            match["rest"] or f"{match['work']}{ending}",
            int(match["time"].replace("-", "")),
        )
    read = taken_apart(name, ids)
    said = [f"{as_text(name)!r} was taken to be of {as_text(read.rest)!r}"] if read.copy and read.rest else []
    return Owner(composed(as_text(read.rest or root or name)), remarks=said), None, None


def _canvas(name: str) -> re.Match[str] | None:
    """A name as Canvas gives it; numbers of a digit or two are more likely a student's own."""
    match = _CANVAS.fullmatch(name)
    return match if match is not None and len(match["id"] + match["file"]) > 4 else None


def _moodle(match: re.Match[str]) -> Owner:
    return Owner(composed(as_text(match["name"])), [Identity("moodle", match["id"])])


def _folder(name: str, files: Sequence[Arrived], repositories: tuple[str, str], ids: Sequence[str]) -> Area:
    """A folder that is a student's, or a zip that is one."""
    inside = [file.below(1) for file in files]
    shown = as_text(composed(_bare(name)))
    if match := _MOODLE.fullmatch(_bare(name)):
        return Area([_moodle(match)], inside, where=name)
    before, behind = repositories
    if before:
        user = shown[len(before) : len(shown) - len(behind)]
        return Area([Owner(user, [Identity("github", user)])], inside, where=name)
    owner = Owner(shown)
    if is_zip(name) and (_canvas(name) or _BLACKBOARD.fullmatch(name)):  # a student's zip in a download of files
        owner, _, mark = _named(name, "", ids)
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
        time = parse_time(_read(stamp).decode("utf-8", "replace").strip())
    except (SubmissionError, NotATime):
        return Owner(
            owner.student, owner.identities, remarks=[*owner.remarks, "its timestamp.txt holds no time with a zone"]
        )
    return Owner(owner.student, owner.identities, submitted=time, remarks=owner.remarks)


def _repositories(folders: Iterable[str]) -> tuple[str, str]:
    """What the names of students' repositories begin and end with, beside the student: `hw1-`, and `-main`.

    A common beginning alone may be chance (`ann-lee` and `ann-ray`), so it must look like the name of an assignment.
    """
    names = [composed(name) for name in folders if not is_zip(name)] or [composed(_bare(name)) for name in folders]
    if len(names) < 2:
        return "", ""
    common = os.path.commonprefix(names)  # noqa: RUF071  (of characters, not of folders)
    before = common[: common.rfind("-") + 1]
    behind = next((end for end in ("-main", "-master") if all(name.endswith(end) for name in names)), "")
    left = [name[len(before) : len(name) - len(behind)] for name in names]
    return (before, behind) if before and _REPOSITORIES.search(before) and all(left) else ("", "")


def _gradescope(metadata: Arrived, folders: dict[str, list[Arrived]]) -> Iterator[Area]:
    """Gradescope's export: a folder for each submission, and a file that says whose each is; a group has several."""
    said = _metadata(metadata)
    for name in dict.fromkeys([*said, *folders]):
        if name in said or name.startswith("submission_"):
            about = said.get(name)
            owners = _submitters(about) or [
                Owner(as_text(name), remarks=[f"{METADATA} doesn't say whose {as_text(name)} is"])
            ]
            yield Area(owners, _inside(folders.get(name, [])), where=name)


def _metadata(file: Arrived) -> dict[str, object]:
    import yaml  # an installation for students has none

    try:
        found = yaml.load(_read(file), Loader=yaml.BaseLoader)  # noqa: S506  (every scalar is a string, and nothing else)
    except (SubmissionError, yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return {}
    return {str(name): about for name, about in found.items()} if isinstance(found, dict) else {}


def _submitters(about: object) -> list[Owner]:
    if not isinstance(about, dict):
        return []
    remarks = []
    try:
        submitted: datetime | None = parse_time(str(about.get(":created_at", "")))
    except NotATime:
        submitted, remarks = None, [f"{METADATA} doesn't say when it was handed in"]
    people = about.get(":submitters")
    owners = []
    for person in people if isinstance(people, list) else []:
        said = (
            {key: str(person.get(f":{key}") or "").strip() for key in ("name", "email", "sid")}
            if isinstance(person, dict)
            else {}
        )
        student = said.get("name") or said.get("email") or said.get("sid")
        if student:
            identities = [Identity(kind, said[kind]) for kind in ("email", "sid") if said[kind]]
            owners.append(Owner(composed(student), identities, submitted=submitted, remarks=remarks))
    return owners


def _read(file: Arrived) -> bytes:
    return read_member(file.path, file.inside) if file.inside else read_plain(Path(file.path))
