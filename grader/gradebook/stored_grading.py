"""A grading as the database keeps it, and read again, under the name that its student has now."""

from __future__ import annotations

import zlib

import msgspec

from grader.errors import UsageError
from grader.records import Check, Grade, Grading

MAX_GRADING = 256 * 2**20
"""Bytes of one grading; those of the largest notebooks have some 20 MB."""
_DAMAGED = "A grading in the gradebook is damaged: restore the gradebook from a backup. Nothing in it was changed."


def packed(grading: Grading) -> bytes:
    """A grading as bytes."""
    return zlib.compress(msgspec.msgpack.encode(grading), 1)  # pictures: 3 takes twice as long for 7 %


def unpacked(data: bytes, student: str) -> Grading:
    """A grading that was packed, as `student`'s.

    Raises:
        UsageError: the bytes are damaged.
    """
    try:
        whole = zlib.decompressobj().decompress(data, MAX_GRADING)
        grading = msgspec.msgpack.decode(whole, type=Grading)
    except (zlib.error, msgspec.MsgspecError, RecursionError, TypeError) as error:
        raise UsageError(_DAMAGED) from error
    return msgspec.structs.replace(grading, grade=msgspec.structs.replace(grading.grade, student=student))


def decoded(text: str, student: str, shared: dict[bytes, Check]) -> Grade:
    """A grade from its JSON, as `student`'s. Its checks are those in `shared` where they are the same.

    Of ten thousand students most checks are.

    Raises:
        UsageError: the JSON is damaged.
    """
    try:
        grade = msgspec.json.decode(text, type=Grade)
    except (msgspec.MsgspecError, RecursionError, TypeError) as error:
        raise UsageError(_DAMAGED) from error
    checks = [shared.setdefault(msgspec.json.encode(check), check) for check in grade.checks]
    return msgspec.structs.replace(grade, student=student, checks=checks)
