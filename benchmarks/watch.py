"""`grader check --watch` on exercise 01: from a save to the verdict, and where the time goes.

    python -m benchmarks.watch [SAVES]

An editor's save is played by a file that takes the notebook's name. Each one puts a sign wrong or right again. The
verdict counts as there when the grading is handed to what prints it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.speed.measure import median
from grader.course.course import Course
from grader.execution.execute import Runner
from grader.student.check import watch_notebook

TOP = Path(__file__).parent.parent
EXERCISE = "01_backprop_ninja"
PAUSE = 1.5
"""Seconds between a verdict and the next save: the next kernels are started meanwhile."""

_spent: dict[str, list[float]] = defaultdict(list)


def main() -> None:
    """Measure and print."""
    saves = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    for name in ("_run_visible", "_run_hidden"):
        setattr(Runner, name, _timed(name.removeprefix("_run_"), getattr(Runner, name)))
    right = (TOP / "examples" / "ada.ipynb").read_text(encoding="utf-8")
    wrong = right.replace("dlogprobs[range(n), Yb] = -1.0 / n", "dlogprobs[range(n), Yb] = 1.0 / n")
    assert wrong != right
    with tempfile.TemporaryDirectory() as folder:
        notebook = Path(folder, f"{EXERCISE}.ipynb")
        notebook.write_text(right, encoding="utf-8")
        _watch(notebook, [wrong, right], saves)


def _watch(notebook: Path, versions: list[str], saves: int) -> None:
    stop = threading.Event()
    saved_at = 0.0

    def save(number: int) -> None:
        nonlocal saved_at
        time.sleep(PAUSE)
        draft = notebook.with_name("draft")
        draft.write_text(versions[number % 2], encoding="utf-8")
        saved_at = time.monotonic()
        os.replace(draft, notebook)

    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {saves} saves")
    for number, (grading, seconds) in enumerate(watch_notebook(Course(TOP / "exercises"), notebook, None, stop)):
        if number:
            whole = time.monotonic() - saved_at
            _spent["save to verdict"].append(whole)
            _spent["noticed"].append(whole - seconds)
            both = max(_spent["visible"][-1], _spent["hidden"][-1])  # they run beside one another
            _spent["marking and diagnoses"].append(seconds - both)
            _spent["CPU of the grading"].append(grading.grade.cpu_seconds)
        if number == saves:
            break
        threading.Thread(target=save, args=(number,)).start()
    for name in ("save to verdict", "noticed", "visible", "hidden", "marking and diagnoses", "CPU of the grading"):
        values = _spent[name][-saves:]
        print(f"{name:24s} median {median(values):.3f} s   least {min(values):.3f} s")


def _timed(name: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def timed(*arguments: Any, **options: Any) -> Any:
        started = time.monotonic()
        try:
            return await method(*arguments, **options)
        finally:
            _spent[name].append(time.monotonic() - started)

    return timed


if __name__ == "__main__":
    main()
