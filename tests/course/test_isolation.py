"""The instructor's cells in the grader's own process."""

from __future__ import annotations

from tests.conftest import ROOT
from tests.warm_python import python

PROGRAM = """
import sys
from torch import Tensor
from grader.course.isolation import _plots_when_asked

def loaded():
    return [name for name in ("matplotlib.rcsetup", "matplotlib.figure") if name in sys.modules]

with _plots_when_asked():
    import matplotlib.pyplot as plt
    import matplotlib
assert not isinstance(plt, Tensor), "which the reference asks of each name's value"
print(loaded())
print(matplotlib.rcParams["lines.linestyle"], loaded())
print(len(plt.plot([1, 2])), loaded())
from matplotlib.pyplot import gcf
print(len(gcf().axes), plt is sys.modules["matplotlib.pyplot"], plt.__loader__ is plt.__spec__.loader)
"""


def test_pyplot_is_loaded_when_a_cell_draws_and_not_before():
    done = python("-c", PROGRAM, cwd=ROOT, loaded="torch")
    assert done.stdout.splitlines() == [
        "[]",
        "- ['matplotlib.rcsetup']",
        "1 ['matplotlib.rcsetup', 'matplotlib.figure']",
        "1 True True",
    ], done.stderr
