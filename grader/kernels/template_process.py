"""The grader's end of a template process: start it, ask it for kernels, end it."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec

from grader.errors import ExecutionError, SandboxUnavailable
from grader.kernels import sandbox, scratch_folders
from grader.kernels.forked import Fork, can_fork
from grader.kernels.inside import wire
from grader.kernels.sandbox import LIBRARY, ROOM, Limits

HERE = Path(__file__).parent
SETUP_SECONDS = 300

_BOOT = "import sys; sys.path.insert(0, {folder!r}); from inside.{module} import main; del sys.path[0]; main({given})"

# A process that is told to die with its parent dies with the thread that started it: this one lives to the end.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-starter")


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


class Template:
    """A template process, which gets ready while its grader does other things, until `published` is asked for."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.folder = scratch_folders.folder("s")
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        self._copy_goods()
        self._channel, theirs = socket.socketpair()
        with theirs, open(self.folder / "stderr", "wb") as errors:
            if self._wanted.kind == "snapshot" and not self._wanted.sandboxed and can_fork():
                self._process: Fork | subprocess.Popen[bytes] = Fork(
                    self._boot("template", theirs.fileno()), theirs.fileno(), errors.fileno(), self._wanted.libraries
                )
            else:
                self._process = _starter.submit(
                    subprocess.Popen,
                    self._command(theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    pass_fds=[theirs.fileno()],
                    env={} if self._wanted.sandboxed else sandbox.unconfined_environment(),
                    cwd="/",
                    start_new_session=True,  # an interrupt at the terminal is the grader's to handle
                ).result()
        with contextlib.suppress(OSError):  # it is gone already, which `published` says
            wire.send(self._channel, self._config())

    # --- what goes in -------------------------------------------------------------------------------------------------

    def _copy_goods(self) -> None:
        """Copies for the sandbox: its user may not be able to read the originals."""
        goods, etc = self.folder / "goods", self.folder / "etc"
        for folder in (goods, goods / "files", etc):
            folder.mkdir()
        for name, path in self._wanted.files.items():
            shutil.copyfile(path, goods / "files" / name)
        if self._wanted.sandboxed:
            folders = {"inside": HERE / "inside"} | {str(n): path for n, path in enumerate(self._wanted.modules_path)}
            for name, path in folders.items():
                shutil.copytree(path, goods / name, ignore=shutil.ignore_patterns("__pycache__"))
            sandbox.write_etc(etc)
        _let_everybody_read(self.folder)

    def _command(self, descriptor: int) -> list[str]:
        program = [sys.executable, "-c", self._boot("template", descriptor)]
        if not self._wanted.sandboxed:
            return program
        return sandbox.command(program, self.folder / "goods", self.folder / "etc")

    def _boot(self, module: str, given: int | str = "") -> str:
        return _BOOT.format(folder=LIBRARY if self._wanted.sandboxed else str(HERE), module=module, given=given)

    def _modules(self) -> list[str]:
        if not self._wanted.sandboxed:
            return [str(path.absolute()) for path in self._wanted.modules_path]
        return [f"{LIBRARY}/{number}" for number, _ in enumerate(self._wanted.modules_path)]

    def _config(self) -> dict[str, Any]:
        sandboxed = self._wanted.sandboxed
        return {
            "kind": self._wanted.kind,
            "namespaces": sandboxed,
            "libraries": list(self._wanted.libraries),
            "setup_cells": list(self._wanted.setup_cells),
            "files": f"{LIBRARY}/files" if sandboxed else str(self.folder / "goods" / "files"),
            "desk": f"{ROOM}/exercise" if sandboxed else str(self.folder / "desk"),
            "modules_path": self._modules(),
            "limits": msgspec.to_builtins(self._wanted.limits),
            "kept": [str(path) for path in sandbox.below_tmp()] if sandboxed else [],
        }

    @cached_property
    def published(self) -> list[list[dict[str, Any]]]:
        """What each setup cell published, as ipykernel's messages, as soon as all have run.

        Raises:
            SandboxUnavailable: the system refuses what the sandbox needs.
            ExecutionError: a setup cell raised, or ran too long.
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
        self._process.wait(10)
        said = (self.folder / "stderr").read_text(errors="replace").strip().splitlines()
        cause = reply["failed"] if reply else said[-1] if said else f"exit status {self._process.returncode}"
        if self._wanted.sandboxed:
            return SandboxUnavailable(
                f"The sandbox could not be started ({cause}): `grader doctor` says what this machine lacks."
            )
        return ExecutionError(f"The process that kernels come from ended ({cause}): reinstall the Python environment.")

    # --- kernels ------------------------------------------------------------------------------------------------------

    @property
    def sandboxed(self) -> bool:
        """Whether its kernels make their own folders, out of reach."""
        return self._wanted.sandboxed

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

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

    def _request(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        try:
            with self._lock:
                wire.send(self._channel, message, descriptors)
        except OSError:
            raise ExecutionError("The process that kernels come from is gone: grade again.") from None

    def close(self) -> None:
        """End the process, with every kernel that is left, and remove its folder."""
        if hasattr(self, "_channel"):
            self._channel.close()
        if hasattr(self, "_process"):
            try:
                self._process.wait(2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Lifeline:
    """The grader's end of a socket that a kernel's template closes when everything of the kernel is gone."""

    def __init__(self, template: Template, number: int, channel: socket.socket) -> None:
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

        The reasons are `"memory"` and `"cpu"`.
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


def _let_everybody_read(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
