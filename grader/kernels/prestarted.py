"""Kernels that are started before they are asked for: whoever waits for a verdict doesn't wait for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from jupyter_client.asynchronous.client import AsyncKernelClient

from grader.errors import ExecutionError
from grader.kernels.kernel_source import Source
from grader.kernels.manager import KernelManager

SETUP_SECONDS = 300


class AheadSource(Source):
    """Another source's kernels, some of them started beforehand.

    Where that source's kernels come with nothing run, the setup cells are run in them beforehand too: a new interpreter
    takes seconds for that.

    Args:
        source: where the kernels come from; closed with this one.
        setup_cells: the exercise's setup.
    """

    def __init__(self, source: Source, setup_cells: Sequence[str]) -> None:
        super().__init__(source.limits)
        self._source = source
        self._setup_cells = setup_cells
        self._to_run: list[str] = []
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kernels-ahead")
        self._ready: list[Future[KernelManager]] = []
        self._branches: dict[Source, AheadSource] = {}
        self.held = source.held

    def branch(self, steps: Sequence[tuple[str, str]]) -> AheadSource | None:
        """The other source's kernels that have run further steps, some of them started beforehand, too."""
        branch = self._source.branch(steps)
        if branch is None:
            return None
        if branch not in self._branches:
            self._branches[branch] = AheadSource(branch, [])
        return self._branches[branch]

    def wait(self) -> None:
        """Until the other source's kernels can be had."""
        self._source.wait()
        self._to_run = list(self._setup_cells) if not self._source.setup_cells_run else []
        self.setup_cells_run = len(self._to_run) or self._source.setup_cells_run
        self.setup_outputs = [[] for _ in self._to_run] or self._source.setup_outputs

    def prepare(self, count: int) -> None:
        """See to it that `count` kernels are there, or on their way."""
        for _ in range(count - len(self._ready)):
            self._ready.append(self._starter.submit(self._started))

    def manager(self) -> KernelManager:
        """The manager of a kernel that runs, or where none was prepared, of one not started.

        Raises:
            ExecutionError: a kernel could not be prepared.
        """
        while self._ready:
            manager = self._ready.pop(0).result()
            if manager.has_kernel and self._starter.submit(asyncio.run, _alive(manager)).result():
                return manager
        return self._starter.submit(self._started).result() if self._to_run else self._source.manager()

    def _started(self) -> KernelManager:
        manager = self._source.manager()
        asyncio.run(self._start(manager))
        return manager

    async def _start(self, manager: KernelManager) -> None:
        await manager.start_kernel()
        if not self._to_run:
            return
        client = manager.client()
        client.start_channels()
        try:
            await client.wait_for_ready()
            for source in self._to_run:
                await _run(client, source)
        except BaseException as error:
            await manager.shutdown_kernel(now=True)
            if isinstance(error, TimeoutError):
                raise ExecutionError(f"The setup cells ran longer than {SETUP_SECONDS} s: shorten them.") from None
            raise
        finally:
            client.stop_channels()

    def close(self) -> None:
        """End the kernels that nobody asked for, and the source."""
        for future in self._ready:
            if not future.cancel():
                with contextlib.suppress(ExecutionError):
                    asyncio.run(future.result().shutdown_kernel(now=True))
        self._ready.clear()
        for branch in self._branches.values():
            branch.close()
        self._starter.shutdown()
        self._source.close()


async def _alive(manager: KernelManager) -> bool:
    return bool(await manager.is_alive())


async def _run(client: AsyncKernelClient, source: str) -> None:
    """Run a setup cell; what it shows is not looked at."""
    asked = client.execute(source, allow_stdin=False, stop_on_error=False)
    async with asyncio.timeout(SETUP_SECONDS):
        while True:
            reply = await client.shell_channel.get_msg(timeout=None)
            if reply["parent_header"].get("msg_id") == asked:
                break
    if reply["content"].get("status") != "ok":
        said = f"{reply['content'].get('ename')}: {reply['content'].get('evalue')}"
        raise ExecutionError(f"The kernels can't be prepared: {said}.")
