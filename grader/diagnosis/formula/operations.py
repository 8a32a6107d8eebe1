"""The operations that a formula may hold: closed lists, each bounded in what it may make."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

MAX_ELEMENTS = 1 << 18
MAX_PRODUCTS = 1 << 24
"""Of an einsum: the products that it adds up, were each made by itself."""

Value = Tensor | int | float


class Unsupported(Exception):
    """A formula that is not understood, or that can't be computed."""


def _checked(shape: torch.Size) -> None:
    if shape.numel() > MAX_ELEMENTS:
        raise Unsupported


def _elementwise(function: Callable[[Any, Any], Value]) -> Callable[..., Value]:
    def apply(_: object, left: Value, right: Value) -> Value:
        if isinstance(left, Tensor) and isinstance(right, Tensor) and left.shape != right.shape:
            sides = zip_longest(reversed(left.shape), reversed(right.shape), fillvalue=1)
            _checked(torch.Size([max(one, other) for one, other in sides]))
        return function(left, right)

    return apply


def _power(base: Value, exponent: Value) -> Value:
    if isinstance(base, Tensor) or isinstance(exponent, Tensor):
        result: Value = base**exponent
        return result
    raised = float(base) ** float(exponent)
    if isinstance(raised, complex):
        raise Unsupported
    return int(raised) if isinstance(base, int) and isinstance(exponent, int) and raised.is_integer() else raised


def _matmul(_: object, left: Tensor, right: Tensor) -> Tensor:
    """Each side has at most MAX_ELEMENTS, and so has the result."""
    batch = torch.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    _checked(torch.Size([*batch, *left.shape[-2:-1], *(right.shape[-1:] if right.dim() > 1 else ())]))
    return left @ right


def _reduced(kind: str) -> Callable[..., Tensor]:
    def apply(value: tuple[tuple[int, ...] | None, bool], tensor: Tensor) -> Tensor:
        dims, keep = value
        function = getattr(torch, kind)
        result: Tensor = function(tensor) if dims is None else function(tensor, dims, keepdim=keep)
        return result

    return apply


