"""`%check` and `%hint` in a notebook: the grader asked about the kernel that the student is working in.

Nothing is computed in that kernel. A process beside it, which runs what `grader check` runs, is sent the tensors and
the cells that were executed, and answers with what to show.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from IPython.display import display

PROBE = Path(__file__).parent.parent / "kernels" / "probe" / "grader_probe.py"


@magics_class
class GraderMagics(Magics):
    """The magics, and the process that answers them."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell=shell)
        self._cell_ids: dict[int, str | None] = {}
        self._probe: ModuleType | None = None
        self._process = self._started()

    @magic_arguments()
    @argument("names", nargs="*", help="Gradients, such as dlogits dprobs. All of them without a name.")
    @argument("--exercise", metavar="ID", help="The exercise, where the cells don't tell.")
    @line_magic
    def check(self, line: str) -> None:
        """Check the gradients in this kernel: which are right, and where and why the others are not."""
        self._show(self._asked("check", parse_argstring(self.check, _without_comment(line))))

    @magic_arguments()
    @argument("names", nargs="?", help="The gradient. Without it, the first that is neither right nor carried.")
    @argument("--exercise", metavar="ID", help="The exercise, where the cells don't tell.")
    @line_magic
    def hint(self, line: str) -> None:
        """Open the next hint. Hints are opened one at a time, and how many are open is remembered."""
        self._show(self._asked("hint", parse_argstring(self.hint, _without_comment(line))))

    def remember_cell(self, info: Any) -> None:
        """Before a cell is run: the notebook's id of it, where the front end tells."""
        self._cell_ids[self._shell.execution_count] = getattr(info, "cell_id", None)

    def close(self) -> None:
        """End the process beside the kernel."""
        self._process.kill()
        self._process.communicate()

    @property
    def _shell(self) -> Any:
        return self.shell

    def _asked(self, do: str, options: Any) -> dict[str, Any]:
        cells = [
            {"source": source, "id": self._cell_ids.get(number)}
            for number, source in enumerate(self._shell.history_manager.input_hist_raw)
            if source.strip()
        ]
        names = options.names if isinstance(options.names, list) else [options.names] if options.names else []
        only = [name for said in names for name in said.split(",") if name]
        common = {"cells": cells, "exercise": options.exercise, "only": only}
        found = self._answer({**common, "do": "names", "tensors": self._tensor_names()})
        if "error" in found:
            return found
        return self._answer({**common, "do": do, "exercise": found["use"], "export": self._export(found["names"])})

    def _tensor_names(self) -> list[str]:
        torch = sys.modules.get("torch")
        kind = getattr(torch, "Tensor", ())
        return [name for name, value in self._shell.user_ns.items() if isinstance(value, kind)]

    def _export(self, names: list[str]) -> dict[str, Any]:
        """The tensors of these names, as a grader's kernel would send them; only read, never touched."""
        if self._probe is None:
            # In a grader's kernel the folder of both is on the path; here it must not be.
            sys.modules.setdefault("grader_detached", importlib.import_module("grader.kernels.probe.grader_detached"))
            spec = importlib.util.spec_from_file_location("grader_probe", PROBE)
            assert spec is not None
            assert spec.loader is not None
            self._probe = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(self._probe)
        part = {"id": "", "gradients": names, "upstream": [], "values": [], "also": [], "forward": []}
        exported: dict[str, Any] = self._probe._export(self._shell.user_ns, part)
        return exported

    def _show(self, answer: dict[str, Any]) -> None:
        if "error" in answer:
            print(f"grader: {answer['error']}", file=sys.stderr)
            return
        data = {"text/plain": answer["text"]}
        if answer["html"] is not None:
            data["text/html"] = answer["html"]
        display(data, raw=True)

    # --- the process beside the kernel

    def _started(self) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != "JPY_PARENT_PID"}
        apart: dict[str, Any] = {"start_new_session": True}  # an interrupt of the kernel is not for it
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        return subprocess.Popen(  # noqa: S603 - our own module, on this very interpreter
            [sys.executable, "-P", "-m", "grader.student.magics_server", str(self._notebook())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, "MPLBACKEND": "agg", "PYTHONUTF8": "1"},
            text=True,
            encoding="utf-8",
            **apart,
        )

    def _notebook(self) -> Path:
        """The notebook's file, as far as the front end tells: Jupyter's and VS Code's ways."""
        told = self._shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME") or ""
        name = Path(told).name
        return Path.cwd() / (name if name.endswith(".ipynb") else "notebook.ipynb")

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._process.poll() is not None:
            self._process = self._started()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request, default=_base64) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except KeyboardInterrupt:
            self.close()  # its answer would be taken for that to the next question
            raise
        except OSError:
            line = ""
        if not line:
            self.close()
            return {"error": "The process that checks has ended: ask again, and if it ends again, run `grader check`."}
        answer: dict[str, Any] = json.loads(line)
        return answer


def load(shell: InteractiveShell) -> None:
    """Register the magics with a shell, once."""
    if "GraderMagics" in shell.magics_manager.registry:
        return
    magics = GraderMagics(shell)
    shell.register_magics(magics)
    shell.events.register("pre_run_cell", magics.remember_cell)


def unload(shell: InteractiveShell) -> None:
    """End the process beside the kernel; IPython can't forget a magic."""
    magics = shell.magics_manager.registry.pop("GraderMagics", None)
    if isinstance(magics, GraderMagics):
        shell.events.unregister("pre_run_cell", magics.remember_cell)
        magics.close()


def _without_comment(line: str) -> str:
    """A magic's arguments without what a student wrote behind them: `%check dlogits  # again`."""
    return line.split("#")[0]


def _base64(data: bytes) -> str:
    """The tensors in a request, which is text."""
    return base64.b64encode(data).decode("ascii")
