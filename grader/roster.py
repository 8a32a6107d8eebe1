"""Reading a roster: the CSV file in which a learning platform says who its students are."""

from __future__ import annotations

import csv
from pathlib import Path

from grader.errors import UsageError
from grader.exports import Roster


def read_roster(path: Path) -> Roster:
    """Read a CSV file with a header.

    Raises:
        UsageError: it can't be read, or has no header.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            columns = list(reader.fieldnames or [])
            rows = [{name: value for name, value in row.items() if name is not None} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"The roster {str(path)!r} can't be read as CSV ({error}): export it again.") from error
    if not columns:
        raise UsageError(f"The roster {str(path)!r} is empty: export it again, with its header.")
    return Roster(columns=columns, rows=rows)
