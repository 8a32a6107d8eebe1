"""What the grader runs inside the student's kernel: parameters in, tensors out.

The files beside this one are all of the grader that a kernel can see. They know no reference, no solution and no
tolerance, and nothing that they return is believed: the student's code shares their process and may have replaced any
of them. They import only the standard library, torch, safetensors and msgspec, and are never imported by the grader.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import itertools
import json
import linecache
import os
import random
import select
import signal
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

import grader_detached  # type: ignore[import-not-found]  # its folder is on the kernel's path
import msgspec
import numpy
import torch
from grader_guard import claim, end_forks, mend_streams, own_shell  # type: ignore[import-not-found]
from grader_tensors import begin as _begin  # type: ignore[import-not-found]
from grader_tensors import export as _export
from grader_tensors import export_named as _export_named
from grader_tensors import watched
from torch.autograd import forward_ad
from torch.autograd.variable import Variable

MIME = "application/vnd.backprop-grader+json"
MAX_RESULT_BYTES = 64 << 20

_MAX_STRETCH, _LITTLE_SECONDS = 5, 0.05  # as in the grader's own clock
_LENGTH = struct.Struct("!Q")
"""What a result in a fork's pipe begins with."""
_packed = msgspec.msgpack.encode
"""How what the grader shall read is written: tensors are as many bytes in it as they are in memory."""


def inject(parameters: str, dtype: str) -> None:
    """Put a case's parameters (JSON) into the notebook's namespace and set the default dtype."""
    torch.set_default_dtype(getattr(torch, dtype))
    _namespace().update(json.loads(parameters))


def begin(spec: str) -> None:
    """Start a part: forget the names that it must compute itself, and remember what it finds."""
    _begin(_namespace(), json.loads(spec))


def export(spec: str) -> None:
    """End a part: publish its tensors."""
    _publish(_packed(_export(_namespace(), json.loads(spec))))


def hidden(spec: str) -> None:
    """Run the hidden cases (JSON: `cases`, `steps`, `careful`) and publish a result for each.

    A result is packed on its own: one that can't be read costs its case alone. Those cases that must be `alone` run in
    forks of this kernel, and when it is `careful` all do. Where the system has no safe fork (Windows; macOS with its
    frameworks loaded), all run in this process.
    """
    request = json.loads(spec)
    forks = sys.platform == "linux"
    in_forks = [case for case in request["cases"] if forks and (case["alone"] or request["careful"])]
    results = _in_forks(in_forks, request["steps"])  # first: what the others leave behind must not be in the forks
    in_turn = [case for case in request["cases"] if case not in in_forks]
    results.update((case["id"], _packed(_in_place(case, request["steps"]))) for case in in_turn)
    _publish(_packed(list(results)), *results.values())


def begin_cases(spec: str) -> None:
    """Run the first steps of hidden cases (JSON: `cases`, `steps`, `numbers`), for kernels that are forked from here.

    None of it is a student's. `RuntimeError` where a cell fails.
    """
    request = json.loads(spec)
    for case in request["cases"]:
        with _aside():
            failed = _run_case(case, request["steps"])["errors"]
            _begun[_identity(case)] = _Begun(len(request["steps"]))
        if failed:
            raise RuntimeError(f"a locked cell fails in the case {case['id']}")
    for name, shape, seed in request["numbers"]:
        grader_detached.drawn(name, tuple(shape), seed)


# --- hidden cases ----------------------------------------------------------------------------------------------------


def _in_forks(cases: list[dict[str, Any]], steps: list[dict[str, Any]]) -> dict[str, bytes]:
    """Run the cases in child processes: those marked `alone` in one each, others one after another in the same.

    A fork takes longer than a case. Where one fails, it may be for what another left behind: it is tried again, as the
    first of a new process, with those after it.
    """
    results: dict[str, bytes] = {}
    left = list(cases)
    while left:
        together = left[:1] if left[0]["alone"] else list(itertools.takewhile(lambda case: not case["alone"], left))
        found, failed = _forked(together, steps)
        if not found:
            found = [_packed({"failed": failed})]
        results.update((case["id"], result) for case, result in zip(together, found, strict=False))
        left = left[len(found) :]
    return results


