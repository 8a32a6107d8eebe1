"""One kernel, driven by nbclient, with the limits that a stranger's code makes necessary."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import nbformat.v4
from nbclient.exceptions import CellExecutionComplete, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from grader.execution.tensors import MIME
from grader.execution.time_limits import Clock
from grader.kernels import KernelSource
from grader.kernels.client import KernelNotebookClient

MAX_CELL_OUTPUT = 4 * 2**20
"""Bytes of output kept of one cell; a notebook's figures reach 4 MB in all."""
MAX_PROBE_OUTPUT = 64 * 2**20
"""Bytes of the grader's own probes' answers: all hidden cases of exercise 01 need 3 MB."""
KILLED, SIGNALED = 137, 128
"""Exit status of a process that got SIGKILL; what is beyond the second is the number of a signal."""
_CONTAINER = 64
"""Bytes of a list or dict, however empty."""
INTERRUPT_SECONDS = 4
"""How long an interrupted cell may take to end before its kernel is killed."""


class Client(KernelNotebookClient):
    """A kernel that runs cells one at a time; use `Client.start`.

    Attributes:
        timed_out: whether the last cell's time was over before it ended.
        clock: the kernel's time, which stands still while the kernel waits for a core.
        cpu_seconds: what the kernel and its children used; known once the block of `start` is left.
        end: how the kernel ended, in a few words, where it did so before the block was left; known after it.
    """

    @classmethod
    @contextlib.asynccontextmanager
    async def start(cls, source: KernelSource) -> AsyncIterator[Client]:
        """A client with its kernel running; the kernel is gone when the block is left.

        Raises:
            ExecutionError: the kernel could not be started.
        """
        manager = source.manager()
        client = cls(
            nbformat.v4.new_notebook(),
            km=manager,
            allow_errors=True,
            interrupt_on_timeout=True,
            error_on_timeout={"ename": "CellTimeout", "evalue": "", "traceback": []},
            iopub_timeout=INTERRUPT_SECONDS,
            raise_on_iopub_timeout=True,
        )
        if client.log.level != logging.CRITICAL:  # setting it has every logger forget what it knows
            client.log.setLevel(logging.CRITICAL)  # its warnings are about the student's code, which has its own place
        try:
            async with client.async_setup_kernel():
                yield client
        finally:
            usage = getattr(manager.provisioner, "usage", {})
            client.cpu_seconds = float(usage.get("cpu_seconds", 0.0))
            client.end = _end(usage, source)

    def __init__(self, notebook: NotebookNode, **options: Any) -> None:
        super().__init__(notebook, **options)
        self.timed_out = False
        self.clock = Clock(self._waited)
        self.cpu_seconds = 0.0
        self.end: str | None = None
        self._seconds = 0.0
        self._room = 0
        self._answer: list[memoryview] = []

    @property
    def printed(self) -> list[dict[str, Any]]:
        """The outputs of the last cell, as far as they came."""
        return [dict(output) for cell in self.nb.cells for output in cell.outputs]

    async def run_cell(self, source: str, seconds: float) -> NotebookNode:
        """Run a student's or the exercise's cell as a front end would; the cell with its outputs.

        `timed_out` tells afterwards whether its time was over before it ended.

        Raises:
            DeadKernelError: the kernel died, or sent what is no message.
            CellTimeoutError: the cell could not be interrupted.
        """
        return await self._run(source, seconds, store_history=True)

    async def probe(self, source: str, seconds: float) -> list[memoryview]:
        """Run code of the grader's own, outside the kernel's history; the parts of its answer, if one came.

        Raises:
            DeadKernelError: the kernel died, or sent what is no message.
            CellTimeoutError: the code did not come back.
        """
        await self._run(source, seconds, store_history=False)
        return self._answer

    async def _run(self, source: str, seconds: float, *, store_history: bool) -> NotebookNode:
        # As nbformat makes one, but not validated: that would take longer than the kernel takes to run it.
        cell = NotebookNode(cell_type="code", source=source, metadata=NotebookNode(), outputs=[], execution_count=None)
        self.timed_out = False
        self._answer = []
        self._seconds = seconds
        self._room = MAX_CELL_OUTPUT if store_history else MAX_PROBE_OUTPUT
        self.nb.cells = [cell]
        try:
            await self.async_execute_cell(cell, 0, store_history=store_history)
        except (DeadKernelError, CellTimeoutError):
            _raise_if_cancelled()
            raise
        except Exception as error:
            _raise_if_cancelled()
            raise DeadKernelError(f"The kernel sent something that isn't a message ({type(error).__name__})") from error
        if self.km is not None and any(map(_out_of_memory, cell.outputs)):
            await self.km.ours.measured()  # one that still holds all it may have would end in the next cell
        if self.km is not None and self.km.ours.stopped:  # its last messages arrive, but this cell was its last
            raise DeadKernelError("The kernel was stopped over a limit")
        return cell

    def _get_timeout(self, cell: NotebookNode | None) -> int | None:
        return self._seconds  # type: ignore[return-value]  # nbclient only ever adds it to a time

    async def _async_poll_for_reply(
        self,
        msg_id: str,
        cell: NotebookNode,
        timeout: int | None,
        task_poll_output_msg: asyncio.Future[Any],
        task_poll_kernel_alive: asyncio.Future[Any],
    ) -> dict[str, Any]:
        """As nbclient's own, but the clock runs on while replies arrive that nobody asked for."""
        reply = await self.clock.in_time(asyncio.ensure_future(self._reply_to(msg_id)), cast(float, timeout))
        if reply is None:
            reply = await self._async_handle_timeout(cast(int, timeout), cell)
        try:
            await asyncio.wait_for(task_poll_output_msg, self.iopub_timeout)
        except TimeoutError:
            raise CellTimeoutError.error_from_timeout_and_cell(
                "Timeout waiting for IOPub output", self.iopub_timeout, cell
            ) from None
        finally:
            task_poll_kernel_alive.cancel()
        return cast("dict[str, Any]", reply)

    async def _waited(self) -> float:
        assert self.km is not None
        return await self.km.ours.waited()

    async def _reply_to(self, msg_id: str) -> dict[str, Any]:
        assert self.kc is not None
        while True:
            message = await self.kc.shell_channel.get_msg(timeout=None)
            if message["parent_header"].get("msg_id") == msg_id:
                return cast("dict[str, Any]", message)
            await asyncio.sleep(0)  # a message that is there already is had without giving way to the clock

    async def _async_handle_timeout(self, timeout: int, cell: NotebookNode | None = None) -> dict[str, Any] | None:
        """As nbclient's own, but the interrupt is out before the next cell is, which it would else hit."""
        self.timed_out = True
        reply = await super()._async_handle_timeout(timeout, cell)
        await self._waited()  # whoever interrupts answers in turn
        return reply

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """Keep an output while there is room for it; what comes after is dropped, with one line that says so."""
        if msg["msg_type"] in ("stream", "display_data", "execute_result", "error", "update_display_data"):
            if self._room <= 0:
                return None
            self._room -= self._room if "cut" in msg else _size(msg["content"]) + sum(map(len, msg["buffers"]))
            if self._room <= 0:
                cut = nbformat.v4.new_output("stream", name="stderr", text="[output cut: this cell printed too much]\n")
                cell.outputs.append(cut)
                return cast(NotebookNode, cut)
        if _answers(msg):
            self._answer = msg["buffers"]
            return None
        try:
            return super().process_message(msg, cell, cell_index)
        except CellExecutionComplete:
            raise
        except Exception:  # noqa: BLE001 - a message that a student's code forged: no output, and no harm
            return None


