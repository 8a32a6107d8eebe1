"""What sandbox this machine offers: every guarantee is tried by code that runs in a kernel and attempts to break it."""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import shutil
import socket
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import nbformat.v4
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from grader.errors import ExecutionError, SandboxUnavailable
from grader.kernels import KernelSource, Limits, open_source, scratch_folders
from grader.kernels.client import KernelNotebookClient
from grader.kernels.sandbox import find_bwrap
from grader.records import Record

_LIMITS = Limits(memory_mb=256, processes=32, tmp_mb=8, file_size_mb=4, cpu_seconds=2, output_mb=1)
_NAMESPACES = (
    "Allow user namespaces: sysctl user.max_user_namespaces=10000, on Ubuntu also "
    "kernel.apparmor_restrict_unprivileged_userns=0; in a container, start it with --security-opt seccomp=unconfined "
    "--security-opt apparmor=unconfined, or --privileged."
)
_NEWER = "Use Linux 5.14 or later, where processes are counted for each user namespace."
_CANARY = "GRADER_DOCTOR_CANARY"
_REPORT = "Please report this: it should hold wherever the sandbox starts."


class Guarantee(Record, frozen=True):
    """One promise of the sandbox: whether it held when it was tried, what was seen, and what to do if it did not."""

    name: str
    held: bool
    detail: str
    advice: str | None = None


class _Attempt(NamedTuple):
    """Code that attempts to break a guarantee, the judgement on what it printed, and advice for when it succeeds."""

    name: str
    cell: str
    holds: Callable[[_Seen], bool]
    advice: str = _REPORT


class _Seen(NamedTuple):
    text: str
    died: bool
    reason: str | None


def examine() -> list[Guarantee]:
    """Try every guarantee on this machine; it takes a few seconds."""
    os.environ[_CANARY] = "1"
    started = time.monotonic()
    try:
        with open_source("snapshot", "bwrap", [], {}, [], _LIMITS) as source:
            begun = Guarantee(
                name="A sandbox can be started",
                held=True,
                detail=f"{find_bwrap()} on Linux {platform.release()}, in {time.monotonic() - started:.1f} s",
            )
            return [begun, *asyncio.run(_try_all(source))]
    except (SandboxUnavailable, ExecutionError) as error:
        advice = _NAMESPACES if sys.platform == "linux" else "Grade on a Linux machine, or with --sandbox none."
        return [Guarantee(name="A sandbox can be started", held=False, detail=str(error), advice=advice)]
    finally:
        del os.environ[_CANARY]


async def _try_all(source: KernelSource) -> list[Guarantee]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        name = f"grader-doctor-{os.getpid()}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        secret = scratch_folders.folder("d") / "secret"
        secret.touch()
        attempts = _attempts(server.getsockname()[1], name, secret)
        guarantees = [await _try(source, attempt) for attempt in attempts]
        shutil.rmtree(secret.parent)
    return [*guarantees, await _neighbours(source), await _leftovers(source)]


async def _try(source: KernelSource, attempt: _Attempt) -> Guarantee:
    seen = await _run(source, attempt.cell)
    held = attempt.holds(seen)
    said = seen.text.strip().splitlines()
    detail = f"the kernel was ended: {seen.reason}" if seen.died else said[-1] if said else "nothing was printed"
    return Guarantee(name=attempt.name, held=held, detail=detail, advice=None if held else attempt.advice)


async def _run(source: KernelSource, cell: str) -> _Seen:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(_PRELUDE + textwrap.dedent(cell))])
    manager = source.manager()
    client = KernelNotebookClient(notebook, km=manager, timeout=10, allow_errors=True)
    client.log.setLevel("CRITICAL")
    died = False
    try:
        await client.async_execute()
    except (DeadKernelError, CellTimeoutError):
        died = True
    outputs = notebook.cells[0].outputs
    text = "".join(one["text"] if one.output_type == "stream" else one.get("evalue", "") for one in outputs)
    return _Seen(text, died, getattr(manager, "usage", {}).get("reason"))


# --- the attempts -----------------------------------------------------------------------------------------------------