def _forked(cases: list[dict[str, Any]], steps: list[dict[str, Any]]) -> tuple[list[bytes], str | None]:
    """Run cases in one child process, each within its time; the results that came, and why there are no more."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(readable)
            _hang_up()
            with os.fdopen(writable, "wb") as pipe:
                for case in cases:
                    result = _packed(_in_place(case, steps))
                    pipe.write(_LENGTH.pack(len(result)) + result)
                    pipe.flush()
            status = 0
        finally:
            os._exit(status)
    os.close(writable)
    try:
        return _read_results(readable, [case["seconds"] for case in cases], child)
    finally:
        os.close(readable)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _hang_up() -> None:
    """Close what a snapshot's kernel has open to the grader: in a fork, a message would pass for the kernel's own."""
    claim()
    connection = getattr(own_shell().kernel, "connection", None)
    if connection is not None:
        connection.close()


def _read_results(descriptor: int, seconds: list[float], writer: int) -> tuple[list[bytes], str | None]:
    """The first results that a pipe gives, each within its `seconds` after the one before; then why it gave fewer.

    What the writing process waits for a core is not counted, within limits.
    """
    results: list[bytes] = []
    came = bytearray()
    size = 0
    waited = 0.0
    deadline = time.monotonic() + seconds[0]
    last = deadline + (_MAX_STRETCH - 1) * seconds[0]
    while len(results) < len(seconds):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            before, waited = waited, _waited(writer)
            deadline = min(time.monotonic() + waited - before, last)
            if deadline - time.monotonic() > _LITTLE_SECONDS:
                continue
            return results, "timeout"
        chunk = os.read(descriptor, 1 << 20)
        size += len(chunk)
        if not chunk or size > MAX_RESULT_BYTES:
            return results, "died"
        came += chunk
        while len(came) >= _LENGTH.size and len(came) >= (end := _LENGTH.size + _LENGTH.unpack_from(came)[0]):
            results.append(bytes(came[_LENGTH.size : end]))
            del came[:end]
            allowed = seconds[min(len(results), len(seconds) - 1)]
            deadline = time.monotonic() + allowed
            last = deadline + (_MAX_STRETCH - 1) * allowed
    return results[: len(seconds)], None


def _waited(pid: int) -> float:
    """How many seconds a process was ready to run and had no core, where the system tells."""
    try:
        with open(f"/proc/{pid}/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


class _Begun:
    """A case whose first `steps` have been run: what they have left."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._names = dict(_namespace())
        self.watched = dict(watched)
        self._dtype = torch.get_default_dtype()
        self._random = torch.get_rng_state(), random.getstate(), numpy.random.get_state()

    def go_on(self) -> None:
        """Put it in place."""
        _namespace().clear()
        _namespace().update(self._names)
        watched.update(self.watched)
        torch.set_default_dtype(self._dtype)
        torch.set_rng_state(self._random[0])
        random.setstate(self._random[1])
        numpy.random.set_state(self._random[2])


_begun: dict[str, _Begun] = {}


def _identity(case: dict[str, Any]) -> str:
    """What decides what a case's cells compute."""
    return json.dumps([case["parameters"], case["dtype"], case["autograd_factor"]], sort_keys=True)


