"""The files below a folder or in a zip, alike: a zip counts as the folder that it would unpack to. Nothing is unpacked.

Zips, like all else here, may come from students: sizes are looked at before anything is read, names are only labels,
links are never followed below the folder that the instructor named.
"""

from __future__ import annotations

import contextlib
import io
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from grader.errors import SubmissionError, UsageError
from grader.files import as_text
from grader.notebook.file import MAX_BYTES
from grader.records import Record

MAX_ZIP_BYTES = 4 * MAX_BYTES
"""The largest zip inside of another that is looked into."""
MAX_DEPTH = 12
"""Folders in folders, zips included, that are searched."""
MAX_NESTED = 3
"""Zips in zips."""
MAX_MEMBERS = 100_000
MAX_NAME = 255
"""Characters of a folder's or file's name, of which a zip's may have as many as it likes."""

_JUNK = {"__macosx", "__pycache__", "node_modules", "site-packages", "thumbs.db", "desktop.ini"}
_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError, ValueError)
"""What `zipfile` raises on what is no zip, is damaged, locked, or packed in a way that it doesn't know."""

Kind = Literal["file", "folder", "other", "closed"]


class Arrived(Record, frozen=True):
    """A file, or an empty or closed folder, with its way below the folder or zip in which the search began.

    `path` is the file on the disk, `inside` the members to go through where that is a zip. `kind` is `other` for what
    is no plain file (a link, a device) and `closed` for what can't be looked into, with the reason in `problem`.
    """

    parts: list[str]
    path: str
    inside: list[str] = []
    kind: Kind = "file"
    problem: str | None = None

    @property
    def name(self) -> str:
        """The file's own name; empty for the folder or zip in which the search began."""
        return self.parts[-1] if self.parts else ""

    @property
    def shown(self) -> str:
        """Its path in a message, through the zip where it is in one."""
        return as_text("/".join([self.path, *self.inside]))

    def below(self, folders: int) -> Arrived:
        """The same with its way from so many folders further down."""
        return Arrived(self.parts[folders:], self.path, self.inside, self.kind, self.problem)


def is_zip(name: str) -> bool:
    """Whether a file is a zip by its name."""
    return name.lower().endswith(".zip")


def is_junk(name: str) -> bool:
    """What systems and editors leave behind: hidden files, `__MACOSX`, caches."""
    return name.startswith(".") or name.lower() in _JUNK


def files_in(root: Path) -> list[Arrived]:
    """All files below a folder or in a zip, in the order of their names.

    Raises:
        UsageError: `root` itself can't be read.
    """
    if root.is_dir():
        return list(_below(root, []))
    found = list(_in_zip(str(root), [], [], None))
    if len(found) == 1 and found[0].kind == "closed" and not found[0].parts:
        raise UsageError(f"{str(root)!r} can't be read: {found[0].problem}")
    return found


def _below(folder: Path, parts: list[str]) -> Iterator[Arrived]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        reason = error.strerror or str(error)
        if not parts:
            raise UsageError(f"The folder {str(folder)!r} can't be read: {reason}.") from error
        problem = f"The folder {as_text(folder.name)!r} can't be read: let the grader's user read it."
        yield Arrived(parts, str(folder), kind="closed", problem=problem)
        return
    entries = [path for path in entries if not is_junk(path.name)]
    if not entries and parts:
        yield Arrived(parts, str(folder), kind="folder")
    for path in entries:
        yield from _entry(path, [*parts, path.name])


def _entry(path: Path, parts: list[str]) -> Iterator[Arrived]:
    is_link = path.is_symlink()
    if path.is_dir() and path.suffix.lower() != ".ipynb":
        if is_link:  # or that would be somebody else's under another name
            problem = f"The folder {as_text(path.name)!r} is a link: hand in the folder itself."
            yield Arrived(parts, str(path), kind="closed", problem=problem)
        elif len(parts) < MAX_DEPTH:
            yield from _below(path, parts)
        else:
            yield Arrived(parts, str(path), kind="closed", problem=_too_deep(parts))
    elif is_link or not path.is_file():
        yield Arrived(parts, str(path), kind="other")
    elif is_zip(path.name):
        yield from _in_zip(str(path), [], parts, None)
    else:
        yield Arrived(parts, str(path))


