"""What runs on a dask worker: a pool of warm graders, and the task that grades a batch with it.

Submissions arrive and gradings leave as MessagePack of our own records. Nothing that a student made is ever pickled.
"""

from __future__ import annotations

import shutil
import signal
import threading

import msgspec
from distributed import Worker, WorkerPlugin, get_worker

from grader.batch import grade_batch
from grader.course import unpacked_course
from grader.errors import ClusterError
from grader.kernels import runtime
from grader.pool import GraderPool, KernelKind, SandboxKind
from grader.records import Grading, Submission
from grader.version import grader_version


class GraderPlugin(WorkerPlugin):
    """Gives each worker the course and a pool of graders, for as long as a run lasts.

    Args:
        name: the run's own; several runs may share a cluster.
        course: the course's files, as `Course.packed` has them.
        kernel: how kernels come to be.
        sandbox: what they are confined by.
        local: whether the worker is a child of the command, and must leave Ctrl-C to it.
    """

    def __init__(
        self, name: str, course: dict[str, bytes], kernel: KernelKind, sandbox: SandboxKind, *, local: bool
    ) -> None:
        self.name = name
        self.course = course
        self.kernel = kernel
        self.sandbox = sandbox
        self.local = local
        self.version = grader_version()

    def setup(self, worker: Worker) -> None:
        """Lay out the course; kernels start with the first submission.

        Raises:
            ClusterError: the worker has another grader or another torch, whose verdicts could differ.
        """
        if grader_version() != self.version:
            raise ClusterError(
                f"The worker {worker.address} has grader {grader_version()} and this is {self.version}: "
                "install the same versions on both."
            )
        if self.local and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, lambda *_: None)  # and not SIG_IGN, which kernels would inherit
        course = unpacked_course(self.course, runtime.folder("course"))
        self.pool = GraderPool(course, self.kernel, self.sandbox)
        self.one_at_a_time = threading.Lock()  # a worker may have been started with several threads

    def teardown(self, worker: Worker) -> None:
        """Stop the kernels and forget the course; there is neither where the setup failed."""
        if hasattr(self, "pool"):
            self.pool.close()
            shutil.rmtree(self.pool.course.exercises, ignore_errors=True)


def grade_packed(plugin: str, batch: bytes) -> bytes:
    """The task: grade the submissions in `batch` with the pool of the named plugin."""
    found = get_worker().plugins[plugin]
    assert isinstance(found, GraderPlugin)
    gradings: list[Grading] = []
    with found.one_at_a_time:
        grade_batch(msgspec.msgpack.decode(batch, type=list[Submission]), found.pool, gradings.append)
    return msgspec.msgpack.encode(gradings)
