"""Temporary folders: one for each grader process, removed with it, or by the next one that starts.

A folder is named after its process and locked by it, so that one left behind by a grader that was killed can be told
from one in use. Paths in it must stay short: the path of a Unix socket has at most 107 bytes.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl

_PREFIX = "grader-process-"
_YOUNG_SECONDS = 2.0
_lock = threading.Lock()
_mine: tuple[int, Path, IO[str]] | None = None


def folder(name: str) -> Path:
    """A new, empty folder below this process's own."""
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_process_folder()))


def _process_folder() -> Path:
    global _mine
    with _lock:
        if _mine is None or _mine[0] != os.getpid():
            parent = _parent()
            _sweep(parent)
            path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
            path.chmod(0o711)  # a sandbox's user may pass through, and list nothing
            _mine = (os.getpid(), path, _claim(path))
            atexit.register(_remove_mine, os.getpid())
        return _mine[1]


def _parent() -> Path:
    """Where socket paths are short: the user's runtime folder or /tmp, not a deep TMPDIR."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    for candidate in (runtime, "/tmp" if sys.platform != "win32" else None):
        if candidate and len(candidate) < 40 and os.access(candidate, os.W_OK | os.X_OK):
            return Path(candidate)
    return Path(tempfile.gettempdir())


def _claim(path: Path) -> IO[str]:
    """Hold the folder's lock for as long as this process lives."""
    lock = (path / "lock").open("w")
    if sys.platform != "win32":
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def _sweep(parent: Path) -> None:
    """Remove this user's folders whose process is gone."""
    if sys.platform == "win32":
        return
    for path in parent.glob(f"{_PREFIX}*"):
        try:
            if path.is_symlink() or path.stat().st_uid != os.getuid():
                continue
            if time.time() - path.stat().st_mtime < _YOUNG_SECONDS:
                continue  # perhaps its process is about to lock it
            with (path / "lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue  # in use, or somebody else's


def _remove_mine(pid: int) -> None:
    global _mine
    if _mine is not None and _mine[0] == pid == os.getpid():
        shutil.rmtree(_mine[1], ignore_errors=True)
        _mine[2].close()
        _mine = None
