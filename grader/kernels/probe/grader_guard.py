"""What a cell may do to its kernel that others need: end it, take its streams, go on behind it as a fork."""

from __future__ import annotations

import importlib.util
import os
import pdb
import sys
import types
from typing import Any

_BARS = "tqdm.notebook"
_own_pid = 0
"""The process that runs the cells: what they fork is another."""


def claim() -> None:
    """Have this process be the one that runs the cells."""
    global _own_pid
    _own_pid = os.getpid()


def own_shell() -> Any:
    """IPython's shell."""
    from IPython.core.getipython import get_ipython

    return get_ipython()


def hold() -> None:
    """Keep a cell from ending the kernel a moment later, in the middle of another cell, or from taking its streams.

    `exit()`, `quit` and `do_shutdown` stop the loop after a tenth of a second: what was lost by then was chance. A
    debugger would wait for somebody to type. And a fork would go on behind the cell as a second kernel.
    """
    shell = own_shell()
    claim()
    shell.unobserve_all("exit_now")
    shell.kernel.do_shutdown = _stay
    pdb.set_trace = _go_on
    mend_progress_bars()
    kernel = shell.kernel
    if not hasattr(kernel, "_stdout"):  # older versions of ipykernel don't keep their streams
        kernel._stdout, kernel._stderr = sys.stdout, sys.stderr
    for stream in (kernel._stdout, kernel._stderr):
        stream.close = stream.flush  # the kernel itself says there what the others raise
    if _after_cell not in shell.events.callbacks["post_execute"]:
        shell.events.register("post_execute", _after_cell)
    mend_streams(kernel._stdout, kernel._stderr)


def mend_progress_bars() -> None:
    """Have tqdm's bars for notebooks, which raise where there are no widgets, be those for terminals."""
    if _BARS not in sys.modules and importlib.util.find_spec("ipywidgets") is None:
        bars: Any = types.ModuleType(_BARS)
        bars.__getattr__ = lambda name: getattr(importlib.import_module("tqdm.std"), name.replace("_notebook", ""))
        sys.modules[_BARS] = bars


async def _stay(restart: bool) -> dict[str, Any]:
    return {"status": "ok", "restart": restart}


def _go_on(*_: object, **__: object) -> None:
    pass


def end_forks() -> None:
    """End this process where it isn't the one in which the cell began."""
    if os.getpid() != _own_pid:
        os._exit(0)


def _after_cell() -> None:
    end_forks()
    kernel = own_shell().kernel
    mend_streams(kernel._stdout, kernel._stderr)


def mend_streams(out: Any, err: Any) -> None:
    """Put a stream back that was taken away, closed or replaced by what is none: others would fail for it."""
    for name, stream in (("stdout", out), ("stderr", err)):
        there = getattr(sys, name, None)
        if not (callable(getattr(there, "write", None)) and callable(getattr(there, "flush", None))) or (
            there is not stream and getattr(there, "closed", False)
        ):
            setattr(sys, name, stream)
