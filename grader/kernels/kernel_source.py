"""Sources of kernels: templates for snapshots and for cold kernels in a sandbox, and plain cold kernels."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import threading
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.session import Session
from nbclient import NotebookClient

from grader.kernels import scratch_folders
from grader.kernels.manager import KernelManager, OneKernelSpec, shared_context
from grader.kernels.provisioner import NAMES, PLAIN, entry_points, open_templates
from grader.kernels.sandbox import Limits
from grader.kernels.template_channel import Channel, Wanted
from grader.kernels.template_process import Template

BRANCHES = 3
"""So many branches a template has at a time: one for each kind of start, and one that has run no more than itself."""
MANY = 16
"""When branches were asked for so often, by some eight submissions, there will be more: then what makes kernels cheaper
is worth half a second."""


class Source:
    """What the sources share: they are closed at the end of a `with` block."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.setup_outputs: list[list[dict[str, Any]]] = []
        self.setup_cells_run = 0
        self.held = False

    def __enter__(self) -> Self:
        try:
            self.wait()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait(self) -> None:
        """Until kernels can be had; here at once."""

    def branch(self, steps: Sequence[tuple[str, str]]) -> Source | None:
        """None: its kernels are no forks."""
        return None

    def manager(self) -> KernelManager:
        """A manager for one kernel."""
        raise NotImplementedError

    def prepare(self, count: int) -> None:
        """Nothing: kernels are started when they are asked for."""

    def close(self) -> None:
        """Free what the source holds."""


class ForkSource(Source):
    """Kernels from a template process, or from a branch of one."""

    def __init__(self, wanted: Wanted, channel: Channel) -> None:
        super().__init__(wanted.limits)
        self.held = wanted.kind == "snapshot"
        self._name = uuid.uuid4().hex
        self._channel = channel
        stanza = {"provisioner_name": NAMES[wanted.kind], "config": {"template": self._name}}
        # Made once for all its kernels. A snapshot has a connection of its own, and needs no key of its own as well.
        self._specs = _specs(KernelSpec(language="python", metadata={"kernel_provisioner": stanza}))
        self._session = {"session": Session()} if self.held else {}
        open_templates[self._name] = channel

    def wait(self) -> None:
        """Until the cells have been run that its kernels come with."""
        if not self.setup_outputs:
            self.setup_outputs = [outputs_of(published) for published in self._channel.published]
            self.setup_cells_run = len(self.setup_outputs)

    def manager(self) -> KernelManager:
        """A manager for one kernel, not started."""
        return _manager(self._specs, self.limits, transport="ipc", **self._session)

    def renew(self, channel: Channel) -> None:
        """Take kernels from this one from now on."""
        self._channel.retire()
        self._channel = channel
        open_templates[self._name] = channel
        self.setup_outputs = []

    def retire(self) -> None:
        """Have the process end when its last kernel has."""
        open_templates.pop(self._name, None)
        self._channel.retire()

    def close(self) -> None:
        """End the process and every kernel that is left."""
        open_templates.pop(self._name, None)
        self._channel.close()


class TemplateSource(ForkSource):
    """Kernels from a template process of its own, and from branches of it."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._template = Template(wanted)
        self._branches: dict[tuple[tuple[str, str], ...], ForkSource] = {}
        self._asked = 0
        self._lock = threading.Lock()
        super().__init__(wanted, self._template)

    def manager(self) -> KernelManager:
        """A manager for one kernel, not started: a snapshot is a fork of a branch, if of one that has run no more."""
        branch = self.branch([])
        return super().manager() if branch is None else branch.manager()

    def branch(self, steps: Sequence[tuple[str, str]]) -> ForkSource | None:
        """Kernels that have run further steps, the same where these are asked for again; None beside cold kernels.

        Where there are too many, those that nobody has asked for longest are given up.
        """
        if self._wanted.kind == "cold":
            return None
        with self._lock:
            self._asked += 1
            self._template.let_go()
            if self._asked == MANY:
                self._template.improve()
                for told, branch in self._branches.items():
                    branch.renew(self._template.branch(told))
            key = tuple(steps)
            found = self._branches.pop(key, None)
            if found is None:
                if len(self._branches) == BRANCHES:
                    self._branches.pop(next(iter(self._branches))).retire()
                found = ForkSource(self._wanted, self._template.branch(key))
            self._branches[key] = found  # the last
            return found

    def close(self) -> None:
        """End the process, its branches and every kernel that is left."""
        for branch in self._branches.values():
            branch.close()
        super().close()


class PlainSource(Source):
    """Ordinary cold kernels without a sandbox, on any system; each in its own copy of the files."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(wanted.limits)
        self._wanted = wanted
        self._folder = scratch_folders.folder("p")
        self._numbers = itertools.count(1)

    def manager(self) -> KernelManager:
        """A manager for one kernel, not started."""
        workdir = self._folder / str(next(self._numbers))
        workdir.mkdir()
        for name, path in self._wanted.files.items():
            shutil.copyfile(path, workdir / name)
        modules = os.pathsep.join(str(path.absolute()) for path in self._wanted.modules_path)
        spec = KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            language="python",
            env={"PYTHONPATH": modules},
            metadata={"kernel_provisioner": {"provisioner_name": PLAIN, "config": {"folder": str(workdir)}}},
        )
        options = {"transport": "tcp"} if sys.platform == "win32" else {"transport": "ipc", "ip": f"{workdir}-z"}
        return _manager(_specs(spec), self.limits, connection_file=f"{workdir}.json", **options)

    def close(self) -> None:
        """Remove the kernels' folders."""
        shutil.rmtree(self._folder, ignore_errors=True)


def outputs_of(published: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The nbformat outputs that a notebook's client would have made of these messages."""
    cell = nbformat.v4.new_code_cell()
    client = NotebookClient(nbformat.v4.new_notebook(cells=[cell]))
    client.clear_before_next_output = False  # nbclient sets it where it starts a cell
    for message in published:
        client.process_message({**message, "parent_header": {}}, cell, 0)
    outputs: list[dict[str, Any]] = cell.outputs
    return outputs


def _specs(spec: KernelSpec) -> OneKernelSpec:
    spec.display_name = "Python 3"
    return OneKernelSpec(spec=spec)


def _manager(specs: OneKernelSpec, limits: Limits, **options: Any) -> KernelManager:
    for name, entry_point in entry_points().items():  # a package run from its checkout has registered none
        KernelProvisionerFactory.provisioners.setdefault(name, entry_point)
    return KernelManager(
        kernel_name="python3",
        kernel_spec_manager=specs,
        context=shared_context(),
        output_bytes=limits.output_mb << 20,
        **options,
    )