def _in_zip(path: str, inside: list[str], parts: list[str], data: bytes | None) -> Iterator[Arrived]:
    """The members of a zip on the disk, or of one inside of another that was read."""
    name = (inside or [Path(path).name])[-1]
    try:
        with zipfile.ZipFile(io.BytesIO(data) if data is not None else path) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise ValueError(f"it holds {len(members)} files")
            room = MAX_ZIP_BYTES if parts else None  # for zips in it, where it is a student's and no whole download
            full: set[tuple[str, ...]] = set()
            folders: list[list[str]] = [[]] if parts else []
            for info in members:
                way = _way(info)
                if not way or any(map(is_junk, way)):
                    continue
                if len(parts) + len(way) > MAX_DEPTH:
                    deep = [*parts, *way][:MAX_DEPTH]
                    yield Arrived(deep, path, [*inside, info.filename], "closed", _too_deep(deep))
                    continue
                if info.is_dir():
                    folders.append(way)
                    continue
                full |= {tuple(way[:depth]) for depth in range(len(way))}
                if room is not None and is_zip(info.filename):
                    room -= info.file_size
                yield from _member(archive, info, path, inside, [*parts, *way], room=room is None or room >= 0)
            full |= {tuple(way[:depth]) for way in folders for depth in range(len(way))}
            for way in folders:
                if tuple(way) not in full:
                    yield Arrived([*parts, *way], path, inside, "folder")
    except _BROKEN_ZIP as error:
        problem = f"The zip {as_text(name)!r} can't be read ({str(error).rstrip('.')}): hand in the notebook itself."
        yield Arrived(parts, path, inside, "closed", problem)


def _too_deep(parts: Sequence[str]) -> str:
    return f"The folder {as_text(parts[-1])!r} is nested too deeply: move its notebooks up."


def _member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str, inside: list[str], parts: list[str], *, room: bool
) -> Iterator[Arrived]:
    way = [*inside, info.filename]
    if stat.S_ISLNK(info.external_attr >> 16):
        yield Arrived(parts, path, way, "other")
    elif not is_zip(info.filename):
        yield Arrived(parts, path, way)
    elif len(way) > MAX_NESTED or info.file_size > MAX_ZIP_BYTES or not room:
        yield Arrived(parts, path, way, "closed", f"The zip {parts[-1]!r} is too large, or nested too deeply.")
    else:
        try:
            data = _unpacked(archive, info, MAX_ZIP_BYTES)
        except _BROKEN_ZIP as error:
            yield Arrived(parts, path, way, "closed", f"The zip {parts[-1]!r} can't be read ({error}).")
        else:
            yield from _in_zip(path, way, parts, data)


def _way(info: zipfile.ZipInfo) -> list[str]:
    """A member's name as folders; macOS writes UTF-8 without saying so, and some Windows programs backslashes."""
    name = info.filename
    if not info.flag_bits & 0x800:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return [part[-MAX_NAME:] for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> bytes:
    """A member's bytes; a zip may lie about their number, so no more are read than are allowed."""
    with archive.open(info) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it has more than {limit // 2**20} MB")
    return data


def _member_content(path: str, inside: Sequence[str]) -> bytes:
    """A file in a zip, or in a zip in a zip.

    Raises:
        SubmissionError: it can't be read, or is too large to be.
    """
    name = as_text(inside[-1].rsplit("/", 1)[-1])
    try:
        source: str | io.BytesIO = path
        for depth, member in enumerate(inside, 1):
            last = depth == len(inside)
            with zipfile.ZipFile(source) as archive:
                data = _unpacked(archive, archive.getinfo(member), MAX_BYTES if last else MAX_ZIP_BYTES)
            source = io.BytesIO(data)
        return data
    except (*_BROKEN_ZIP, KeyError) as error:
        raise SubmissionError(f"The file {name!r} can't be read from its zip: {str(error).rstrip('.')}.") from error


def _plain_content(path: Path) -> bytes:
    """A plain file.

    Raises:
        SubmissionError: it can't be read, or is too large to be.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SubmissionError(
                f"The file has {size // 2**20} MB and the limit is {MAX_BYTES // 2**20} MB: "
                "clear the outputs and save it again."
            )
        return path.read_bytes()
    except OSError as error:
        raise SubmissionError(f"The file {path.name!r} can't be read: {error.strerror or error}.") from error


def content(file: Arrived) -> bytes:
    """What a file holds.

    Raises:
        SubmissionError: as `_member_content` and `_plain_content`.
    """
    return _member_content(file.path, file.inside) if file.inside else _plain_content(Path(file.path))


def holds_cells(file: Arrived) -> bool:
    """Whether a JSON or text file is a notebook by what it holds."""
    if not file.name.lower().endswith((".json", ".txt")):
        return False
    try:
        data = content(file)
    except SubmissionError:
        return False
    return data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b'"cells"' in data and b'"nbformat"' in data


def folder_name(root: Path) -> str:
    """What a folder or zip is called, also where it was given as `.`."""
    return root.absolute().name or root.resolve().name
