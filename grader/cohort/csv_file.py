"""CSV files of platforms, spreadsheets and people, in any of their encodings and with any of their separators."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from pathlib import Path

from grader.errors import UsageError
from grader.reports.roster import Roster

_SEPARATORS = ",;\t"
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def read_roster(path: Path) -> Roster:
    """Read a class list.

    Raises:
        UsageError: as `read_csv`.
    """
    return read_csv(path, "roster")


def read_csv(path: Path, what: str) -> Roster:
    """Read a CSV file with a header, in UTF-8, UTF-16 or Windows-1252, separated by commas, semicolons or tabs.

    Raises:
        UsageError: it can't be read, or has no header, or the same column twice.
    """
    try:
        text = _decoded(path.read_bytes())
        (_, header), *lines = _lines(text) or [(1, [])]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"The {what} {str(path)!r} can't be read as CSV ({reason}): export it again.") from error
    columns = [name.strip() for name in header]
    if not any(columns):
        raise UsageError(f"The {what} {str(path)!r} is empty: export it again, with its header.")
    twice = [name for name, count in Counter(columns).items() if name and count > 1]
    if twice:
        raise UsageError(f"The {what} {str(path)!r} has the column {twice[0]!r} twice: keep one of them.")
    rows = [dict(zip(columns, [*cells, *[""] * len(columns)], strict=False)) for _, cells in lines]
    return Roster(columns=[name for name in columns if name], rows=rows, lines=[line for line, _ in lines])


def _decoded(data: bytes) -> str:
    """Text by its mark; without one UTF-16 shows by its zeros, and what is no UTF-8 is Windows's."""
    for mark, encoding in _BOMS.items():
        if data.startswith(mark):
            return data.decode(encoding)
    if b"\x00" in data[:200]:
        return data.decode("utf-16-be" if data[:1] == b"\x00" else "utf-16-le")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def _lines(text: str) -> list[tuple[int, list[str]]]:
    """The lines that hold anything: their numbers and their cells."""
    first, _, rest = text.partition("\n")
    said = re.fullmatch(r"\s*sep=(.)\s*", first)  # what Excel writes to tell itself
    outside = re.sub(r'"[^"]*"', "", first)
    separator = said[1] if said is not None else max(_SEPARATORS, key=outside.count)
    reader = csv.reader(io.StringIO(rest if said is not None else text, newline=""), delimiter=separator)
    return [(reader.line_num + (said is not None), cells) for cells in reader if any(cells)]
