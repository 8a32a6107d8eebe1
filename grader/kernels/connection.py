"""jupyter_client's client for a snapshot's kernel: both channels come over the one socket that leads to it."""

from __future__ import annotations

import asyncio
import queue
import socket
from collections import deque
from typing import Any

import msgspec
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.jsonutil import json_default
from jupyter_client.session import Session

from grader.errors import ExecutionError
from grader.kernels.inside import message_fragments
from grader.kernels.message_bounds import is_cheap
from grader.kernels.provisioner import SnapshotProvisioner

_RECORD_OVERHEAD = 256
"""Bytes that a record counts for besides its content: many small ones are as much of a burden."""
_START_SECONDS = 60.0


class Connection:
    """The grader's end of the socket; nothing that comes over it is believed. The socket is closed with it.

    The kernel is stopped when it has sent more than `limit` bytes. Until it is asked for, a message is kept as it came:
    as many bytes again are then all the memory that a kernel can make the grader use.
    """

    def __init__(self, channel: socket.socket, limit: int, kernel: SnapshotProvisioner) -> None:
        self._channel = channel
        self._left = limit
        self._kernel = kernel
        self._assembler = message_fragments.Assembler()
        self._loop = asyncio.get_running_loop()
        self._outgoing: deque[list[message_fragments.Piece]] = deque()
        self.channels = {message_fragments.SHELL: Channel(self), message_fragments.IOPUB: Channel(self)}

    def listen(self) -> None:
        """Take messages in."""
        self._loop.add_reader(self._channel.fileno(), self._receive)

    def _stop_listening(self) -> None:
        self._loop.remove_reader(self._channel.fileno())

    def close(self) -> None:
        """Neither listen nor send any more."""
        if self._channel.fileno() != -1:
            self._stop_listening()
            self._loop.remove_writer(self._channel.fileno())
            self._channel.close()

    def _receive(self) -> None:
        try:
            record = self._channel.recv(message_fragments.RECORD_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            record = b""
        if not record:  # every process that had the other end is gone; the provisioner knows how it ended
            return self._stop_listening()
        self._left -= len(record) + _RECORD_OVERHEAD
        if self._left < 0:
            self._stop_listening()
            return self._kernel.stop("output")
        message = self._assembler.add(record)
        channel = None if message is None else self.channels.get(message[:1])
        if channel is not None and message is not None:
            channel.put(memoryview(message)[1:])

    def send(self, data: bytes) -> None:
        """Send a request, as soon as the kernel takes it."""
        self._outgoing.extend(message_fragments.split([data]))
        self._flush()

    def _flush(self) -> None:
        if self._channel.fileno() == -1:
            return
        self._loop.remove_writer(self._channel.fileno())
        while self._outgoing:
            try:
                self._channel.sendmsg(self._outgoing[0], [], socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._loop.add_writer(self._channel.fileno(), self._flush)
                return
            except OSError:  # the kernel is gone, which the provisioner notices
                self._outgoing.clear()
                return
            self._outgoing.popleft()


class Channel:
    """One of the two channels, as nbclient uses it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._unread: deque[memoryview] = deque()
        self._waiting: asyncio.Future[None] | None = None

    def send(self, message: dict[str, Any]) -> None:
        """Send a message of `Session.msg`."""
        told = {part: message[part] for part in message_fragments.PARTS}
        self._connection.send(msgspec.json.encode(told, enc_hook=json_default))

    def put(self, message: memoryview) -> None:
        """Add a message that came."""
        self._unread.append(message)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def get_msg(self, timeout: float | None = None) -> dict[str, Any]:
        """The next message; `queue.Empty` when none comes in time."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    while not self._unread:
                        self._waiting = asyncio.get_running_loop().create_future()
                        await self._waiting
                    message = _message(self._unread.popleft())
                    if message is not None:
                        return message
        except TimeoutError:
            raise queue.Empty from None


class ConnectionClient(AsyncKernelClient):
    """A client on a `Connection`: there is nothing to connect to, and no channel but shell and iopub."""

    kernel: SnapshotProvisioner
    session: Session
    _connection: Connection

    def connect(self, kernel: SnapshotProvisioner, limit: int) -> None:
        """Use (a copy of) a kernel's socket, which is there once the kernel was started; `limit` as in `Connection`."""
        assert kernel.connection is not None
        self.kernel = kernel
        self._connection = Connection(kernel.connection.dup(), limit, kernel)

    @property
    def shell_channel(self) -> Channel:
        """Where replies come."""
        return self._connection.channels[message_fragments.SHELL]

    @property
    def iopub_channel(self) -> Channel:
        """Where outputs come."""
        return self._connection.channels[message_fragments.IOPUB]

    def start_channels(self, *_: bool, **__: bool) -> None:
        """Listen."""
        self._connection.listen()

    def stop_channels(self) -> None:
        """Be done with the kernel."""
        self._connection.close()

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait for the kernel's first message. Raises `ExecutionError` when the kernel ends or stays silent."""
        ended = asyncio.ensure_future(self.kernel.ended())
        first = asyncio.ensure_future(self.iopub_channel.get_msg())
        try:
            await asyncio.wait([ended, first], timeout=timeout or _START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if first.done():
                return
            if ended.done():
                raise ExecutionError(f"The kernel ended before it ran anything: {self.kernel.last_words()}.")
            raise ExecutionError("The kernel does not answer: grade with fewer workers on this machine.")
        finally:
            ended.cancel()
            first.cancel()


def is_sound(message: dict[str, Any]) -> bool:
    """Whether a message has the parts that nbclient relies on."""
    parts = all(isinstance(message.get(part), dict) for part in message_fragments.PARTS)
    replies = message.get("msg_type") != "execute_reply" or isinstance(message["content"].get("status"), str)
    return parts and isinstance(message.get("msg_type"), str) and replies


class _Name(msgspec.Struct):
    msg_id: str | None = None
    msg_type: str | None = None


class _Names(msgspec.Struct):
    header: _Name
    parent_header: _Name


_decoder = msgspec.json.Decoder(dict[str, dict[str, Any]])
_names = msgspec.json.Decoder(_Names)


def cut(data: bytes) -> dict[str, Any] | None:
    """A message that would cost too much to read, without what it says; `cut` tells it from others."""
    try:
        names = _names.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    told = {"header": msgspec.to_builtins(names.header), "parent_header": msgspec.to_builtins(names.parent_header)}
    message = {**told, "metadata": {}, "content": {}, "buffers": [], "cut": True, **told["header"]}
    return message if is_sound(message) else None


def _message(sent: memoryview) -> dict[str, Any] | None:
    """What was sent, as jupyter_client gives a message; None when it makes no sense."""
    text, *buffers = message_fragments.parted(sent) or [memoryview(b"")]
    data = bytes(text)
    if not is_cheap(data):
        return cut(data)
    try:
        try:
            told = _decoder.decode(data)
        except (
            msgspec.DecodeError,
            UnicodeDecodeError,
        ):  # lone surrogates, for one, are sent as bytes that are no text
            told = _decoder.decode(data.decode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return None
    header = told.get("header", {})
    message: dict[str, Any] = {
        **told,
        "msg_id": header.get("msg_id"),
        "msg_type": header.get("msg_type"),
        "buffers": buffers,
    }
    return message if is_sound(message) else None
