"""Grading on dask.distributed: a cluster of this machine, or one that is there already.

Of the cluster, only tasks are used, and a plugin that puts the graders on each worker. At any time it holds a bounded
number of batches, so that memory doesn't grow with the cohort.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import signal
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError

import dask.config
import msgspec
from distributed import Client, Future, LocalCluster, Security, as_completed
from distributed.comm.addressing import parse_address
from distributed.comm.registry import get_backend
from distributed.scheduler import KilledWorker

from grader.choices import Sandbox
from grader.course.course import Course
from grader.errors import ClusterError
from grader.grading.dask_worker import GraderPlugin, grade_packed
from grader.grading.ungradable import ungradable
from grader.intake.found import Found
from grader.kernels import KernelKind, scratch_folders
from grader.records import Grading

BATCH = 16
"""Submissions in a task, at most. They share a pytest session, and are graded again when their worker dies."""
BATCH_BYTES = 4 << 20
"""A batch of large notebooks ends here."""
MIN_WINDOW = 16
"""Batches with the cluster before the first is done: what one that grows with its queue gets to see."""
CONNECT_SECONDS = 10

_CONFIG = {
    "distributed.worker.profile.enabled": False,  # it looks at the stack a hundred times a second
    "distributed.admin.tick.interval": "1s",  # how late its event loops are: it asks each of them fifty times a second
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.scheduler.allowed-failures": 0,  # see `DaskWorkers`
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.admin.low-level-log-length": 16,  # of 1,000 messages it would keep all submissions' notebooks, twice
    "distributed.admin.large-graph-warning-threshold": "1GB",  # submissions are in the graph on purpose
}
_KILLED = "Two workers died while grading it, so it was given up: look at what it does before you grade it again."


class DaskWorkers:
    """Grades on a cluster.

    When a worker dies, the batch that it had is graded elsewhere, one submission at a time with nothing else running.
    So the one that killed it is told from the others: with it, a second worker dies.

    Args:
        client: the cluster's, with a `GraderPlugin` on every worker.
        plugin: its name.
        course: the course, for what is said of a submission that was given up.
    """

    def __init__(self, client: Client, plugin: str, course: Course) -> None:
        self.client = client
        self.plugin = plugin
        self.course = course

    def grade(self, found: Sequence[Found], done: Callable[[Grading], None]) -> None:
        """As `Workers.grade`."""
        threads = max(sum(self.client.nthreads().values()), 1)
        suspects: list[Found] = []
        self._run(_batches(found, threads), max(MIN_WINDOW, 2 * threads), done, suspects.extend)
        self._run(([suspect] for suspect in suspects), 1, done, lambda batch: done(self._given_up(*batch)))

    def _run(
        self,
        batches: Iterable[list[Found]],
        window: int,
        done: Callable[[Grading], None],
        killed: Callable[[list[Found]], None],
    ) -> None:
        """Grade the batches, at most `window` at a time; `killed` is handed those whose worker died."""
        batches = iter(batches)
        running: dict[Future[bytes], list[Found]] = {}
        finished = as_completed(loop=self.client.loop)

        def start_next() -> None:
            batch = next(batches, None)
            if batch is not None:
                future = self._start(batch)
                running[future] = batch
                finished.add(future)

        try:
            for _ in range(window):
                start_next()
            for future in finished:
                batch = running.pop(future)
                try:
                    gradings = msgspec.msgpack.decode(future.result(), type=list[Grading])
                except KilledWorker:
                    killed(batch)
                else:
                    for grading in gradings:
                        done(grading)
                start_next()
        except CancelledError as error:
            raise ClusterError(
                "The connection to the scheduler was lost: what was graded has been written. Grade again to go on."
            ) from error
        finally:
            with contextlib.suppress(Exception):
                self.client.cancel(list(running))

    def _start(self, batch: Sequence[Found]) -> Future[bytes]:
        data = msgspec.msgpack.encode([item.submission() for item in batch])
        return self.client.submit(grade_packed, self.plugin, data, key=f"grade-{uuid.uuid4().hex}")

    def _given_up(self, item: Found) -> Grading:
        return ungradable(item.submission(), self.course.spec(item.exercise), _KILLED)


def _batches(found: Sequence[Found], threads: int) -> Iterator[list[Found]]:
    """The submissions in batches, smaller towards the end: there, nobody should wait long for the last one's batch."""
    batch: list[Found] = []
    room = BATCH_BYTES
    for left, item in zip(range(len(found), 0, -1), found, strict=True):
        if not batch:
            size = max(1, min(BATCH, left // (2 * threads)))
        batch.append(item)
        room -= item.size()
        if len(batch) == size or room <= 0 or left == 1:
            yield batch
            batch, room = [], BATCH_BYTES


@contextlib.contextmanager
def open_dask(
    course: Course, exercise_ids: Sequence[str], kernel: KernelKind, sandbox: Sandbox, where: int | str
) -> Iterator[DaskWorkers]:
    """A cluster of `where` processes on this machine, or the one whose scheduler's address `where` is.

    Raises:
        ClusterError: the scheduler doesn't answer, or its workers can't grade.
    """
    name = f"grader-{uuid.uuid4().hex}"
    children = where if isinstance(where, int) else 0
    plugin = GraderPlugin(name, course.packed(exercise_ids), kernel, sandbox, children)
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(_CONFIG))
        client = stack.enter_context(_local_client(where) if isinstance(where, int) else _client(where))
        try:
            client.register_plugin(plugin)
        except (ImportError, AttributeError) as error:
            raise ClusterError(f"The workers can't load the grader ({error}): install it on all of them.") from error
        stack.callback(_unregister, client, name)
        yield DaskWorkers(client, name, course)


@contextlib.contextmanager
def _client(address: str) -> Iterator[Client]:
    try:
        get_backend(parse_address(address, strict=True)[0])
    except ValueError as error:
        raise ClusterError(f"{address!r} isn't a scheduler's address: one begins with tcp:// or tls://.") from error
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(f"The scheduler {address!r} doesn't answer: check that it runs, and its address.") from error
    with client:
        yield client


@contextlib.contextmanager
def _local_client(workers: int) -> Iterator[Client]:
    """Processes of this machine, each with one thread. Only they and we have the keys to their ports on loopback."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        folder = scratch_folders.folder("dask")
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        security = Security.temporary()
        with _interrupts_ignored():  # by the children while they start; afterwards their plugin sees to it
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                worker_dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False},
                memory_limit=0,
                local_directory=str(folder),
                preload=["grader.startup"],
                security=security,
                silence_logs=logging.CRITICAL,
            )
        stack.enter_context(cluster)
        yield stack.enter_context(Client(cluster, set_as_default=False))


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _unregister(client: Client, plugin: str) -> None:
    """Take the graders off the workers again; a cluster that is gone needs nothing taken off."""
    with contextlib.suppress(Exception):
        client.unregister_worker_plugin(plugin)
