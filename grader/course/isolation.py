"""The instructor's cells, run in the grader's own process and kept apart from it."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from grader.course.exercise import Cell
from grader.errors import CourseError

Namespace = dict[str, Any]


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
def default_dtype(dtype: str) -> Iterator[None]:
    """While it lasts, torch's default dtype is this one: `float64`."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def float32_draws() -> Iterator[None]:
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


class _Late(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds matplotlib and pyplot as modules that are loaded when something of them is first used.

    `importlib.util.LazyLoader` loads a module at `isinstance(module, Tensor)`, too, as each name's value is asked here.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in ("matplotlib", "matplotlib.pyplot"):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None:
            spec.loader_state, spec.loader = spec.loader, self
        return spec

    def exec_module(self, module: ModuleType) -> None:
        """Have the module load itself when it is asked for what it doesn't have yet."""
        spec = module.__spec__
        assert spec is not None

        def first(name: str) -> Any:
            del vars(module)["__getattr__"]
            module.__loader__ = spec.loader = spec.loader_state
            spec.loader_state.exec_module(module)
            return getattr(module, name)

        vars(module)["__getattr__"] = first


@contextlib.contextmanager
def _plots_when_asked() -> Iterator[None]:
    """Setup cells import pyplot, which takes half a second; of the cells that the reference runs, hardly any draws."""
    finder = _Late()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def module_of_its_own(name: str) -> ModuleType:
    """A module of the standard library once more, with its state."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def quiet_place(files: Mapping[str, Path], random: ModuleType) -> Iterator[None]:
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
            with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()), _plots_when_asked():
                yield
        finally:
            sys.path.remove(folder)
            sys.modules["random"] = shared
            for name in modules:
                sys.modules.pop(name, None)
            sys.modules.update(kept)
