"""nbclient's client on a kernel of ours: it learns of a kernel's end at once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete
from nbclient.util import run_hook
from nbformat import NotebookNode, from_dict

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

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode:
        """As nbclient's own. It makes sense, and to hold it against nbformat's schema takes longer than to make it."""
        told = {field: msg["content"][field] for field in _FIELDS[msg["msg_type"]]}
        out: NotebookNode = from_dict({"output_type": msg["msg_type"], **told})
        if self.clear_before_next_output:
            outs.clear()
            self.clear_display_id_mapping(cell_index)
            self.clear_before_next_output = False
        if display_id:
            self._display_id_map.setdefault(display_id, {}).setdefault(cell_index, []).append(len(outs))
        outs.append(out)
        return out

    async def _async_poll_kernel_alive(self) -> None:
        """Cancel the running cell when the kernel ends."""
        assert self._end is not None
        await asyncio.wait([self._end])
        assert self.task_poll_for_reply is not None
        self.task_poll_for_reply.cancel()


_FIELDS = {
    "stream": ("name", "text"),
    "error": ("ename", "evalue", "traceback"),
    "display_data": ("metadata", "data"),
    "execute_result": ("metadata", "data", "execution_count"),
}

_JSON = re.compile(r"application/(.*\+)?json")
"""Of these types nbformat's schema allows any value, and of others text."""


def _makes_sense(message: dict[str, Any]) -> bool:
    """Whether a message's content can become an output as nbformat's schema has it."""
    kind, content = message["msg_type"], message["content"]
    if kind == "stream":
        return content.get("name") in ("stdout", "stderr") and isinstance(content.get("text"), str)
    if kind == "error":
        lines = content.get("traceback")
        strings = isinstance(content.get("ename"), str) and isinstance(content.get("evalue"), str)
        return strings and isinstance(lines, list) and all(isinstance(line, str) for line in lines)
    if kind in ("display_data", "execute_result", "update_display_data"):
        data, count = content.get("data"), content.get("execution_count", 0)
        if kind == "execute_result" and count is not None and (type(count) is not int or count < 0):
            return False
        shown = isinstance(data, dict) and all(_is_text(value) or _JSON.fullmatch(mime) for mime, value in data.items())
        return shown and isinstance(content.get("metadata"), dict)
    return True


def _is_text(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value))
