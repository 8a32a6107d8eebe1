"""Sources of kernels: templates for snapshots and for cold kernels in a sandbox, and plain cold kernels."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from nbclient import NotebookClient

from grader.kernels import scratch_folders
from grader.kernels.manager import KernelManager, OneKernelSpec, shared_context
from grader.kernels.provisioner import NAMES, PLAIN, entry_points, open_templates
from grader.kernels.sandbox import Limits
from grader.kernels.template_process import Template, Wanted


class Source:
    """What the sources share: they are closed at the end of a `with` block."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.setup_outputs: list[list[dict[str, Any]]] = []
        self.setup_cells_run = 0

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

    def prepare(self, count: int) -> None:
        """Nothing: kernels are started when they are asked for."""

    def close(self) -> None:
        """Free what the source holds."""


class TemplateSource(Source):
    """Kernels from a template process."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(wanted.limits)
        self._name = uuid.uuid4().hex
        self._provisioner = NAMES[wanted.kind]
        self._template = Template(wanted)
        open_templates[self._name] = self._template

    def wait(self) -> None:
        """Until the template has run the setup cells."""
        self.setup_outputs = [outputs_of(published) for published in self._template.published]
        self.setup_cells_run = len(self.setup_outputs)

    def manager(self) -> KernelManager:
        """A manager for one kernel, not started."""
        stanza = {"provisioner_name": self._provisioner, "config": {"template": self._name}}
        spec = KernelSpec(language="python", metadata={"kernel_provisioner": stanza})
        return _manager(spec, self.limits, transport="ipc")

    def close(self) -> None:
        """End the template and every kernel that is left."""
        open_templates.pop(self._name, None)
        self._template.close()


class PlainSource(Source):
    """Ordinary cold kernels without a sandbox, on any system; each in its own copy of the files."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(wanted.limits)
        self._wanted = wanted
        self._folder = scratch_folders.folder("p")
        self._numbers = itertools.count(1)

    def manager(self) -> KernelManager:
        """A manager for one kernel, not started."""
        desk = self._folder / str(next(self._numbers))
        desk.mkdir()
        for name, path in self._wanted.files.items():
            shutil.copyfile(path, desk / name)
        modules = os.pathsep.join(str(path.absolute()) for path in self._wanted.modules_path)
        spec = KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            language="python",
            env={"PYTHONPATH": modules},
            metadata={"kernel_provisioner": {"provisioner_name": PLAIN, "config": {"folder": str(desk)}}},
        )
        options = {"transport": "tcp"} if sys.platform == "win32" else {"transport": "ipc", "ip": f"{desk}-z"}
        return _manager(spec, self.limits, connection_file=f"{desk}.json", **options)

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


def _manager(spec: KernelSpec, limits: Limits, **options: Any) -> KernelManager:
    spec.display_name = "Python 3"
    for name, entry_point in entry_points().items():  # a package run from its checkout has registered none
        KernelProvisionerFactory.provisioners.setdefault(name, entry_point)
    return KernelManager(
        kernel_name="python3",
        kernel_spec_manager=OneKernelSpec(spec=spec),
        context=shared_context(),
        output_bytes=limits.output_mb << 20,
        **options,
    )
