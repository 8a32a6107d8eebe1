"""Words that every message needs."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[object], most: int) -> str:
    """Names in a sentence: all of them, or the first `most` and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def rounded(number: float) -> float:
    """A score to two decimals, as all that shows or exports it has it: 20 points over 19 checks are no fraction."""
    return round(number, 2)


def in_points(number: float) -> str:
    """Points as a person would write them: at most two decimals, `29`, `0.5`, `27.85`."""
    return f"{number:.2f}".rstrip("0").rstrip(".")


def out_of(number: float, most: float) -> str:
    """Points beside those that there are: `29 / 30`."""
    return f"{in_points(number)} / {in_points(most)}"


def points(number: float) -> str:
    """Points with their noun: `1 point`, `0.5 points`."""
    return f"{in_points(number)} {'point' if number == 1 else 'points'}"


def shape(sizes: Sequence[int] | None) -> str:
    """A shape as Python writes it, `(32, 27)`; a dash where there is none."""
    return "–" if sizes is None else str(tuple(sizes))


def quoted(code: str) -> str:
    """A name or a formula in a sentence, as the reports set it."""
    return f"`{code}`"
