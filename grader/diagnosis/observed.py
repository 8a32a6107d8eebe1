"""Slips that are seen from what was exported, and from the syntax tree, rather than from the numbers alone."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import partial

import torch

from grader.diagnosis.case_view import Scene
from grader.diagnosis.guess import Guess
from grader.diagnosis.wrong_tensor import WrongTensor
from grader.marking.tolerance import conformed
from grader.notebook.gradient_names import gradient_of
from grader.records import Diagnosis

Observation = Callable[[WrongTensor], Diagnosis | None]


def dtype(wrong: WrongTensor) -> Diagnosis | None:
    """Whole numbers, complex ones, or so few digits that the value is lost."""
    kind = _kind(wrong)
    if kind is None or kind in (torch.float32, torch.float64):
        return None
    if not kind.is_floating_point:
        cut = [scene.fits(scene.expected.trunc()) for scene in wrong.scenes]
        return whole_numbers(wrong) if all(cut) else None
    eps = torch.finfo(kind).eps
    for scene in wrong.scenes:
        limit = 8 * eps * float(scene.expected.abs().max())
        if scene.in_shape is None or float((scene.in_shape - scene.expected).abs().max()) > limit:
            return None
    return _wrong_dtype(wrong, ", which keeps too few digits; the values are right otherwise.")


def whole_numbers(wrong: WrongTensor) -> Diagnosis | None:
    """A dtype that holds no fractions, or complex numbers."""
    kind = _kind(wrong)
    if kind is None or kind.is_floating_point:
        return None
    return _wrong_dtype(wrong, ": a gradient needs a floating-point dtype.")


def _kind(wrong: WrongTensor) -> torch.dtype | None:
    kind = getattr(torch, wrong.seen.note.dtype.removeprefix("torch."), None)
    return kind if isinstance(kind, torch.dtype) else None


def _wrong_dtype(wrong: WrongTensor, why: str) -> Diagnosis:
    found = wrong.seen.note.dtype.removeprefix("torch.")
    return Diagnosis(code="wrong-dtype", message=f"`{wrong.gradient}` has the dtype {found}{why}")


def not_finite(wrong: WrongTensor) -> Diagnosis | None:
    """NaN or infinity, made here or handed on."""
    found = [scene.student for scene in wrong.scenes]
    if not found and wrong.seen.tensor is not None:
        found = [wrong.seen.tensor]
    if wrong.seen.note.lacks or all(bool(torch.isfinite(tensor).all()) for tensor in found):
        return None  # what is no tensor in a list is NaN here
    for consumer in wrong.consumers if wrong.scenes else []:
        own = wrong.first.own.get(consumer)
        if own is not None and not bool(torch.isfinite(own).all()):
            message = f"The NaN or infinity in `{wrong.gradient}` comes from `{gradient_of(consumer)}`: start there."
            return Diagnosis(code="not-finite", message=message)
    message = (
        f"`{wrong.gradient}` holds NaN or infinity. Look for a division by zero, a logarithm or power that "
        "doesn't exist, an infinity that was filled in, or a tensor that was never filled (torch.empty)."
    )
    return Diagnosis(code="not-finite", message=message)


def value_not_finite(name: str, value: torch.Tensor | None) -> Diagnosis | None:
    """NaN or infinity in a trained parameter, or what an optimizer keeps."""
    if value is None or bool(torch.isfinite(value).all()):
        return None
    message = (
        f"`{name}` holds NaN or infinity. Look for a division by zero, such as by `1 - beta**t` with a `t` that never "
        "increases, for a root of a negative number, and for an earlier NaN."
    )
    return Diagnosis(code="not-finite", message=message)


# --- sizes and numbers written out


def hard_coded(wrong: WrongTensor) -> Diagnosis | None:
    """Right at the visible size only: a number in the student's line that is a size there."""
    if not wrong.checked or not wrong.marks.combined.visible_only(wrong.gradient):
        return None
    changing = _changing(wrong)
    for number, where in _numbers(wrong):
        for value, name in changing.items():
            for written, meant in ((value, name), (value - 1, f"{name} - 1"), (1 / value, f"1/{name}")):
                if number == written and (isinstance(value, int) or meant == name):
                    message = f"{where} is `{meant}` written out."
                    return Diagnosis(code="hard-coded-size", message=message)
    message = f"Something in `{wrong.gradient}` depends on the sizes you see."
    return Diagnosis(code="hard-coded-size", message=message)


