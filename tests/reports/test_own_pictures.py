"""A student's pictures in a report: still, few enough, and nothing but pixels."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import msgspec
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from grader.execution.execute import CellRun
from grader.grading.evidence import MAX_OUTPUTS, cell_views
from grader.intake.take_in import PlannedCell
from grader.notebook.code import Code
from grader.records import CellOutput, CellView, Grading
from grader.reports import heat_map_png
from grader.reports.heat_map_png import Gallery, NoRoom
from grader.reports.html import render_report
from tests.report_samples import sample_grading


def written(picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return file.getvalue()


def added(data: bytes, gallery: Gallery | None = None) -> bytes | None:
    found = (gallery or Gallery()).add(base64.b64encode(data).decode())
    return base64.b64decode(found) if found is not None else None


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 13, 4), dtype=np.uint8))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_pixel_stays_and_nothing_else(mode):
    told = PngImagePlugin.PngInfo()
    told.add_text("Comment", "who knows", zip=True)
    told.add_itxt("XML:com.adobe.xmp", "<x/>")
    picture = NOISE.convert("L").convert("I;16") if mode == "I;16" else NOISE.convert(mode)
    data = added(written(picture, pnginfo=told, dpi=(10, 10), icc_profile=b"profile"))
    assert not any(name in data for name in (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"pHYs", b"eXIf"))
    with Image.open(io.BytesIO(data)) as again:
        assert np.array_equal(np.asarray(again), np.asarray(picture))


def test_an_animation_is_its_first_picture():
    frames = [NOISE.rotate(90 * number) for number in range(3)]
    data = written(frames[0], save_all=True, append_images=frames[1:], duration=10)
    assert b"acTL" in data
    shown = added(data)
    assert not any(name in shown for name in (b"acTL", b"fcTL", b"fdAT"))
    with Image.open(io.BytesIO(shown)) as still:
        assert getattr(still, "n_frames", 1) == 1
        assert np.array_equal(np.asarray(still), np.asarray(frames[0]))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def crafted(width: int, height: int, packed: bytes, *, interlaced: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 3), (8, 8), (13, 9), (5, 1)])
def test_an_interlaced_picture_is_one(width, height):
    steps = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    sizes = [(len(range(x, width, dx)), len(range(y, height, dy))) for x, y, dx, dy in steps]
    raw = b"".join(bytes(1 + columns) * rows for columns, rows in sizes if columns)
    data = crafted(width, height, zlib.compress(raw), interlaced=1)
    Image.open(io.BytesIO(data)).load()
    assert added(data) == data


BOMB = zlib.compress(bytes(64 << 20))


@pytest.mark.parametrize(
    "packed", [BOMB, zlib.compress(bytes(109)), zlib.compress(bytes(111)), zlib.compress(bytes(110))[:-1], b"", b"x"]
)
def test_pixels_are_as_many_as_the_header_says(packed):
    assert added(crafted(10, 10, zlib.compress(bytes(110)) + b"behind")) == crafted(10, 10, zlib.compress(bytes(110)))
    assert added(crafted(10, 10, packed)) is None


def test_pixels_are_bounded_for_all_pictures_together(monkeypatch):
    monkeypatch.setattr(heat_map_png, "MAX_PIXELS", 250)
    gallery = Gallery()
    data = crafted(10, 10, zlib.compress(bytes(110)))
    assert added(data, gallery) == added(data, gallery) == data
    with pytest.raises(NoRoom):
        added(data, gallery)
    with pytest.raises(NoRoom):
        added(crafted(100_000, 100_000, b""))


def test_a_report_says_which_pictures_it_has_no_room_for(monkeypatch):
    monkeypatch.setattr(heat_map_png, "MAX_PIXELS", 250)
    picture = base64.b64encode(crafted(10, 10, zlib.compress(bytes(110)))).decode()
    view = CellView(source="draw()", part=None, outputs=[CellOutput(kind="image", content=picture)] * 5)
    page = render_report(with_cells(sample_grading(), [view]))
    assert page.count(picture) == 2
    assert page.count("too many pixels") == 3


def with_cells(grading: Grading, cells: list[CellView]) -> Grading:
    return msgspec.structs.replace(grading, cells=cells, evidence=[])


def test_a_cell_shows_so_many_outputs_and_says_how_many_more_there_are():
    outputs = [{"output_type": "stream", "text": str(number)} for number in range(4000)]
    cell = PlannedCell(code=Code("x"), role=None, part=None, student=True, label="")
    ((view,), _) = cell_views([cell], [CellRun(status="ok", outputs=outputs)])
    assert len(view.outputs) == MAX_OUTPUTS + 1
    assert view.outputs[-1].content == f"[cut: {4000 - MAX_OUTPUTS} more outputs of this cell are not shown]"


def test_a_report_shows_so_much_text_in_all():
    outputs = [{"output_type": "stream", "text": "x" * 19_000} for _ in range(180)]
    cell = PlannedCell(code=Code("x"), role=None, part=None, student=True, label="")
    views, _ = cell_views([cell] * 10, [CellRun(status="ok", outputs=outputs)] * 10)
    assert sum(len(output.content) for view in views for output in view.outputs) < 17 << 20
    assert "[cut: 180 more" in views[-1].outputs[-1].content
