"""Messages of any size over a socket that keeps records apart (`SOCK_SEQPACKET`), in fragments.

The system hands over a fragment whole or not at all, and a fragment says which message it belongs to. So threads,
forked children and a signal that comes in the middle can't break another one's message, and nobody needs a lock.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

RECORD_BYTES = 1 << 17
"""Enough for any fragment."""

SHELL, IOPUB = b"s", b"o"
"""What a kernel's message begins with: the channel that it would come over, had each one of its own."""

PARTS = ("header", "parent_header", "metadata", "content")
"""What a message is sent with, either way: the rest of a message of jupyter_client follows from its header."""

Piece = bytes | memoryview

_LENGTH = struct.Struct("!I")
_HEAD = struct.Struct("!IIB")  # the sender's process ID, its number of the message, and whether this is the last
_FRAGMENT_BYTES = 1 << 16  # a socket's buffer, which a record must fit into, holds three of them
_MANY, _MANY_PARTS = 64, 1 << 10

_numbers = itertools.count()


def pieces(parts: Iterable[Piece], channel: bytes = b"") -> list[Piece]:
    """What a kernel's message is sent as: the channel, and its text and buffers, each with its length before it."""
    return [channel, *(piece for part in parts for piece in (_LENGTH.pack(memoryview(part).nbytes), part))]


def parted(message: memoryview) -> list[memoryview]:
    """The parts that `pieces` was given; none where the message is no such thing."""
    parts: list[memoryview] = []
    start = 0
    while start < len(message):
        if len(message) - start < _LENGTH.size or len(parts) == _MANY_PARTS:
            return []
        begin = start + _LENGTH.size
        start = begin + _LENGTH.unpack_from(message, start)[0]
        parts.append(message[begin:start])
    return parts if start == len(message) else []


def split(message: Sequence[Piece]) -> Iterator[list[Piece]]:
    """The records that a message is sent as, each in pieces: megabytes are not copied for this."""
    pid, number = os.getpid(), next(_numbers) & 0xFFFFFFFF
    views = deque(view for piece in message if (view := memoryview(piece).cast("B")))
    while True:
        record: list[Piece] = []
        room = _FRAGMENT_BYTES
        while views and room:
            view = views.popleft()
            record.append(view[:room])
            if len(view) > room:
                views.appendleft(view[room:])
            room -= len(record[-1])
        yield [_HEAD.pack(pid, number, not views), *record]
        if not views:
            return


class Assembler:
    """Puts messages together from their fragments."""

    def __init__(self) -> None:
        self._begun: dict[tuple[int, int], list[memoryview]] = {}

    def add(self, record: bytes) -> bytes | None:
        """Take a fragment in; the message, when it was the last of one. What is no fragment is dropped."""
        if len(record) < _HEAD.size:
            return None
        pid, number, last = _HEAD.unpack_from(record)
        begun = self._begun.setdefault((pid, number), [])
        begun.append(memoryview(record)[_HEAD.size :])
        if last:
            return b"".join(self._begun.pop((pid, number)))
        if len(self._begun) > _MANY:  # messages that nobody ends are nonsense, and must not fill the memory
            self._begun.clear()
        return None
