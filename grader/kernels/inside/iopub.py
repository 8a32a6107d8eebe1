"""What a kernel publishes: before there is a connection it is kept, so that a notebook can show it."""

from __future__ import annotations

import _thread
import json
import os
import select
import socket
import sys
import threading
from collections.abc import Sequence
from io import TextIOBase
from typing import Any

from ipykernel.iostream import OutStream
from jupyter_client.jsonutil import json_default
from jupyter_client.session import Session

from . import message_fragments

OUTPUTS = frozenset({"stream", "display_data", "execute_result", "error", "update_display_data", "clear_output"})

_PIPE_BYTES = 1 << 16  # as much as a pipe holds
_FLUSH_MILLISECONDS = 200  # as ipykernel has it


class LateSession(Session):
    """A session that keeps what the shell publishes in `published`, until it is connected and sends in earnest."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.published: list[dict[str, Any]] | None = []

    def send(
        self, stream: Any, msg_or_type: Any, content: Any = None, parent: Any = None, ident: Any = None,
        buffers: Any = None, track: bool = False, header: Any = None, metadata: Any = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Send a message, or keep it. Without a `stream` it is a reply.

        A fork of the kernel may print, as one of ipykernel's may, and whatever else it says would pass for the kernel's
        own; a hidden case's has nobody to talk to.
        """
        message: dict[str, Any] = (
            msg_or_type
            if isinstance(msg_or_type, dict)
            else self.msg(msg_or_type, content, parent=parent, header=header, metadata=metadata)
        )
        if self.published is None:
            if self._connection.fileno() == -1 or (os.getpid() != self._owner and message["msg_type"] != "stream"):
                return message
            told = {part: message[part] for part in message_fragments.PARTS}
            channel = message_fragments.SHELL if stream is None else message_fragments.IOPUB
            self._hand_over([self._packed(told), *(buffers or [])], channel)
        elif self.published is not None and message["msg_type"] in OUTPUTS:
            kept = {name: message[name] for name in ("msg_type", "content")}
            self.published.append({**kept, "header": {"msg_type": kept["msg_type"]}})
        return message

    def prepare_greeting(self) -> None:
        """Make the message that says that a kernel is there, which is the same for all forks."""
        message = self.msg("status", {"execution_state": "starting"})
        self._greeting = self._packed({part: message[part] for part in message_fragments.PARTS})

    def greet(self) -> None:
        """Say that the kernel is there."""
        self._hand_over([self._greeting], message_fragments.IOPUB)

    def _hand_over(self, parts: Sequence[message_fragments.Piece], channel: bytes) -> None:
        for record in message_fragments.split(message_fragments.pieces(parts, channel)):
            self._connection.sendmsg(record)

    def _packed(self, told: dict[str, Any]) -> bytes:
        try:
            return bytes(self.pack(told))
        except UnicodeEncodeError:  # half a character: an ordinary kernel loses the message, and may fall silent
            return json.dumps(told, default=json_default, ensure_ascii=False).encode("utf-8", "replace")

    def feed_identities(self, msg_list: Any, copy: bool = True) -> tuple[list[bytes], Any]:
        """None: there is one client."""
        return [], msg_list

    def deserialize(self, msg_list: Any, content: bool = True, copy: bool = True) -> dict[str, Any]:
        """The message, which is all that was received, with what jupyter_client adds to one."""
        message: dict[str, Any] = msg_list[0]
        header = message["header"]
        return {**message, "msg_id": header["msg_id"], "msg_type": header["msg_type"], "buffers": []}

    def take(self) -> list[dict[str, Any]]:
        """What was kept since the last call."""
        taken, self.published = self.published or [], []
        return taken

    def connect(self, connection: socket.socket) -> None:
        """Send over `connection` from now on: in a fork, whose own forks don't."""
        self._connection, self._owner = connection, os.getpid()
        self.published = None


class EarlyStream(TextIOBase):
    """`sys.stdout` or `sys.stderr` of the template: records there, and passes on in a fork.

    Whatever kept a reference to the stream while the setup cells ran (a logging handler, say) still reaches the
    notebook afterwards, as it would in an ordinary kernel.
    """

    encoding = "UTF-8"

    def __init__(self, name: str, session: LateSession, descriptor: int) -> None:
        self.name = name
        self._session = session
        self._descriptor = descriptor
        self.successor: Any = None

    def fileno(self) -> int:
        """The descriptor of the stream below."""
        return self.successor.fileno() if self.successor is not None else self._descriptor

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Keep or pass on `text`; its length."""
        if self.successor is not None:
            self.successor.write(text)
            return len(text)
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        published = self._session.published
        last = published[-1] if published else {}
        if last.get("msg_type") == "stream" and last["content"]["name"] == self.name:
            last["content"]["text"] += text
        elif text:
            self._session.send(None, "stream", {"name": self.name, "text": text})
        return len(text)

    def flush(self) -> None:
        """Pass on, if there is a successor."""
        if self.successor is not None:
            self.successor.flush()


class PromptStream(OutStream):
    """Ipykernel's stream without its two threads: who flushes it sends what was written so far.

    A flush takes along what child processes and C code wrote to the standard descriptor, which comes through a pipe:
    what arrived after a cell's last message would be dropped. `watch_pipes` flushes what nobody else does.
    """

    _fid: int | None

    def __init__(self, *args: Any, **options: Any) -> None:
        self._new_locks()
        os.register_at_fork(after_in_child=self._new_locks)  # a thread may hold them then, and isn't in the child
        base: Any = super().__init__
        base(*args, **options)

    def _new_locks(self) -> None:
        self._buffer_lock = threading.RLock()
        self._publishing = threading.RLock()

    def _setup_stream_redirects(self, name: str) -> None:
        """Not yet: `redirect` does, in a fork."""

    def redirect(self) -> None:
        """Be this process's stream, with what comes through its standard descriptor."""
        self._master_pid = os.getpid()
        if self._should_watch:
            self._fid, pipe = os.pipe()
            self._original_stdstream_fd = getattr(sys, f"__{self.name}__").fileno()
            self._original_stdstream_copy = os.dup(self._original_stdstream_fd)
            os.dup2(pipe, self._original_stdstream_fd)
            os.close(pipe)
            os.set_blocking(self._fid, False)

    def _schedule_flush(self) -> None:
        self._flush_pending = True

    def flush(self) -> None:
        """Publish what was written so far, before anything that this thread publishes next."""
        with self._publishing:  # also where there is nothing: another thread may be just about to
            if self._fid is not None and os.getpid() == self._master_pid:
                self._empty_pipe(self._fid)
            if self._buffers:
                base: Any = super()
                base._flush()
            self._flush_pending = False

    def _flush(self) -> None:
        self.flush()

    def _empty_pipe(self, pipe: int) -> None:
        try:
            self.write(os.read(pipe, _PIPE_BYTES).decode(errors="replace"))
        except BlockingIOError:
            pass


def watch_pipes(streams: Sequence[Any]) -> None:
    """Have a thread flush the streams when something comes through a pipe, and a while after something was written.

    It is none of those that `threading` knows, which would be waited for until it runs.
    """
    _thread.start_new_thread(_watch, (streams,))


def _watch(streams: Sequence[Any]) -> None:
    poll = select.poll()
    for stream in streams:
        poll.register(stream._fid, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll(_FLUSH_MILLISECONDS)}
        for stream in streams:
            if stream._fid in ready or stream._flush_pending:
                stream.flush()
