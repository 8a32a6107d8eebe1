"""What a snapshot has loaded and gone through once before any kernel is forked from it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

LIBRARIES = (
    "torch torch.nn.functional torch._subclasses.schema_check_mode numpy numpy.random matplotlib.pyplot "
    "matplotlib.backends.backend_agg matplotlib_inline.backend_inline safetensors grader_probe "
    "PIL.BmpImagePlugin PIL.GifImagePlugin PIL.JpegImagePlugin PIL.PngImagePlugin PIL.PpmImagePlugin "
    "IPython.core.magics.ast_mod IPython.core.magics.execution IPython.core.magics.namespace IPython.core.magics.pylab "
    "IPython.utils.timing executing faulthandler pexpect pygments.formatters.html pygments.formatters.terminal256 "
    "pygments.lexers.python pygments.styles.default stack_data tornado.platform.asyncio"
).split()
"""What a snapshot has loaded besides ipykernel, as far as installed: the exercises' libraries, and what is otherwise
imported when a cell first draws, fails or calls a magic. Found by comparing `sys.modules` before and after cells."""


def load_libraries(further: Sequence[str] = ()) -> None:
    """Import what kernels need, ipykernel without its debugger."""
    if "debugpy" not in sys.modules:
        sys.modules["debugpy"] = None  # type: ignore[assignment]  # a quarter of a second, for what no client asks for
        import ipykernel.debugger

        del sys.modules["debugpy"]
        ipykernel.debugger._is_debugpy_available = False
    for name in (*LIBRARIES, *further):
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)  # before its first operation: a pool of threads would not survive a fork


def load_kernel(libraries: Sequence[str]) -> Any:
    """Import the libraries and make the kernel application, up to where it needs a connection."""
    load_libraries(libraries)
    torch: Any = sys.modules.get("torch")
    from .kernelapp import KernelApp

    app = KernelApp.instance()
    app.prepare()
    if torch is not None:
        _rehearse(torch)
    guard = sys.modules.get("grader_guard")
    if guard is not None:
        guard.mend_progress_bars()  # else each fork would look for widgets
    return app


def _rehearse(torch: Any) -> None:
    """Go once through what every exercise does: much in torch is found out or allocated when it is first used.

    No numbers are drawn. Without a device besides the CPU, autograd starts no thread that a fork would miss.
    """
    for dtype in (torch.float32, torch.float64):
        table = torch.ones(3, 4, dtype=dtype, requires_grad=True)
        rows = table[torch.tensor([0, 1, 2])]
        hidden = (rows.view(3, -1) @ table.T + rows.sum(1, keepdim=True)).tanh()
        normed = (hidden - hidden.mean(0, keepdim=True)) * (hidden.var(0, keepdim=True) + 1.0) ** -0.5
        counts = (normed - normed.max(1, keepdim=True).values).exp()
        logprobs = (counts * counts.sum(1, keepdim=True) ** -1).log()
        loss = -logprobs[range(3), torch.tensor([0, 1, 2])].mean()
        logprobs.retain_grad()
        loss.backward()
        torch.nn.functional.cross_entropy(hidden.detach().requires_grad_(), torch.tensor([0, 1, 2])).backward()
        torch.allclose(logprobs, logprobs.detach())
        repr(table)
