"""A cell that would end its kernel a moment later, fork it, or take its streams: the same marks every time."""

from __future__ import annotations

import pytest

from grader.grading.pool import GraderPool
from grader.records import Submission
from tests.conftest import verdicts

ENDS = ["exit()", "quit()", "get_ipython().kernel.do_shutdown(True)", "import pdb; pdb.set_trace()", "breakpoint()"]
FORKS = ["import os; os.fork()", "import os\nif os.fork() == 0: raise SystemExit"]
"""Of which the child goes on behind the cell, as a second kernel."""
STREAMS = [
    "import sys; sys.stdout = None",
    "import sys; sys.stderr = sys.stdout = 3",
    "import sys; sys.stdout.close()",
    "import sys; del sys.stdout",
    "import io, sys; sys.stdout = io.StringIO(); sys.stdout.close()",
    "import sys\nif sys.stdout.closed: pass\nassert sys.stdout.writable() and not sys.stdout.isatty()\n"
    "sys.stdout.writelines(['a', 'b'])\nprint(sys.stdout.encoding, file=sys.stderr)",
]


SLOW = """\
import builtins, time
time.sleep(0 if hasattr(builtins, 'waited') else 0.15)
builtins.waited = True
"""
"""Takes longer than the tenth of a second after which a kernel that was told to end does; once in each of its kernels,
and not in every hidden case.
"""


@pytest.mark.parametrize("statement", [*ENDS, *FORKS, *STREAMS])
def test_the_others_are_judged_as_ever(grade, solved, statement):
    def edit(notebook):
        ids = [cell["metadata"].get("nbgrader", {}).get("grade_id") for cell in notebook["cells"]]
        cell = {"cell_type": "code", "metadata": {}, "source": statement, "outputs": [], "execution_count": None}
        notebook["cells"].insert(ids.index("gradients-top"), cell)

    printing = solved(("dhsum = (h", f"print('here')\n{SLOW}dhsum = (h"), edit=edit)
    for data in (printing, solved(("dhsum = (h", f"{statement}\n{SLOW}dhsum = (h"))):
        grading = grade(data)
        assert set(verdicts(grading).values()) <= {"exact", "approximate"}, verdicts(grading)


def test_an_exit_above_everything_too(grade, solved):
    def edit(notebook):
        cell = {"cell_type": "code", "metadata": {}, "source": "exit()", "outputs": [], "execution_count": None}
        notebook["cells"].insert(0, cell)

    grading = grade(solved(("dhsum = (h", f"{SLOW}dhsum = (h"), edit=edit))
    assert set(verdicts(grading).values()) <= {"exact", "approximate"}


@pytest.mark.slow
@pytest.mark.parametrize("statement", ["exit()", FORKS[0], STREAMS[0], STREAMS[2]])
def test_cold_kernels_stay_too(course, solved, statement):
    answer = ("dhsum = (h", f"{statement}\n{SLOW}dhsum = (h")
    with GraderPool(course, "cold", "bwrap") as pool:
        grading = pool.grade(Submission("s", "mini", solved(answer)))
    assert set(verdicts(grading).values()) <= {"exact", "approximate"}


@pytest.mark.parametrize("bar", ["tqdm import tqdm", "tqdm.auto import tqdm", "tqdm.notebook import tqdm"])
def test_a_progress_bar_works(grade, solved, bar):
    line = "dhsum = (h * dscaled).sum(1, keepdim=True)"
    grading = grade(solved((line, f"from {bar}\nfor _ in tqdm(range(1), desc='rows'):\n    {line}")))
    assert set(verdicts(grading).values()) <= {"exact", "approximate"}
