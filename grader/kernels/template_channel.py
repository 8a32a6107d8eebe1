"""What the grader asks of a template process or a branch of one: kernels, signals for them, news of their ends."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from grader.errors import ExecutionError
from grader.kernels.inside import wire
from grader.kernels.sandbox import LIBRARY, Limits

HERE = Path(__file__).parent
SETUP_SECONDS = 300

_BOOT = "import sys; sys.path.insert(0, {folder!r}); from inside.{module} import main; del sys.path[0]; main({given})"


@dataclass(frozen=True)
class Wanted:
    """What `open_source` was asked for."""

    kind: Literal["snapshot", "cold"]
    sandboxed: bool
    setup_cells: Sequence[str]
    files: Mapping[str, Path]
    modules_path: Sequence[Path]
    limits: Limits
    libraries: Sequence[str]


class Channel:
    """The grader's end of the socket that a template process, or a branch of one, reads its requests from.

    Args:
        wanted: what the template was started for.
        folder: the template's.
    """

    _channel: socket.socket

    def __init__(self, wanted: Wanted, folder: Path) -> None:
        self._wanted = wanted
        self.folder = folder
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._retired = False

    @cached_property
    def published(self) -> list[list[dict[str, Any]]]:
        """What each cell published that is run there, as ipykernel's messages, as soon as all have run.

        Raises:
            SandboxUnavailable: the system refuses what the sandbox needs.
            ExecutionError: a cell raised, or ran too long; or there is no such branch.
        """
        try:
            self._channel.settimeout(SETUP_SECONDS)
            reply, _ = wire.receive(self._channel)
        except TimeoutError:
            raise ExecutionError(f"The setup cells ran longer than {SETUP_SECONDS} s: shorten them.") from None
        except OSError:
            reply = None
        finally:
            self._channel.settimeout(None)
        if reply is None or reply.get("refused"):
            raise self._not_started(reply)
        if "failed" in reply:
            raise ExecutionError(f"The kernels can't be prepared: {reply['failed']}.")
        published: list[list[dict[str, Any]]] = reply["published"]
        return published

    def _not_started(self, reply: dict[str, Any] | None) -> Exception:
        return ExecutionError("There is no branch of the process that kernels come from: grade again.")

    @property
    def sandboxed(self) -> bool:
        """Whether its kernels make their own folders, out of reach."""
        return self._wanted.sandboxed

    def start_kernel(self, sockets: Sequence[socket.socket], key: str, folder: Path | None) -> Lifeline:
        """Start a kernel on `sockets`: a snapshot's single one, or a cold kernel's, listening, in `CHANNELS`' order.

        `key` is what a cold kernel signs its messages with; `folder` is its own, where there is no sandbox.
        """
        ours, theirs = socket.socketpair()
        number = next(self._numbers)
        request = {
            "do": "start",
            "id": number,
            "key": key,
            "folder": folder and str(folder),
            "boot": self._boot("cold"),
        }
        with theirs:
            try:
                self._request(request, [theirs.fileno(), *(one.fileno() for one in sockets)])
            except ExecutionError:
                ours.close()
                raise
        return Lifeline(self, number, ours)

    def signal(self, number: int, signum: int) -> None:
        """Signal a kernel; SIGKILL ends everything that it started."""
        self._request({"do": "signal", "id": number, "signal": int(signum)})

    def ask_waited(self, number: int) -> None:
        """Have a kernel's lifeline say how long the kernel has waited for a core."""
        self._request({"do": "waited", "id": number})

    def retire(self) -> None:
        """Have the process end when the last of its kernels has."""
        with contextlib.suppress(ExecutionError):  # one whose steps failed is gone already
            self._request({"do": "retire"})
        self._retired = True

    @property
    def over(self) -> bool:
        """Whether it was retired, and has ended."""
        if not self._retired:
            return False
        try:
            return not self._channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _request(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        try:
            with self._lock:
                wire.send(self._channel, message, descriptors)
        except OSError:
            raise ExecutionError("The process that kernels come from is gone: grade again.") from None

    def _boot(self, module: str, given: int | str = "") -> str:
        return _BOOT.format(folder=LIBRARY if self._wanted.sandboxed else str(HERE), module=module, given=given)

    def close(self) -> None:
        """Close the socket: the process ends, with every kernel that is left."""
        self._channel.close()


class Branch(Channel):
    """A fork of a template process that has run further steps."""

    def __init__(self, wanted: Wanted, folder: Path, channel: socket.socket) -> None:
        super().__init__(wanted, folder)
        self._channel = channel


class Lifeline:
    """The grader's end of a socket that a kernel's template closes when everything of the kernel is gone."""

    def __init__(self, template: Channel, number: int, channel: socket.socket) -> None:
        self._template = template
        self._number = number
        self._channel = channel
        self._channel.setblocking(False)
        self._heard = b""
        self._ended = False

    def fileno(self) -> int:
        """Becomes readable when there is something new to hear."""
        return self._channel.fileno()

    @property
    def ended(self) -> bool:
        """Whether the kernel is gone."""
        while not self._ended:
            try:
                chunk = self._channel.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError:
                chunk = b""
            self._heard += chunk
            self._ended = not chunk
        return self._ended

    def last_words(self) -> dict[str, Any]:
        """What was said last: `waited` (seconds), and of the end `status`, `cpu_seconds`, `reason`, `failed`.

        The reasons are `"memory"` and `"cpu"`; with `waited` comes that of an end that is on its way.
        """
        said: dict[str, Any] = {}
        for line in self._heard.splitlines():
            said |= json.loads(line)
        return said

    def signal(self, signum: int) -> None:
        """Signal the kernel, if it is still there."""
        if not self.ended:
            self._template.signal(self._number, signum)

    def ask_waited(self) -> None:
        """Have it said how long the kernel has waited for a core: `news` counts on, and `waited` is in `last_words`."""
        if not self.ended:
            self._template.ask_waited(self._number)

    @property
    def news(self) -> int:
        """How many things were said so far."""
        return 0 if self.ended else self._heard.count(b"\n")

    def wait(self, seconds: float) -> bool:
        """Block until the kernel is gone; whether it is."""
        deadline = time.monotonic() + seconds
        while not self.ended and time.monotonic() < deadline:
            time.sleep(0.005)
        return self.ended

    def close(self) -> None:
        """Kill the kernel, unless it is gone, and stop listening."""
        try:
            self.signal(signal.SIGKILL)
        except ExecutionError:
            pass
        self._channel.close()
        self._ended = True
