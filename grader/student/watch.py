"""Noticing that a notebook was saved, whatever way the editor saves: each version once, and only when it is whole."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

from watchfiles import watch

from grader.notebook.file import code_digest

STEP_MS, GATHER_MS = 10, 60
"""How long nothing must happen before a save counts as over, and how long a busy folder is waited for at most."""
LOOK_SECONDS, PATIENCE_SECONDS = 0.02, 2.0
"""How often a file that isn't whole is looked at again, and how long it may stay so before that is its content."""


def saved_versions(notebook: Path, stop: Event | None = None) -> Iterator[bytes]:
    """The notebook's content now, and again after every save that changed the code in it.

    The folder is watched and not the file: many editors write a new file and give it the old one's name.
    """
    seen = None
    content = settled(notebook)
    while True:
        digest = code_digest(content)
        if digest != seen:
            seen = digest
            yield content
        if not _changed(notebook, content, stop):
            return
        content = settled(notebook)


def _changed(notebook: Path, content: bytes, stop: Event | None) -> bool:
    """Wait until the file may be another; False when told to stop."""
    path = notebook.absolute()
    for _ in watch(
        path.parent,
        watch_filter=lambda _, name: Path(name).name == path.name,
        step=STEP_MS,
        debounce=GATHER_MS,
        rust_timeout=1000,  # a save just before the watch began is noticed by the look that follows
        yield_on_timeout=True,
        recursive=False,
        stop_event=stop,
    ):
        if _read(path) != content:
            return True
    return False


def settled(notebook: Path) -> bytes:
    """The file's content once it is whole JSON, or once it has stayed as it is for `PATIENCE_SECONDS`.

    While an editor writes, the file may be missing, empty or cut off.
    """
    content = _read(notebook)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not _is_whole(content) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        again = _read(notebook)
        if again != content:
            content, deadline = again, time.monotonic() + PATIENCE_SECONDS
    return content


def _is_whole(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        return False


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
