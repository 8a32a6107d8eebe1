"""Families of namespaces for kernels, made by a process that is small enough to be forked cheaply.

A kernel's processes live in namespaces of their own. Process 1 there is a guardian: it sets up what the kernel sees,
collects orphans and, when told to, kills every process of the family and ends. If it is killed itself, the system
kills the others. The kernel comes in from outside, by `confine.enter`: a fork of the template, which is too large to
be forked for a guardian as well.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

from . import confine, wire

_PATIENCE = 0.01


class Ended(NamedTuple):
    """A guardian and the CPU seconds that it and the orphans it collected took."""

    guardian: int
    cpu_seconds: float


class Nursery:
    """The template's view: a child process that makes guardians."""

    def __init__(self, tmp_bytes: int, kept: Sequence[str]) -> None:
        self._channel, theirs = socket.socketpair()
        self._ended: list[Ended] = []
        if os.fork() == 0:
            try:
                self._channel.close()
                _serve(theirs, tmp_bytes, kept)
            finally:
                os._exit(1)
        theirs.close()

    def fileno(self) -> int:
        """Becomes readable when a guardian ended."""
        return self._channel.fileno()

    def make(self) -> int:
        """Make namespaces, ready for a kernel; the process ID of their guardian. Raises `OSError`."""
        wire.send(self._channel, {"do": "make"})
        while True:
            reply = self._receive()
            if "failed" in reply:
                raise OSError(reply["failed"])
            if "made" in reply:
                return int(reply["made"])
            self._ended.append(Ended(reply["ended"], reply["cpu_seconds"]))

    def try_out(self) -> None:
        """Make namespaces once, with a process in them, and end them. Raises `OSError` where the system refuses.

        A process that has put another into namespaces can't fork outside of them any more: so a third one does it.
        """
        guardian = self.make()
        family = os.pidfd_open(guardian)
        between = os.fork()
        if between == 0:
            status = 1
            try:
                pid = confine.fork_into_family(family)
                if pid == 0:
                    confine.enter(family)
                    status = 0
                else:
                    status = confine.exit_status(os.waitpid(pid, 0)[1])
            finally:
                os._exit(status)
        status = os.waitpid(between, 0)[1]
        os.close(family)
        os.kill(guardian, signal.SIGKILL)
        if status != 0:
            raise OSError("a process may not enter the namespaces that were made for it")

    def ended(self) -> list[Ended]:
        """The guardians that ended since the last call."""
        while select.select([self._channel], [], [], 0)[0]:
            reply = self._receive()
            self._ended.append(Ended(reply["ended"], reply["cpu_seconds"]))
        ended, self._ended = self._ended, []
        return ended

    def _receive(self) -> dict[str, Any]:
        reply, _ = wire.receive(self._channel)
        if reply is None:
            raise OSError("the process that makes namespaces is gone")
        return reply

    def close(self) -> None:
        """Close this process's end; in a kernel the nursery is out of reach."""
        self._channel.close()


def _serve(channel: socket.socket, tmp_bytes: int, kept: Sequence[str]) -> None:
    """Make guardians on request and report their ends, until the template is gone."""
    confine.die_with_parent()
    with confine.ChildEnds() as ends:
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        poll.register(ends, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if ends.fileno() in ready:
                for pid, _, usage in ends.reap():
                    wire.send(channel, {"ended": pid, "cpu_seconds": usage.ru_utime + usage.ru_stime})
            if channel.fileno() in ready:
                request, _ = wire.receive(channel)
                if request is None:
                    return
                wire.send(channel, _make(tmp_bytes, kept))


def _make(tmp_bytes: int, kept: Sequence[str]) -> dict[str, object]:
    said, say = os.pipe()
    try:
        pid = confine.fork_into_namespaces()
    except OSError as error:
        return {"failed": str(error)}
    if pid == 0:
        _guard(say, tmp_bytes, kept)
    os.close(say)
    word = os.read(said, 4096).decode()
    os.close(said)
    return {"made": pid} if word == "ready" else {"failed": word or "a guardian ended early"}


def _guard(say: int, tmp_bytes: int, kept: Sequence[str]) -> None:
    """The guardian's life. Never returns."""
    try:
        watched = {signal.SIGTERM, signal.SIGCHLD}
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_BLOCK, watched)  # from here on they are waited for
        confine.furnish(tmp_bytes, kept)
        confine.give_up_privileges()
        confine.close_to_others()
        os.write(say, b"ready")
        os.closerange(0, 1 << 16)
        while signal.sigwait(watched) != signal.SIGTERM:
            _collect()
        while _kill_the_others():
            signal.sigtimedwait(watched, _PATIENCE)
            _collect()
    except BaseException as error:
        os.write(say, f"{type(error).__name__}: {error}".encode()[:4096])
    finally:
        os._exit(0)


def _collect() -> None:
    """Reap the orphans that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
    except ChildProcessError:
        pass


def _kill_the_others() -> bool:
    """Kill every other process of the namespace; whether there was any, or is one that nobody has reaped yet."""
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
