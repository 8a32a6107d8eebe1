"""What a kernel's message may cost to read: looked at before anything is made of it."""

from __future__ import annotations

import re

MAX_TEXT_BYTES = 16 << 20
"""Bytes of a message's JSON; its buffers come beside it. More than a cell's output may have, and than a figure has."""
MAX_ITEMS = 1 << 16
"""Lists, objects and their items in it: each takes some hundred bytes, however few it has in the message."""

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def is_cheap(text: bytes) -> bool:
    """Whether a piece of JSON is small enough to be read. The time it takes to say so grows with its length alone."""
    if len(text) > MAX_TEXT_BYTES:
        return False
    return _items(text) <= MAX_ITEMS or _items(_STRING.sub(b"", text)) <= MAX_ITEMS


def _items(text: bytes) -> int:
    return sum(map(text.count, (b",", b"[", b"{")))
