"""Replays of a part in the student's kernel, with other numbers in one of its gradients; see `docs/verdicts.md`.

Like `grader_probe`, which runs them, this file knows no reference, and nothing that it returns is believed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch

KEPT_ELEMENTS = 1 << 16
"""Tensors larger than this are not copied: where a part writes to one, it is not replayed."""
MAX_SECONDS = 4.0
"""What all replays of a part may take together, judged by the first."""
FAINT = 1e-10
"""Numbers smaller than this are replaced by some of size `ORDINARY`, others by some of their own size."""
ORDINARY = 2.0**-7

_parts: dict[str, _Kept] = {}
_drawing: _Drawing | None = None


class _Kept:
    """The notebook's namespace as it was when a part began, and the numbers in it."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.names = dict(namespace)
        values = list({id(value): value for value in self.names.values()}.values())
        self.tensors = [
            (tensor, tensor._version, tensor.detach().clone() if tensor.numel() <= KEPT_ELEMENTS else None)
            for tensor in values
            if isinstance(tensor, torch.Tensor) and not tensor.is_inference()
        ]
        self.generators = [(found, found.get_state()) for found in values if isinstance(found, torch.Generator)]
        self.random = torch.get_rng_state()

    def restore(self, namespace: dict[str, Any]) -> None:
        """Put everything back; RuntimeError where a tensor was changed of which there is no copy."""
        namespace.clear()
        namespace.update(self.names)
        for tensor, version, copy in self.tensors:
            if tensor._version != version:
                if copy is None:
                    raise RuntimeError("a large tensor was changed in place")
                tensor.data.copy_(copy)
        for generator, state in self.generators:
            generator.set_state(state)
        torch.set_rng_state(self.random)


class _Drawing:
    """One replay: which name gets other numbers, and how often each watched name came by."""

    def __init__(self, name: str | None, seed: int) -> None:
        self.name = name
        self.seed = seed
        self.counts: dict[str, int] = {}
        self.scale = 0.0

    def pass_on(self, name: str, value: Any) -> Any:
        self.counts[name] = self.counts.get(name, 0) + 1
        if name != self.name or not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        size = float(value.detach().square().mean().sqrt()) if value.numel() else 0.0
        self.scale = 2.0 ** round(math.log2(size)) if FAINT < size < math.inf else ORDINARY
        generator = torch.Generator().manual_seed(self.seed)
        return (torch.randn(value.shape, generator=generator, dtype=torch.float64) * self.scale).to(value.dtype)


def keep(namespace: dict[str, Any], part: str) -> None:
    """Remember the namespace with which a part begins."""
    _parts[part] = _Kept(namespace)


def drawn(name: str, value: Any) -> Any:
    """What the replayed cells go on with after their last line for `name`: its value, or random numbers."""
    return value if _drawing is None else _drawing.pass_on(name, value)


def replay(
    namespace: dict[str, Any],
    part: dict[str, Any],
    run_cell: Callable[[str], Any],
    export: Callable[[Iterable[str]], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Run a part's cells again: as they are, and once for each watched name with random numbers in it.

    Args:
        namespace: the notebook's.
        part: `id`, `cells` (sources in which watched names pass through `drawn`), `runs` (each with `name`, None for
            the first, and the `exports` that are wanted) and `seed`.
        run_cell: runs a cell; what it returns tells of an error, None of none.
        export: the named tensors, as the probe exports them.
    """
    global _drawing
    kept = _parts.get(part["id"])
    if kept is None:
        return []
    found: list[dict[str, Any]] = []
    started = time.monotonic()
    try:
        for run in part["runs"]:
            kept.restore(namespace)
            _drawing = _Drawing(run["name"], part["seed"])
            errors = [error for error in map(run_cell, part["cells"]) if error is not None]
            found.append({
                "name": run["name"],
                "counts": _drawing.counts,
                "scale": _drawing.scale,
                "errors": len(errors),
                "export": export(run["exports"]),
            })  # fmt: skip
            if (time.monotonic() - started) * len(part["runs"]) > MAX_SECONDS * len(found):
                break
    except Exception:
        return []
    finally:
        _drawing = None
    return found
