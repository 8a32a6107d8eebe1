"""Words that every message needs."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[object], most: int) -> str:
    """Names in a sentence: all of them, or the first `most` and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def points(number: float) -> str:
    """Points with their noun: `1 point`, `0.5 points`."""
    return f"{number:g} {'point' if number == 1 else 'points'}"


def shape(sizes: list[int] | None) -> str:
    """A shape as Python writes it, `(32, 27)`; a dash where there is none."""
    return "–" if sizes is None else str(tuple(sizes))
