"""The names by which autograd's numbers can be had, and the names through which no number passes.

Tables only: `lines.py` follows the numbers.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from typing import Literal

Kind = Literal["derivative", "node", "optimizer", "engine", "plain"]
"""What a dotted name of torch's is. `derivative`: it gives a gradient. `node`: so does it, but without the engine.
`engine`: it fills `.grad`."""

HARMLESS = {
    "no_grad", "enable_grad", "set_grad_enabled", "inference_mode", "set_multithreading_enabled", "detect_anomaly",
    "set_detect_anomaly", "Variable", "Function", "profiler", "graph", "gradcheck", "gradgradcheck",
    "vmap", "functional_call", "stack_module_state", "debug_unwrap",
}  # fmt: skip
"""Members of `torch.autograd` and `torch.func` that differentiate nothing, or only tell right from wrong."""

NO_NUMBERS = {
    "cmp", "print", "display", "allclose", "equal", "isclose", "assert_close", "eq", "ne", "lt", "gt", "le", "ge",
    "isnan", "isfinite", "isinf", "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like",
    "new_zeros", "new_ones", "new_empty", "len", "type", "isinstance", "issubclass", "hasattr", "callable", "id",
    "size", "dim", "ndimension", "numel", "nelement", "stride", "data_ptr", "is_contiguous", "element_size",
    "is_same_size", "assertEqual", "assertTrue", "help", "dir", "retain_grad", "zero_grad", "assert_allclose",
}  # fmt: skip
"""Calls from which a shape, a truth or nothing comes back, whatever they are given."""

NO_NUMBER_ATTRIBUTES = {
    "shape", "dtype", "device", "ndim", "layout", "requires_grad", "is_leaf", "retains_grad", "itemsize", "nbytes",
    "__class__", "__name__", "__doc__",
}  # fmt: skip

SHAPED_AFTER = {"expand_as", "view_as", "reshape_as", "type_as", "sum_to_size", "expand", "view", "reshape"}
"""Methods that take only a shape or a dtype from their arguments."""

FILLERS = {"append", "appendleft", "extend", "insert", "add", "update", "setdefault", "put", "send", "__setitem__"}
"""Methods that put what they are given into the object that they belong to."""

CODE_RUNNERS = {"exec", "eval", "run_cell", "run_code", "ex", "ev", "runsource", "runcode"}

_SUSPICIOUS = re.compile(
    r"""
      \.[\s\\]*(?:_?grad\b|grad_fn|autograd|\w*backward) | ["']_?grad | import[^\n]*autograd | functorch | \bfunc\b
    | \boptim\b | hook | make_dual | \bcheckpoint | \{\d*\. | ^\s*case\s | __\w+__
    | \b(?:getattr|attrgetter|methodcaller|getmembers|inspect|exec|eval|compile|vars|locals|globals|user_ns)\b
    | \b(?:import_module|get_ipython|InteractiveShell|builtins|runpy|gc|ctypes)\b
    """,
    re.VERBOSE | re.MULTILINE,
)


@functools.lru_cache(maxsize=256)  # many cells are the release's own
def may_use_autograd(source: str) -> bool:
    """Whether a cell's text holds anything by which autograd's numbers could be had.

    Generous: what it lets through has no way to them, what it stops is only looked at more closely.
    """
    return _SUSPICIOUS.search(unicodedata.normalize("NFKC", source)) is not None  # as Python reads identifiers


def kind_of(path: str) -> Kind:
    """What a dotted name such as `torch.autograd.grad` is."""
    parts = path.split(".")
    if parts[0] not in ("torch", "functorch") or len(parts) < 2:
        return "plain"
    if path in ("torch.autograd.backward", "torch.Tensor.backward"):
        return "engine"
    if parts[1] == "optim":
        return "optimizer"
    if parts[0] == "functorch" or parts[1] in ("autograd", "func", "_functorch"):
        deep = len(parts) > 2 or parts[0] == "functorch"
        return "derivative" if deep and not HARMLESS & set(parts) else "plain"
    # torch.nn.grad, torch.ops.aten.tanh_backward
    return "node" if "grad" in parts or any("backward" in part for part in parts) else "plain"
