"""An ordinary ipykernel application whose sockets were made by the grader: they are inherited, already listening."""

from __future__ import annotations

import json
import sys
from typing import Any

import zmq
from ipykernel.kernelapp import IPKernelApp

from .kernelapp import OPTIONS

BINDING_ORDER = ("shell", "stdin", "control", "iopub")
"""The order in which `IPKernelApp` binds its sockets."""


class ColdApp(IPKernelApp):
    """`IPKernelApp`, but for how it comes to its sockets. It has no heartbeat: its end is known otherwise."""

    handed_over: dict[str, Any]

    def init_connection_file(self) -> None:
        """Take the connection from what was handed over instead."""
        self.transport = "ipc"
        self.session.key = self.handed_over["key"].encode()
        self._descriptors = [self.handed_over["sockets"][channel] for channel in BINDING_ORDER]

    def write_connection_file(self, **_: Any) -> None:
        """There is no file."""

    def init_heartbeat(self) -> None:
        """There is no heartbeat."""

    def init_control(self, context: Any) -> None:
        """As usual, but the debugger's socket shall not look for the shell's path for ever: it is not in here."""
        context.reconnect_ivl = -1
        base: Any = super()
        base.init_control(context)

    def _try_bind_socket(self, s: Any, port: int) -> int:
        descriptor = self._descriptors.pop(0)
        s.setsockopt(zmq.USE_FD, descriptor)
        s.bind(f"ipc:///proc/self/fd/{descriptor}")
        return port or 1


def main() -> None:
    """Run on the connection given as the first argument, in JSON."""
    ColdApp.handed_over = json.loads(sys.argv[1])
    sys.argv = ["ipykernel_launcher.py", "-f", "kernel.json"]
    ColdApp.launch_instance(argv=OPTIONS)
