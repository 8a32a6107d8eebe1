"""What runs on a dask worker: a pool of warm graders, and the task that grades a batch with it.

Submissions arrive and gradings leave as MessagePack of our own records. Nothing that a student made is ever pickled.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading

import msgspec
from distributed import Worker, WorkerPlugin, get_worker

from grader.choices import Sandbox
from grader.course.course import unpacked_course
from grader.errors import ClusterError
from grader.grading.pool import GraderPool
from grader.grading.pytest_items import grade_batch
from grader.kernels import KernelKind, scratch_folders
from grader.records import Grading, Submission
from grader.version import grader_version


class GraderPlugin(WorkerPlugin):
    """Gives each worker the course and a pool of graders, for as long as a run lasts.

    Args:
        name: the run's own; several runs may share a cluster.
        course: the course's files, as `Course.packed` has them.
        kernel: how kernels come to be.
        sandbox: what they are confined by.
        children: how many workers are children of the command, and must leave Ctrl-C to it; 0 where it joined a
            cluster, whose machines are others' too.
    """

    def __init__(
        self, name: str, course: dict[str, bytes], kernel: KernelKind, sandbox: Sandbox, children: int
    ) -> None:
        self.name = name
        self.course = course
        self.kernel = kernel
        self.sandbox = sandbox
        self.children = children
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
        if self.children:
            _keep_to_one_core(worker, self.children)
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, lambda *_: None)  # and not SIG_IGN, which kernels would inherit
        course = unpacked_course(self.course, scratch_folders.folder("course"))
        self.pool = GraderPool(course, self.kernel, self.sandbox)
        self.one_at_a_time = threading.Lock()  # a worker may have been started with several threads

    def teardown(self, worker: Worker) -> None:
        """Stop the kernels and forget the course; there is neither where the setup failed."""
        if hasattr(self, "pool"):
            self.pool.close()
            shutil.rmtree(self.pool.course.exercises, ignore_errors=True)


def _keep_to_one_core(worker: Worker, workers: int) -> None:
    """Where each worker of this machine can have a core of its own, it and the kernels that it starts stay there.

    A worker and its kernel wait for each other by turns. Left to itself, Linux has two of such pairs on one core while
    another is idle, for 3 to 4 % of the time.
    """
    if sys.platform == "linux":
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) == workers:
            os.sched_setaffinity(0, {cores[int(worker.name)]})


def grade_packed(plugin: str, batch: bytes) -> bytes:
    """The task: grade the submissions in `batch` with the pool of the named plugin."""
    found = get_worker().plugins[plugin]
    assert isinstance(found, GraderPlugin)
    gradings: list[Grading] = []
    with found.one_at_a_time:
        grade_batch(msgspec.msgpack.decode(batch, type=list[Submission]), found.pool, gradings.append)
    return msgspec.msgpack.encode(gradings)
