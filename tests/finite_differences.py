"""Derivatives without any calculus: a tensor of a forward pass is nudged, and the rest of the pass is run again."""

from __future__ import annotations

import ast
import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from types import CodeType
from typing import Any, TypeGuard

import torch
from torch import Tensor

NUDGE, HELD = "_nudged", "_held"
STEP = 1e-6
"""Small beside the smallest numbers that matter (probabilities of 0.1 %), and large beside float64's rounding."""


def directional_derivative(
    cells: Sequence[str], start: Callable[[], dict[str, Any]], name: str, direction: Tensor
) -> float:
    """The derivative of the loss along a direction in which one tensor of the forward pass moves.

    Args:
        cells: the sources to run; the loss is what `backward` is called on last.
        start: makes a fresh namespace to run them in.
        name: the tensor: what this name is bound to when the loss is computed.
        direction: a tensor of its shape.
    """
    program = compile(_Held().visit(_with_nudge(cells, name)), "<forward>", "exec")
    held: list[Tensor] = []
    losses = _losses(program, start(), 0 * direction, lambda tensor: held.append(tensor.detach()) or held[-1])
    again = itertools.cycle(held)
    ahead, behind = (
        _losses(program, start(), step * direction, lambda _: next(again), until=len(losses))[-1]
        for step in (STEP, -STEP)
    )
    return (ahead - behind) / (2 * STEP)


class _Held(ast.NodeTransformer):
    """Has detached tensors go through a function: no gradient goes through them, so they must not move."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "detach":
            return ast.fix_missing_locations(ast.Call(ast.Name(HELD, ast.Load()), [node.func.value], []))
        return node


def _losses(
    program: CodeType, namespace: dict[str, Any], by: Tensor, held: Callable[[Tensor], Tensor], until: int | None = None
) -> list[float]:
    """The values of all losses on which `backward` is called; with `until`, no further than to that many."""
    namespace[HELD] = held
    namespace[NUDGE] = lambda tensor, *place: _nudged(tensor, by[place] if place else by)
    with _recorded_backward(until) as losses, contextlib.suppress(_Enough):
        exec(program, namespace)
    return losses


def _nudged(tensor: Tensor, by: Tensor) -> Tensor:
    """The tensor, moved: leaves in place, because a list of parameters may hold them, too; others as a new tensor.

    Of a list of leaves, each by its own row of `by`. What else is in lists is moved where it is appended.
    """
    if isinstance(tensor, list):
        return [_nudged(member, row) for member, row in zip(tensor, by, strict=True)]
    if tensor.is_leaf:
        tensor.data.add_(by)
        return tensor
    return tensor + by


def _with_nudge(cells: Sequence[str], name: str) -> ast.Module:
    """The cells as one program, with a nudge behind the last statement that binds the name before the last loss."""
    body = ast.parse("\n".join(_without_magics(source) for source in cells)).body
    last = max(index for index, node in enumerate(body) if ".backward()" in ast.unparse(node))
    bound = [index for index, node in enumerate(body[: last + 1]) if name in _bound(node)]
    assert bound, f"no statement of the forward pass binds {name}"
    for call in (node for tree in body[bound[-1] : last + 1] for node in ast.walk(tree) if _appends_to(node, name)):
        place = ast.parse(f"{NUDGE}(x, len({name}))", mode="eval").body  # a list, filled step by step
        assert isinstance(place, ast.Call)
        place.args[0], call.args[0] = call.args[0], place
        return ast.fix_missing_locations(ast.Module(body, []))
    nudge = ast.parse(f"{name} = {NUDGE}({name})").body
    return ast.fix_missing_locations(ast.Module([*body[: bound[-1] + 1], *nudge, *body[bound[-1] + 1 :]], []))


def _appends_to(node: ast.AST, name: str) -> TypeGuard[ast.Call]:
    function = node.func if isinstance(node, ast.Call) else None
    return isinstance(function, ast.Attribute) and ast.unparse(function) == f"{name}.append"


def _without_magics(source: str) -> str:
    return "\n".join("" if line.startswith(("%", "!")) else line for line in source.splitlines())


def _bound(node: ast.stmt) -> set[str]:
    if not isinstance(node, ast.Assign):
        return set()
    stored = [child for target in node.targets for child in ast.walk(target) if isinstance(child, ast.Name)]
    return {child.id for child in stored if isinstance(child.ctx, ast.Store)}


class _Enough(Exception):
    """The loss that was asked for is known: its gradients, which take longer than it did, are nobody's business."""


@contextlib.contextmanager
def _recorded_backward(until: int | None) -> Iterator[list[float]]:
    """While it is on, the values of all losses on which `backward` is called."""
    original = torch.Tensor.backward
    losses: list[float] = []

    def backward(loss: Tensor, *arguments: Any, **options: Any) -> None:
        losses.append(loss.item())
        if len(losses) == until:
            raise _Enough
        original(loss, *arguments, **options)

    torch.Tensor.backward = backward  # type: ignore[assignment, method-assign]
    try:
        yield losses
    finally:
        torch.Tensor.backward = original  # type: ignore[method-assign]
