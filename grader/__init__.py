"""Backprop Grader: grades notebooks in which students write backpropagation by hand."""

from __future__ import annotations

from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext grader` in a notebook: gives `%check` and `%hint`."""
    from grader.student.magics import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """`%unload_ext grader`."""
    from grader.student.magics import unload

    unload(shell)
