"""ipykernel's application, prepared in the template and finished in each fork of it.

What does not depend on a connection (configuration, the shell, the kernel object, the setup cells) is done once in
the template by `prepare` and `run_setup_cell`. `connect` does the rest in the fork.

A kernel has one socket, a pair's other end, in place of ipykernel's five and its four threads for them: there is one
client, which is there already, and nothing to find, to subscribe to or to sign.
"""

from __future__ import annotations

import ast
import asyncio
import contextvars
import json
import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from io import BytesIO
from typing import Any, cast

import ipykernel.compiler
import ipykernel.ipkernel
from ipykernel.iostream import IOPubThread
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp

from .iopub import EarlyStream, LateSession, PromptStream, watch_pipes
from .message_fragments import RECORD_BYTES, Assembler

OPTIONS = ["--HistoryManager.hist_file=:memory:", "--InteractiveShell.enable_tip=False"]
"""No history on disk, as nbclient has it. No tip either: it is drawn when a client connects, with Python's `random`, so
a notebook that has set a seed would draw other numbers next."""


class NoShellThread:
    """In place of ipykernel's thread for subshells: there are none, but its kernel asks this for the main thread."""

    parent_thread = threading.main_thread()

    def __bool__(self) -> bool:
        return False


class NoPublishingThread(IOPubThread):
    """In place of ipykernel's publishing thread: who publishes something sends it."""

    thread: Any = None
    io_loop: Any = None
    closed = False

    def __init__(self) -> None:  # ipykernel's own makes sockets and an event loop
        pass

    def schedule(self, f: Callable[[], None]) -> None:
        """Call `f`."""
        f()


class ForkedKernel(IPythonKernel):
    """An IPython kernel without subshells, whose messages come over one socket and are handled in the main thread."""

    _supports_kernel_subshells = False
    _execute_sleep = (
        0.0  # a pause before each reply, for clients that don't wait for a cell's last message as ours does
    )
    connection: socket.socket

    def start(self) -> None:
        """Begin to listen."""
        base: Any = super()
        base.start()
        self._assembler = Assembler()
        self._context = contextvars.copy_context()  # cells share one, as they do in ipykernel
        self._tasks: set[asyncio.Future[None]] = set()
        loop: Any = self.io_loop
        loop.add_handler(self.connection.fileno(), self._receive, loop.READ)

    def _receive(self, *_: object) -> None:
        record = self.connection.recv(RECORD_BYTES)
        if not record:  # the grader is gone
            os._exit(0)
        message = self._assembler.add(record)
        if message is not None:
            frames = [json.loads(message), None]
            task = asyncio.get_running_loop().create_task(self.shell_main(None, frames), context=self._context)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def do_execute(self, code: str, silent: bool, store_history: bool = True, *rest: Any, **options: Any) -> Any:
        """Run a cell. What isn't kept in the history is a probe, which needs nothing that the shell has for cells."""
        if store_history or silent:
            base: Any = super()
            return await base.do_execute(code, silent, store_history, *rest, **options)
        kernel, shell = cast("Any", self), cast("Any", self.shell)
        reply = {"status": "ok", "execution_count": shell.execution_count, "user_expressions": {}, "payload": []}
        kernel._forward_input(False)
        try:
            with shell.builtin_trap, shell.display_trap:
                exec(code, shell.user_global_ns, shell.user_ns)
        except BaseException as error:
            told = {"ename": type(error).__name__, "evalue": "", "traceback": []}
            return {**reply, "status": "error", **told}
        finally:
            kernel._restore_input()
        return reply

    def _publish_execute_input(self, *_: object) -> None:
        """The cell's code is not sent back to who has sent it."""

    def _publish_status(self, status: str, *rest: Any, **options: Any) -> None:
        """Only what the client waits for: that the kernel is there, and that a cell is done."""
        if status == "starting":
            session: Any = self.session
            session.greet()
        elif status != "busy":
            base: Any = super()
            base._publish_status(status, *rest, **options)


class OncePerCell:
    """A shell's `transform_cell`, done once a cell: ipykernel asks for it, and then the shell itself does again."""

    def __init__(self, transform: Callable[[str], str]) -> None:
        self._transform = transform
        self._kept: tuple[str, str] | None = None

    def __call__(self, raw_cell: str) -> str:
        """The cell as Python."""
        kept, self._kept = self._kept, None
        if kept is not None and kept[0] == raw_cell:
            return kept[1]
        transformed = self._transform(raw_cell)
        self._kept = raw_cell, transformed
        return transformed


