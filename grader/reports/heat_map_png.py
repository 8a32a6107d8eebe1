"""The pictures in a report: heat maps drawn as PNG, and a student's own PNG checked before it is shown."""

from __future__ import annotations

import base64
import binascii
import math
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence

import msgspec
import numpy as np

from grader.records import Evidence, HeatMap, Record

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 25_000_000
"""Of all of a report's own pictures: a browser takes four bytes for each."""
_PIECE = 1 << 20
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of an interlaced PNG: the first column and row, and the steps between columns and between rows."""
_POSITIVE, _NEGATIVE, _NOT_FINITE = (217, 98, 10), (42, 111, 219), (190, 0, 150)
_STEPS = 64
"""Degrees of opacity of each sign, up to the palette's last."""
_PALETTE = bytes([0, 0, 0, *_POSITIVE * _STEPS, *_NEGATIVE * _STEPS, *_NOT_FINITE])
_OPACITY = bytes([0, *range(3, 256, 4), *range(3, 256, 4), 255])


class Picture(Record, frozen=True):
    """A heat map as base64 PNG of `rows` × `columns` pixels, `width` × `height` px on the page.

    `peak` is (column, row) of the largest difference, where that can be marked. A single value is better told as a
    `number` than by a colour.
    """

    title: str
    png: str
    scale: float
    rows: int
    columns: int
    width: int
    height: int
    peak: tuple[int, int] | None
    number: float | None = None


class Gallery:
    """The pictures of one report, each made anew as a still picture of nothing but its pixels, up to `MAX_PIXELS`."""

    def __init__(self) -> None:
        self._left = MAX_PIXELS

    def add(self, text: str) -> str | None:
        """The picture in `text` as base64 for a `data:` address; None where it is not base64 of a whole PNG.

        A whole PNG starts with its signature and an IHDR chunk, and every chunk up to the closing IEND has the length
        and checksum that it claims (PNG specification, sections 5.2 and 5.3). Its pixels decode to as many bytes as
        that says. Animations, text, colour profiles and what follows the pixels are left out.

        Raises:
            NoRoom: there are too many pixels before it, or in it.
        """
        try:
            data = base64.b64decode("".join(text.split()), validate=True)
        except (ValueError, binascii.Error):
            return None
        chunks = list(_chunks(data))
        if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13 or chunks[-1][0] != b"IEND":
            return None
        width, height = struct.unpack(">II", chunks[0][1][:8])
        if width * height > self._left:
            raise NoRoom
        pixels = _pixels(chunks)
        if pixels is None:
            return None
        self._left -= width * height
        colours = [chunk for chunk in chunks if chunk[0] in (b"PLTE", b"tRNS")]
        return _as_base64([chunks[0], *colours, (b"IDAT", pixels), (b"IEND", b"")])


class NoRoom(Exception):
    """A picture has more pixels than are left."""


def _pixels(chunks: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """A PNG's compressed pixels without what follows them; None where they are not as many as its header says."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    if colour not in _CHANNELS or depth not in (1, 2, 4, 8, 16) or not width * height:
        return None
    bits = depth * _CHANNELS[colour]
    sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in _PASSES]
    sizes = sizes if interlaced else [(width, height)]
    expected = sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0)
    packed = b"".join(body for kind, body in chunks if kind == b"IDAT")
    inflater = zlib.decompressobj()
    found, left = 0, packed
    try:
        while found <= expected and not inflater.eof and left:
            found += len(inflater.decompress(left, _PIECE))
            left = inflater.unconsumed_tail
    except zlib.error:
        return None
    return packed[: len(packed) - len(inflater.unused_data)] if inflater.eof and found == expected else None


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks as (type, body); stops before the first one that is cut short, damaged or follows the last."""
    position = len(_SIGNATURE) if data.startswith(_SIGNATURE) else len(data)
    while position + 12 <= len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        typed, end = data[position + 4 : position + 8 + length], position + 12 + length
        if data[end - 4 : end] != struct.pack(">I", zlib.crc32(typed)):
            return
        yield typed[:4], typed[4:]
        if typed[:4] == b"IEND":
            return
        position = end


def heat_map_png(heat_map: HeatMap) -> str:
    """A heat map as base64 of a PNG with one pixel a value.

    The sign is the hue and the magnitude the opacity, so zero shows the page through and one picture serves light and
    dark. Values that are not finite have a hue of their own.
    """
    values = np.array(heat_map.values, dtype=np.float64) * heat_map.unit
    finite = np.isfinite(values)
    scale = heat_map.scale if heat_map.scale > 0 else math.inf
    # The root lets the eye see values far below the largest.
    opacity = np.minimum(np.abs(np.where(finite, values, 0.0)) / scale, 1.0) ** 0.6
    rows, columns = values.shape
    raw = np.zeros((rows, 1 + columns), dtype=np.uint8)  # each row begins with its filter: none
    pixels = raw[:, 1:]
    pixels[:] = np.round(opacity * (_STEPS - 1)) + np.where(values > 0, 1, 1 + _STEPS)
    pixels[(values == 0) | (scale == math.inf)] = 0
    pixels[~finite] = 2 * _STEPS + 1
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    colours = [(b"PLTE", _PALETTE), (b"tRNS", _OPACITY)]
    return _as_base64([(b"IHDR", header), *colours, (b"IDAT", zlib.compress(raw.tobytes(), 1)), (b"IEND", b"")])


def _as_base64(chunks: Iterable[tuple[bytes, bytes]]) -> str:
    data = _SIGNATURE
    for kind, body in chunks:
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return base64.b64encode(data).decode("ascii")


def pictures_of(evidence: Evidence) -> list[Picture]:
    """The heat maps that there are, the largest difference marked in each."""
    maps = {"Yours": evidence.student, "Expected": evidence.expected, "Difference": evidence.difference}
    peak = _peak(evidence.difference)
    drawn = {title: each for title, each in maps.items() if each is not None and each.values and each.values[0]}
    # The two that are to be compared by eye share a scale.
    common = max((each.scale for title, each in drawn.items() if title != "Difference"), default=0.0)
    return [
        _picture(title, each if title == "Difference" else msgspec.structs.replace(each, scale=common), peak)
        for title, each in drawn.items()
    ]


def _peak(difference: HeatMap | None) -> tuple[int, int, int, int] | None:
    """The largest difference's column and row, and the number of columns and rows that these count in."""
    if difference is None or not difference.values or not difference.values[0]:
        return None
    size = np.abs(np.array(difference.values, dtype=np.float64))
    size[np.isnan(size)] = np.inf  # what the eye should be led to
    row, column = divmod(int(size.argmax()), size.shape[1])
    return column, row, size.shape[1], size.shape[0]


def _picture(title: str, heat_map: HeatMap, peak: tuple[int, int, int, int] | None) -> Picture:
    rows, columns = len(heat_map.values), len(heat_map.values[0])
    return Picture(
        title=title,
        png=heat_map_png(heat_map),
        scale=heat_map.scale,
        rows=rows,
        columns=columns,
        width=min(max(columns * 6, 30), 192),
        height=min(max(rows * 6, 30), 192),
        peak=peak[:2] if peak is not None and peak[2:] == (columns, rows) else None,
        number=heat_map.values[0][0] * heat_map.unit if rows == columns == 1 else None,
    )
