"""Messages that would cost more to read than they have bytes."""

from __future__ import annotations

import json

import pytest

from grader.kernels import connection
from grader.kernels.inside import message_fragments
from grader.kernels.message_bounds import MAX_ITEMS, MAX_TEXT_BYTES, is_cheap


def message(content: bytes, header: bytes = b'{"msg_id": "1", "msg_type": "display_data"}') -> memoryview:
    text = b'{"header": %s, "parent_header": {"msg_id": "2"}, "metadata": {}, "content": %s}' % (header, content)
    return memoryview(b"".join(message_fragments.pieces([text])))


BOMBS = {
    "lists": b'{"data": {"text/plain": [' + b",".join([b"[]"] * (1 << 20)) + b"]}}",
    "objects": b'{"data": {"a": [' + b",".join([b"{}"] * (1 << 20)) + b"]}}",
    "numbers": b'{"data": [' + b"1," * (1 << 20) + b"1]}",
    "keys": b"{" + b",".join(b'"%d":1' % number for number in range(1 << 18)) + b"}",
    "nested": b"[" * (1 << 20),
    "one long text": json.dumps({"text": "x" * (MAX_TEXT_BYTES + 1)}).encode(),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_known_before_it_is_read_and_says_whose_it_is(kind, monkeypatch):
    assert not is_cheap(BOMBS[kind])
    monkeypatch.setattr(connection, "_decoder", None)  # whoever reads it fails
    found = connection._message(message(BOMBS[kind]))
    if kind == "nested":  # which ends before its bottom
        assert found is None
    else:
        assert (found["msg_type"], found["parent_header"]["msg_id"], found["cut"]) == ("display_data", "2", True)
        assert found["content"] == {}


def test_a_bomb_in_a_header_is_no_message():
    header = b'{"msg_id": "1", "msg_type": "display_data", "x": [' + b"[]," * (1 << 20) + b"1]}"
    assert connection._message(message(b"{}", header))["header"] == {"msg_id": "1", "msg_type": "display_data"}
    header = b'{"msg_id": [' + b"[]," * (1 << 20) + b'1], "msg_type": "display_data"}'
    assert connection._message(message(b"{}", header)) is None


LONG = ["," * (2 * MAX_ITEMS), '",\\"[{' * MAX_ITEMS, "x" * (8 << 20), "tensor([1.0, 2.0]), " * MAX_ITEMS]


@pytest.mark.parametrize("text", LONG, ids=["commas", "quotes", "letters", "numbers"])
def test_a_long_text_is_none_whatever_is_in_it(text):
    content = json.dumps({"name": "stdout", "text": text}).encode()
    assert is_cheap(content)
    assert connection._message(message(content))["content"]["text"] == text
