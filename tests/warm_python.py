"""Python commands at a fraction of their cost: forks of a process that has imported torch and the grader already.

The first half is what tests use; the second is the program of that process, which all processes of a test run share.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).parent.parent
COLUMNS = "200"
"""How wide the terminal is for a command: rich asks when it is imported, so it is the same for all of them."""

Stream = IO[Any] | int | None


class WarmPython:
    """Runs `python ARGUMENTS…`, which are `-m MODULE …` or `-c CODE …`, as `subprocess` would.

    A command has a process, a folder, an environment and streams of its own, and whatever it does ends with it. But it
    doesn't begin with an empty interpreter: a test of what is imported, or from where, starts a new Python.

    Args:
        loaded: what is imported already: `grader`, and all that it imports, or `torch` alone.
    """

    def __init__(self, loaded: str = "grader") -> None:
        self._lock = threading.Lock()
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._channel.connect(_address(loaded))
        except ConnectionRefusedError:
            _start(loaded)
            self._connect_soon(loaded)

    def _connect_soon(self, loaded: str) -> None:
        """Connect when the process listens, whichever of the run's processes has started it."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return self._channel.connect(_address(loaded))
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def run(self, *arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one; `environment` is added to this process's own."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": errors}
            started = self.start(arguments, cwd=cwd, env={**os.environ, **environment}, **streams)
            status = started.wait()
            texts = [_text(file) for file in (out, errors)]
        return subprocess.CompletedProcess(started.args, status, *texts)

    def start(
        self, arguments: Sequence[object], *, cwd: Path | None = None, env: Mapping[str, str] | None = None,
        stdin: Stream = None, stdout: Stream = None, stderr: Stream = None,
    ) -> Started:  # fmt: skip
        """Start one and don't wait for it."""
        words = [*map(str, arguments)]
        given, pipes = zip(*map(_stream, range(3), (stdin, stdout, stderr)), strict=True)
        request = {"arguments": words, "cwd": str(cwd or Path.cwd()), "environment": dict(env or os.environ)}
        try:
            pid = self._asked(request, given)
        finally:
            for descriptor in given:
                os.close(descriptor)
        return Started(self, ["python", *words], pid, *pipes)

    def status(self, pid: int) -> int:
        """The exit status of one that has ended."""
        return self._asked({"ended": pid})

    def _asked(self, request: dict[str, Any], descriptors: Sequence[int] = ()) -> int:
        with self._lock:
            socket.send_fds(self._channel, [json.dumps(request).encode()], descriptors)
            return int(json.loads(self._channel.recv(1 << 10)))

    def close(self) -> None:
        """Let go of the process: without anybody it ends, and what it still runs."""
        self._channel.close()


def _address(loaded: str) -> str:
    """Where the process of this test run listens; a name without a file."""
    return f"\0grader-tests-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}-{loaded}"


SERVER = """
import os
from tests.warm_python import serve

if os.fork() == 0:
    serve({!r}, {!r})
"""
"""A child of a child: what it comes from may end before it does, and ends its own children then."""


def _start(loaded: str) -> None:
    """Start it: with torch alone a new Python, and with the grader a fork of that one."""
    environment = {**os.environ, "COLUMNS": COLUMNS, "PYTHONPATH": str(ROOT)}
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    if loaded == "torch":
        command = [sys.executable, __file__, _address(loaded)[1:], loaded]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **streams)
        process.returncode = 0  # nobody waits for it: it ends when the last who uses it has
    else:
        _warm("torch").start(["-c", SERVER.format(_address(loaded)[1:], loaded)], cwd=ROOT, env=environment, **streams)