_PRELUDE = """
import os, socket, sys, time
def attempt(*actions):
    refusals = []
    for action in actions:
        try:
            return print("got:", repr(action())[:80])
        except Exception as error:
            refusals.append(getattr(error, "strerror", None) or type(error).__name__)
    print("refused:", ", ".join(dict.fromkeys(refusals)))
"""


_FILTER = "Use a Linux kernel with seccomp filters, on x86-64 or 64-bit ARM."
_SYSCALL = """
            import ctypes, platform
            pair = (ctypes.c_int * 2)()
            libc = ctypes.CDLL(None, use_errno=True)
            def syscall(numbers, *arguments):
                result = libc.syscall(numbers[platform.machine() != "x86_64"], *arguments)
                if result < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
                return result
"""
_NEEDLESS_CALLS = [
    ((101, 117), 16, 0, 0, 0), ((165, 40), 0, 0, 0, 0, 0), ((272, 97), 0x10000000), ((298, 241), 0, 0, 0, 0, 0),
    ((319, 279), b"x", 0), ((321, 280), 0, 0, 0), ((323, 282), 0), ((425, 425), 1, 0), ((434, 434), 1, 0),
    ((103, 116), 3, 0, 0), ((250, 219), 0, 0, 0, 0, 0), ((303, 264), -100, b"/", 0, 0, 0), ((435, 435), 0, 0),
]  # fmt: skip
"""On x86-64 and on newer architectures: tracing, mounting, namespaces, `perf`, memory files, `bpf`, `userfaultfd`,
`io_uring`, pidfds, the system's log, key rings, file handles, and a clone whose flags no filter reads."""


def _refused(seen: _Seen) -> bool:
    return not seen.died and seen.text.startswith("refused")


