"""The template process: loads everything once, then starts a kernel for each request.

It reads its requests from one socket, whose other end the grader holds. For `cold` it stays small, and each kernel is a
new interpreter. For a `snapshot` it imports the libraries, runs the setup cells and makes branches: forks of it, each
with a socket of its own, which run more of the exercise's own cells, if any, and of which the kernels are forks. None
of these runs any of the student's code, and being outside a kernel's namespaces they are out of reach for it.
"""

from __future__ import annotations

import gc
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from . import confine, libraries, memory_pages, namespaces, seccomp, watch, wire

_CHANNELS = ("shell", "iopub", "stdin", "control")  # the sockets of a cold kernel; a snapshot's has one
_GUARDIAN_SECONDS = 0.5
_ROUNDS = 20
"""So often what a kernel has started is looked for, while it starts more."""
_NURSERIES = 6
"""Each branch needs one, made while the template is small: three can be asked for, and are renewed beside the old."""
_END_SECONDS, _LAST_SECONDS, _PAUSE_SECONDS = 2.0, 0.5, 0.005


@dataclass
class Kernel:
    """A kernel's process, its guardian where it has one, and the socket on which its end is announced."""

    pid: int
    guardian: int | None
    lifeline: socket.socket
    status: int | None = None
    cpu_seconds: float = 0.0
    reason: str | None = None
    large: bool = False
    """At the last look its processes used more memory than allowed."""
    deadline: float | None = None


