"""Where the package's own folders lie, inside the wheel or beside it in a clone; files written whole; names as text."""

from __future__ import annotations

import hashlib
import re
import secrets
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from grader.errors import CourseError, UsageError
from grader.safe_text import UNSEEN

_PACKAGE = Path(__file__).resolve().parent


def data_dir(name: str) -> Path:
    """The folder `name` (`templates`, `exercises`) that came with this package.

    Raises:
        CourseError: it is neither in the wheel's `grader/_data` nor in the clone's top folder.
    """
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise CourseError(f"The folder {name}/ is missing: install the package again, or run it from a complete clone.")


def as_text(given: str) -> str:
    """A file's name or an argument as text that can be written; bytes in no known encoding are spelt out."""
    return given.encode("utf-8", "backslashreplace").decode()


def is_notebook(path: Path) -> bool:
    """Whether a file is a notebook by its name."""
    return path.suffix.lower() == ".ipynb"


def replace_file(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a whole file or nothing, so that nobody ever reads a half of it. It may come in pieces.

    A file that was there keeps its mode; a new one is for everybody to read that the umask lets.

    Raises:
        OSError: it can't be written.
    """
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as file:  # by the umask: a new file is as any other program's
            file.writelines([data] if isinstance(data, bytes) else data)
        if mode is not None:
            draft.chmod(mode)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def make_folder(folder: Path) -> None:
    """Make the folder that everything is written to.

    Raises:
        UsageError: it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{str(path)!r} can't be written ({error.strerror}): choose another --out folder.")


def write_file(path: Path, data: str | bytes | Iterable[str]) -> None:
    """Write a whole file or nothing: a grader that is killed leaves no half of one. Text may come in pieces.

    Raises:
        UsageError: it can't be written.
    """
    pieces = [data] if isinstance(data, str | bytes) else data
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(
            path, (piece if isinstance(piece, bytes) else piece.encode("utf-8", "replace") for piece in pieces)
        )
    except OSError as error:
        raise _unwritable(path, error) from error


_OURS = r"feedback|gradebook\..*|.*\.(?:csv|html|json|xml|zip)"
"""What commands write beside the students' folders; of the gradebook's files there are several."""
_DEVICES = "con prn aux nul conin conout clock com[0-9¹²³] lpt[0-9¹²³]".replace(" ", "|")
_TAKEN = re.compile(rf"{_OURS}|(?:{_DEVICES})(?: *\..*| *)", re.IGNORECASE)
"""Windows has devices of these names in every folder, whatever comes after a dot."""


def safe_name(name: str) -> str:
    """A student's name as the name of a folder: no separators, nothing unseen, never `.` or `..`, not too long.

    Nor is it the name of one of our own files or, on Windows, of a device. Different names stay different: what is
    replaced is written as in a web address.
    """
    safe = re.sub(r"[^\w .@+-]|^[ .]|[ .]$", _escaped, name)
    safe = UNSEEN.sub(_escaped, safe)
    if _TAKEN.fullmatch(safe):
        safe = _escaped(safe[0]) + safe[1:]
    if len(safe.encode()) > 120:
        safe = _with_digest(safe.encode()[:100].decode("utf-8", "ignore"), name)
    return safe or "%"


def _escaped(found: re.Match[str] | str) -> str:
    char = found if isinstance(found, str) else found[0]
    return "".join(f"%{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))


def _with_digest(safe: str, name: str) -> str:
    """A name that no other name's own is: nothing else has `%-` in it."""
    return f"{safe}%-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def folder_names(names: Iterable[str]) -> dict[str, str]:
    """Each name's folder, different from the others' also where case and the ways to write an accent don't count.

    That is `safe_name`, but where two would be one folder on such a disk, as macOS and Windows have: then it is so only
    for the one in small letters, if any.
    """
    safe = {name: safe_name(name) for name in names}
    sharing = Counter(map(_folded, safe.values()))
    return {
        name: folder if sharing[_folded(folder)] == 1 or folder == _folded(folder) else _with_digest(folder, name)
        for name, folder in safe.items()
    }


def _folded(name: str) -> str:
    """Unicode's toNFKC_Casefold, which is coarser than any file system."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
