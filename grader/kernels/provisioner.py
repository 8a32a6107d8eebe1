"""The provisioners: jupyter_client's extension point for how a kernel comes to be.

Both get their kernels from a template process. Which one, the kernel spec says by the template's name in its
`kernel_provisioner` stanza; `grader.kernels.open_source` keeps the templates that are open.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import time
from abc import abstractmethod
from importlib.metadata import EntryPoint
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, cast

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from traitlets import Unicode

from grader.errors import ExecutionError
from grader.kernels import scratch_folders
from grader.kernels.inside.wire import LOOK_SECONDS
from grader.kernels.sandbox import unconfined_environment
from grader.kernels.template_channel import Channel, Lifeline

PLAIN = "grader-plain"
NAMES = {"snapshot": "grader-snapshot", "cold": "grader-cold"}
"""The names of the provisioners under jupyter_client's entry point, by kind of kernel."""

_LOOK_SECONDS = 0.1
_ANSWER_SECONDS = 1.0
CHANNELS = ("shell", "iopub", "stdin", "control")
open_templates: dict[str, Channel] = {}
"""The templates that kernel specs may name."""


class Provisioner(KernelProvisionerBase):
    """What our manager and client need of a provisioner besides jupyter_client's interface."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.usage: dict[str, Any] = {}
        """See `KernelManager.usage`."""
        self.stopped: str | None = None
        """The limit over which it is being killed, by `stop` or by whoever it comes from."""

    def last_words(self) -> str:
        """Why the kernel ended, in a few words."""
        if "failed" in self.usage:
            return str(self.usage["failed"]).strip().splitlines()[-1]
        status = self.usage.get("status")
        return "the process that it came from is gone" if status is None else f"exit status {status}"

    @abstractmethod
    def fileno(self) -> int | None:
        """A descriptor that becomes readable when the kernel ends; `None` where there is none."""

    @abstractmethod
    async def ended(self) -> None:
        """Return when the kernel has ended."""

    @abstractmethod
    def stop(self, reason: str) -> None:
        """Kill the kernel over a limit that the grader watches; `usage` then gives the reason."""

    async def waited(self) -> float:
        """How many seconds what runs in the kernel was ready to run and had no core; 0 where nothing tells."""
        return 0.0

    async def measured(self) -> None:
        """Return when `stopped` says whether it is over its limit of memory; at once where nothing measures that."""


class TemplateProvisioner(Provisioner):
    """Provides kernels that a template process starts."""

    template = Unicode(help="The name of the template that kernels come from.").tag(config=True)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._lifeline: Lifeline | None = None
        self._folder: Path | None = None
        self._status: int | None = None

    @property
    def has_process(self) -> bool:
        """Whether a kernel was started and its end not yet been noticed."""
        return self._lifeline is not None

    def fileno(self) -> int | None:
        """A descriptor that becomes readable when the kernel ends; `None` without a kernel."""
        return self._lifeline.fileno() if self._lifeline is not None else None

    async def pre_launch(self, **options: Any) -> dict[str, Any]:
        """Nothing to prepare: there is neither a command nor a connection file."""
        return {"cmd": []}

    async def launch_kernel(self, cmd: list[str], **options: Any) -> KernelConnectionInfo:
        """Make the sockets, and have the template start a kernel on them."""
        template = open_templates[self.template]
        sockets = self._make_sockets()
        try:
            manager: Any = self.parent
            key = manager.session.key.decode()
            self._lifeline = template.start_kernel(sockets, key, self._private_folder(template))
        finally:
            for one in sockets:
                one.close()
        ip = str((self._folder or template.folder) / "z")
        info: dict[str, Any] = {"transport": "ipc", "ip": ip, "hb_port": len(CHANNELS) + 1}
        info |= {f"{channel}_port": number for number, channel in enumerate(CHANNELS, 1)}
        return cast("KernelConnectionInfo", info)

    @abstractmethod
    def _make_sockets(self) -> list[socket.socket]:
        """The sockets that the kernel gets."""

    def _own_folder(self) -> Path:
        """The grader's folder for this kernel, made when it is first needed."""
        if self._folder is None:
            self._folder = scratch_folders.folder("k")
        return self._folder

    def _private_folder(self, template: Channel) -> Path | None:
        """Without a sandbox a kernel works in a copy of the template's folder; in one it makes its own."""
        if template.sandboxed:
            return None
        workdir = self._own_folder() / "workdir"
        shutil.copytree(template.folder / "workdir", workdir, symlinks=True)
        return workdir

    async def poll(self) -> int | None:
        """`None` while the kernel lives, else its exit status."""
        if self._lifeline is not None and not self._lifeline.ended:
            return None
        if self._lifeline is not None:
            self.usage = self._lifeline.last_words() | ({"reason": self.stopped} if self.stopped else {})
            self._status = self.usage.get("status", 1)
        return self._status if self._status is not None else 1

    async def wait(self) -> int | None:
        """Wait for the kernel's end and let go of it."""
        await self.ended()
        self._let_go()
        return self._status

    async def ended(self) -> None:
        """Return when the kernel has ended."""
        while self._lifeline is not None and not self._lifeline.ended:
            await readable(self._lifeline)
        await self.poll()

    async def waited(self) -> float:
        """How many seconds what runs in the kernel was ready to run and had no core; 0 where nothing tells."""
        if self._lifeline is None:
            return 0.0
        before, deadline = self._lifeline.news, time.monotonic() + _ANSWER_SECONDS
        self._lifeline.ask_waited()
        while not self._lifeline.ended and self._lifeline.news == before and time.monotonic() < deadline:
            await readable(self._lifeline, _ANSWER_SECONDS)
        return float(self._lifeline.last_words().get("waited", 0.0))

    async def measured(self) -> None:
        """Return when its memory was looked at twice, which is what a template needs to kill a kernel over it."""
        for _ in range(2):
            await asyncio.sleep(LOOK_SECONDS)
            await self.waited()
        if self._lifeline is not None:
            self.stopped = self.stopped or self._lifeline.last_words().get("reason")

    async def send_signal(self, signum: int) -> None:
        """Signal the kernel and what it runs in its process group."""
        if self._lifeline is not None:
            self._lifeline.signal(signum)

    async def kill(self, restart: bool = False) -> None:
        """Kill the kernel and everything that it started."""
        await self.send_signal(signal.SIGKILL)

    def stop(self, reason: str) -> None:
        """Kill the kernel over a limit that the grader watches; `usage` then gives the reason."""
        self.stopped = reason
        if self._lifeline is not None:
            self._lifeline.signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:
        """The same: a kernel that was not asked nicely has nothing to save."""
        await self.kill(restart)

    async def cleanup(self, restart: bool = False) -> None:
        """Let go of what is left, also of a kernel that did not end in time."""
        self._let_go()

    def _let_go(self) -> None:
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