class Template:
    """Starts, signals, watches and reaps kernels on request."""

    def __init__(self, channel: socket.socket, config: Mapping[str, Any]) -> None:
        self._channel = channel
        self._config = config
        self._limits: dict[str, int] = config["limits"]
        self._kernels: dict[int, Kernel] = {}
        self._app: Any = None
        self._many = False
        """Whether so many kernels are wanted that what makes each of them cheaper is worth its time."""
        self._nursery: namespaces.Nursery | None = None
        self._nurseries: list[namespaces.Nursery] = []  # the branches', as long as they have none
        self._branches: dict[int, namespaces.Nursery | None] = {}
        self._retired: float | None = None

    def prepare(self) -> list[list[dict[str, Any]]]:
        """Load the libraries and run the setup cells; what each of them published."""
        kind = self._config["kind"]
        if self._config["namespaces"]:  # first: as long as this process is small
            room = self._limits["tmp_mb"] << 20, self._config["kept"]
            self._nursery = namespaces.Nursery(*room)
            self._nursery.try_out()
            self._nurseries = [namespaces.Nursery(*room) for _ in range(_NURSERIES if kind == "snapshot" else 0)]
            seccomp.prepare()  # here, and not in every kernel
        if kind == "cold":
            return []
        memory_pages.lay_out()
        gc.disable()  # of what is imported and set up here nothing is garbage
        self._app = libraries.load_kernel(self._config["libraries"])
        return self._run_steps([("cell", source) for source in self._config["setup_cells"]])

    def _run_steps(self, steps: Sequence[Sequence[str]]) -> list[list[dict[str, Any]]]:
        """Run cells of the exercise, and code of the grader's own (`probe`); what each cell published."""
        gc.disable()
        published = []
        for number, (kind, source) in enumerate(steps, 1):
            outputs, failed = self._app.run(source, cell=kind == "cell")
            if failed is not None:
                raise RuntimeError(f"setup cell {number} raised {failed}")
            if kind == "cell":
                published.append(outputs)
        memory_pages.fill_gaps()
        gc.freeze()  # what is here stays: a collection in a fork must not touch, and so copy, its pages
        gc.enable()
        if self._many:
            memory_pages.gather()
        return published

    def serve(self, prepare: Callable[[], list[list[dict[str, Any]]]]) -> NoReturn:
        """Get ready, say what was published on the way, and serve requests to the end of the process."""
        try:
            published = prepare()
        except Exception as error:
            wire.send(self._channel, {"failed": str(error), "refused": isinstance(error, OSError)})
            os._exit(1)
        wire.send(self._channel, {"ready": True, "published": published})
        self._run()
        os._exit(0)  # everything that it started has ended; Python would take down each module first

    def _run(self) -> None:
        """Serve requests until the grader closes its end."""
        self._in_use = confine.memory_in_use()
        with confine.ChildEnds() as self._ends:
            poll = select.poll()
            poll.register(self._channel, select.POLLIN)
            poll.register(self._ends, select.POLLIN)
            if self._nursery is not None:
                poll.register(self._nursery, select.POLLIN)
            look = 0.0
            while self._kernels or self._retired is None or time.monotonic() < self._retired + _LAST_SECONDS:
                watches = self._kernels or self._retired is not None
                ready = dict(poll.poll(wire.LOOK_SECONDS * 1000 if watches else None))
                self._notice_ends()
                if time.monotonic() > look:
                    self._watch()
                    look = time.monotonic() + wire.LOOK_SECONDS
                if self._channel.fileno() in ready and not self._handle():
                    break
            for kernel in self._kernels.values():
                self._kill(kernel)
            self._end_branches()

    def _handle(self) -> bool:
        request, descriptors = wire.receive(self._channel)
        if request is None:
            return False
        if request["do"] == "start":
            self._start(request, descriptors)
        elif request["do"] == "branch":
            self._branch(request["steps"], descriptors[0])
        elif request["do"] == "improve":
            self._improve()
        elif request["do"] == "retire":
            self._retired = time.monotonic()  # a request may be on its way yet
        elif (kernel := self._kernels.get(request["id"])) is not None:
            if request["do"] == "signal":
                self._signal(kernel, request["signal"])
            else:
                _report(kernel.lifeline, {"waited": watch.waited([kernel.pid]), "reason": kernel.reason})
        return True

    def _improve(self) -> None:
        """Make further kernels and branches cheaper: there will be many."""
        self._many = True
        if self._app is not None:
            self._app.rehearse()
            memory_pages.gather()

    # --- branches -----------------------------------------------------------------------------------------------------

    def _branch(self, steps: Sequence[Sequence[str]], descriptor: int) -> None:
        """Fork a branch, which runs `steps` and is then asked for kernels on the socket `descriptor`."""
        deadline = time.monotonic() + _END_SECONDS
        while self._nursery is not None and not self._nurseries:
            if time.monotonic() > deadline:
                os.close(descriptor)  # which says that there is none
                return
            time.sleep(_PAUSE_SECONDS)
            self._notice_ends()
        nursery = self._nurseries.pop() if self._nurseries else None
        dice = random.getstate()
        try:
            pid = os.fork()
        except OSError:  # no memory for it
            self._nurseries += [nursery] if nursery is not None else []
        else:
            if pid == 0:
                random.setstate(dice)
                self._become_branch(nursery, steps, descriptor)
            self._branches[pid] = nursery
        os.close(descriptor)

    def _become_branch(
        self, nursery: namespaces.Nursery | None, steps: Sequence[Sequence[str]], descriptor: int
    ) -> NoReturn:
        """The life of a branch's process."""
        try:
            self._leave_template()
            confine.die_with_parent()
            confine.adopt_orphans()
            branch = Template(socket.socket(fileno=descriptor), self._config)
            branch._app, branch._many = self._app, self._many
            branch._nursery = nursery
            branch.serve(lambda: branch._run_steps(steps))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)

    def _end_branches(self) -> None:
        """Wait for the branches, whose sockets are closed with this one's, and kill what does not end."""
        deadline = time.monotonic() + _END_SECONDS
        while self._branches and time.monotonic() < deadline:
            self._notice_ends()
            time.sleep(_PAUSE_SECONDS if self._branches else 0.0)
        for pid in self._branches:
            _send(pid, signal.SIGKILL)

    # --- starting -----------------------------------------------------------------------------------------------------

    def _start(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        lifeline = socket.socket(fileno=descriptors[0])
        sockets = descriptors[1:]
        try:
            guardian = self._nursery.make() if self._nursery is not None else None
            pid = self._fork(guardian, request, sockets, lifeline)
        except OSError as error:
            _report(lifeline, {"failed": str(error)})
            lifeline.close()
        else:
            self._kernels[request["id"]] = Kernel(pid, guardian, lifeline)
        for descriptor in sockets:
            os.close(descriptor)

    def _fork(self, guardian: int | None, *handed_over: Any) -> int:
        dice = random.getstate()  # Python reseeds it in a fork, which would undo a seed that a setup cell has set
        if guardian is None:
            return os.fork() or self._become_kernel(None, dice, *handed_over)
        family = os.pidfd_open(guardian)
        try:
            return confine.fork_into_family(family) or self._become_kernel(family, dice, *handed_over)
        finally:
            os.close(family)

    def _become_kernel(
        self,
        family: int | None,
        dice: Any,
        request: Mapping[str, Any],
        sockets: Sequence[int],
        lifeline: socket.socket,
    ) -> NoReturn:
        """The life of a kernel's process."""
        try:
            if self._many:
                memory_pages.begin_anew()
            self._leave_template()
            if family is not None:
                confine.enter(family)
                os.close(family)
            os.chdir(request["folder"] or confine.WORKDIR)
            os.setsid()
            _no_terminal()
            confine.leave_keyring()
            confine.set_limits(self._limits, self._in_use, own_user=family is not None)
            confine.give_up_privileges()
            if family is not None:
                seccomp.install()
            if self._app is None:
                _execute_cold(request, sockets)
            self._app.connect(*sockets)
            random.setstate(dice)
            lifeline.close()
            self._app.start()
        except BaseException:
            _report(lifeline, {"failed": traceback.format_exc()})
        finally:
            os._exit(1)

    def _leave_template(self) -> None:
        """Close what is the template's, in a kernel or a branch."""
        if self._nursery is None:
            confine.die_with_parent()
        for nursery in (self._nursery, *self._nurseries, *self._branches.values()):
            if nursery is not None:
                nursery.close()
        self._ends.__exit__()
        self._channel.close()
        for kernel in self._kernels.values():
            kernel.lifeline.close()

    # --- ending -------------------------------------------------------------------------------------------------------

    def _signal(self, kernel: Kernel, signum: int) -> None:
        if signum == signal.SIGINT:
            _interrupt(kernel)
        else:
            self._kill(kernel)

    def _kill(self, kernel: Kernel, reason: str | None = None) -> None:
        """End a kernel and all it started. A guardian is asked first: it then knows how much CPU time orphans took."""
        kernel.reason = kernel.reason or reason
        if kernel.guardian is None:
            for pid in (*watch.descendants(kernel.pid), kernel.pid):
                _send(pid, signal.SIGKILL)
        elif kernel.deadline is None:
            kernel.deadline = time.monotonic() + _GUARDIAN_SECONDS
            _send(kernel.guardian, signal.SIGTERM)
        elif time.monotonic() > kernel.deadline:
            _send(kernel.guardian, signal.SIGKILL)

    def _notice_ends(self) -> None:
        """A kernel has ended when its process and its guardian have: then nothing of it is left."""
        for pid, status, usage in self._ends.reap():
            if pid in self._branches:
                nursery = self._branches.pop(pid)
                self._nurseries += [nursery] if nursery is not None else []
            for number, kernel in self._kernels.items():
                if kernel.pid == pid:
                    kernel.status = confine.exit_status(status)
                    kernel.cpu_seconds += usage.ru_utime + usage.ru_stime
                    if kernel.guardian is None:
                        self._announce(number)
                    else:
                        self._kill(kernel)
                    break
        for ended in self._nursery.ended() if self._nursery is not None else ():
            for number, kernel in self._kernels.items():
                if kernel.guardian == ended.guardian:
                    kernel.cpu_seconds += ended.cpu_seconds
                    self._announce(number)
                    break

    def _announce(self, number: int) -> None:
        kernel = self._kernels.pop(number)
        _report(
            kernel.lifeline,
            {"status": kernel.status, "cpu_seconds": kernel.cpu_seconds, "reason": kernel.reason},
        )
        kernel.lifeline.close()

    def _watch(self) -> None:
        """Kill each kernel whose processes together exceed its memory or its CPU time.

        Memory at two looks running: between `vfork` and `exec` a child seems to have all that its parent has once more.
        """
        roots = {number: (one.pid, one.guardian) for number, one in self._kernels.items()}
        for number, usage in watch.measure(roots).items():
            kernel = self._kernels[number]
            reason = watch.excess(usage, self._limits["memory_mb"] << 20, self._limits["cpu_seconds"])
            large, kernel.large = kernel.large, reason == "memory"
            if kernel.large and not large:
                reason = None
            if reason is not None or kernel.deadline is not None:
                self._kill(kernel, reason)


def _interrupt(kernel: Kernel) -> None:
    """Interrupt a kernel's cell, and kill what it has started: in the next cell, that could be blamed for what it does.

    All is stopped first, so that nothing starts more meanwhile.
    """
    stopped: set[int] = set()
    for _ in range(_ROUNDS):
        found = {kernel.pid, *watch.descendants(kernel.pid, kernel.guardian)} - stopped
        if not found:
            break
        for pid in found:
            _send(pid, signal.SIGSTOP)
        stopped |= found
    for pid in stopped - {kernel.pid}:
        _send(pid, signal.SIGKILL)
    _send(kernel.pid, signal.SIGINT)
    _send(kernel.pid, signal.SIGCONT)


def _send(pid: int, signum: int) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        pass


def _execute_cold(request: Mapping[str, Any], sockets: Sequence[int]) -> None:
    for descriptor in sockets:
        os.set_inheritable(descriptor, True)
    connection = json.dumps({"sockets": dict(zip(_CHANNELS, sockets, strict=True)), "key": request["key"]})
    os.execv(sys.executable, [sys.executable, "-c", request["boot"], connection])


def _make_workdir(config: Mapping[str, Any]) -> None:
    """Make the folder that setup cells, and after them kernels, start in, and work there."""
    shutil.copytree(config["files"], config["workdir"])
    if config["namespaces"]:
        os.mkdir(confine.HOME, 0o700)
    os.chdir(config["workdir"])


def _no_terminal() -> None:
    """Standard streams that lead nowhere: what a kernel prints goes to the notebook."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def _report(lifeline: socket.socket, message: Mapping[str, Any]) -> None:
    """Tell the grader about a kernel, if it is still there to hear it."""
    try:
        lifeline.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        pass


def main(descriptor: int) -> None:
    """Run on a socket."""
    channel = socket.socket(fileno=descriptor)
    channel.set_inheritable(False)
    config, _ = wire.receive(channel)
    if config is None:
        return
    sys.path[:0] = config["modules_path"]
    if sys.flags.safe_path:  # then IPython leaves out the folder in which the exercise's files are
        sys.path.append("")
    inherited = filter(None, [os.environ.get("PYTHONPATH")])
    os.environ["PYTHONPATH"] = os.pathsep.join([*config["modules_path"], *inherited])
    sys.argv = ["ipykernel_launcher.py", "-f", "kernel.json"]
    confine.adopt_orphans()
    _make_workdir(config)
    template = Template(channel, config)
    template.serve(template.prepare)