class PlainPython:
    """A shell's way with a cell that is plain Python, which has none of `%magics`, `!commands` and `help?`.

    Nothing that IPython rewrites is valid Python, and Python's parser says so sooner than its tokenizer, which is
    written in Python. What was parsed for that is the tree that the shell then asks for. Its statements are compiled
    and run together, except for an expression at the end, whose value is shown.
    """

    def __init__(self, shell: Any) -> None:
        self._manager = manager = shell.input_transformer_manager
        self._known = list(manager.token_transformers)
        self._transform: Callable[[list[str]], list[str]] = manager.do_token_transforms
        self._parse: Callable[..., ast.Module] = shell.compile.ast_parse
        self._run: Callable[..., Awaitable[Any]] = shell.run_ast_nodes
        self._run_code: Callable[..., Awaitable[Any]] = shell.run_code
        self._is_async: Callable[..., bool] = shell.should_run_async
        self._parsed: tuple[str, ast.Module] | None = None

    def tokens(self, lines: list[str]) -> list[str]:
        """The lines, rewritten where they have such syntax."""
        text = "".join(lines)
        known = self._manager.token_transformers == self._known
        # IPython's lines end at other characters too, even in the middle of a comment.
        tree = _parsed(text) if known and len(lines) == text.count("\n") else None
        self._parsed = None if tree is None else (text, tree)
        return self._transform(lines) if tree is None else lines

    def tree(self, source: str, filename: str = "<unknown>", symbol: str = "exec") -> ast.Module:
        """The cell's tree."""
        parsed, self._parsed = self._parsed, None
        return parsed[1] if parsed is not None and parsed[0] == source else self._parse(source, filename, symbol)

    def is_async(self, raw_cell: str, *, transformed_cell: str | None = None, **options: Any) -> bool:
        """Whether a cell must be run in the event loop: one without these words needn't."""
        cell = transformed_cell or raw_cell
        may = "await" in cell or "async" in cell
        return may and self._is_async(raw_cell, transformed_cell=transformed_cell, **options)

    async def run(self, nodes: list[ast.stmt], cell_name: str, interactivity: str = "last_expr",
                  compiler: Any = compile, result: Any = None) -> Any:  # fmt: skip
        """Run a cell's statements; whether one raised."""
        if interactivity == "last_expr" and len(nodes) > 1:
            shown = nodes[-1:] if isinstance(nodes[-1], ast.Expr) else []
            try:
                code = compiler(ast.Module(nodes[: len(nodes) - len(shown)], []), cell_name, "exec")
            except Exception:  # an `await`, or a `return`: the statements above it are run all the same
                return await self._run(nodes, cell_name, interactivity, compiler, result)
            if await self._run_code(code, result):
                return True
            nodes = shown
        return await self._run(nodes, cell_name, interactivity, compiler, result)


_MAY_WARN = re.compile(r"\\|\b\d[\w.]*(?:and|else|for|if|in|is|not|or)\b")
"""What Python's parser may warn of: backslashes and numbers that run into a keyword, as in `1if`. Such a cell is parsed
once, lest its warnings come twice."""


def _parsed(text: str) -> ast.Module | None:
    """The tree of plain Python."""
    if _MAY_WARN.search(text) is not None:
        return None
    try:
        return ast.parse(text)
    except Exception:  # whatever is wrong with it, the shell says so as always
        return None


class AcceptedOnce:
    """ipykernel's look at which parameters a method accepts, kept: it is the same for every message."""

    def __init__(self, look: Callable[[Any, Sequence[str]], dict[str, Any]]) -> None:
        self._look = look
        self._kept: dict[tuple[Any, ...], dict[str, Any]] = {}

    def __call__(self, method: Any, names: Sequence[str]) -> dict[str, Any]:
        """Name → whether `method` has such a parameter."""
        key = getattr(method, "__func__", method), *names
        if key not in self._kept:
            self._kept[key] = self._look(method, names)
        return self._kept[key]


def murmur2(text: str, seed: int) -> int:
    """The 32-bit MurmurHash2 that ipykernel names a cell's file by, in a third of its own code's time."""
    data = text.encode()
    size = len(data)
    whole = size & ~3
    hashed = seed ^ size
    for word in struct.unpack_from(f"<{whole // 4}I", data):
        word = word * 0x5BD1E995 & 0xFFFFFFFF
        hashed = hashed * 0x5BD1E995 & 0xFFFFFFFF ^ (word ^ word >> 24) * 0x5BD1E995 & 0xFFFFFFFF
    if whole < size:
        hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * 0x5BD1E995 & 0xFFFFFFFF
    hashed = (hashed ^ hashed >> 13) * 0x5BD1E995 & 0xFFFFFFFF
    return hashed ^ hashed >> 15