def _plain(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda _, tensor: function(tensor)


def _expanded(_: object, tensor: Tensor, *sizes: int) -> Tensor:
    _checked(torch.Size([max(1, size) for size in sizes]))
    return tensor.expand(sizes)


def _filled(_: object, fill: float, *sizes: int) -> Tensor:
    _checked(torch.Size(sizes))
    return torch.full(sizes, float(fill), dtype=torch.float64)


def _mask(_: object, tensor: Tensor, index: Tensor) -> Tensor:
    """Ones where `x[range(n), index]` points to: with an index of (n, 1), at every row and column of it."""
    places = index.unsqueeze(1) if index.dim() == 1 else index.flatten().expand(len(tensor), -1)
    return torch.zeros_like(tensor).scatter_(1, places, 1.0)


def _one_hot(_: object, index: Tensor, classes: int) -> Tensor:
    _checked(torch.Size([*index.shape, classes]))
    return torch.nn.functional.one_hot(index.long(), classes).to(torch.float64)


def _einsum(equation: str, *tensors: Tensor) -> Tensor:
    inputs, output = equation.replace(" ", "").split("->")
    sizes = {
        letter: size
        for letters, tensor in zip(inputs.split(","), tensors, strict=True)
        for letter, size in zip(letters, tensor.shape, strict=True)
    }
    _checked(torch.Size([sizes[letter] for letter in output if letter in sizes]))
    if math.prod(sizes.values()) > MAX_PRODUCTS:
        raise Unsupported
    return torch.einsum(equation, *tensors)


EQUATION = re.compile(r"[a-z]{1,8}(,[a-z]{1,8})?->[a-z]{0,8}")
"""What is understood of an einsum: one tensor or two, every dimension with a letter, and the result written out."""


def _size(number: Value) -> int:
    if type(number) is not int or not 0 <= number <= MAX_ELEMENTS:
        raise Unsupported
    return number


def _padded(_: object, tensor: Tensor, before: int, after: int) -> Tensor:
    wide = tensor.shape[-1] + _size(before) + _size(after)
    _checked(torch.Size([*tensor.shape[:-1], wide]))
    return torch.nn.functional.pad(tensor, (before, after))


# --- places of a tensor

ALL, NEW, AT = ":", "None", "i"
Pattern = tuple[str | tuple[bool, bool, bool], ...]
"""What stands in the brackets of `x[…]`, without its numbers: for a slice, which of its three are given."""


def written_to(
    base: Tensor, how: str, pattern: Pattern | None, numbers: Sequence[Value], value: Value, *, own: bool
) -> Tensor:
    """A tensor after `x[…] = value` (`how` is `set`) or `x[…] += value` (`add`, `sub`); the whole with no pattern.

    `own`: it may be written into, for nobody else reads it.
    """
    if pattern is None:
        _checked(torch.broadcast_shapes(base.shape, value.shape if isinstance(value, Tensor) else ()))
        return base + value if how == "add" else base - value
    result = base if own else base.clone()
    index = _index(pattern, base, numbers)
    here = result[index]
    result[index] = value if how == "set" else here + value if how == "add" else here - value
    return result


def _index(pattern: Pattern, tensor: Tensor, numbers: Sequence[Value]) -> tuple[Any, ...]:
    """The index that a pattern and its numbers make; whole numbers and tensors of them only."""
    given = iter(numbers)
    index: list[Any] = []
    for item in pattern:
        if isinstance(item, tuple):
            index.append(slice(*(_whole(next(given)) if there else None for there in item)))
        else:
            index.append({ALL: slice(None), NEW: None}[item] if item != AT else _whole(next(given)))
    dims = [item for item in index if item is not None]
    chosen = [place for place, item in enumerate(dims) if isinstance(item, Tensor)]
    if chosen:
        kept = math.prod(size for place, size in enumerate(tensor.shape) if place not in chosen)
        _checked(torch.Size([*torch.broadcast_shapes(*(dims[place].shape for place in chosen)), kept]))
    return tuple(index)


def _whole(number: Value) -> Value:
    fine = number.dtype is torch.int64 if isinstance(number, Tensor) else type(number) is int
    if not fine:
        raise Unsupported
    return number


_BINARY: dict[str, Callable[..., Value]] = {
    "add": _elementwise(lambda a, b: a + b),
    "sub": _elementwise(lambda a, b: a - b),
    "mul": _elementwise(lambda a, b: a * b),
    "div": _elementwise(lambda a, b: a / b),
    "pow": _elementwise(_power),
    "matmul": _matmul,
}
UNARY: dict[str, Callable[..., Any]] = {
    "neg": lambda _, value: -value,
    "exp": _plain(torch.exp),
    "log": _plain(torch.log),
    "tanh": _plain(torch.tanh),
    "sigmoid": _plain(torch.sigmoid),
    "erf": _plain(torch.erf),
    "sqrt": _plain(torch.sqrt),
    "square": _plain(torch.square),
    "reciprocal": _plain(torch.reciprocal),
    "transpose": _plain(lambda tensor: tensor.permute(*reversed(range(tensor.dim())))),
    "same": lambda _, value: value,
    "ones_like": _plain(torch.ones_like),
    "zeros_like": _plain(torch.zeros_like),
}
OPERATIONS: dict[str, Callable[..., Any]] = {
    **_BINARY,
    **UNARY,
    "use": lambda _, value: value,
    "flatten": lambda dims, tensor: torch.flatten(tensor, *dims),
    "sum": _reduced("sum"),
    "mean": _reduced("mean"),
    "softmax": lambda value, tensor: torch.softmax(tensor, value),
    "argmax": lambda value, tensor: torch.argmax(tensor, value),
    "one_hot": _one_hot,
    "reshape": lambda _, tensor, *sizes: tensor.reshape(sizes),
    "swap": lambda value, tensor: tensor.transpose(*value),
    "permute": lambda value, tensor: tensor.permute(value),
    "masked_fill": lambda _, tensor, mask, fill: tensor.masked_fill(mask, float(fill)),
    "like": lambda _, tensor, other: tensor.reshape(other.shape),
    "expand": _expanded,
    "filled": _filled,
    "filled_like": lambda _, tensor, fill: torch.full_like(tensor, float(fill)),
    "unsqueeze": lambda value, tensor: tensor.unsqueeze(value),
    "size": lambda value, tensor: tensor.shape[value],
    "count": lambda _, tensor: tensor.numel(),
    "mask": _mask,
    "index_add": lambda value, base, index, source: base.index_add(value, index, source),
    "pick": lambda pattern, tensor, *numbers: tensor[_index(pattern, tensor, numbers)],
    "einsum": _einsum,
    "arange": lambda _, stop: torch.arange(_size(stop)),
    "pad": _padded,
}
