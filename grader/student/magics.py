"""`%check` and `%hint` in a notebook: the grader asked about the kernel that the student is working in.

Nothing is computed in that kernel. A process beside it, which runs what `grader check` runs, is sent the tensors and
the cells that were executed, and answers with what to show.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from IPython.display import DisplayHandle, display

PYTHON = "GRADER_PYTHON"
"""The environment variable that names the Python of the process that checks, where it isn't the kernel's own."""
MAX_ERROR = 300
"""Characters of the last line that a process wrote which are shown."""
_STARTING = "Starting the checker: it loads PyTorch once"
PROBE = Path(__file__).parent.parent / "kernels" / "probe"


class _Output:
    """The output of one cell, in which each thing shown takes the place of the one before."""

    def __init__(self) -> None:
        self._handle: DisplayHandle | None = None

    def show(self, answer: dict[str, Any]) -> None:
        """Show HTML where the front end can, else the text."""
        data = {"text/plain": answer["text"], "text/html": answer["html"]}
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    def clear(self) -> None:
        """Leave nothing of it."""
        if self._handle is not None:
            self._handle.update({"text/plain": "", "text/html": ""}, raw=True)


@magics_class
class GraderMagics(Magics):
    """The magics, and the process that answers them."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell=shell)
        self._ran: list[tuple[str, str | None]] = []
        self._probe: ModuleType | None = None
        self._log: IO[str] | None = None
        self._answered = False
        self._process: subprocess.Popen[str] | None = None
        with contextlib.suppress(OSError):  # it is said when a check is asked for
            self._process = self._started()

    @magic_arguments()
    @argument("names", nargs="*", help="Gradients to check, such as dlogits dprobs; by default, all.")
    @argument("--exercise", metavar="ID", help="The exercise, if the cells don't say.")
    @line_magic
    def check(self, line: str) -> None:
        """Check the gradients in this kernel: which are right, and where and why the others are not."""
        self._ask("check", parse_argstring(self.check, _without_comment(line)))

    @magic_arguments()
    @argument("names", nargs="?", help="The gradient; by default, the first that is neither right nor carried.")
    @argument("--exercise", metavar="ID", help="The exercise, if the cells don't say.")
    @line_magic
    def hint(self, line: str) -> None:
        """Open the next hint. Hints are opened one at a time, and how many are open is remembered."""
        self._ask("hint", parse_argstring(self.hint, _without_comment(line)))

    def remember_cell(self, info: Any) -> None:
        """Before a cell is run: the notebook's id of it, where the front end tells."""
        self._ran.append((info.raw_cell, getattr(info, "cell_id", None)))
        # The cell that loads us is run again for each check, and IPython would complain that we are loaded.
        self._shell.extension_manager.loaded.discard("grader")

    def close(self) -> None:
        """End the process beside the kernel."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    @property
    def _shell(self) -> Any:
        return self.shell

    def _ask(self, do: str, options: Any) -> None:
        output = _Output()
        if not self._answered:
            output.show({"text": f"{_STARTING} …", "html": f"<div>{_STARTING} …</div>"})
        answer = self._asked(do, options, output)
        if "error" in answer:
            output.clear()
            print(f"grader: {answer['error']}", file=sys.stderr)
            return
        output.show(answer)

    def _asked(self, do: str, options: Any, output: _Output) -> dict[str, Any]:
        names = options.names if isinstance(options.names, list) else [options.names] if options.names else []
        only = [name for said in names for name in said.split(",") if name]
        common = {"cells": self._history(), "exercise": options.exercise, "only": only}
        found = self._answer({**common, "do": "names", "tensors": self._tensor_names()}, output)
        if "error" in found:
            return found
        asked = {**common, "do": do, "exercise": found["use"], "export": self._export(found["names"], found["lists"])}
        return self._answer(asked, output)

    def _history(self) -> list[dict[str, str | None]]:
        """The cells that were executed, each with the notebook's id of it, where that was told.

        Which number a cell has while it begins to run differs between versions of IPython, so they are matched by text,
        from the last to the first: what was run before we were loaded was told to nobody.
        """
        told = list(self._ran)
        cells: list[dict[str, str | None]] = []
        for source in reversed(self._shell.history_manager.input_hist_raw):
            place = next((number for number in reversed(range(len(told))) if told[number][0] == source), None)
            id_ = told.pop(place)[1] if place is not None else None
            if source.strip():
                cells.append({"source": source, "id": id_})
        return cells[::-1]

    def _tensor_names(self) -> list[str]:
        torch = sys.modules.get("torch")
        kind = getattr(torch, "Tensor", ())
        return [name for name, value in self._shell.user_ns.items() if isinstance(value, kind)]

    def _export(self, names: list[str], lists: list[str]) -> dict[str, Any]:
        """The tensors of these names, as a grader's kernel would send them; only read, never touched."""
        if self._probe is None:
            # In a grader's kernel the folder of both is on the path; here it must not be. Neither needs our package's
            # dependencies, of which a kernel whose Python isn't the helper's has few.
            sys.modules.setdefault("grader_detached", _loaded("grader_detached"))
            self._probe = _loaded("grader_tensors")
        part = {"id": "", "gradients": names, "upstream": [], "values": [], "also": [], "forward": [], "lists": lists}
        exported: dict[str, Any] = self._probe.export(self._shell.user_ns, part)
        return exported

    # --- the process beside the kernel

    def _started(self) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != "JPY_PARENT_PID"}
        apart: dict[str, Any] = {"start_new_session": True}  # an interrupt of the kernel is not for it
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        python = os.environ.get(PYTHON) or sys.executable
        if self._log is None:
            self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed in close
        return subprocess.Popen(  # noqa: S603 - our own module, on this very interpreter, or the one that is named
            [python, "-P", "-m", "grader.student.magics_server", str(self._notebook())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
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

    def _answer(self, request: dict[str, Any], output: _Output) -> dict[str, Any]:
        if self._process is not None and self._process.poll() is not None and self._answered:
            self.close()
        if self._process is None:
            try:
                self._process = self._started()
            except OSError as error:
                python = os.environ.get(PYTHON, sys.executable)
                return {"error": f"{python} can't be started ({error.strerror}): correct the path in {PYTHON}."}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request, default=_base64) + "\n")
            self._process.stdin.flush()
            while (line := self._process.stdout.readline()) and "last" not in (answer := json.loads(line)):
                output.show(answer)
        except KeyboardInterrupt:
            self.close()  # its answer would be taken for that to the next question
            raise
        except OSError:
            line = ""
        if not line:
            return {"error": self._why_it_ended()}
        self._answered = True
        return dict(answer)

    def _why_it_ended(self) -> str:
        """What the process wrote last before it ended; another is started for the next question."""
        last = ""
        if self._process is not None and self._log is not None:
            self._process.kill()
            self._process.communicate()
            self._log.seek(0)
            last = self._log.read().strip().split("\n")[-1][:MAX_ERROR]
        self.close()
        why = f"it ended with “{last}”" if last else "it ended without an error message"
        python = os.environ.get(PYTHON)
        where = f" on {python}, which {PYTHON} names," if python else ""
        return (
            f"The checker{where} can't go on: {why}. Try again; if it ends again, `grader check` in a terminal gives "
            "the same verdicts."
        )


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


def _loaded(name: str) -> ModuleType:
    """A module of the probe's, from its file."""
    spec = importlib.util.spec_from_file_location(name, PROBE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _without_comment(line: str) -> str:
    """A magic's arguments without what a student wrote behind them: `%check dlogits  # again`."""
    return line.split("#")[0]


def _base64(data: bytes) -> str:
    """The tensors in a request, which is text."""
    return base64.b64encode(data).decode("ascii")
