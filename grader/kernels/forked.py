"""A template process that is a fork of this one, for kernels that nothing confines.

`grader check` runs a student's own notebook, and both it and the notebook's kernels need torch: so it is imported once.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import NoReturn

from grader.kernels.sandbox import unconfined_environment


def can_fork() -> bool:
    """Whether this process is as good to start from as a new one: with one thread, and torch not used yet."""
    return sys.platform == "linux" and threading.active_count() == 1 and "torch" not in sys.modules


class Fork:
    """A fork of this process that has the kernels' libraries loaded; to its parent it is what a `Popen` is.

    Args:
        boot: Python source that the fork runs in place of everything here.
        keep: the descriptor that it has besides the standard ones.
        errors: where its standard output and error go.
        libraries: what it has loaded besides the usual libraries.
    """

    def __init__(self, boot: str, keep: int, errors: int, libraries: Sequence[str] = ()) -> None:
        from grader.kernels.inside.libraries import load_libraries

        environment = unconfined_environment()
        os.environ.update(environment)  # before torch is there, and its threads
        load_libraries(libraries)
        self.returncode: int | None = None
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # else the fork, too, has what is to be written
        self.pid = os.fork()
        if self.pid == 0:
            for name in os.environ.keys() - environment.keys():
                del os.environ[name]
            _become(boot, keep, errors)
        self._end = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """`None` while it runs, else its exit status."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
                os.close(self._end)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its exit status.

        Raises:
            subprocess.TimeoutExpired: it runs on.
        """
        if self.returncode is None:
            select.select([self._end], [], [], timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired("template", timeout or 0.0)
        return status

    def kill(self) -> None:
        """End it."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def _become(boot: str, keep: int, errors: int) -> NoReturn:
    """The life of the fork: it forgets what its parent was doing, and does not return to it."""
    try:
        _as_if_new(keep, errors)
        exec(boot, {"__name__": "__main__"})
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.__stderr__.flush()  # type: ignore[union-attr]
    finally:
        os._exit(1)


def _as_if_new(keep: int, errors: int) -> None:
    os.setsid()  # an interrupt at the terminal is the grader's to handle
    signal.signal(signal.SIGINT, signal.default_int_handler)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(errors, 1)
    os.dup2(errors, 2)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in (keep, null):
            os.dup2(null, int(name), inheritable=False)  # the number stays taken: its Python object may close it yet
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
    sys.excepthook, sys.displayhook = sys.__excepthook__, sys.__displayhook__
    for name, module in list(sys.modules.items()):
        if module is None or name.partition(".")[0] == "grader":  # in a kernel `import grader` finds the probe's
            del sys.modules[name]
    sys.setrecursionlimit(sys.getrecursionlimit() + _depth())
    os.chdir("/")


def _depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth
