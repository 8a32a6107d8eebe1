"""The template process: loads everything once, then starts a kernel for each request.

It reads its requests from one socket, whose other end the grader holds. For a `snapshot` it imports the libraries and
runs the setup cells, and each kernel is a fork of it. For `cold` it stays small, and each kernel is a new interpreter.
It runs none of the student's code, and being outside a kernel's namespaces it is out of reach for it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import select
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from . import confine, watch, wire

LIBRARIES = (
    "torch torch.nn.functional numpy matplotlib.pyplot matplotlib.backends.backend_agg matplotlib_inline.backend_inline "
    "safetensors.torch grader_probe"
).split()
"""What a snapshot has loaded besides ipykernel, as far as it is installed."""

_CHANNELS = ("shell", "iopub", "stdin", "control")
_WATCH_SECONDS, _GUARDIAN_SECONDS = 0.1, 0.5


class Kernel(NamedTuple):
    """A running kernel: its outermost process, and the socket on which its end is announced."""

    pid: int
    lifeline: socket.socket


class Template:
    """Starts, signals, watches and reaps kernels on request."""

    def __init__(self, channel: socket.socket, config: Mapping[str, Any]) -> None:
        self._channel = channel
        self._config = config
        self._kernels: dict[int, Kernel] = {}
        self._killed: dict[int, str] = {}
        self._deadlines: dict[int, float] = {}
        self._app: Any = None

    def prepare(self) -> list[list[dict[str, Any]]]:
        """Load the libraries and run the setup cells; what each of them published."""
        if self._config["kind"] == "cold":
            return []
        self._app = _load()
        published = []
        for number, source in enumerate(self._config["setup_cells"], 1):
            outputs, failed = self._app.run_setup_cell(source)
            if failed is not None:
                raise RuntimeError(f"setup cell {number} raised {failed}")
            published.append(outputs)
        gc.collect()
        gc.freeze()  # what is here stays: a collection in a fork must not touch, and so copy, its pages
        return published

    def run(self) -> None:
        """Serve requests until the grader closes its end."""
        wakeup, waker = socket.socketpair()
        for end in (wakeup, waker):
            end.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._inherited = (self._channel, wakeup, waker)
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(wakeup, select.POLLIN)
        while True:
            ready = dict(poll.poll(_WATCH_SECONDS * 1000 if self._kernels else None))
            if wakeup.fileno() in ready:
                wakeup.recv(4096)
            self._reap()
            self._watch()
            self._kill_late()
            if self._channel.fileno() in ready and not self._handle():
                return

    def _handle(self) -> bool:
        request, descriptors = wire.receive(self._channel)
        if request is None:
            return False
        if request["do"] == "start":
            self._start(request, descriptors)
        elif request["id"] in self._kernels:
            self._signal(request["id"], request["signal"])
        return True

    def _signal(self, number: int, signum: int) -> None:
        if signum != signal.SIGINT:
            self._kill(number)
        elif self._config["namespaces"]:
            _send(self._kernels[number].pid, signum)  # the guardian passes it on
        else:
            confine.signal_group(self._kernels[number].pid, signum)

    def _kill(self, number: int) -> None:
        """End a kernel and all it started."""
        pid = self._kernels[number].pid
        if self._config["namespaces"]:
            _send(pid, signal.SIGTERM)
            self._deadlines.setdefault(number, time.monotonic() + _GUARDIAN_SECONDS)
        else:
            for one in (*watch.descendants(pid), pid):
                _send(one, signal.SIGKILL)

    def _kill_late(self) -> None:
        """Where a guardian has not ended in time, end it: then the system ends the rest."""
        for number, deadline in list(self._deadlines.items()):
            if number not in self._kernels:
                del self._deadlines[number]
            elif time.monotonic() > deadline:
                _send(self._kernels[number].pid, signal.SIGKILL)

    # --- starting -----------------------------------------------------------------------------------------------------

    def _start(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        lifeline = socket.socket(fileno=descriptors[0])
        sockets = dict(zip(_CHANNELS, descriptors[1:], strict=False))
        dice = random.getstate()
        namespaces = self._config["namespaces"]
        pid = confine.fork_into_namespaces() if namespaces else os.fork()
        if pid == 0:
            self._become_kernel(request, sockets, lifeline, dice)
        self._kernels[request["id"]] = Kernel(pid, lifeline)
        for descriptor in sockets.values():
            os.close(descriptor)

    def _become_kernel(
        self, request: Mapping[str, Any], sockets: Mapping[str, int], lifeline: socket.socket, dice: Any
    ) -> None:
        """The rest of a kernel's life, in its outermost process. Never returns."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for inherited in self._inherited:
                inherited.close()
            for kernel in self._kernels.values():
                kernel.lifeline.close()
            if self._config["namespaces"]:
                confine.furnish(self._config["limits"]["tmp_mb"] << 20, self._config["kept"])
                confine.guard(lambda: self._kernel(request, sockets, lifeline, dice))
            else:
                confine.die_with_parent()
                os.chdir(request["folder"])
                self._kernel(request, sockets, lifeline, dice)
        except BaseException:
            _report(lifeline, {"failed": traceback.format_exc()})
        finally:
            os._exit(1)

    def _kernel(self, request: Mapping[str, Any], sockets: Mapping[str, int], lifeline: socket.socket, dice: Any) -> None:
        try:
            os.setsid()
            _no_terminal()
            confine.leave_keyring()
            confine.set_limits(self._config["limits"], own_user=self._config["namespaces"])
            confine.give_up_privileges()
            if self._app is None:
                _execute_cold(request, sockets)
            random.setstate(dice)  # Python reseeds it in a fork, which would undo a seed set by a setup cell
            gc.enable()
            self._app.serve(sockets, request["key"].encode(), lifeline.close)
        except BaseException:
            _report(lifeline, {"failed": traceback.format_exc()})
            os._exit(1)

    # --- ending -------------------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        numbers = {kernel.pid: number for number, kernel in self._kernels.items()}
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid not in numbers:
                continue  # an orphan of a kernel without a guardian
            number = numbers.pop(pid)
            end = {
                "status": confine.exit_status(status),
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
                "reason": self._killed.pop(number, None),
            }
            lifeline = self._kernels.pop(number).lifeline
            _report(lifeline, end)
            lifeline.close()

    def _watch(self) -> None:
        """Kill each kernel whose processes together exceed its memory or its CPU time."""
        limits = self._config["limits"]
        for number, usage in watch.measure({number: kernel.pid for number, kernel in self._kernels.items()}).items():
            guardian = self._kernels[number].pid if self._config["namespaces"] else None
            reason = watch.excess(usage, limits["memory_mb"] << 20, limits["cpu_seconds"], guardian)
            if reason is not None:
                self._killed.setdefault(number, reason)
                self._kill(number)


def _send(pid: int, signum: int) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        pass


def _load() -> Any:
    """Import the libraries and make the kernel application, up to where it needs a connection."""
    import ipykernel.debugger  # imported by the kernel's constructor: better once, here

    ipykernel.debugger._is_debugpy_available = False
    for name in LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)  # before its first operation: a pool of threads would not survive a fork
    from .kernelapp import KernelApp

    app = KernelApp.instance()
    app.prepare()
    return app


def _execute_cold(request: Mapping[str, Any], sockets: Mapping[str, int]) -> None:
    for descriptor in sockets.values():
        os.set_inheritable(descriptor, True)
    connection = json.dumps({"sockets": sockets, "key": request["key"]})
    os.execv(sys.executable, [sys.executable, "-c", request["boot"], connection])


def _make_desk(config: Mapping[str, Any]) -> None:
    """Make the folder that setup cells, and after them kernels, start in, and work there."""
    shutil.copytree(config["files"], config["desk"])
    if config["namespaces"]:
        os.mkdir(confine.HOME, 0o700)
    os.chdir(config["desk"])


def _no_terminal() -> None:
    """Standard streams that lead nowhere: what a kernel prints goes to the notebook."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def _report(lifeline: socket.socket, message: Mapping[str, Any]) -> None:
    """Tell the grader about the end of a kernel, if it is still there to hear it."""
    try:
        lifeline.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        pass


def main() -> None:
    """Run on the socket whose descriptor is the first argument."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    config, _ = wire.receive(channel)
    if config is None:
        return
    sys.path[:0] = config["modules_path"]
    sys.argv = ["ipykernel_launcher.py", "-f", "kernel.json"]
    confine.adopt_orphans()
    _make_desk(config)
    template = Template(channel, config)
    try:
        published = template.prepare()
    except Exception as error:
        wire.send(channel, {"failed": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()})
        return
    wire.send(channel, {"ready": True, "published": published})
    template.run()
