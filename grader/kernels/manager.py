"""jupyter_client's manager and client, without the waits and threads that a kernel of ours doesn't need."""

from __future__ import annotations

import asyncio
import os
import time
from queue import Empty
from typing import Any

import zmq
import zmq.asyncio
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from traitlets import Instance

from grader.errors import ExecutionError
from grader.kernels.provisioner import SnapshotProvisioner, readable

MAX_MESSAGE_BYTES = 128 << 20
"""No message from a kernel may be larger: the connection is cut instead."""

_RESEND_SECONDS = 1.0
_contexts: dict[int, zmq.asyncio.Context] = {}


def shared_context() -> zmq.asyncio.Context:
    """This process's one zmq context: each has two threads, and starting them takes longer than starting a kernel."""
    if os.getpid() not in _contexts:
        _contexts.clear()
        _contexts[os.getpid()] = zmq.asyncio.Context()
    return _contexts[os.getpid()]


class OneKernelSpec(KernelSpecManager):  # type: ignore[misc]
    """Knows a single kernel spec, which is nowhere on disk."""

    spec = Instance(KernelSpec)

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """The one spec, whatever its name."""
        return self.spec


class KernelClient(AsyncKernelClient):  # type: ignore[misc]
    """A client with a shell and an iopub channel: no heartbeat thread, no stdin."""

    def start_channels(
        self, shell: bool = True, iopub: bool = True, stdin: bool = False, hb: bool = False, control: bool = False
    ) -> None:
        """Start the channels that a notebook's execution uses."""
        for channel in (self.shell_channel, self.iopub_channel):
            channel.socket.maxmsgsize = MAX_MESSAGE_BYTES
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
        deadline = time.monotonic() + (timeout if timeout is not None else 60.0)
        answered = subscribed = False
        while not (answered and subscribed):
            self.kernel_info()
            answered = answered or await self._hears_reply(deadline)
            subscribed = subscribed or await self._hears_output(deadline)
            if not await self.parent.is_alive():
                raise ExecutionError(f"The kernel ended before it ran anything{self.parent.last_words()}.")
            if time.monotonic() > deadline:
                raise ExecutionError("The kernel does not answer: is this machine overloaded?")

    async def _hears_reply(self, deadline: float) -> bool:
        """A reply, within a moment or the kernel's life."""
        reply = asyncio.ensure_future(self.shell_channel.get_msg(timeout=_RESEND_SECONDS))
        end = asyncio.ensure_future(self.parent.ended(_RESEND_SECONDS))
        await asyncio.wait({reply, end}, return_when=asyncio.FIRST_COMPLETED)
        end.cancel()
        await asyncio.wait({end})
        ...
        return bool(reply.done())

    async def _hears_output(self, deadline: float) -> bool:
        try:
            await self.iopub_channel.get_msg(timeout=0.2)
        except Empty:
            return False
        return True