class KernelApp(IPKernelApp):
    """`IPKernelApp` cut in two: before and after the fork."""

    @property
    def _untyped(self) -> Any:
        """This object; methods that it has of ipykernel carry no types."""
        return self

    def prepare(self) -> None:
        """Do all that needs no connection."""
        base: Any = super(IPKernelApp, self)  # its own `initialize` would go on to the sockets
        base.initialize(argv=OPTIONS)
        self._untyped.init_pdb()
        self.log.setLevel("CRITICAL")  # nobody reads it, and to start without a debugger is a warning
        self.outstream_class = f"{PromptStream.__module__}.{PromptStream.__name__}"
        self.session = self._session = LateSession(parent=self)
        self._session.prepare_greeting()
        self.iopub_thread = self.iopub_socket = NoPublishingThread()
        self._untyped.init_io()
        self._streams: tuple[Any, Any] = sys.stdout, sys.stderr
        self._early = [EarlyStream(name, self._session, fd) for name, fd in (("stdout", 1), ("stderr", 2))]
        sys.stdout, sys.stderr = self._early
        self.kernel = ForkedKernel.instance(
            parent=self,
            session=self.session,
            shell_channel_thread=NoShellThread(),
            log=self.log,
            profile_dir=self.profile_dir,
            user_ns=self.user_ns,
        )
        for step in ("path", "shell", "gui_pylab", "extensions", "code"):
            getattr(self, f"init_{step}")()
        ipykernel.compiler.murmur2_x86 = murmur2
        if hasattr(ipykernel.ipkernel, "_accepts_parameters"):
            ipykernel.ipkernel._accepts_parameters = AcceptedOnce(ipykernel.ipkernel._accepts_parameters)
        shell: Any = self.shell
        shell.transform_cell = OncePerCell(shell.transform_cell)
        kernel: Any = self.kernel
        kernel.iopub_thread = kernel.iopub_socket = self.iopub_thread
        shell.displayhook.pub_socket = shell.display_pub.pub_socket = self.iopub_socket
        kernel._stdout, kernel._stderr = self._streams
        self.displayhook.get_execution_count = lambda: kernel.execution_count
        plain = PlainPython(shell)
        shell.input_transformer_manager.do_token_transforms = plain.tokens
        shell.compile.ast_parse = plain.tree
        shell.run_ast_nodes, shell.should_run_async = plain.run, plain.is_async
        self._guard: Any = sys.modules.get("grader_guard")
        if self._guard is not None:
            self._guard.hold()
        self._session.take()

    def rehearse(self) -> None:
        """Draw a figure and format a traceback, to nowhere: each is slow only once in a process."""
        if "matplotlib" in sys.modules:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure

            figure = Figure()
            figure.add_subplot().plot([0, 1])
            canvas: Any = FigureCanvasAgg(figure)
            canvas.print_png(BytesIO())
        assert self.shell is not None
        try:
            exec(compile("1 / 0", "<rehearsal>", "exec"))
        except ZeroDivisionError:
            self.shell.InteractiveTB.structured_traceback(*sys.exc_info())

    def run(self, source: str, *, cell: bool) -> tuple[list[dict[str, Any]], str | None]:
        """Run a cell as the kernel would, or a probe; what it published, and `Name: message` if it raised."""
        self._claim()
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            self.kernel.io_loop = None
            reply = loop.run_until_complete(self._execute(source, cell))
        finally:
            asyncio.set_event_loop(None)
            loop.close()
        published = self._session.take()
        failed = f"{reply['ename']}: {reply['evalue']}" if reply["status"] == "error" else None
        return published, failed

    async def _execute(self, source: str, cell: bool) -> dict[str, Any]:
        reply: dict[str, Any] = await self.kernel.do_execute(source, silent=False, store_history=cell)
        return reply

    def connect(self, descriptor: int) -> None:
        """Finish the application on the socket that leads to the grader; `start` then runs it."""
        self.kernel.connection = socket.socket(fileno=descriptor)
        self._session.connect(self.kernel.connection)
        for early, stream in zip(self._early, self._streams, strict=True):
            early.successor = stream
            stream.redirect()
        sys.stdout, sys.stderr = self._streams
        watch_pipes(self._streams)
        self._untyped.init_signal()
        self._claim()

    def _claim(self) -> None:
        """Have this process be the one that runs cells: what they fork is another."""
        if self._guard is not None:
            self._guard.claim()