class Started:
    """A command that was started; what tests use of a `subprocess.Popen`."""

    def __init__(
        self, warm: WarmPython, args: list[str], pid: int, stdin: Any = None, stdout: Any = None, stderr: Any = None
    ) -> None:
        self.args, self.pid, self.returncode = args, pid, None
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self._warm, self._handle = warm, os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Its exit status, once it has one."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status."""
        if self.returncode is None:
            if not select.select([self._handle], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = self._warm.status(self.pid)
            os.close(self._handle)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        if self.returncode is None:
            signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def communicate(self) -> tuple[Any, Any]:
        """Close its input, and wait for what it says and for its end."""
        if self.stdin is not None:
            self.stdin.close()
        said = [stream.read() if stream is not None else None for stream in (self.stdout, self.stderr)]
        self.wait()
        self._close()
        return said[0], said[1]

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self.wait()

    def _close(self) -> None:
        for stream in filter(None, (self.stdin, self.stdout, self.stderr)):
            with contextlib.suppress(BrokenPipeError):
                stream.close()


def _stream(number: int, wanted: Stream) -> tuple[int, IO[str] | None]:
    """A descriptor for a standard stream of a command, and the other end of it if that is a pipe."""
    if wanted == subprocess.PIPE:
        theirs, ours = os.pipe() if number == 0 else os.pipe()[::-1]
        return theirs, os.fdopen(ours, "w" if number == 0 else "r", encoding="utf-8")
    if wanted == subprocess.DEVNULL:
        return os.open(os.devnull, os.O_RDWR), None
    wanted = number if wanted is None else wanted
    return os.dup(wanted if isinstance(wanted, int) else wanted.fileno()), None


@functools.cache
def _warm(loaded: str) -> WarmPython:
    """One for all tests of this process."""
    warm = WarmPython(loaded)
    atexit.register(warm.close)
    return warm


def python(
    *arguments: object, cwd: Path, loaded: str = "grader", **environment: str
) -> subprocess.CompletedProcess[str]:
    """What `python ARGUMENTS…` came to: in a fork of the warm process, or in a new one where forks aren't safe."""
    if sys.platform != "linux":
        command = [sys.executable, *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": COLUMNS, **environment}
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    return _warm(loaded).run(*arguments, cwd=cwd, **environment)


def popen(command: Sequence[str], **options: Any) -> Any:
    """`subprocess.Popen`, where the command is this Python in a fork of the warm process."""
    if sys.platform != "linux" or command[0] != sys.executable:
        return subprocess.Popen(command, **options)
    known = {name: options[name] for name in ("cwd", "env", "stdin", "stdout", "stderr") if name in options}
    return _warm("grader").start(command[1:], **known)


TEMPLATE = """
import os
from grader.kernels.forked import _become
from grader.kernels.inside.libraries import load_libraries

load_libraries({libraries})
os.dup2(0, {keep})
_become({boot!r}, {keep}, 2)
"""


def template(boot: str, keep: int, errors: int, libraries: Sequence[str] = ()) -> Started:
    """What a `grader.kernels.forked.Fork` is, made of the warm process: this one has used torch, and threads."""
    from grader.kernels.sandbox import unconfined_environment  # the warm process begins with an empty interpreter

    code = TEMPLATE.format(boot=boot, keep=keep, libraries=[*libraries])
    return _warm("grader").start(
        ["-c", code], cwd=Path("/"), env=unconfined_environment(), stdin=keep, stdout=errors, stderr=errors
    )


def grader(*arguments: object, cwd: Path, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """What `grader ARGUMENTS…` came to, which must be this exit status and no traceback."""
    done = python("-m", "grader", *arguments, cwd=cwd, **environment)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="backslashreplace")


# --- the process that is forked ---------------------------------------------------------------------------------------

SPARED = {"inside", "probe", "migrations"}
"""Folders of the package with modules that nothing but their own surroundings can import."""


LINGERS_SECONDS = 2
"""Without anybody, it waits so long for somebody."""


def serve(address: str, loaded: str) -> None:
    """Fork for each request and say which process it is; the fork does what is requested. Say how it ended if asked."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listening.bind(f"\0{address}")
    except OSError:
        return  # another one was quicker
    listening.listen()
    _load(loaded)
    channels: list[socket.socket] = []
    running: set[int] = set()
    while ready := select.select([listening, *channels], [], [], None if channels else LINGERS_SECONDS)[0]:
        for channel in ready:
            if channel is listening:
                channels.append(listening.accept()[0])
            elif received := _received(channel):
                answer = _answer(*received, running, [listening, *channels])
                channel.send(json.dumps(answer).encode())
            else:
                channels.remove(channel)
                channel.close()
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _answer(
    request: dict[str, Any], descriptors: list[int], running: set[int], sockets: Sequence[socket.socket]
) -> int:
    """The process that was started for a request, or the exit status of one that has ended; `sockets` are its own."""
    if "ended" in request:
        running.remove(request["ended"])
        return os.waitstatus_to_exitcode(os.waitpid(request["ended"], 0)[1])
    pid = os.fork()
    if pid == 0:
        for one in sockets:
            one.close()
        _become(request, descriptors)
    running.add(pid)
    for descriptor in descriptors:
        os.close(descriptor)
    return pid


def _load(wanted: str) -> None:
    """Import what commands and their kernels do, with the pages' templates, or torch alone, and start no thread."""
    gc.disable()  # what is imported is no garbage
    import torch  # noqa: F401

    if wanted == "grader":
        _load_grader()
    assert threading.active_count() == 1, "a thread wouldn't be in the forks"
    gc.freeze()
    gc.enable()


def _load_grader() -> None:
    from grader import startup  # noqa: F401  (before what imports nbformat)
    from grader.files import data_dir
    from grader.grading.pool import PROBE_FOLDER
    from grader.kernels import sandbox, template_process
    from grader.kernels.inside.libraries import load_libraries
    from grader.reports import html

    os.environ.update(sandbox.single_threaded())
    sys.path.append(str(PROBE_FOLDER))
    load_libraries()
    sys.path.remove(str(PROBE_FOLDER))
    for path in sorted((ROOT / "grader").rglob("*.py")):
        module = path.relative_to(ROOT).with_suffix("")
        if not SPARED & {*module.parts} and module.name != "__main__":
            importlib.import_module(".".join(module.parts).removesuffix(".__init__"))
    for template in data_dir("templates").glob("*.jinja"):
        html._environment(None).get_template(template.name)
    # torch is here already, but nothing was computed: a fork is as good as a new process.
    template_process.can_fork = lambda: threading.active_count() == 1


def _received(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    message, descriptors, _, _ = socket.recv_fds(channel, 1 << 18, 3)
    return (json.loads(message), descriptors) if message else None


def _become(request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Run a command here; end without taking down all that was imported, which takes longer than many a command."""
    for standard, descriptor in enumerate(descriptors):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "utf-8").partition(":")
    # New ones: those that are there believe that they stand at a place in a file.
    sys.stdin = os.fdopen(0, encoding=encoding, closefd=False)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding=encoding, errors=errors or "strict", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding=encoding, errors="backslashreplace", closefd=False)
    os.chdir(request["cwd"])
    status = 1
    try:
        status = _status_of(request["arguments"])
    except BaseException:  # noqa: BLE001 - as at the end of any Python
        traceback.print_exc()
    finally:
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(status)


def _status_of(arguments: list[str]) -> int:
    """The exit status of `python ARGUMENTS…`, of which the first may be `-P`."""
    safe = arguments[0] == "-P"
    kind, what, *rest = arguments[safe:]
    sys.argv = [kind, *rest]
    sys.path[:1] = [] if safe else [str(Path.cwd())]
    try:
        if kind == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            exec(what, {"__name__": "__main__"})
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0


if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # and not this folder, in which packages are called as others are: `notebook`, for one
    serve(*sys.argv[1:])