class SnapshotProvisioner(TemplateProvisioner):
    """Provides a kernel that is a fork of a template process. `connection` is our end of the one socket it has."""

    connection: socket.socket | None = None

    def _make_sockets(self) -> list[socket.socket]:
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return [theirs]

    def _let_go(self) -> None:
        super()._let_go()
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class ColdProvisioner(TemplateProvisioner):
    """Provides a kernel that is an interpreter of its own, in the template's sandbox, on listening sockets."""

    def _make_sockets(self) -> list[socket.socket]:
        folder = self._own_folder()
        return [_listening(folder / f"z-{number}") for number, _ in enumerate(CHANNELS, 1)]


class PlainProvisioner(LocalProvisioner, Provisioner):
    """Provides an ordinary kernel without a sandbox, on any system, in a folder of its own."""

    folder = Unicode(help="The folder that the kernel starts in.").tag(config=True)

    def fileno(self) -> None:
        """There is no descriptor that tells of the kernel's end."""

    async def pre_launch(self, **options: Any) -> dict[str, Any]:
        """As usual, but in the kernel's own folder, and silent: what a kernel prints goes to the notebook."""
        own = {"cwd": self.folder, "env": unconfined_environment(), "stdout": DEVNULL, "stderr": DEVNULL}
        prepared: dict[str, Any] = await super().pre_launch(**{**options, **own})
        return prepared

    def stop(self, reason: str) -> None:
        """Kill the kernel over a limit that the grader watches; `usage` then gives the reason."""
        self.stopped = reason
        self.usage = {"reason": reason}
        if self.process is not None:
            self.process.kill()

    async def ended(self) -> None:
        """Return when the kernel has ended."""
        while await self.poll() is None:
            await asyncio.sleep(_LOOK_SECONDS)


def entry_points() -> dict[str, EntryPoint]:
    """What an installed package registers."""
    classes = {NAMES["snapshot"]: SnapshotProvisioner, NAMES["cold"]: ColdProvisioner, PLAIN: PlainProvisioner}
    group = KernelProvisionerFactory.GROUP_NAME
    return {name: EntryPoint(name, f"{__name__}:{one.__name__}", group) for name, one in classes.items()}


async def readable(channel: Lifeline, seconds: float | None = None) -> None:
    """Return when there is something to hear, or the time is over.

    An event loop keeps one reader a descriptor, and several tasks may wait: each does on a duplicate.
    """
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()
    descriptor = os.dup(channel.fileno())
    loop.add_reader(descriptor, heard.set)
    try:
        await asyncio.wait_for(heard.wait(), seconds)
    except TimeoutError:
        pass
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _listening(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > 107:
        raise ExecutionError(f"The path of the socket {path} is too long: set XDG_RUNTIME_DIR to a shorter folder.")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(16)
    return listening
