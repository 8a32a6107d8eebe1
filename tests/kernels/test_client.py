"""Outputs are made of messages as nbformat makes them, and of no message that its schema refuses."""

from __future__ import annotations

import contextlib

import nbformat.v4
import pytest
from jsonschema import ValidationError
from nbclient import NotebookClient
from nbformat.v4 import output_from_msg

from grader.kernels.client import KernelNotebookClient

CONTENTS = [
    ("stream", {"name": "stdout", "text": "a"}),
    ("stream", {"name": "stdout", "text": 1}),
    ("error", {"ename": "E", "evalue": "no", "traceback": ["a", "b"]}),
    ("error", {"ename": "E", "evalue": "no", "traceback": ["a", 1]}),
    ("display_data", {"data": {"text/plain": "a", "image/png": ["a", "b"]}, "metadata": {"a": {"b": 1}}}),
    ("display_data", {"data": {"text/plain": 1}, "metadata": {}}),
    ("display_data", {"data": {"text/plain": ["a", 1]}, "metadata": {}}),
    ("display_data", {"data": {"application/json": {"a": [1]}, "application/x+json": 1}, "metadata": {}}),
    ("display_data", {"data": {"application/x/json": 1}, "metadata": {}}),
    ("display_data", {"data": {"text/json": 1}, "metadata": {}}),
    ("execute_result", {"data": {"text/plain": "1"}, "metadata": {}, "execution_count": 3}),
    ("execute_result", {"data": {"text/plain": "1"}, "metadata": {}, "execution_count": None}),
    ("execute_result", {"data": {"text/plain": "1"}, "metadata": {}, "execution_count": -1}),
    ("execute_result", {"data": {"text/plain": "1"}, "metadata": {}, "execution_count": "3"}),
    ("execute_result", {"data": {"text/plain": "1"}, "metadata": {}}),
    ("nonsense", {}),
]


def message(kind: str, content: dict[str, object]) -> dict[str, object]:
    return {"header": {"msg_type": kind}, "parent_header": {}, "msg_type": kind, "content": content}


@pytest.mark.parametrize(("kind", "content"), CONTENTS)
def test_an_output_is_what_nbformat_makes_of_a_message_or_nothing(kind, content):
    expected = []
    with contextlib.suppress(ValidationError, KeyError, ValueError):
        expected = [output_from_msg(message(kind, content))]
    cell = nbformat.v4.new_code_cell()
    client = KernelNotebookClient(nbformat.v4.new_notebook(cells=[cell]))
    client.clear_before_next_output = False
    client.process_message(message(kind, content), cell, 0)
    assert cell.outputs == expected


def test_a_later_display_with_the_same_id_and_a_delayed_clear_do_as_in_nbclient():
    def outputs(kind: type[NotebookClient]) -> list[object]:
        cell = nbformat.v4.new_code_cell()
        client = kind(nbformat.v4.new_notebook(cells=[cell]))
        client.clear_before_next_output = False
        shown = {"metadata": {}, "transient": {"display_id": "a"}}
        for kind_, content in [
            ("stream", {"name": "stdout", "text": "gone"}),
            ("clear_output", {"wait": True}),
            ("display_data", {**shown, "data": {"text/plain": "1"}}),
            ("stream", {"name": "stdout", "text": "kept"}),
            ("update_display_data", {**shown, "data": {"text/plain": "2"}}),
        ]:
            client.process_message(message(kind_, content), cell, 0)
        return list(cell.outputs)

    assert outputs(KernelNotebookClient) == outputs(NotebookClient)
    assert len(outputs(KernelNotebookClient)) == 2
