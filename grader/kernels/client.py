"""nbclient's client on a kernel of ours: it learns of a kernel's end at once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete
from nbclient.util import run_hook
from nbformat import NotebookNode

from grader.kernels.manager import KernelManager


class KernelNotebookClient(NotebookClient):
    """Executes a notebook on one kernel from a source: `KernelNotebookClient(nb, km=source.manager())`.

    The kernel is started for the notebook and killed after it. `await client.async_execute()` and, within
    `async with client.async_setup_kernel()`, `await client.async_execute_cell(...)` work as in nbclient. Raises
    `ExecutionError` when the kernel can't be started, `DeadKernelError` as soon as it dies.
    """

    km: KernelManager | None
    record_timing = False
    """A time stamp warns on Python 3.12, and a warning is an error where pytest's `filterwarnings` says so."""
    _end: asyncio.Future[None] | None = None

    @asynccontextmanager
    async def async_setup_kernel(self, **options: Any) -> AsyncIterator[None]:
        """Start a kernel, and kill it at the end; no handlers of signals or of the interpreter's exit are installed."""
        assert self.km is not None
        manager = self.km
        try:
            await manager.start_kernel(**options)
            self._end = asyncio.ensure_future(manager.ours.ended())
            await self.async_start_new_kernel_client()
            yield
        finally:
            if self._end is not None:
                self._end.cancel()
            await self._async_cleanup_kernel()
            await run_hook(self.on_notebook_complete, notebook=self.nb)

    async def _async_cleanup_kernel(self) -> None:
        manager, client, self.km, self.kc = self.km, self.kc, None, None
        if client is not None:
            client.stop_channels()
        if manager is not None:
            await manager.shutdown_kernel(now=True)

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """As in nbclient, but a message that a student's code forged, and that makes no sense, leaves no output.

        Neither do widgets' messages: they could redirect the output of whoever runs next, and reports show none.
        """
        if msg["msg_type"].startswith("comm"):
            return None
        try:
            return super().process_message(msg, cell, cell_index) if _makes_sense(msg) else None
        except CellExecutionComplete:
            raise
        except Exception:
            return None

    async def _async_poll_kernel_alive(self) -> None:
        """Cancel the running cell when the kernel ends."""
        assert self._end is not None
        await asyncio.wait([self._end])
        assert self.task_poll_for_reply is not None
        self.task_poll_for_reply.cancel()


def _makes_sense(message: dict[str, Any]) -> bool:
    """Whether a message's content can become an output as nbformat knows it."""
    content = message["content"]
    if message["msg_type"] == "stream":
        return content.get("name") in ("stdout", "stderr") and isinstance(content.get("text"), str)
    if message["msg_type"] == "error":
        lines = content.get("traceback")
        strings = isinstance(content.get("ename"), str) and isinstance(content.get("evalue"), str)
        return strings and isinstance(lines, list) and all(isinstance(line, str) for line in lines)
    if message["msg_type"] in ("display_data", "execute_result", "update_display_data"):
        return isinstance(content.get("data"), dict) and isinstance(content.get("metadata"), dict)
    return True
