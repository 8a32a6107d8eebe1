"""What a kernel publishes: before there is a connection it is kept, so that a notebook can show it."""

from __future__ import annotations

import os
import select
import threading
import uuid
from io import TextIOBase
from typing import Any

from ipykernel.iostream import OutStream
from jupyter_client.session import Session

OUTPUTS = frozenset({"stream", "display_data", "execute_result", "error", "update_display_data", "clear_output"})

_PIPE_BYTES = 1 << 16  # as much as a pipe holds


class LateSession(Session):
    """A session that keeps what the shell publishes in `published`, until it gets a key and sends in earnest."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.published: list[dict[str, Any]] | None = []

    def send(self, stream: Any, msg_or_type: Any, content: Any = None, *args: Any, **options: Any) -> Any:
        """Send a message, or keep it."""
        if self.published is None:
            return super().send(stream, msg_or_type, content, *args, **options)
        message = msg_or_type if isinstance(msg_or_type, dict) else self.msg(msg_or_type, content)
        if message["msg_type"] in OUTPUTS:
            kept = {name: message[name] for name in ("msg_type", "content")}
            self.published.append({**kept, "header": {"msg_type": kept["msg_type"]}})
        return message

    def take(self) -> list[dict[str, Any]]:
        """What was kept since the last call."""
        taken, self.published = self.published or [], []
        return taken

    def connect(self, key: bytes) -> None:
        """Send from now on: in a fork, as a session of its own."""
        self.published = None
        self.key, self.session, self.pid = key, uuid.uuid4().hex, os.getpid()


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
    """Ipykernel's stream, but a flush takes along what was written past Python, and costs nothing without output.

    What child processes and C code write to the standard descriptors comes through a pipe. Ipykernel's thread for it
    may be late: then a cell is over before the last of its output is published, and a client drops that. Here a flush
    empties the pipe itself. And it wakes the publishing thread only when there is something to publish: the kernel
    flushes both streams several times a cell.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self._emptying = threading.Lock()
        base: Any = super().__init__
        base(*args, **options)

    _fid: int | None

    def _watch_pipe_fd(self) -> None:
        assert self._fid is not None
        poll = select.poll()
        poll.register(self._fid, select.POLLIN)
        while self._should_watch:
            poll.poll()
            self._empty_pipe(self._fid)

    def _empty_pipe(self, pipe: int) -> None:
        """Move what is in the pipe into the buffer. One thread at a time: what it took, it has also written."""
        with self._emptying:
            if select.select([pipe], [], [], 0)[0]:
                self.write(os.read(pipe, _PIPE_BYTES).decode(errors="replace"))

    def flush(self) -> None:
        """Publish what was written so far.

        What was taken from the buffer earlier is published before anything that this thread publishes next: it all
        goes through the one publishing thread, in order.
        """
        if self._fid is not None and os.getpid() == self._master_pid:
            self._empty_pipe(self._fid)
        if self._buffers:
            base: Any = super().flush
            base()
