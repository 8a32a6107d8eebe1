"""The file of names and passwords: a line `NAME:SALT:HASH` each, the hash by scrypt (RFC 7914)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from grader.errors import UsageError

_COST = {"n": 2**14, "r": 8, "p": 1}
MIN_LENGTH = 10
"""Characters that a password has at least."""


class Users:
    """Who may log in.

    Args:
        path: the file.

    Raises:
        UsageError: it can't be read, or names nobody.
    """

    def __init__(self, path: Path) -> None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"The file of users {str(path)!r} can't be read ({error}): name another.") from error
        self.path = path
        self._known: dict[str, tuple[bytes, bytes]] = {}
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                name, salt, digest = line.rsplit(":", 2)
                self._known[name] = bytes.fromhex(salt), bytes.fromhex(digest)
            except ValueError as error:
                raise UsageError(
                    f"Line {number} of {str(path)!r} isn't NAME:SALT:HASH: remove it, and add the user with --add-user."
                ) from error

    def __bool__(self) -> bool:
        return bool(self._known)

    def knows(self, name: str, password: str) -> bool:
        """Whether this is the password of that user; it takes as long where there is no such user."""
        salt, digest = self._known.get(name, (b"nobody", b""))
        return hmac.compare_digest(_hash(password, salt), digest)

    def add(self, name: str, password: str) -> None:
        """Add a user or change the password; the file is for its owner alone to read.

        Raises:
            UsageError: the name or the password can't be used, or the file can't be written.
        """
        name = name.strip()
        if not name or not name.isprintable() or len(name) > 80:
            raise UsageError("A user's name has 1 to 80 printable characters.")
        if len(password) < MIN_LENGTH:
            raise UsageError(f"The password is too short: take at least {MIN_LENGTH} characters.")
        salt = secrets.token_bytes(16)
        self._known[name] = salt, _hash(password, salt)
        text = "".join(f"{each}:{salt.hex()}:{digest.hex()}\n" for each, (salt, digest) in self._known.items())
        try:
            self.path.touch(mode=0o600)
            self.path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"The file of users {str(self.path)!r} can't be written ({error.strerror}).") from error


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "replace"), salt=salt, **_COST)
