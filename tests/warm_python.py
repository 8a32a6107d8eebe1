"""Python commands at a fraction of their cost: forks of a process that has imported torch and the grader already.

The first half is what tests use; the second is the program of that process.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).parent.parent
COLUMNS = "200"
"""How wide the terminal is for a command: rich asks when it is imported, so it is the same for all of them."""


class WarmPython:
    """Runs `python ARGUMENTS…`, which are `-m MODULE …` or `-c CODE …`, as `subprocess.run` would.

    A command has a process, a folder, an environment and streams of its own, and whatever it does ends with it. But it
    doesn't begin with an empty interpreter: a test of what is imported, or from where, starts a new Python.
    """

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=ROOT,
                env={**os.environ, "COLUMNS": COLUMNS, "PYTHONPATH": str(ROOT)}, start_new_session=True,
            )  # fmt: skip

    def run(self, *arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one; `environment` is added to this process's own."""
        words = [*map(str, arguments)]
        request = {"arguments": words, "cwd": str(cwd), "environment": {**os.environ, **environment}}
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            socket.send_fds(self._channel, [json.dumps(request).encode()], [out.fileno(), errors.fileno()])
            status = json.loads(self._channel.recv(1 << 10))
            texts = [_text(file) for file in (out, errors)]
        return subprocess.CompletedProcess(["python", *words], status, *texts)

    def close(self) -> None:
        """End the process."""
        self._channel.close()
        self._process.wait()


@functools.cache
def _warm() -> WarmPython:
    """One for all tests of this process; it ends with it."""
    warm = WarmPython()
    atexit.register(warm.close)
    return warm


def python(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What `python ARGUMENTS…` came to: in a fork of the warm process, or in a new one where forks aren't safe."""
    if sys.platform != "linux":
        command = [sys.executable, *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": COLUMNS, **environment}
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    return _warm().run(*arguments, cwd=cwd, **environment)


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


def main() -> None:
    """Fork for each request; the fork does what is requested."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    sys.path[0] = str(ROOT)  # and not this folder, in which packages are called as others are: `notebook`, for one
    _load()
    while request := _received(channel):
        pid = os.fork()
        if pid == 0:
            channel.close()
            _become(*request)
        for descriptor in request[1]:
            os.close(descriptor)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        channel.send(json.dumps(status).encode())


def _load() -> None:
    """Import what commands and their kernels do, and start no thread."""
    from grader import startup  # noqa: F401  (before what imports nbformat)
    from grader.grading.pool import PROBE_FOLDER
    from grader.kernels import sandbox, templates
    from grader.kernels.inside.template import load_libraries

    os.environ.update(sandbox.single_threaded())
    sys.path.append(str(PROBE_FOLDER))
    load_libraries()
    sys.path.remove(str(PROBE_FOLDER))
    for path in sorted((ROOT / "grader").rglob("*.py")):
        module = path.relative_to(ROOT).with_suffix("")
        if not SPARED & {*module.parts} and module.name != "__main__":
            importlib.import_module(".".join(module.parts).removesuffix(".__init__"))
    assert threading.active_count() == 1, "a thread wouldn't be in the forks"
    # torch is here already, but nothing was computed: a fork is as good as a new process.
    templates.can_fork = lambda: threading.active_count() == 1
    gc.freeze()


def _received(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    message, descriptors, _, _ = socket.recv_fds(channel, 1 << 18, 2)
    return (json.loads(message), descriptors) if message else None


def _become(request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Run a command here; end without taking down all that was imported, which takes longer than many a command."""
    for standard, descriptor in enumerate(descriptors, 1):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "utf-8").partition(":")
    sys.stdout.reconfigure(encoding=encoding, errors=errors or "strict")
    sys.stderr.reconfigure(encoding=encoding, errors="backslashreplace")
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
    """The exit status of `python ARGUMENTS…`."""
    kind, what, *rest = arguments
    sys.argv, sys.path[0] = [kind, *rest], str(Path.cwd())
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
    main()