def _in_place(case: dict[str, Any], steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Run one case on a copy of the namespace, in this process."""
    with _aside():
        return _run_case(case, steps)


@contextlib.contextmanager
def _aside() -> Iterator[None]:
    """Put namespace, streams and what else a case changes back at the end."""
    shell = own_shell()
    kept, streams = dict(shell.user_ns), (sys.stdout, sys.stderr)
    dtype, follows = torch.get_default_dtype(), torch.is_grad_enabled()
    hooks = (shell.display_pub, shell.display_trap.hook, shell.__dict__.get("_showtraceback"))
    try:
        yield
    finally:
        shell.user_ns.clear()
        shell.user_ns.update(kept)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(follows)
        sys.stdout, sys.stderr = streams
        shell.display_pub, shell.display_trap.hook = hooks[:2]
        shell.__dict__.pop("_showtraceback", None)
        if hooks[2] is not None:
            shell._showtraceback = hooks[2]


def _run_case(case: dict[str, Any], steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Run a case's steps in this process, with all output dropped: only tensors and error lines leave it."""
    with _scaled_autograd(case["autograd_factor"]):
        return _run_detached(case) if "detached" in case else _run_steps(case, steps)


@contextlib.contextmanager
def _scaled_autograd(factor: float) -> Iterator[None]:
    """Multiply by `factor` every derivative that torch computes: the engine's seeds, and forward mode's tangents."""
    if factor == 1.0:
        yield
        return
    engine: Any = Variable._execution_engine
    make_dual: Any = forward_ad.make_dual

    class Engine:
        def run_backward(self, roots: Any, seeds: Any, *rest: Any, **options: Any) -> Any:
            scaled = tuple(seed if seed is None else seed * factor for seed in seeds)
            return engine.run_backward(roots, scaled, *rest, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(engine, name)

    Variable._execution_engine = Engine()  # type: ignore[assignment]
    forward_ad.make_dual = lambda tensor, tangent, **options: make_dual(tensor, tangent * factor, **options)
    try:
        yield
    finally:
        Variable._execution_engine, forward_ad.make_dual = engine, make_dual


def _run_steps(case: dict[str, Any], steps: list[dict[str, Any]]) -> dict[str, Any]:
    shell = own_shell()
    _mute(shell)
    parts: dict[str, Any] = {}
    errors: list[dict[str, Any]] = []
    begun = _begun.get(_identity(case))
    if begun is not None:
        begun.go_on()
    for step in steps[begun.steps :] if begun is not None else steps:
        if step["do"] == "inject":
            inject(json.dumps(case["parameters"]), case["dtype"])
        elif step["do"] == "begin":
            _begin(shell.user_ns, step["part"])
            if case["kept"]:
                grader_detached.keep(shell.user_ns, case["id"], step["part"]["id"])
        elif step["do"] == "export":
            parts[step["part"]["id"]] = _export(shell.user_ns, step["part"])
        else:
            error = _run_cell(shell, step["source"])
            if error is not None:
                errors.append({"cell": step["cell"], **error})
    return {"parts": parts, "errors": errors}


def _run_detached(case: dict[str, Any]) -> dict[str, Any]:
    """Run the parts of the cases that this process has run again, detached."""
    shell = own_shell()
    _mute(shell)
    torch.set_default_dtype(getattr(torch, case["dtype"]))
    deadline = time.monotonic() + grader_detached.MAX_SECONDS

    def run_cell(kind: str, text: str) -> None:
        if kind == "source":
            _run_cell(shell, text)
        else:
            with _out_of_the_loop():
                exec(grader_detached.code(text), shell.user_global_ns, shell.user_ns)

    told = case["detached"]
    return {
        kept: {
            part: grader_detached.run(
                shell.user_ns, (kept, part), {**told["parts"][part], **here},
                run_cell, functools.partial(_export_named, elements=told["parts"][part]["elements"],
                                  lists=told["parts"][part]["lists"]), deadline,
            )
            for part, here in parts.items()
        }
        for kept, parts in told["cases"].items()
    }  # fmt: skip


_codes: dict[tuple[str, int], Any] = {}
"""A cell's source and the compiler's flags → its code: every case runs the same cells."""


def _run_cell(shell: Any, source: str) -> dict[str, Any] | None:
    """Run a cell; the error's name and its line in the cell, if it raised one."""
    streams = sys.stdout, sys.stderr
    with _out_of_the_loop():
        error = _execute(shell, source)
    end_forks()
    mend_streams(*streams)
    if error is None:
        return None
    message = str(error)[:500].encode("utf-8", "replace").decode()  # a lone surrogate can't be sent
    return {"name": type(error).__name__, "line": _line_of(error, shell.user_ns), "message": message}


@contextlib.contextmanager
def _out_of_the_loop() -> Iterator[None]:
    """The kernel's own event loop is below us on the stack and must not be entered again."""
    running = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(running)


def _execute(shell: Any, source: str) -> BaseException | None:
    """Run a cell: as plain Python where it is that, for the shell itself takes longer than most cells do."""
    name = f"<cell {hash(source):x}>"
    key = source, shell.compile.flags  # a `from __future__` in one cell is for those after it, too
    try:
        code = _codes[key] if key in _codes else shell.compile(source, name, "exec")
        _codes[source, shell.compile.flags] = code
    except Exception:  # a magic, an `await`, or a mistake: as the shell has it
        result = shell.run_cell(source, store_history=False)
        error: BaseException | None = result.error_before_exec or result.error_in_exec
        return error
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    try:
        exec(code, shell.user_global_ns, shell.user_ns)
    except BaseException as error:
        return error
    return None


def _line_of(error: BaseException, namespace: dict[str, Any]) -> int | None:
    if isinstance(error, SyntaxError):
        return error.lineno if type(error.lineno) is int and 0 < error.lineno < 1 << 31 else None
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_globals is namespace and frame.f_code.co_name == "<module>":
            return trace.tb_lineno
        trace = trace.tb_next
    return None


class _Nowhere(io.TextIOBase):
    """A text stream that drops what it is given, and can't be closed."""

    encoding = "utf-8"
    errors = "strict"
    name = "<stdout>"

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1

    def close(self) -> None:
        pass


def _mute(shell: Any) -> None:
    sys.stdout = sys.stderr = _Nowhere()
    shell.display_pub = _publisher()
    shell.display_pub.outputs.clear()
    shell.display_trap.hook = lambda value: None
    shell._showtraceback = lambda *_: None


@functools.cache
def _publisher() -> Any:
    """A publisher that shows nobody anything; one for all cases, for to make it takes as long as a cell."""
    from IPython.core.displaypub import CapturingDisplayPublisher

    return CapturingDisplayPublisher()


def _namespace() -> dict[str, Any]:
    namespace: dict[str, Any] = own_shell().user_ns
    return namespace


def _publish(*found: bytes) -> None:
    """Send the grader what a probe found: beside a display message, as bytes that nobody on the way need read."""
    kernel = own_shell().kernel
    message: dict[str, Any] = {"data": {MIME: {}}, "metadata": {}, "transient": {}}
    parent = kernel.get_parent("shell")
    kernel.session.send(kernel.iopub_socket, "display_data", message, parent=parent, buffers=found)
