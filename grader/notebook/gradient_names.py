"""What gradients are called: `dX` for the tensor `X`, and names that are nearly that: `dL_probs` for `dprobs`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

NEAR = 0.8
"""How alike two names must be, without what only marks them as gradients, for the one to be meant by the other."""


def gradient_of(tensor: str) -> str:
    """The name of a tensor's gradient."""
    return f"d{tensor}"


def tensor_of(gradient: str) -> str:
    """The name of the tensor whose gradient it is."""
    return gradient[1:]


def nearest(name: str, expected: Iterable[str]) -> str | None:
    """The expected gradient that a student's name seems to stand for; None for one that stands for itself."""
    stem = _stem(name)
    stems: dict[str, str] = {}
    for each in expected:
        stems.setdefault(_stem(each), each)
    if not stem or name in stems.values():
        return None
    if stem in stems and _marked(name):
        return stems[stem]
    close = difflib.get_close_matches(stem, stems, n=1, cutoff=NEAR) if len(stem) > 3 and _marked(name) else []
    return stems[close[0]] if close else None


def _marked(name: str) -> bool:
    """Whether a name says that it is a gradient."""
    return bool(re.match(r"^_?(d|grad|delta)", name, re.IGNORECASE) or re.search(r"_?grad(ient)?s?$", name))


def _stem(name: str) -> str:
    """The tensor's name in a gradient's, in small letters and without underscores."""
    lower = name.lower()
    lower = re.sub(r"_?(grad|gradient)s?$", "", lower)
    lower = re.sub(r"^(dloss_?d?_|dl_?d?_|dldx?_|grad_|delta_|d_)", "", lower)
    if lower == name.lower() and lower.startswith("dl_d"):
        lower = lower[4:]
    lower = re.sub(r"^dld(?=\w)", "", lower) if lower.startswith("dld") else lower
    return lower.removeprefix("d").replace("_", "") if lower.startswith("d") else lower.replace("_", "")
