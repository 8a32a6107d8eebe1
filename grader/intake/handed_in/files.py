"""The files below a folder or in a zip, alike, and what they hold.

All of it may come from students: links are never followed below the folder that the instructor named, and sizes are
looked at before anything is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from grader.errors import SubmissionError, UsageError
from grader.files import as_text
from grader.intake.handed_in.arrived import MAX_DEPTH, Arrived, is_junk, is_zip
from grader.intake.handed_in.zips import in_zip, member_content
from grader.notebook.file import MAX_BYTES


def files_in(root: Path) -> list[Arrived]:
    """All files below a folder or in a zip, in the order of their names.

    Raises:
        UsageError: `root` itself can't be read.
    """
    if root.is_dir():
        return list(_below(root, []))
    found = list(in_zip(str(root), [], []))
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
            yield Arrived.too_deep(parts, str(path))
    elif is_link or not path.is_file():
        yield Arrived(parts, str(path), kind="other")
    elif is_zip(path.name):
        yield from in_zip(str(path), [], parts)
    else:
        yield Arrived(parts, str(path))


def content(file: Arrived) -> bytes:
    """What a file holds.

    Raises:
        SubmissionError: as `member_content` and `_plain_content`.
    """
    return member_content(file.path, file.inside) if file.inside else _plain_content(Path(file.path))


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
