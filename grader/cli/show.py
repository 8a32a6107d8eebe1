"""What commands of a student and of an author both print, and what the sandbox holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from grader.reports.terminal import console, say_whole

if TYPE_CHECKING:
    from grader.kernels.doctor import Guarantee


def show_files(made: Sequence[Path], kept: Sequence[Path]) -> None:
    """Which files were written, and which were left because they were there already."""
    for path in made:
        say_whole(f"wrote {path}")
    for path in kept:
        say_whole(f"kept {path}: it already exists")


def show_guarantees(guarantees: Sequence[Guarantee]) -> None:
    """What the sandbox holds and what it doesn't, with what to do about it."""
    for guarantee in guarantees:
        sign, style = ("✓", "green") if guarantee.held else ("✗", "bold red")
        console.print(Text(f"{sign} {guarantee.name}: {guarantee.detail}", style=style), soft_wrap=True)
        if guarantee.advice is not None:
            console.print(Text(f"  {guarantee.advice}"), soft_wrap=True)
