"""What the snapshot's kernels do faster than ipykernel must come to the same."""

from __future__ import annotations

import threading
from collections import deque
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ipykernel.compiler import murmur2_x86

from grader.kernels.inside.kernelapp import OncePerCell, PublishingThread, murmur2


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


def publishing_thread():
    """One that is never started: its events are handled by hand, and its wake-ups counted."""
    thread = PublishingThread.__new__(PublishingThread)
    thread._events = deque()
    thread.thread = SimpleNamespace(is_alive=lambda: True)
    wakes = []
    thread._local = threading.local()
    thread._local.event_pipe = SimpleNamespace(send=wakes.append)
    return thread, wakes


def test_what_is_published_together_wakes_the_thread_once_and_keeps_its_order():
    thread, wakes = publishing_thread()
    done = []
    for number in range(3):
        thread.schedule(lambda number=number: done.append(number))
    assert len(wakes) == 1
    thread._handle_event([b""])
    assert done == [0, 1, 2]
    thread.schedule(lambda: done.append(3))
    assert len(wakes) == 2


def test_what_is_published_meanwhile_is_not_left_behind_even_after_an_error():
    thread, wakes = publishing_thread()
    done = []
    thread.schedule(lambda: thread.schedule(lambda: done.append("later")))
    thread._handle_event([b""])
    assert done == ["later"]
    thread.schedule(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        thread._handle_event([b""])
    thread.schedule(lambda: done.append("after"))
    assert len(wakes) == 3
    thread._handle_event([b""])
    assert done == ["later", "after"]
