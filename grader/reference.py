"""The reference: autograd's gradients, computed in the grader's own process from the instructor's cells.

Nothing of a student's is executed here. Student tensors enter only as upstream gradients, as data.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from grader.catalog import Case
from grader.errors import CourseError
from grader.exercise import Cell, Exercise
from grader.records import VISIBLE
from grader.syntax import assigned_names

Namespace = dict[str, Any]

GIVEN_ELEMENTS = 1 << 16
"""Larger tensors are not kept as given: what is computed from them shows what they were."""


class PartReference:
    """A part's forward pass in one case, and every gradient that autograd gives for it.

    Attributes:
        root: the scalar that `backward` was called on.
        tensors: name → tensor of the forward pass that the root depends on, the root itself left out.
        gradients: name of the tensor (`X`, not `dX`) → its gradient, same shape and dtype.
        values: name → tensor compared by value (the trained parameters).
        initial: the same names → what they were before the part's reference code trained them.
        forward: the values of `tensors` when `backward` was called: later cells may train them in place.
        constants: the other numbers and tensors that had a name then (`n`, `Xb`).
    """

    def __init__(self, root: Tensor, tensors: dict[str, Tensor], gradients: dict[str, Tensor],
                 constants: dict[str, int | float | Tensor]) -> None:  # fmt: skip
        self.root = root
        self.tensors = tensors
        self.gradients = gradients
        self.forward = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        self.constants = constants
        self.values: dict[str, Tensor] = {}
        self.initial: dict[str, Tensor] = {}

    def chained(self, upstream: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the chain rule gives for every tensor, from the student's own gradients further up.

        Each tensor's incoming gradient is recorded by a hook, which then hands on the student's value in its place,
        so one backward pass answers for all tensors at once (`docs/verdicts.md`, "carried").

        Args:
            upstream: name of a tensor → the student's gradient for it, in the tensor's own shape and dtype.
        """
        return self._backward(upstream)

    def local(self, name: str, cotangent: Tensor, of: Collection[str] | None = None) -> dict[str, Tensor]:
        """The gradient that reaches each tensor, or those in `of`, from `name` alone, when `cotangent` is its gradient.

        Tensors that `name` was not computed from get zeros.
        """
        sources = [(key, tensor) for key, tensor in self.tensors.items() if key != name and (of is None or key in of)]
        found = torch.autograd.grad(
            self.tensors[name], [t for _, t in sources], cotangent, retain_graph=True, allow_unused=True
        )
        return {
            key: torch.zeros_like(tensor) if gradient is None else gradient
            for (key, tensor), gradient in zip(sources, found, strict=True)
        }

    @property
    def known(self) -> set[str]:
        """All that has a name: tensors and constants."""
        return {*self.tensors, *self.constants}

    @cached_property
    def consumers(self) -> dict[str, list[str]]:
        """Name → the named tensors computed directly from it, in the order of the forward pass."""
        owners = {id(tensor.grad_fn): name for name, tensor in self.tensors.items() if tensor.grad_fn is not None}
        leaves = {id(tensor): name for name, tensor in self.tensors.items() if tensor.grad_fn is None}
        uses: dict[str, list[str]] = {name: [] for name in self.tensors}
        for name, tensor in [*self.tensors.items(), ("loss", self.root)]:
            for source in _direct_inputs(tensor, owners, leaves):
                if source != name and name not in uses[source]:
                    uses[source].append(name)
        return uses

    def computed_from(self, name: str) -> frozenset[str]:
        """All tensors that were computed from a tensor, directly or not."""
        found: set[str] = set()
        pending = [name]
        while pending:
            new = set(self.consumers.get(pending.pop(), [])) - found
            found |= new
            pending += new
        return frozenset(found)

    def _backward(self, replaced: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return _gradients(self.root, self.tensors, replaced)


def _gradients(root: Tensor, tensors: Mapping[str, Tensor], replaced: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One backward pass; name → the gradient that came in, whether or not it was replaced on the way on."""
    recorded: dict[str, Tensor] = {}

    def hook_for(name: str) -> Any:
        def hook(gradient: Tensor) -> Tensor | None:
            recorded[name] = gradient.detach().clone()
            return replaced.get(name)

        return hook

    handles = [tensor.register_hook(hook_for(name)) for name, tensor in tensors.items()]
    try:
        torch.autograd.grad(root, list(tensors.values()), retain_graph=True, allow_unused=True)
    finally:
        for handle in handles:  # a hook left on a shared tensor would answer for the next student too
            handle.remove()
    return recorded


def _direct_inputs(tensor: Tensor, owners: dict[int, str], leaves: dict[int, str]) -> list[str]:
    """The named tensors that `tensor` was computed from with no other named tensor between them."""
    found: list[str] = []
    start = tensor.grad_fn
    if start is None:
        return found
    pending = [node for node, _ in start.next_functions]
    seen: set[int] = set()
    while pending:
        node = pending.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        variable = getattr(node, "variable", None)
        name = owners.get(id(node)) or (leaves.get(id(variable)) if variable is not None else None)
        if name is not None:
            found.append(name)
        else:
            pending.extend(child for child, _ in node.next_functions)
    return found


class Reference:
    """All reference values of one exercise, each case computed once and kept.

    Args:
        exercise: the released exercise.

    Attributes:
        given: name → tensor that the first gradients cell finds in the visible case; large data sets are left out.
            Known once that case's reference is.

    Raises:
        CourseError: a cell of the exercise fails, or a part has no loss on which `backward` is called.
    """

    def __init__(self, exercise: Exercise) -> None:
        self.exercise = exercise
        self.given: dict[str, Tensor] = {}
        self._random = _module_of_its_own("random")
        self._cases: dict[str, dict[str, PartReference]] = {}

    def case(self, case: Case) -> dict[str, PartReference]:
        """Part id → its reference under a case's parameters."""
        key = repr((sorted(case.parameters.items()), case.dtype))
        if key not in self._cases:
            with self._place(), _default_dtype(case.dtype):
                run = _Run(self.exercise, case, dict(self._setup))
                self._cases[key] = run.parts()
            self.given.update(run.given)
        return self._cases[key]

    def rounding(self, case: Case) -> dict[str, dict[str, float]]:
        """Part id → tensor → how far float32 rounding alone moves its gradient, largest absolute difference.

        Measured: the same cells on the same random numbers, once in float32 and once in float64.
        """
        coarse = self.case(case)
        with self._place(), _default_dtype("float64"), _float32_draws():
            fine = _Run(self.exercise, case, dict(self._setup)).parts()
        return {
            part: {
                name: float((gradient.double() - fine[part].gradients[name]).abs().max())
                for name, gradient in reference.gradients.items()
            }
            for part, reference in coarse.items()
        }

    @cached_property
    def _setup(self) -> Namespace:
        """The namespace after the setup cells, which no case's parameters change."""
        namespace: Namespace = {"__name__": "__main__"}
        torch.set_num_threads(1)  # as in the student's kernel, so that equal arithmetic gives equal bits
        with self._place():
            for cell in self.exercise.cells:
                if cell.role == "setup":
                    run_own_cell(cell, namespace, self.exercise.id)
        return namespace

    def _place(self) -> contextlib.AbstractContextManager[None]:
        return _quiet_place(self.exercise.files, self._random)


class _Run:
    """One run of the instructor's cells under one case, with `Tensor.backward` intercepted."""

    def __init__(self, exercise: Exercise, case: Case, namespace: Namespace) -> None:
        self.exercise = exercise
        self.case = case
        self.namespace = namespace
        self.given: dict[str, Tensor] = {}
        self.last: PartReference | None = None

    def parts(self) -> dict[str, PartReference]:
        """Run everything; the reference of every part."""
        done: dict[str, PartReference] = {}
        # What autograd saves for backward is copied: a training loop may change the parameters in place afterwards.
        with self._intercepted_backward(), torch.autograd.graph.saved_tensors_hooks(_copied, _as_it_is):
            for cell in self.exercise.cells:
                if cell.role == "gradients" and cell.part is not None and cell.part not in done:
                    if not done and self.case.id == VISIBLE:
                        self.given = self._given()
                    done[cell.part] = self._part(cell)
                elif cell.role in ("parameters", "forward"):
                    run_own_cell(cell, self.namespace, self.exercise.id)
                    if cell.role == "parameters":
                        self.namespace.update(self.case.parameters)
        return done

    def _part(self, cell: Cell) -> PartReference:
        assert cell.part is not None
        checks = self.exercise.parts[cell.part]
        initial = {name: self.namespace[name].detach().clone() for name in checks.values}
        if checks.reference is not None:
            run_own_cell(
                Cell(grade_id=f"{cell.part}-reference", role="reference", part=cell.part, source=checks.reference),
                self.namespace,
                self.exercise.id,
            )
        if self.last is None:
            raise CourseError(f"{self.exercise.id}: part {cell.part} has no loss on which backward() is called.")
        part = PartReference(self.last.root, self.last.tensors, self.last.gradients, self.last.constants)
        part.forward = self.last.forward
        part.initial = initial
        part.values = {name: self.namespace[name].detach().clone() for name in checks.values}
        return part

    def _given(self) -> dict[str, Tensor]:
        return {
            name: value.detach().clone()
            for name, value in self.namespace.items()
            if isinstance(value, Tensor) and value.layout is torch.strided and value.numel() <= GIVEN_ELEMENTS
        }

    def _named(self, root: Tensor) -> dict[str, Tensor]:
        """The tensors that names are bound to.

        Where several names share one tensor (a loop's variable does), it goes by the one whose gradient the exercise
        asks for, else by the one bound first.
        """
        asked = {
            name[1:]
            for cell in self.exercise.cells
            if cell.role in ("gradients", "backward")
            for name in assigned_names(cell.source)
        }
        found = [(name, value) for name, value in self.namespace.items() if isinstance(value, Tensor)]
        owners = {id(root): ""}
        for name, value in sorted(found, key=lambda item: item[0] not in asked):
            owners.setdefault(id(value), name)
        return {name: value for name, value in found if value.requires_grad and owners[id(value)] == name}

    def _constants(self) -> dict[str, int | float | Tensor]:
        """The named numbers and tensors that autograd does not follow."""
        return {
            name: value.detach() if isinstance(value, Tensor) else value
            for name, value in self.namespace.items()
            if isinstance(value, int | float) or (isinstance(value, Tensor) and not value.requires_grad)
        }

    @contextlib.contextmanager
    def _intercepted_backward(self) -> Iterator[None]:
        """While the cells run, `loss.backward()` also records the graph: the names bound at that moment."""
        original = torch.Tensor.backward

        def backward(root: Tensor, *_: Any, **__: Any) -> None:
            named = self._named(root)
            gradients = _gradients(root, named, {})
            reached = {name: named[name] for name in named if name in gradients}
            self.last = PartReference(root, reached, gradients, self._constants())
            original(root, retain_graph=True)  # type: ignore[no-untyped-call]

        torch.Tensor.backward = backward  # type: ignore[assignment, method-assign]
        try:
            yield
        finally:
            torch.Tensor.backward = original  # type: ignore[method-assign]


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def run_own_cell(cell: Cell, namespace: Namespace, where: str) -> None:
    """Execute one of the instructor's cells; magics and shell lines, which the reference has no use for, are left out.

    Raises:
        CourseError: the cell raised.
    """
    lines = ["" if line.startswith(("%", "!")) else line for line in cell.source.splitlines()]
    try:
        exec(compile("\n".join(lines), f"<{where} {cell.grade_id}>", "exec"), namespace)  # noqa: S102 - our own cell
    except Exception as error:
        raise CourseError(f"{where}: cell {cell.grade_id} fails with {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def _default_dtype(dtype: str) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def _float32_draws() -> Iterator[None]:
    """While the default dtype is float64, the random numbers that float32 would have drawn."""
    kept = {name: getattr(torch, name) for name in ("randn", "rand")}

    def narrow(draw: Any) -> Any:
        def drawn(*size: Any, **options: Any) -> Tensor:
            tensor: Tensor = draw(*size, **{"dtype": torch.float32, **options})
            return tensor.to(torch.float64)

        return drawn

    for name, draw in kept.items():
        setattr(torch, name, narrow(draw))
    try:
        yield
    finally:
        for name, draw in kept.items():
            setattr(torch, name, draw)


def _module_of_its_own(name: str) -> ModuleType:
    """A module of the standard library once more, with its state."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _quiet_place(files: Mapping[str, Path], random: ModuleType) -> Iterator[None]:
    """A folder that holds the exercise's files, as the student's kernel sees them; output goes nowhere.

    What is imported as `random` is `random`. The generator of Python's own is the whole process's: a thread that draws
    from it while a cell shuffles its data (a dask worker's event loop does, twice a second) makes this other data than
    the student's kernel has, and every gradient of every student wrong.
    """
    with tempfile.TemporaryDirectory(prefix="backprop-reference-") as folder:
        for name, path in files.items():
            shutil.copy(path, Path(folder) / name)
        modules = [Path(name).stem for name in files if name.endswith(".py")]
        kept = {name: sys.modules.pop(name) for name in modules if name in sys.modules}
        shared, sys.modules["random"] = sys.modules["random"], random
        os.environ.setdefault("MPLBACKEND", "agg")  # no window opens in a grader
        try:
            sys.path.insert(0, folder)
            with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
                yield
        finally:
            sys.path.remove(folder)
            sys.modules["random"] = shared
            for name in modules:
                sys.modules.pop(name, None)
            sys.modules.update(kept)
