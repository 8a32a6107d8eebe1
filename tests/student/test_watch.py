"""Saves are seen once, whatever way an editor saves, and never half-written."""

from __future__ import annotations

import json
import queue
import threading
import time

import pytest

from grader.student.watch import saved_versions


def notebook(code, output=""):
    outputs = [{"output_type": "stream", "name": "stdout", "text": output}] if output else []
    cell = {"cell_type": "code", "metadata": {}, "source": code, "outputs": outputs, "execution_count": None}
    return json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": [cell]}, indent=1).encode()


class Watcher:
    """`saved_versions` in a thread."""

    def __init__(self, path):
        self.path, self.stop, self.seen = path, threading.Event(), queue.Queue()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self.next() == path.read_bytes()

    def _run(self):
        for content in saved_versions(self.path, self.stop):
            self.seen.put(content)

    def next(self):
        return self.seen.get(timeout=20)

    def quiet(self):
        """Nothing more is seen; a last save proves that the watch still goes on."""
        self.path.write_bytes(notebook("the_last = 1"))
        assert self.next() == notebook("the_last = 1")
        assert self.seen.empty()


@pytest.fixture
def watcher(tmp_path):
    path = tmp_path / "mine.ipynb"
    path.write_bytes(notebook("a = 1"))
    watcher = Watcher(path)
    yield watcher
    watcher.stop.set()
    watcher.thread.join(20)
    assert not watcher.thread.is_alive()


def rename_over(path, content):
    draft = path.with_name(".mine.ipynb.tmp")
    draft.write_bytes(content)
    draft.replace(path)


def backup_and_write(path, content):
    path.rename(path.with_name("mine.ipynb~"))
    path.write_bytes(content)


def truncate_and_write_slowly(path, content):
    with path.open("wb") as file:
        for start in range(0, len(content), 97):
            file.write(content[start : start + 97])
            file.flush()
            time.sleep(0.1)


def twice_at_once(path, content):
    path.write_bytes(content)
    rename_over(path, content)


@pytest.mark.parametrize("save", [rename_over, backup_and_write, truncate_and_write_slowly, twice_at_once])
def test_a_save_is_seen_once_and_whole(watcher, save):
    save(watcher.path, notebook("a = 2"))
    assert watcher.next() == notebook("a = 2")
    watcher.quiet()


def test_an_autosave_that_changes_no_code_is_not_seen(watcher):
    watcher.path.write_bytes(notebook("a = 1", "printed"))
    watcher.path.touch()
    watcher.quiet()


def test_what_stays_broken_is_seen_as_it_is(watcher, monkeypatch):
    monkeypatch.setattr("grader.student.watch.PATIENCE_SECONDS", 0.2)
    watcher.path.write_bytes(b'{"cells": [')
    assert watcher.next() == b'{"cells": ['


def test_other_files_in_the_folder_are_none_of_its_business(watcher):
    (watcher.path.parent / "other.ipynb").write_bytes(notebook("b = 1"))
    watcher.quiet()
