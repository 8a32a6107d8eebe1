"""Times as platforms, spreadsheets and people write them, each with its offset from UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

EXAMPLE = "2026-12-04T23:59:00+01:00"
_ZONE = re.compile(r"\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2})$")
_BEHIND_SECONDS = re.compile(r"(?<=:\d\d)[.,](\d{1,6})\d*")
_SLASHES = re.compile(r"(\d{1,2})/(\d{1,2})/\d{4}")
_FORMATS = (
    "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M",  # Excel, where days come first
    "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M",
    "%A, %d %B %Y, %I:%M %p", "%d %B %Y, %I:%M %p", "%A, %d %B %Y, %H:%M", "%d %B %Y, %H:%M",  # Moodle
    "%b %d, %Y %I:%M %p", "%B %d, %Y %I:%M %p", "%b %d, %Y at %I:%M %p",  # Canvas, Gradescope
)  # fmt: skip
_SLASHED = ("%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p")


class NotATime(ValueError):
    """Its text says what is wrong with a time."""


def parse_time(text: str, zone: tzinfo | None = None) -> datetime:
    """A time with its offset; one that has none is taken to be of `zone`.

    Raises:
        NotATime: it is none, may be either of two dates, or has no offset and there is no `zone`.
    """
    text = " ".join(text.split())
    said = _ZONE.search(text)
    bare = text[: said.start()] if said is not None and ":" in text[: said.start()] else text
    bare = _BEHIND_SECONDS.sub(lambda match: f".{match[1]:0<6}", bare)
    time = _naive(bare, text)
    if time.tzinfo is not None:
        return time
    if said is not None and bare != text:
        offset = said["zone"] if said["zone"][0] in "+-" else "+00:00"
        return datetime.strptime(f"{time.isoformat()}|{offset}", _iso(time)).replace(microsecond=time.microsecond)
    if zone is None:
        raise NotATime(f"{text!r} has no time zone; write it as {EXAMPLE}, or with Z for UTC.")
    return time.replace(tzinfo=zone)


def _iso(time: datetime) -> str:
    return "%Y-%m-%dT%H:%M:%S.%f|%z" if time.microsecond else "%Y-%m-%dT%H:%M:%S|%z"


def _naive(bare: str, text: str) -> datetime:
    if ":" in bare:
        try:
            return datetime.fromisoformat(bare)
        except ValueError:
            pass
    formats: tuple[str, ...] = _FORMATS
    if slashes := _SLASHES.match(bare):
        first, second = int(slashes[1]), int(slashes[2])
        if first <= 12 and second <= 12 and first != second:
            raise NotATime(f"{text!r} could be two dates, by day or by month; write it as {EXAMPLE}.")
        formats = tuple(each.replace("%m/%d", "%d/%m") for each in _SLASHED) if first > 12 else _SLASHED
    for each in formats:
        try:
            return datetime.strptime(bare, each)
        except ValueError:
            continue
    raise NotATime(f"{text!r} isn't a time; write it as {EXAMPLE}.")


def now(timespec: str = "microseconds") -> str:
    """This moment as records keep it: UTC in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec=timespec)


def zone_named(name: str) -> tzinfo:
    """A time zone by its name, `Europe/Berlin`.

    Raises:
        NotATime: there is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise NotATime(f"There is no time zone {name!r}; write it as Europe/Berlin.") from error
