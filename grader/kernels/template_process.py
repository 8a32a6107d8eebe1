"""The grader's end of a template process and of its branches: start them, ask them for kernels, end them."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from grader.errors import ExecutionError, SandboxUnavailable
from grader.kernels import sandbox, scratch_folders
from grader.kernels.forked import Fork, can_fork
from grader.kernels.inside import wire
from grader.kernels.sandbox import LIBRARY, ROOM
from grader.kernels.template_channel import HERE, Branch, Channel, Wanted

# A process that is told to die with its parent dies with the thread that started it: this one lives to the end.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sandbox-starter")


class Template(Channel):
    """A template process, which gets ready while its grader does other things, until `published` is asked for."""

    def __init__(self, wanted: Wanted) -> None:
        super().__init__(wanted, scratch_folders.folder("s"))
        self._branches: list[Branch] = []
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        self._copy_goods()
        self._channel, theirs = socket.socketpair()
        with theirs, open(self.folder / "stderr", "wb") as errors:
            if self._wanted.kind == "snapshot" and not self._wanted.sandboxed and can_fork():
                self._process: Fork | subprocess.Popen[bytes] = Fork(
                    self._boot("template", theirs.fileno()), theirs.fileno(), errors.fileno(), self._wanted.libraries
                )
            else:
                self._process = _starter.submit(
                    subprocess.Popen,
                    self._command(theirs.fileno()),
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    pass_fds=[theirs.fileno()],
                    env={} if self._wanted.sandboxed else sandbox.unconfined_environment(),
                    cwd="/",
                    start_new_session=True,  # an interrupt at the terminal is the grader's to handle
                ).result()
        with contextlib.suppress(OSError):  # it is gone already, which `published` says
            wire.send(self._channel, self._config())

    # --- what goes in -------------------------------------------------------------------------------------------------

    def _copy_goods(self) -> None:
        """Copies for the sandbox: its user may not be able to read the originals."""
        goods, etc = self.folder / "goods", self.folder / "etc"
        for folder in (goods, goods / "files", etc):
            folder.mkdir()
        for name, path in self._wanted.files.items():
            shutil.copyfile(path, goods / "files" / name)
        if self._wanted.sandboxed:
            folders = {"inside": HERE / "inside"} | {str(n): path for n, path in enumerate(self._wanted.modules_path)}
            for name, path in folders.items():
                shutil.copytree(path, goods / name, ignore=shutil.ignore_patterns("__pycache__"))
            sandbox.write_etc(etc)
        _let_everybody_read(self.folder)

    def _command(self, descriptor: int) -> list[str]:
        program = [sys.executable, "-c", self._boot("template", descriptor)]
        if not self._wanted.sandboxed:
            return program
        return sandbox.command(program, self.folder / "goods", self.folder / "etc")

    def _modules(self) -> list[str]:
        if not self._wanted.sandboxed:
            return [str(path.absolute()) for path in self._wanted.modules_path]
        return [f"{LIBRARY}/{number}" for number, _ in enumerate(self._wanted.modules_path)]

    def _config(self) -> dict[str, Any]:
        sandboxed = self._wanted.sandboxed
        return {
            "kind": self._wanted.kind,
            "namespaces": sandboxed,
            "libraries": list(self._wanted.libraries),
            "setup_cells": list(self._wanted.setup_cells),
            "files": f"{LIBRARY}/files" if sandboxed else str(self.folder / "goods" / "files"),
            "workdir": f"{ROOM}/exercise" if sandboxed else str(self.folder / "workdir"),
            "modules_path": self._modules(),
            "limits": msgspec.to_builtins(self._wanted.limits),
            "kept": [str(path) for path in sandbox.below_tmp()] if sandboxed else [],
        }

    def _not_started(self, reply: dict[str, Any] | None) -> Exception:
        self._process.wait(10)
        said = (self.folder / "stderr").read_text(errors="replace").strip().splitlines()
        cause = reply["failed"] if reply else said[-1] if said else f"exit status {self._process.returncode}"
        if self._wanted.sandboxed:
            return SandboxUnavailable(
                f"The sandbox could not be started ({cause}): `grader doctor` says what this machine lacks."
            )
        return ExecutionError(f"The process that kernels come from ended ({cause}): reinstall the Python environment.")

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    # --- branches -----------------------------------------------------------------------------------------------------

    def branch(self, steps: Sequence[tuple[str, str]]) -> Branch:
        """A branch that has run further steps (`cell` or `probe`, and its source), or soon will have."""
        ours, theirs = socket.socketpair()
        branch = Branch(self._wanted, self.folder, ours)
        self._branches.append(branch)
        with theirs:
            self._request({"do": "branch", "steps": steps}, [theirs.fileno()])
        return branch

    def let_go(self) -> None:
        """Close what leads to branches that have ended."""
        for branch in [branch for branch in self._branches if branch.over]:
            branch.close()
            self._branches.remove(branch)

    def improve(self) -> None:
        """Make kernels, and branches from now on, cheaper: that takes a third of a second."""
        self._request({"do": "improve"})

    def close(self) -> None:
        """End the process, with every kernel that is left, and remove its folder."""
        for branch in self._branches:
            branch.close()
        if hasattr(self, "_channel"):
            super().close()
        if hasattr(self, "_process"):
            try:
                self._process.wait(2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _let_everybody_read(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
