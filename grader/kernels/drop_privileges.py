"""Run a command as an unprivileged user who can reach a few paths, whatever folders they lie in.

    drop_privileges.py UID PATH… -- COMMAND…

Root's own folders (/root, say) admit nobody else, but bubblewrap, started as an unprivileged user, must be able to
bind a Python environment that lies below them. So such a folder is covered, in a mount namespace of this process
alone, with an empty one that holds nothing but those paths. It is run by its file name: nothing can be imported yet.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys

_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def closed_ancestor(path: str) -> str | None:
    """The outermost folder on the way to `path` that other users may not pass through."""
    parts = path.split("/")[1:]
    for depth in range(1, len(parts)):
        folder = "/" + "/".join(parts[:depth])
        if not os.stat(folder).st_mode & stat.S_IXOTH:
            return folder
    return None


def open_the_way(paths: list[str]) -> None:
    """Make `paths` reachable, in this process and what it starts."""
    covered = sorted({folder for path in paths if (folder := closed_ancestor(path)) is not None})
    if not covered:
        return
    _checked(_libc.unshare(_CLONE_NEWNS), "a mount namespace")
    _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
    handles = [(path, os.open(path, os.O_PATH)) for path in paths if closed_ancestor(path) is not None]
    for folder in covered:
        _mount("tmpfs", folder, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
    for path, handle in handles:
        _place(path, handle)


def _place(path: str, handle: int) -> None:
    """Bind what `handle` refers to at `path`, where it was before that was covered."""
    if not os.path.lexists(path):
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            os.mkdir(path, 0o755)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
    _mount(f"/proc/self/fd/{handle}", path, None, _MS_BIND | _MS_REC)
    os.close(handle)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [value.encode() if value is not None else None for value in (source, target, kind)]
    options = data.encode() if data is not None else None
    _checked(_libc.mount(*encoded, ctypes.c_ulong(flags), options), f"mount {target}")


def _checked(result: int, what: str) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def main() -> None:
    """Prepare, become the user, and turn into the command."""
    separator = sys.argv.index("--")
    user, paths, command = int(sys.argv[1]), sys.argv[2:separator], sys.argv[separator + 1 :]
    os.umask(0o022)
    open_the_way(paths)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
