"""jupyter_client's manager and client, without the waits and threads that a kernel of ours doesn't need."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, cast

import zmq
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from traitlets import Instance, Int, Type

from grader.errors import ExecutionError
from grader.kernels.connection import ConnectionClient, cut, is_sound
from grader.kernels.message_bounds import is_cheap
from grader.kernels.provisioner import Provisioner, SnapshotProvisioner

try:
    from jupyter_client.channels import AsyncZMQSocketChannel
except ImportError:  # its name before jupyter_client 8
    from jupyter_client.channels import (  # type: ignore[assignment]
        ZMQSocketChannel as AsyncZMQSocketChannel,
    )

_RESEND_SECONDS, _LOOK_SECONDS = 1.0, 0.2
_UNREAD_MESSAGES = 8
_contexts: dict[int, zmq.asyncio.Context] = {}


def shared_context() -> zmq.asyncio.Context:
    """This process's one zmq context: each has two threads, and starting them takes longer than starting a kernel."""
    if os.getpid() not in _contexts:
        _contexts.clear()
        _contexts[os.getpid()] = zmq.asyncio.Context()
    return _contexts[os.getpid()]


class OneKernelSpec(KernelSpecManager):
    """Knows a single kernel spec, which is nowhere on disk."""

    spec = Instance(KernelSpec)

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """The one spec, whatever its name."""
        return self.spec


class WaryChannel(AsyncZMQSocketChannel):
    """A channel that drops nonsense, and stops the kernel when more than `limit` bytes came over it."""

    received = 0
    limit = 0
    manager: KernelManager

    async def _recv(self, **options: Any) -> dict[str, Any]:  # type: ignore[override]  # as jupyter_client's own does
        assert self.socket is not None
        frames = await self.socket.recv_multipart(**options)
        self.received += sum(map(len, frames))
        if self.received > self.limit:
            self.manager.ours.stop("output")
        try:
            frames = self.session.feed_identities(frames)[1]
            texts = cast("list[bytes]", frames[1:5])
            if not all(map(is_cheap, texts)):
                header, parent = texts[:2]
                return cut(b'{"header":' + header + b',"parent_header":' + parent + b"}") or _NOTHING
            message = self.session.deserialize(frames)
            return message if is_sound(message) else _NOTHING
        except Exception:  # a student's code can make up anything
            return _NOTHING


_NOTHING: dict[str, Any] = {"msg_type": "", "header": {}, "parent_header": {}, "metadata": {}, "content": {}}
"""In place of a message that makes no sense; it answers nothing, so nbclient passes over it."""


class KernelClient(AsyncKernelClient):
    """A client with a shell and an iopub channel: no heartbeat thread, no stdin."""

    shell_channel_class = Type(WaryChannel)
    iopub_channel_class = Type(WaryChannel)
    manager: KernelManager

    def start_channels(
        self, shell: bool = True, iopub: bool = True, stdin: bool = False, hb: bool = False, control: bool = False
    ) -> None:
        """Start the channels that a notebook's execution uses."""
        for channel in (self.shell_channel, self.iopub_channel):
            channel.manager, channel.limit = self.manager, self.manager.output_bytes
            channel.socket.maxmsgsize = channel.limit // 2  # the connection is cut at a larger one
            channel.socket.rcvhwm = _UNREAD_MESSAGES
        super().start_channels(shell=shell, iopub=iopub, stdin=False, hb=False, control=False)

    def stop_channels(self) -> None:
        """Close the sockets."""
        for channel in (self._shell_channel, self._iopub_channel):
            if channel is not None:
                channel.stop()

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Wait until the kernel answers and its output reaches us.

        One message on iopub proves the subscription. What follows of this exchange is told from the output of cells by
        its parent, so there is no need to wait for it. Raises `ExecutionError` when the kernel dies or stays silent.
        """
        deadline = time.monotonic() + (60.0 if timeout is None else timeout)
        silent = {self.shell_channel, self.iopub_channel}
        while True:
            self.kernel_info()
            for channel in await self._ready(silent, _RESEND_SECONDS):
                await channel.get_msg(timeout=0)
                silent.discard(channel)
            if not silent:
                return
            if not await self.manager.is_alive():
                raise ExecutionError(f"The kernel ended before it ran anything: {self.manager.ours.last_words()}.")
            if time.monotonic() > deadline:
                raise ExecutionError("The kernel does not answer: grade with fewer workers on this machine.")

    async def _ready(self, channels: set[Any], seconds: float) -> list[Any]:
        """Those of the channels that have a message, as soon as all have, the kernel ends or the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            ready = [channel for channel in channels if channel.socket.get(zmq.EVENTS) & zmq.POLLIN]
            left = deadline - time.monotonic()
            if len(ready) == len(channels) or left < 0 or not await self.manager.is_alive():
                return ready
            poller = zmq.asyncio.Poller()
            for channel in channels.difference(ready):
                poller.register(channel.socket, zmq.POLLIN)
            end = self.manager.ours.fileno()
            if end is not None:
                poller.register(end, zmq.POLLIN)
            await poller.poll(int(min(left, _LOOK_SECONDS) * 1000))


class KernelManager(AsyncKernelManager):
    """A manager whose kernels are killed, not asked to end: they have nothing to save, and may not want to."""

    client_factory = Type(KernelClient, klass=AsyncKernelClient)
    output_bytes = Int(1 << 27, help="How much the kernel may print, display and send in all.")

    @property
    def ours(self) -> Provisioner:
        """The provisioner, once the kernel was started."""
        assert isinstance(self.provisioner, Provisioner)
        return self.provisioner

    @property
    def usage(self) -> dict[str, Any]:
        """After the end, as far as known: `status`, `cpu_seconds`, and why the grader killed it: `reason`.

        The reasons are `"memory"`, `"cpu"`, `"output"` and, for any other, `None`.
        """
        return self.ours.usage

    def client(self, **options: Any) -> KernelClient | ConnectionClient:  # type: ignore[override]
        """A client on the kernel's own connection, or for a cold kernel on the shared context."""
        if isinstance(self.ours, SnapshotProvisioner):
            own = ConnectionClient(parent=self, session=self.session)
            own.connect(self.ours, self.output_bytes)
            return own
        client = super().client(context=self.context, **options)
        assert isinstance(client, KernelClient)
        client.manager = self
        return client

    async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]  # as jupyter_client's own does
        """Start the kernel, unless it was started ahead; the client may connect at once."""
        if self.has_kernel:
            return
        self._attempted_start = True
        arguments, options = await self._async_pre_start_kernel(**options)
        self.load_connection_info(await self.ours.launch_kernel(arguments, **options))
        self._ready = asyncio.get_running_loop().create_future()
        self._ready.set_result(None)

    async def shutdown_kernel(self, now: bool = False, restart: bool = False) -> None:  # type: ignore[override]
        """Kill the kernel and wait for the end of everything it started."""
        self.shutting_down = True
        if self.has_kernel:
            await self.ours.kill(restart)
            await self.ours.wait()
        await self.cleanup_resources(restart=restart)