def _attempts(port: int, abstract: str, secret: Path) -> Sequence[_Attempt]:
    return [
        _Attempt(
            "No network",
            f"""
            attempt(lambda: socket.create_connection(("127.0.0.1", {port}), 2),
                    lambda: socket.create_connection(("1.1.1.1", 53), 2),
                    lambda: socket.socket(socket.AF_UNIX).connect("\\0{abstract}"),
                    lambda: socket.socket(40, socket.SOCK_STREAM))
            """,
            _refused,
        ),
        _Attempt(
            "No file of the machine but the system and the Python environment",
            f"""
            attempt(lambda: open({__file__!r}), lambda: open({str(secret)!r}), lambda: open("/etc/shadow"),
                    lambda: os.listdir("/var"))
            """,
            _refused,
        ),
        _Attempt(
            "Nothing can be written outside of the kernel's own folders",
            f"""
            attempt(*(lambda folder=folder: open(folder + "/x", "w")
                      for folder in ("/", "/usr", "/etc", "/dev", "/grader", "/proc", {sys.prefix!r})))
            """,
            _refused,
        ),
        _Attempt(
            "No process of anybody else",
            """print([int(name) for name in os.listdir("/proc") if name.isdigit()])""",
            lambda seen: seen.text.strip() == "[1, 2]",
            _NAMESPACES,
        ),
        _Attempt(
            "Nothing of the grader's environment",
            """print(sorted(os.environ))""",
            lambda seen: _CANARY not in seen.text,
        ),
        _Attempt(
            "No privileges",
            """
            status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
            print(*(f"{name} {status[name]}" for name in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs")))
            """,
            lambda seen: seen.text.split() == f"CapEff {0:016} CapPrm {0:016} CapBnd {0:016} NoNewPrivs 1".split(),
        ),
        _Attempt(
            "System calls that no exercise needs are refused",
            f"""
            {_SYSCALL}
            attempt(*(lambda call=call: syscall(*call) for call in {_NEEDLESS_CALLS}))
            """,
            lambda seen: seen.text.strip() == f"refused: {os.strerror(errno.ENOSYS)}",
            _FILTER,
        ),
        _Attempt(
            "No sockets but TCP, UDP and Unix ones, alone and in pairs",  # and netlink's, for the list of interfaces
            f"""
            {_SYSCALL}
            attempt(lambda: socket.socket(16, socket.SOCK_RAW, 12), lambda: socket.socket(16, socket.SOCK_DGRAM, 15),
                    lambda: socket.socket(2, socket.SOCK_STREAM, 262), lambda: socket.socket(2, socket.SOCK_DGRAM, 136),
                    *(lambda family=family: syscall((53, 199), family, 1, 0, pair) for family in (2, 16, 38, 40, 44)))
            """,
            _refused,
            _FILTER,
        ),
        _Attempt(
            "No memory in the Linux kernel that nothing measures, and no counter that kernels share",
            f"""
            {_SYSCALL}
            import fcntl, mmap, resource
            def limits():
                if not any(resource.getrlimit(kind)[1] for kind in (resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE)):
                    raise OSError(1, "Limited to nothing")
            attempt(
                lambda: syscall((278, 75), os.pipe()[1], pair, 1, 0),
                lambda: fcntl.lockf(open("/tmp/x", "wb"), fcntl.LOCK_EX, 1, 10),
                lambda: syscall((206, 0), 1, pair),
                lambda: syscall((294, 26), 0),
                lambda: syscall((240, 180), b"/x", 66, 384, 0),
                lambda: mmap.mmap(-1, 1 << 21, flags=0x40022),
                lambda: syscall((56, 220), 0x8011, 0, 0, 0, 0),
                lambda: socket.socket().setsockopt(1, 60, 1),
                limits,
            )
            """,
            _refused,
            _FILTER,
        ),
        _Attempt(
            "Memory is limited in a process",
            """attempt(lambda: len(bytearray(1 << 30)))""",
            lambda seen: seen.text.startswith("refused"),
        ),
        _Attempt(
            "Memory is limited over all processes",
            """
            for _ in range(8):
                if os.fork() == 0:
                    kept = b"x" * (150 << 20)
                    time.sleep(20)
            time.sleep(20)
            """,
            lambda seen: seen.reason == "memory",
        ),
        _Attempt(
            "CPU time is limited",
            """
            os.fork()
            while True: pass
            """,
            lambda seen: seen.reason == "cpu",
        ),
        _Attempt(
            "The number of processes is limited",
            """
            def more():
                for number in range(200):
                    if os.fork() == 0:
                        time.sleep(20)
                return number
            attempt(more)
            """,
            _refused,
            _NEWER,
        ),
        _Attempt(
            "Disk space is limited",
            """
            def fill():
                for number in range(50):
                    with open(f"/tmp/{number}", "wb") as file:
                        file.write(bytes(1 << 20))
            attempt(fill)
            """,
            _refused,
        ),
        _Attempt(
            "Output is limited",
            """
            while True: print("x" * 50_000, flush=True)
            """,
            lambda seen: seen.reason == "output",
        ),
    ]


async def _neighbours(source: KernelSource) -> Guarantee:
    """One kernel leaves marks, another looks for them while it runs."""
    leave = """
    abstract = socket.socket(socket.AF_UNIX); abstract.bind("\\0neighbour"); abstract.listen()
    for folder in ("/tmp", "/dev/shm", "."):
        open(folder + "/mark", "w").close()
    time.sleep(1)
    """
    look = """
    time.sleep(0.5)
    attempt(lambda: open("/tmp/mark"), lambda: open("/dev/shm/mark"), lambda: open("mark"),
            lambda: socket.socket(socket.AF_UNIX).connect("\\0neighbour"))
    """
    _, seen = await asyncio.gather(_run(source, leave), _run(source, look))
    held = _refused(seen)
    detail = seen.text.strip()
    return Guarantee(name="Kernels don't meet", held=held, detail=detail, advice=None if held else _REPORT)


async def _leftovers(source: KernelSource) -> Guarantee:
    """A process that ignores signals is left behind by its kernel."""
    mark = f"grader-doctor-leftover-{os.getpid()}"
    leave = f"""
    import subprocess
    code = "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)]; time.sleep(60)"
    subprocess.Popen([sys.executable, "-c", code, "{mark}"], start_new_session=True)
    """
    await _run(source, leave)
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if mark in _read(path)]
    detail = f"{len(left)} processes left"
    return Guarantee(name="Nothing outlives its kernel", held=not left, detail=detail, advice=_REPORT if left else None)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
