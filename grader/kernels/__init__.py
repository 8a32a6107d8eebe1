"""Kernels for notebooks: where they come from, and what confines them.

`open_source` gives a source of kernels for one exercise; each manager from it starts one kernel. A `snapshot` kernel
is a fork of a process that has run the exercise's setup cells already; a `cold` kernel has run nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from grader.choices import Sandbox
from grader.errors import ExecutionError
from grader.kernels.sandbox import Limits

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager

__all__ = ["KernelKind", "KernelSource", "Limits", "default_kind", "open_source"]

KernelKind = Literal["snapshot", "cold"]
_SNAPSHOTS_SINCE = 7
"""The major version of ipykernel of whose inner parts a snapshot's kernel is made."""


class KernelSource(Protocol):
    """A context manager that gives kernels for one exercise; it begins to get ready as soon as it is made."""

    setup_outputs: list[list[dict[str, Any]]]
    """nbformat outputs of each setup cell that ran in the template."""

    setup_cells_run: int
    """How many of the setup cells each kernel has already executed."""

    held: bool
    """Whether no cell can take the kernels' streams, or end them: `grader_guard.hold` has been run in each."""

    limits: Limits
    """What each kernel may use."""

    def wait(self) -> None:
        """Return when kernels can be had, with the cells run that they come with."""

    def branch(self, steps: Sequence[tuple[str, str]]) -> KernelSource | None:
        """Kernels that have run further steps (`cell` or `probe`, and its source), or None where there are none such.

        It returns at once, and is closed with this source. A step that fails is an `ExecutionError` of its `wait`.
        """

    def prepare(self, count: int) -> None:
        """Start kernels ahead, where the source does so."""

    def manager(self) -> AsyncKernelManager:
        """A fresh manager, not started, for one kernel."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def default_kind() -> KernelKind:
    """The faster kind of kernel that this system and its ipykernel allow."""
    return "snapshot" if sys.platform == "linux" and _ipykernel_forks() else "cold"


def _ipykernel_forks() -> bool:
    return int(version("ipykernel").split(".")[0]) >= _SNAPSHOTS_SINCE


def open_source(
    kind: KernelKind,
    sandbox: Sandbox,
    setup_cells: Sequence[str],
    files: Mapping[str, Path],
    modules_path: Sequence[Path],
    limits: Limits,
    *,
    libraries: Sequence[str] = (),
    ahead: bool = False,
) -> KernelSource:
    """Open a source of kernels, to be closed by its `with` block, which waits until kernels can be had.

    `files` (name → path) are copied into each kernel's working folder. `modules_path` are folders from which kernels
    can import. Snapshot kernels come with `libraries` loaded besides the usual ones. With `ahead`, some can be started
    before they are asked for.
    Raises `SandboxUnavailable` where the machine offers none, `ExecutionError` when ipykernel is too old for snapshots,
    and where the block begins, when a setup cell raises.
    """
    if kind == "snapshot" and not _ipykernel_forks():
        raise ExecutionError(
            f"Snapshot kernels need ipykernel {_SNAPSHOTS_SINCE}, and {version('ipykernel')} is installed here: "
            "pip install 'backprop-grader[class]', or use --kernel cold."
        )
    from grader.kernels.kernel_source import PlainSource, TemplateSource
    from grader.kernels.template_channel import Wanted

    wanted = Wanted(kind, sandbox == "bwrap", setup_cells, files, modules_path, limits, libraries)
    source = PlainSource(wanted) if kind == "cold" and sandbox == "none" else TemplateSource(wanted)
    if ahead:
        from grader.kernels.prestarted import AheadSource

        return AheadSource(source, setup_cells)
    return source
