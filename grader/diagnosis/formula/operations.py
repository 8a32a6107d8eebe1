"""The operations that a formula may hold: one table, with how each is read, computed and written.

Only what stands in `OPERATIONS` is understood; every other formula is left alone (`Unsupported`). No attribute is
looked up on anything, and no result may have more than `MAX_ELEMENTS` elements.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from grader.diagnosis.formula.node import ALL, AT, NEW, Pattern, Unsupported, Value

MAX_ELEMENTS = 1 << 18
MAX_PRODUCTS = 1 << 24
"""Of an einsum: the products that it adds up, were each made by itself."""


class Operation(NamedTuple):
    """One operation.

    Attributes:
        compute: its value, from the node's own `value` and those of its arguments.
        spelled: the methods and functions of torch that are read as it.
        takes: their arguments. `x` is a formula; `i` a whole number that is written out, which goes into the node's
            value; `_` is ignored; with `*` any number of them, also as one tuple.
        keywords: those by which its last argument may be given.
        written: how it is quoted, with the arguments' texts.
        rank: how tightly it binds, for brackets.
        sizes: those of its value, of the same arguments, where it may become too large.
    """

    compute: Callable[..., Any]
    spelled: tuple[str, ...] = ()
    takes: str = "x"
    keywords: tuple[str, ...] = ()
    written: str = "{0}.{op}(…)"
    rank: int = 5
    sizes: Callable[..., Sequence[int]] | None = None


# --- computing what may become too large, or is not torch's own


def checked(sizes: Sequence[int]) -> None:
    """Raise Unsupported where a result of these sizes would be too large."""
    if math.prod(sizes) > MAX_ELEMENTS:
        raise Unsupported


def broadcast_shape(*shapes: Sequence[int]) -> torch.Size:
    """The shape that tensors of these shapes have together.

    `torch.broadcast_shapes` imports sympy: a third of a second in each process that diagnoses something.

    Raises:
        RuntimeError: they don't fit together.
    """
    shape: torch.Size = torch.broadcast_tensors(*(torch.empty(()).expand(shape) for shape in shapes))[0].shape
    return shape


def _stretched(_: object, left: Value, right: Value) -> Sequence[int]:
    if isinstance(left, Tensor) and isinstance(right, Tensor) and left.shape != right.shape:
        return [max(pair) for pair in zip_longest(reversed(left.shape), reversed(right.shape), fillvalue=1)]
    return ()


def _power(base: Value, exponent: Value) -> Value:
    if isinstance(base, Tensor) or isinstance(exponent, Tensor):
        result: Value = base**exponent
        return result
    raised = float(base) ** float(exponent)
    if isinstance(raised, complex):
        raise Unsupported
    return int(raised) if isinstance(base, int) and isinstance(exponent, int) and raised.is_integer() else raised


def _of_a_product(_: object, left: Tensor, right: Tensor) -> Sequence[int]:
    batch = broadcast_shape(left.shape[:-2], right.shape[:-2])
    return [*batch, *left.shape[-2:-1], *(right.shape[-1:] if right.dim() > 1 else ())]


def _reduced(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def apply(value: tuple[tuple[int, ...] | None, bool], tensor: Tensor) -> Tensor:
        dims, keep = value
        return function(tensor) if dims is None else function(tensor, dims, keepdim=keep)

    return apply


def _plain(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda _, tensor: function(tensor)


def _mask(_: object, tensor: Tensor, index: Tensor) -> Tensor:
    """Ones where `x[range(n), index]` points to: with an index of (n, 1), at every row and column of it."""
    places = index.unsqueeze(1) if index.dim() == 1 else index.flatten().expand(len(tensor), -1)
    return torch.zeros_like(tensor).scatter_(1, places, 1.0)


EQUATION = re.compile(r"[a-z]{1,8}(,[a-z]{1,8})?->[a-z]{0,8}")
"""What is understood of an einsum: one tensor or two, every dimension with a letter, and the result written out."""


def _einsum(equation: str, *tensors: Tensor) -> Tensor:
    inputs, output = equation.replace(" ", "").split("->")
    sizes = {
        letter: size
        for letters, tensor in zip(inputs.split(","), tensors, strict=True)
        for letter, size in zip(letters, tensor.shape, strict=True)
    }
    checked([sizes[letter] for letter in output if letter in sizes])
    if math.prod(sizes.values()) > MAX_PRODUCTS:
        raise Unsupported
    return torch.einsum(equation, *tensors)


def size(number: Value) -> int:
    """A number as a size, or Unsupported."""
    if type(number) is not int or not 0 <= number <= MAX_ELEMENTS:
        raise Unsupported
    return number


# --- places of a tensor


def written_to(
    base: Tensor, how: str, pattern: Pattern | None, numbers: Sequence[Value], value: Value, *, own: bool
) -> Tensor:
    """A tensor after `x[…] = value` (`how` is `set`) or `x[…] += value` (`add`, `sub`); the whole with no pattern.

    `own`: it may be written into, for nobody else reads it.
    """
    if pattern is None and how == "set":
        return torch.as_tensor(value)
    if pattern is None:
        checked(broadcast_shape(base.shape, value.shape if isinstance(value, Tensor) else ()))
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
        checked([*broadcast_shape(*(dims[place].shape for place in chosen)), kept])
    return tuple(index)


def _whole(number: Any) -> Any:
    if isinstance(number, slice):
        return number
    fine = number.dtype is torch.int64 if isinstance(number, Tensor) else type(number) is int
    if not fine:
        raise Unsupported
    return number


# --- the table


def _infix(function: Callable[[Any, Any], Value], spelled: tuple[str, ...], written: str, rank: int) -> Operation:
    return Operation(lambda _, left, right: function(left, right), spelled, "xx", (), written, rank, _stretched)


OPERATIONS: dict[str, Operation] = {
    "add": _infix(operator.add, ("add",), "{0} + {1}", 1),
    "sub": _infix(operator.sub, ("sub",), "{0} - {1}", 1),
    "mul": _infix(operator.mul, ("mul",), "{0} * {1}", 2),
    "div": _infix(operator.truediv, ("div",), "{0} / {1}", 2),
    "pow": _infix(_power, ("pow",), "{0}**{1}", 4),
    "matmul": Operation(lambda _, left, right: left @ right, ("matmul", "mm"), "xx", (), "{0} @ {1}", 2, _of_a_product),
    "neg": Operation(lambda _, value: -value, ("neg",), written="-{0}", rank=3),
    **{name: Operation(_plain(getattr(torch, name)), (name,)) for name in (
        "exp", "log", "tanh", "sigmoid", "erf", "sqrt", "square", "reciprocal", "ones_like", "zeros_like")},
    "transpose": Operation(_plain(lambda tensor: tensor.permute(*reversed(range(tensor.dim())))), ("t",),
                           written="{0}.T"),
    "same": Operation(lambda _, value: value, ("clone", "detach", "contiguous", "double", "float", "to"), "x_*",
                      written="{0}"),  # here everything is float64
    "count": Operation(lambda _, tensor: tensor.numel(), ("numel", "nelement")),
    "sum": Operation(_reduced(torch.sum), ("sum",)),
    "mean": Operation(_reduced(torch.mean), ("mean",)),
    "softmax": Operation(lambda dim, tensor: torch.softmax(tensor, dim), ("softmax",), "xi", ("dim",)),
    "argmax": Operation(lambda dim, tensor: torch.argmax(tensor, dim), ("argmax",), "xi", ("dim",)),
    "one_hot": Operation(lambda _, index, classes: functional.one_hot(index.long(), classes).to(torch.float64),
                         ("one_hot",), "xx", ("num_classes",), sizes=lambda _, index, classes: [*index.shape, classes]),
    "reshape": Operation(lambda _, tensor, *sizes: tensor.reshape(sizes), ("view", "reshape"), "xx*"),
    "like": Operation(lambda _, tensor, other: tensor.reshape(other.shape), ("view_as", "reshape_as"), "xx"),
    "expand": Operation(lambda _, tensor, *sizes: tensor.expand(sizes), ("expand",), "xx*",
                        sizes=lambda _, tensor, *sizes: [max(1, size) for size in sizes]),
    "flatten": Operation(lambda dims, tensor: torch.flatten(tensor, *dims), ("flatten",), "xi*"),
    "swap": Operation(lambda dims, tensor: tensor.transpose(*dims), ("transpose", "swapaxes"), "xii",
                      written="{0}.transpose({value[0]}, {value[1]})"),
    "flip": Operation(lambda dims, tensor: tensor.flip(dims), ("flip",), "xi*", written="{0}[::-1]"),
    "permute": Operation(lambda dims, tensor: tensor.permute(dims), ("permute",), "xi*"),
    "unsqueeze": Operation(lambda dim, tensor: tensor.unsqueeze(dim), ("unsqueeze",), "xi"),
    "size": Operation(lambda dim, tensor: tensor.shape[dim], ("size",), "xi"),
    "masked_fill": Operation(lambda _, tensor, mask, fill: tensor.masked_fill(mask, float(fill)), ("masked_fill",),
                             "xxx"),
    "filled": Operation(lambda _, fill, *sizes: torch.full(sizes, float(fill), dtype=torch.float64),
                        sizes=lambda _, fill, *sizes: sizes),
    "filled_like": Operation(lambda _, tensor, fill: torch.full_like(tensor, float(fill)), ("full_like",), "xx"),
    "index_add": Operation(lambda dim, base, index, source: base.index_add(dim, index, source),
                           ("index_add", "index_add_"), "xixx"),
    "arange": Operation(lambda _, stop: torch.arange(size(stop)), ("arange",)),
    "pad": Operation(lambda _, tensor, *ends: functional.pad(tensor, ends), ("pad",), "xx*",
                     sizes=lambda _, tensor, *ends: [*tensor.shape[:-1], tensor.shape[-1] + sum(map(size, ends))]),
    "einsum": Operation(_einsum, written="einsum(…)"),
    "mask": Operation(_mask),
    "pick": Operation(lambda pattern, tensor, *numbers: tensor[_index(pattern, tensor, numbers)], written="{0}[…]"),
    "slice": Operation(lambda there, *ends: slice(*(ends[sum(there[:k])] if there[k] else None for k in range(3)))),
    "use": Operation(lambda _, value: value),
    "cat": Operation(lambda dim, *tensors: torch.cat(tensors, dim), written="cat([…], {value})",
                     sizes=lambda _, *tensors: [sum(tensor.numel() for tensor in tensors)]),
    "elements": Operation(lambda _, count: size(count)),
    "if": Operation(lambda _, value: value, written="({1} if {0} else {2})"),  # of the sides only one is computed
    **{name: _infix(getattr(operator, name), (), f"{{0}} {sign} {{1}}", 0) for name, sign in (
        ("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="), ("eq", "=="), ("ne", "!="))},
}  # fmt: skip
"""What is read, computed and written. Without a spelling: what `reader.py` makes of syntax, and what edits make."""

SPELLED = {spelling: op for op, operation in OPERATIONS.items() for spelling in operation.spelled}
