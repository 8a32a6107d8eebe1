"""`%check` and `%hint` in a notebook: the grader asked about the kernel that the student is working in.

Nothing is computed in that kernel. A process beside it, which runs what `grader check` runs, is sent the tensors and
the cells that were executed, and answers with what to show.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring
from IPython.display import DisplayHandle, display

from grader.student.checker_process import Answer, CheckerProcess

_STARTING = "Starting the checker: it loads PyTorch once"
PROBE = Path(__file__).parent.parent / "kernels" / "probe"


class _Output:
    """The output of one cell, in which each thing shown takes the place of the one before."""

    def __init__(self) -> None:
        self._handle: DisplayHandle | None = None

    def show(self, answer: Answer) -> None:
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
        self._checker = CheckerProcess(self._notebook())

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
        self._checker.close()

    @property
    def _shell(self) -> Any:
        return self.shell

    def _ask(self, do: str, options: Any) -> None:
        output = _Output()
        if not self._checker.answered:
            output.show({"text": f"{_STARTING} …", "html": f"<div>{_STARTING} …</div>"})
        answer = self._asked(do, options, output)
        if "error" in answer:
            output.clear()
            print(f"grader: {answer['error']}", file=sys.stderr)
            return
        output.show(answer)

    def _asked(self, do: str, options: Any, output: _Output) -> Answer:
        names = options.names if isinstance(options.names, list) else [options.names] if options.names else []
        only = [name for said in names for name in said.split(",") if name]
        common = {"cells": self._history(), "exercise": options.exercise, "only": only}
        found = self._checker.ask({**common, "do": "names", "tensors": self._tensor_names()}, output.show)
        if "error" in found:
            return found
        asked = {**common, "do": do, "exercise": found["use"], "export": self._export(found["names"], found["lists"])}
        return self._checker.ask(asked, output.show)

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

    def _notebook(self) -> Path:
        """The notebook's file, as far as the front end tells: Jupyter's and VS Code's ways."""
        told = self._shell.user_ns.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME") or ""
        name = Path(told).name
        return Path.cwd() / (name if name.endswith(".ipynb") else "notebook.ipynb")


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
