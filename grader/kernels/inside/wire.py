"""Messages between the grader and a template process: length-prefixed JSON, with file descriptors beside it."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

LOOK_SECONDS = 0.1
"""How long a template waits between two looks at what its kernels use."""
_LENGTH = struct.Struct("!I")
_MAX_DESCRIPTORS = 8


def send(channel: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send one message; the receiver gets its own copies of `descriptors`."""
    body = json.dumps(message).encode()
    sent = socket.send_fds(channel, [_LENGTH.pack(len(body)) + body], descriptors)
    if sent < _LENGTH.size + len(body):
        channel.sendall((_LENGTH.pack(len(body)) + body)[sent:])


def receive(channel: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """The next message and the descriptors sent with it; `None` when the other end is gone."""
    head, descriptors, _, _ = socket.recv_fds(channel, _LENGTH.size, _MAX_DESCRIPTORS)
    head += _exactly(channel, _LENGTH.size - len(head)) if head else b""
    body = _exactly(channel, _LENGTH.unpack(head)[0]) if len(head) == _LENGTH.size else b""
    if not body:
        for descriptor in descriptors:
            os.close(descriptor)
        return None, []
    message: dict[str, Any] = json.loads(body)
    return message, descriptors


def _exactly(channel: socket.socket, size: int) -> bytes:
    """`size` bytes, or nothing when the other end closed before it had sent them."""
    chunks = bytearray()
    while len(chunks) < size:
        chunk = channel.recv(min(size - len(chunks), 1 << 20))
        if not chunk:
            return b""
        chunks += chunk
    return bytes(chunks)
