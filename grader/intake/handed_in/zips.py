"""The files in a zip, which counts as the folder that it would unpack to. Nothing is unpacked.

Zips may come from students: sizes are looked at before anything is read, and names are only labels.
"""

from __future__ import annotations

import contextlib
import io
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from grader.errors import SubmissionError
from grader.files import as_text
from grader.intake.handed_in.arrived import MAX_DEPTH, Arrived, is_junk, is_zip
from grader.notebook.file import MAX_BYTES

MAX_ZIP_BYTES = 4 * MAX_BYTES
"""The largest zip inside of another that is looked into."""
MAX_NESTED = 3
"""Zips in zips."""
MAX_MEMBERS = 100_000
MAX_NAME = 255
"""Characters of a folder's or file's name, of which a zip's may have as many as it likes."""

_BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError, ValueError)
"""What `zipfile` raises on what is no zip, is damaged, locked, or packed in a way that it doesn't know."""


def in_zip(path: str, inside: list[str], parts: list[str], data: bytes | None = None) -> Iterator[Arrived]:
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
                    yield Arrived.too_deep([*parts, *way][:MAX_DEPTH], path, [*inside, info.filename])
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
            yield from in_zip(path, way, parts, data)


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


def member_content(path: str, inside: Sequence[str]) -> bytes:
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
