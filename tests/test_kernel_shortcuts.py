"""What the snapshot's kernels do faster than ipykernel must come to the same."""

from __future__ import annotations

import threading
from collections import deque
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ipykernel.compiler import murmur2_x86

from grader.kernels.inside.kernelapp import OncePerCell, murmur2


@given(st.text(max_size=50), st.integers(0, 2**32 - 1))
def test_a_cell_has_the_file_name_that_ipykernel_gives_it(text, seed):
    assert murmur2(text, seed) == murmur2_x86(text, seed)


def test_a_cell_is_transformed_once_and_the_same_cell_run_again_anew():
    seen = []
    transform = OncePerCell(lambda cell: seen.append(cell) or cell.upper())
    assert [transform("a"), transform("a")] == ["A", "A"]
    assert seen == ["a"]
    assert [transform("a"), transform("b"), transform("a")] == ["A", "B", "A"]
    assert seen == ["a", "a", "b", "a"]


