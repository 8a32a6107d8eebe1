"""ipykernel's application, prepared in the template and finished in each fork of it.

What does not depend on a connection (configuration, the shell, the kernel object, the setup cells) is done once in
the template by `prepare` and `run_setup_cell`. `connect` does the rest in the fork: sockets, streams, threads.
The sockets are handed over already listening, so a kernel needs no folder in which to create them.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Mapping
from io import BytesIO, TextIOBase
from typing import Any

import zmq
from ipykernel.iostream import IOPubThread
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from jupyter_client.session import Session
from zmq.eventloop.zmqstream import ZMQStream

OPTIONS = ["--HistoryManager.hist_file=:memory:", "--InteractiveShell.enable_tip=False"]
"""No history on disk, as nbclient has it. No tip either: it is drawn when a client connects, with Python's `random`, so
a notebook that has set a seed would draw other numbers next."""

OUTPUTS = frozenset({"stream", "display_data", "execute_result", "error", "update_display_data", "clear_output"})


class Recorder(Session):
    """A session without a connection: what the shell publishes is kept in `published`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.published: list[dict[str, Any]] = []

    def send(self, stream: Any, msg_or_type: Any, content: Any = None, *args: Any, **options: Any) -> Any:
        """Keep a message instead of sending it."""
        message = msg_or_type if isinstance(msg_or_type, dict) else self.msg(msg_or_type, content)
        if message["msg_type"] in OUTPUTS:
            self.published.append(
                {
                    "msg_type": message["msg_type"],
                    "header": {"msg_type": message["msg_type"]},
                    "content": message["content"],
                }
            )
        return message


class EarlyStream(TextIOBase):
    """`sys.stdout` or `sys.stderr` of the template: records there, and passes on in a fork.

    Whatever kept a reference to the stream while the setup cells ran (a logging handler, say) still reaches the
    notebook afterwards, as it would in an ordinary kernel.
    """

    encoding = "UTF-8"

    def __init__(self, name: str, recorder: Recorder, descriptor: int) -> None:
        self.name = name
        self._recorder = recorder
        self._descriptor = descriptor
        self.successor: Any = None

    def fileno(self) -> int:
        """The descriptor of the stream below."""
        return self.successor.fileno() if self.successor is not None else self._descriptor

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Keep or pass on `text`; its length."""
        if self.successor is not None:
            self.successor.write(text)
            return len(text)
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        published = self._recorder.published
        last = published[-1] if published else {}
        if last.get("msg_type") == "stream" and last["content"]["name"] == self.name:
            last["content"]["text"] += text
        elif text:
            self._recorder.send(None, "stream", {"name": self.name, "text": text})
        return len(text)

    def flush(self) -> None:
        """Pass on, if there is a successor."""
        if self.successor is not None:
            self.successor.flush()


class NoShellThread:
    """In place of ipykernel's thread for subshells: there are none, but its kernel asks this for the main thread."""

    parent_thread = threading.main_thread()

    def __bool__(self) -> bool:
        return False


class ForkedKernel(IPythonKernel):
    """An IPython kernel without subshells, whose messages are handled in the main thread."""

    _supports_kernel_subshells = False


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
        self._recorder = Recorder(parent=self)
        self._early = {name: EarlyStream(name, self._recorder, fd) for name, fd in (("stdout", 1), ("stderr", 2))}
        sys.stdout, sys.stderr = self._early["stdout"], self._early["stderr"]
        self.kernel = ForkedKernel.instance(
            parent=self,
            session=self._recorder,
            shell_channel_thread=NoShellThread(),
            log=self.log,
            profile_dir=self.profile_dir,
            user_ns=self.user_ns,
        )
        for step in ("path", "shell", "gui_pylab", "extensions", "code"):
            getattr(self, f"init_{step}")()
        self._recorder.published.clear()

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

    def run_setup_cell(self, source: str) -> tuple[list[dict[str, Any]], str | None]:
        """Run a cell as the kernel would; what it published, and `Name: message` if it raised."""
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            self.kernel.io_loop = None
            reply = loop.run_until_complete(self._execute(source))
        finally:
            asyncio.set_event_loop(None)
            loop.close()
        published, self._recorder.published = self._recorder.published, []
        failed = f"{reply['ename']}: {reply['evalue']}" if reply["status"] == "error" else None
        return published, failed

    async def _execute(self, source: str) -> dict[str, Any]:
        reply: dict[str, Any] = await self.kernel.do_execute(source, silent=False, store_history=True)
        return reply

    def connect(self, sockets: Mapping[str, int], key: bytes) -> None:
        """Finish the application on listening sockets (their descriptors, by channel); `start` then runs it."""
        self.session = Session(parent=self, key=key)
        self.context = zmq.Context()
        self.shell_socket = _listen(self.context, zmq.ROUTER, sockets["shell"])
        self.shell_socket.router_handover = 1
        publisher = _listen(self.context, zmq.XPUB, sockets["iopub"])
        make_thread: Any = IOPubThread
        self.iopub_thread = make_thread(publisher, pipe=True, session=self.session)
        self.iopub_thread.start()
        self.iopub_socket = self.iopub_thread.background_socket
        self._switch_streams()
        self._untyped.init_signal()
        self._connect_kernel()

    def _switch_streams(self) -> None:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        self._untyped.init_io()
        for name, stream in self._early.items():
            stream.successor = getattr(sys, name)

    def _connect_kernel(self) -> None:
        """Set on the kernel what its constructor would have been given, had there been a connection."""
        kernel, shell = self.kernel, self.kernel.shell
        kernel.session, kernel.iopub_thread, kernel.iopub_socket = self.session, self.iopub_thread, self.iopub_socket
        kernel.shell_stream = ZMQStream(self.shell_socket)
        kernel._stdout, kernel._stderr = sys.stdout, sys.stderr
        shell.displayhook.session = shell.display_pub.session = self.session
        shell.displayhook.pub_socket = shell.display_pub.pub_socket = self.iopub_socket
        self.displayhook.get_execution_count = lambda: kernel.execution_count


def _listen(context: Any, kind: int, descriptor: int) -> Any:
    """A zmq socket on a descriptor that already listens; the path is not looked at."""
    made = context.socket(kind)
    made.linger = 1000
    made.setsockopt(zmq.USE_FD, descriptor)
    made.bind(f"ipc:///proc/self/fd/{descriptor}")
    return made
