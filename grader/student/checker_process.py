"""The process beside a kernel that answers the magics, as the kernel sees it: started, asked, and started again."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

PYTHON = "GRADER_PYTHON"
"""The environment variable that names the Python of the process that checks, where it isn't the kernel's own."""
MAX_ERROR = 300
"""Characters of the last line that a process wrote which are shown."""

Answer = dict[str, Any]


class CheckerProcess:
    """A process that runs `magics_server`.

    Args:
        notebook: the notebook's file, as far as it is known.

    Attributes:
        answered: whether it has answered, and so has loaded all that it needs.
    """

    def __init__(self, notebook: Path) -> None:
        self.answered = False
        self._notebook = notebook
        self._log: IO[str] | None = None
        self._process: subprocess.Popen[str] | None = None
        with contextlib.suppress(OSError):  # it is said when something is asked for
            self._process = self._started()

    def ask(self, request: dict[str, Any], show: Callable[[Answer], None]) -> Answer:
        """The answer to a request; `show` is called with what is to be shown until it is there."""
        if self._process is not None and self._process.poll() is not None and self.answered:
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
                show(answer)
        except KeyboardInterrupt:
            self.close()  # its answer would be taken for that to the next question
            raise
        except OSError:
            line = ""
        if not line:
            return {"error": self._why_it_ended()}
        self.answered = True
        return dict(answer)

    def close(self) -> None:
        """End it; another is started for the next question."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def _started(self) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != "JPY_PARENT_PID"}
        apart: dict[str, Any] = {"start_new_session": True}  # an interrupt of the kernel is not for it
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        python = os.environ.get(PYTHON) or sys.executable
        if self._log is None:
            self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed in close
        return subprocess.Popen(  # noqa: S603 - our own module, on this very interpreter, or the one that is named
            [python, "-P", "-m", "grader.student.magics_server", str(self._notebook)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**environment, "MPLBACKEND": "agg", "PYTHONUTF8": "1"},
            text=True,
            encoding="utf-8",
            **apart,
        )

    def _why_it_ended(self) -> str:
        """What the process wrote last before it ended."""
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


def _base64(data: bytes) -> str:
    """The tensors in a request, which is text."""
    return base64.b64encode(data).decode("ascii")
