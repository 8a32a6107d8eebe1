"""Carried mistakes of shape: what follows from an upstream gradient that is not of its tensor's shape.

A gradient with a missing sum, (32, 64) for a tensor of shape (1, 64), broadcasts on silently through the elementwise
formulas below it. What the chain rule gives there is found slice by slice: each of its 32 rows is taken as the
upstream in turn, and the same row is kept of what comes out. Where that were too many, by the factor of each element.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from grader.course.graph import PartReference
from grader.marking.tolerance import FLOAT64

MAX_SLICES = 512
MAX_ELEMENTS = 1 << 18
"""Shapes beyond these are no missing sum of an exercise."""


def carried_shapes(
    reference: PartReference, upstream: Mapping[str, Tensor], misshapen: Mapping[str, Tensor]
) -> Iterator[dict[str, Tensor]]:
    """What elementwise formulas and views make of misshapen upstream gradients.

    Args:
        reference: autograd's side.
        upstream: tensor name → the student's gradient, in the tensor's shape.
        misshapen: tensor name → a gradient of the student's that doesn't broadcast to its tensor's shape.

    Yields:
        Tensor name → the value that follows: first with the same numbers reshaped, then for each shape that the
        misshapen ones broadcast to with their tensors, in that shape. Tensors that don't broadcast to it are left out.
    """
    groups: dict[torch.Size, dict[str, Tensor]] = {}
    for name, tensor in misshapen.items():
        try:
            shape = torch.broadcast_shapes(tensor.shape, reference.gradients[name].shape)
        except RuntimeError:
            continue
        if shape.numel() <= MAX_ELEMENTS:
            groups.setdefault(shape, {})[name] = tensor.to(reference.gradients[name].dtype).expand(shape)
    yield _reshaped(reference, upstream, misshapen)
    for shape, stretched in groups.items():
        dims = _stretched_dims(shape, [reference.gradients[name].shape for name in stretched])
        if dims and torch.Size(shape[dim] for dim in dims).numel() <= MAX_SLICES:
            yield _by_slices(reference, upstream, stretched, shape, dims)
        elif dims:
            yield _by_factors(reference, upstream, stretched, shape)


def _reshaped(
    reference: PartReference, upstream: Mapping[str, Tensor], misshapen: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What `view` makes of them: the same numbers, taken in the order in which they lie."""
    usable = {
        name: tensor.reshape(reference.gradients[name].shape).to(reference.gradients[name].dtype)
        for name, tensor in misshapen.items()
        if tensor.numel() == reference.gradients[name].numel()
    }
    chained = reference.chained({**upstream, **usable}) if usable else {}
    return {name: tensor for name, tensor in chained.items() if name not in usable}


def _stretched_dims(shape: torch.Size, own: list[torch.Size]) -> list[int]:
    """The dimensions of `shape` in which some tensor has size 1 or no such dimension."""
    padded = [(1,) * (len(shape) - len(size)) + tuple(size) for size in own]
    return [dim for dim in range(len(shape)) if shape[dim] > 1 and any(size[dim] == 1 for size in padded)]


def _by_slices(reference: PartReference, upstream: Mapping[str, Tensor], stretched: Mapping[str, Tensor],
               shape: torch.Size, dims: list[int]) -> dict[str, Tensor]:  # fmt: skip
    found = {
        name: tensor.new_empty(shape)
        for name, tensor in reference.gradients.items()
        if _broadcasts(tensor.shape, shape)
    }
    for index in torch.cartesian_prod(*(torch.arange(shape[dim]) for dim in dims)).view(-1, len(dims)).tolist():
        place: list[int | slice] = [slice(None)] * len(shape)
        for dim, position in zip(dims, index, strict=True):
            place[dim] = slice(position, position + 1)
        slices = {
            name: _without_leading(tensor[tuple(place)], reference.gradients[name].dim()).expand_as(
                reference.gradients[name]
            )
            for name, tensor in stretched.items()
        }
        chained = reference.chained({**upstream, **slices})
        for name, target in found.items():
            target[tuple(place)] = chained[name].expand(shape)[tuple(place)]
    return found


def _by_factors(reference: PartReference, upstream: Mapping[str, Tensor], stretched: Mapping[str, Tensor],
                shape: torch.Size) -> dict[str, Tensor]:  # fmt: skip
    """The same for too many slices, where one factor an element is all that lies between.

    The factors are what comes of ones; what comes of other numbers shows whether there is no more to it than factors.
    """
    own = {name: reference.gradients[name] for name in stretched}
    zeros = {name: torch.zeros_like(tensor) for name, tensor in own.items()}
    others = {name: torch.linspace(0.5, 1.5, tensor.numel(), dtype=tensor.dtype).view(tensor.shape)
              for name, tensor in own.items()}  # fmt: skip
    base = reference.chained({**upstream, **zeros})
    ones = {
        name: reference.chained({**upstream, **zeros, name: torch.ones_like(tensor)}) for name, tensor in own.items()
    }
    tried = reference.chained({**upstream, **others})
    found = {}
    for name, start in base.items():
        if _broadcasts(start.shape, shape):
            moved = {other: result[name] - start for other, result in ones.items()}
            factors = {other: factor for other, factor in moved.items() if bool(factor.any())}
            predicted = start + sum(factor * others[other] for other, factor in factors.items())
            if predicted.shape == start.shape and FLOAT64.holds(predicted, tried[name]):
                terms = [factor.expand(shape) * stretched[other] for other, factor in factors.items()]
                found[name] = start.expand(shape) + sum(terms)
    return found


def _without_leading(tensor: Tensor, rank: int) -> Tensor:
    """The tensor without the leading dimensions, all of size 1, that it has over `rank`."""
    return tensor.reshape(tensor.shape[tensor.dim() - rank :])


def _broadcasts(shape: torch.Size, target: torch.Size) -> bool:
    try:
        return bool(torch.broadcast_shapes(shape, target) == target)
    except RuntimeError:
        return False