def _raise_if_cancelled() -> None:
    """To nbclient a cancelled task is a dead kernel's; an interrupt at the terminal cancels ours, and must go on."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _end(usage: Mapping[str, Any], source: KernelSource) -> str | None:
    """How a kernel ended, from what its provisioner knows: over a limit, by a signal, or of itself."""
    reason, status = usage.get("reason"), usage.get("status")
    if reason is not None:
        return source.limits.exceeded(reason)
    if status is None or status == KILLED:  # by us, as every kernel that did not end before
        return None
    if status > SIGNALED:
        with contextlib.suppress(ValueError):
            return f"it got the signal {signal.Signals(status - SIGNALED).name}"
    return f"it ended itself, with exit status {status}"


def _out_of_memory(output: NotebookNode) -> bool:
    """Whether a cell stopped because it got no memory: from Python, numpy, torch, or the system."""
    if output["output_type"] != "error":
        return False
    return output["ename"].endswith("MemoryError") or "allocate memory" in output["evalue"]


def _answers(message: dict[str, Any]) -> bool:
    """Whether a message is a probe's answer, or pretends to be."""
    if message["msg_type"] != "display_data" or not message["buffers"]:
        return False
    data = message["content"].get("data")
    return isinstance(data, dict) and MIME in data


def _size(content: object) -> int:
    """About how many bytes a message's content takes in memory."""
    if isinstance(content, str):
        return len(content)
    if isinstance(content, dict):
        return _CONTAINER + sum(_size(value) for value in content.values())
    if isinstance(content, list):
        return _CONTAINER + sum(_size(value) for value in content)
    return 8