def _changing(wrong: WrongTensor) -> dict[float, str]:
    """Sizes and other numbers of the visible case that are others in some hidden case → the shortest name for each."""
    visible = wrong.marks.part.visible.reference
    changing: dict[float, str] = {}
    for part_case in wrong.marks.part.hidden.values():
        other = part_case.reference.constants
        for name, value in visible.constants.items():
            if isinstance(value, int | float) and value not in (0, 1) and other.get(name) != value:
                changing[value] = min(changing.get(value, name), name, key=len)
    shown = {size for tensor in visible.forward.values() for size in tensor.shape}
    return {value: name for value, name in changing.items() if not isinstance(value, int) or value in shown}


def _numbers(wrong: WrongTensor) -> Iterator[tuple[float, str]]:
    """The numbers in the lines that make the gradient, and in those of the names that these read; and where it is."""
    for line in wrong.lines:
        if line.names & wrong.ancestry:
            alone = isinstance(line.node, ast.Assign) and isinstance(line.value, ast.Constant)
            holder = next(iter(line.names - {wrong.gradient}), None) if alone else None
            for tree in line.trees:
                where = "in the loop around this line" if _is_range(tree) else "in this line"
                for child in ast.walk(tree):
                    if isinstance(child, ast.Constant) and isinstance(child.value, int | float):
                        said = f"The number {child.value} {where}" if holder is None else f"`{holder}` = {child.value}"
                        yield child.value, said


def _is_range(tree: ast.AST) -> bool:
    return isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == "range"


def fixed_numbers(wrong: WrongTensor) -> Diagnosis | None:
    """Numbers that were pasted in: right on the visible case, and the same ones on every other."""
    visible = wrong.marks.part.visible
    pasted, expected = wrong.seen.tensor, visible.expected(wrong.gradient)
    if pasted is None or expected is None or pasted.numel() < 2 or bool((pasted == pasted.flatten()[0]).all()):
        return None
    others = [scene.student for scene in wrong.scenes]
    same = [tensor.shape == pasted.shape and torch.allclose(tensor.to(pasted.dtype), pasted) for tensor in others]
    stretched = conformed(pasted, expected.shape)
    if len(others) < 2 or not all(same) or stretched is None or not torch.allclose(stretched, expected, rtol=1e-3):
        return None
    message = (
        f"`{wrong.gradient}` has the same numbers for every network. Compute it from the tensors of the forward pass."
    )
    return Diagnosis(code="fixed-numbers", message=message)


# --- what was changed before


def upstream_changed(wrong: WrongTensor) -> Iterator[Guess]:
    """The formula is right, for what the part's own cells have made of a gradient that was there before them."""
    for name in wrong.first.changed:
        upstream = f"`{gradient_of(name)}`"
        message = (
            f"Your lines here change {upstream}, and `{wrong.gradient}` follows from the changed one: start "
            f"from {upstream} as it was, and give the changed one a different name."
        )
        yield Guess("upstream-changed", message, partial(_from_the_changed, name))


def _from_the_changed(name: str, scene: Scene) -> torch.Tensor | None:
    if name not in scene.changed:
        return None
    return scene.reference.chained({**scene.own, name: scene.changed[name]})[scene.name]


# --- too small a difference for float32


def hidden_by_float32(wrong: WrongTensor) -> Diagnosis | None:
    """Right as far as float32 shows, and wrong beyond: the student's own `cmp` said True."""
    if not wrong.checked or not wrong.marks.combined.right_in_float32(wrong.gradient):
        return None
    message = (
        f"In the visible case, `{wrong.gradient}` is right up to float32 rounding, so cmp says True. "
        "In float64, a small difference is left: look for a small constant, or a nearly equal number."
    )
    return Diagnosis(code="right-in-float32-only", message=message)
