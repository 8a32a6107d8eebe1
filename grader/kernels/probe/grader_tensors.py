"""The tensors of a namespace, as the grader is sent them: what a part begins with, and what it ends with.

Like `grader_probe`, which uses it, this file knows no reference, and nothing that it returns is believed.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable
from typing import Any

import torch
from grader_detached import state_of  # type: ignore[import-not-found]  # its folder is on the kernel's path
from safetensors import TensorSpec, serialize  # its `save` for torch takes four times as long for small tensors

MAX_ELEMENTS = 1 << 20
MAX_NUMBER = 1e300
MAX_LACKS = 100
_KNOWN = (torch.float64, torch.float32, torch.float16, torch.bfloat16)

_Tensors = dict[str, tuple[torch.Tensor, TensorSpec]]
"""Name → what lies in memory, and where that is: it must lie there until it is written."""
watched: dict[str, dict[str, tuple[object, object, list[Any]]]] = {}
"""Part → name → what it was bound to when the part began, the state of that, and what was in it where it is a list."""


def begin(namespace: dict[str, Any], part: dict[str, Any]) -> None:
    """Forget the names that a part must compute itself, and remember what it finds."""
    for name in part["gradients"]:
        if name not in part["upstream"]:
            namespace.pop(name, None)
    names = [*part["gradients"], *part["also"], *part["forward"], *part["given"]]
    watched[part["id"]] = {
        name: (value, state_of(value), list(value) if isinstance(value, list) else [])
        for name in names if name in namespace for value in [namespace[name]]
    }  # fmt: skip


def _changed(namespace: dict[str, Any], part: str, name: str) -> bool:
    """Whether a name is bound to another object, or its tensor was written to, since the part began."""
    before = watched.get(part, {})
    if name not in namespace or name not in before:
        return name in namespace
    return bool(state_of(namespace[name]) != before[name][1])


def export(namespace: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """What a part's names are bound to, and what it has changed."""
    wanted = [*part["gradients"], *part["upstream"], *part["values"]]
    changed = [name for name in (*part["forward"], *part.get("given", ())) if _changed(namespace, part["id"], name)]
    wanted += [name for name in part["also"] if _changed(namespace, part["id"], name)]
    sent = export_named(namespace, [*wanted, *changed], part.get("elements", MAX_ELEMENTS), part.get("lists", ()))
    before = watched.get(part["id"], {})
    for name in changed if part.get("restores", False) else ():
        if name in before:  # another part's lines below start from what the exercise has called so
            namespace[name], _, members = before[name]
            if members:
                namespace[name][:] = members
    return sent


def export_named(
    namespace: dict[str, Any], wanted: Iterable[str], elements: int = MAX_ELEMENTS, lists: Collection[str] = ()
) -> dict[str, Any]:
    """What names are bound to: a note on each, and the tensors as safetensors."""
    tensors: _Tensors = {}
    notes: dict[str, dict[str, Any]] = {}
    storages: dict[int, str] = {}
    for name in dict.fromkeys(wanted):
        try:
            if name in lists and isinstance(namespace.get(name), list | tuple):
                notes[name] = _describe_list(name, namespace[name], tensors, elements)
            else:
                notes[name] = _describe(name, namespace, tensors, storages, elements)
        except Exception as error:
            notes[name] = {"kind": "other", "type": f"a tensor that can't be read ({type(error).__name__})"}
    return {"notes": notes, "tensors": serialize({name: spec for name, (_, spec) in tensors.items()})}


def _describe(
    name: str, namespace: dict[str, Any], tensors: _Tensors, storages: dict[int, str], elements: int
) -> dict[str, Any]:
    if name not in namespace:
        return {"kind": "absent"}
    value = namespace[name]
    if type(value) in (int, float) and abs(value) < MAX_NUMBER:
        tensors[name] = _sent(torch.tensor(float(value), dtype=torch.float64))
    if not isinstance(value, torch.Tensor):
        return {"kind": "none" if value is None else "other", "type": type(value).__name__}
    note: dict[str, Any] = {"kind": "tensor", "dtype": str(value.dtype), "shape": list(value.shape)}
    if value.device.type == "meta":
        return {**note, "kind": "other", "type": "a tensor on the meta device, which holds no numbers"}
    plain = value.detach()
    if plain.numel() > elements:
        return note  # its dtype and shape say enough
    plain = plain.to_dense() if plain.layout is not torch.strided else plain.as_subclass(torch.Tensor)
    if plain.numel():
        shared = storages.setdefault(plain.untyped_storage().data_ptr(), name)
        if shared != name:
            note["shares"] = shared
    if plain.is_quantized:
        plain = plain.dequantize()
    if plain.is_complex():
        return note
    if plain.dtype.is_floating_point and plain.dtype not in _KNOWN:
        plain = plain.float()  # which has all numbers of the narrow formats, and is read by everything
    tensors[name] = _sent(plain.resolve_neg())
    return note


def _sent(tensor: torch.Tensor) -> tuple[torch.Tensor, TensorSpec]:
    """A tensor on the CPU, without gaps, and what safetensors is to know of it.

    Raises:
        SafetensorError: safetensors doesn't know its dtype.
        ValueError: its numbers were taken away.
    """
    plain = tensor.cpu().contiguous()
    if plain.nbytes and not plain.data_ptr():
        raise ValueError
    dtype = str(plain.dtype).removeprefix("torch.")
    return plain, TensorSpec(dtype=dtype, shape=plain.shape, data_ptr=plain.data_ptr(), data_len=plain.nbytes)


def _describe_list(name: str, value: Any, tensors: _Tensors, elements: int) -> dict[str, Any]:
    """A list of tensors, as one tensor with the place in the list as its first dimension.

    What is in it and is no tensor is sent as NaN, and `lacks` says where.
    """
    there = [member.detach() for member in value if isinstance(member, torch.Tensor)]
    if not there:
        empty = all(member is None for member in value)
        return {"kind": "none" if empty else "other", "type": "a list without tensors"}
    try:
        there = torch.broadcast_tensors(*there)  # `torch.broadcast_shapes` imports sympy, in each kernel
    except RuntimeError:
        return {"kind": "other", "type": "a list of tensors of different shapes"}
    shape = there[0].shape
    if len(value) * shape.numel() > elements:
        return {"kind": "tensor", "dtype": str(there[0].dtype), "shape": [len(value), *shape]}
    hole = torch.full(shape, torch.nan, dtype=there[0].dtype if there[0].is_floating_point() else None)
    left = iter(there)
    rows = [next(left) if isinstance(member, torch.Tensor) else hole for member in value]
    dtype = functools.reduce(torch.promote_types, (row.dtype for row in rows))
    note = _describe(name, {name: torch.stack([row.to(dtype) for row in rows])}, tensors, {}, elements)
    lacks = [place for place, member in enumerate(value) if not isinstance(member, torch.Tensor)]
    return {**note, "lacks": lacks[:MAX_LACKS]}
