"""What a report shows beside the verdicts: heat maps, the graph, the cells with their outputs."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grader.course.part_reference import PartReference
from grader.diagnosis.gradient_lines import GradientLines
from grader.execution.execute import CellRun
from grader.intake.take_in import PlannedCell
from grader.marking.tolerance import conformed
from grader.marking.verdicts import PartMarks
from grader.notebook.gradient_names import tensor_of
from grader.notebook.statements import as_written
from grader.records import CellOutput, CellView, Check, Evidence, GraphNode, HeatMap, Verdict

MAP_SIDE = 32
_UNITS = 1 << 12
"""What the largest value is kept as, and no other: a power of two is exact, and all else is rounded towards zero."""
_IN = re.compile(r"Cell In\[(\d+)\]")
_IN_LINE = re.compile(r"Cell In\[\d+\], line (\d+)")
MAX_TEXT = 20_000
"""Characters of one output that a report shows."""
MAX_OUTPUTS, MAX_SHOWN = 200, 16 << 20
"""Outputs of a cell, and characters of all outputs with their pictures: published notebooks have 4 MB of figures."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def evidence_for(marks: PartMarks, where: GradientLines, check: Check, cells: Mapping[int, int]) -> Evidence:
    """What stands beside one check: never a number of a hidden case.

    Args:
        marks: the part's marks.
        where: the part's lines.
        check: the verdict.
        cells: index of the planned cell → index of the cell as the report shows it.
    """
    found, expected = marks.part.visible.exported.get(check.name), marks.part.visible.expected(check.name)
    statement = where.statement(check.name)
    maps: dict[str, Any] = {}
    differs = not check.verdict.is_right and not marks.combined.right_as_seen(check.name)
    if found is not None and found.tensor is not None and expected is not None and differs:
        maps = _maps(found.tensor, _wanted(marks, check, expected))
    return Evidence(
        part=check.part,
        name=check.name,
        cmp=marks.cmp(check.name),
        cell=cells.get(statement[0]) if statement else None,
        line=statement[1] if statement else None,
        **maps,
    )


def _wanted(marks: PartMarks, check: Check, expected: Tensor) -> Tensor:
    """For a wrong gradient, what its own upstream calls for: the difference then shows this mistake and no other."""
    if check.verdict is Verdict.WRONG and check.name not in marks.part.checks.values:
        return marks.part.visible.chained.get(tensor_of(check.name), expected)
    return expected


def _maps(student: Tensor, expected: Tensor) -> dict[str, Any]:
    expanded = conformed(student, expected.shape)
    maps: dict[str, Any] = {"expected": heat_map(expected), "student": heat_map(student)}
    if expanded is not None:
        difference = expanded - expected
        maps["difference"] = heat_map(difference)
        if difference.numel():
            flat = int(torch.nan_to_num(difference.abs(), nan=float("inf")).argmax())
            maps["worst_index"] = [int(i) for i in np.unravel_index(flat, difference.shape)]  # torch's imports sympy
    return maps


def heat_map(tensor: Tensor) -> HeatMap | None:
    """A tensor as a matrix of at most 32 × 32 values; None for an empty one.

    Leading dimensions are flattened into rows; each cell is the value of largest magnitude that falls into it. Values
    that are not finite are drawn as zero.
    """
    if not tensor.numel():
        return None
    matrix = torch.nan_to_num(tensor.detach().to(torch.float64), nan=0.0, posinf=0.0, neginf=0.0)
    pooled = _pooled(_pooled(matrix.reshape(-1, matrix.shape[-1] if matrix.dim() else 1).numpy(), 0), 1)
    scale = float(np.abs(pooled).max())
    unit = scale / _UNITS or scale or 1.0
    return HeatMap(values=np.trunc(pooled / unit).astype(int).tolist(), scale=scale, unit=unit)


def _pooled(matrix: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    size = matrix.shape[axis]
    if size <= MAP_SIDE:
        return matrix
    starts = np.arange(MAP_SIDE) * size // MAP_SIDE
    highest, lowest = np.maximum.reduceat(matrix, starts, axis), np.minimum.reduceat(matrix, starts, axis)
    return np.where(highest >= -lowest, highest, lowest)


def graph_of(reference: PartReference) -> list[GraphNode]:
    """The computation graph of a part's forward pass, read from autograd's own: the named tensors, inputs first.

    Lists whose elements are computed from each other's, step by step, are drawn as they are within one step: a state is
    no input of what the next step makes from it.
    """
    inputs: dict[str, list[str]] = {name: [] for name in reference.tensors}
    for source, consumers in reference.consumers.items():
        for consumer in consumers:
            recurs = (source, consumer) in reference.across_steps and source in reference.computed_from(consumer)
            if consumer in inputs and not recurs:
                inputs[consumer].append(source)
    ranks: dict[str, int] = {}

    def rank(name: str) -> int:
        if name not in ranks:
            ranks[name] = 1 + max((rank(source) for source in inputs[name]), default=-1)
        return ranks[name]

    nodes = [
        GraphNode(name=name, shape=list(tensor.shape), inputs=inputs[name], rank=rank(name))
        for name, tensor in reference.tensors.items()
    ]
    nodes.sort(key=lambda node: node.rank)
    last = 1 + max((node.rank for node in nodes), default=-1)
    ends = [name for name, consumers in reference.consumers.items() if "loss" in consumers]
    return [*nodes, GraphNode(name="loss", shape=list(reference.root.shape), inputs=ends, rank=last)]


def cell_views(cells: Sequence[PlannedCell], runs: Sequence[CellRun]) -> tuple[list[CellView], dict[int, int]]:
    """The student's cells as the report shows them, each followed by what the locked cells of its part printed.

    Returns:
        The views, and for each planned cell that is shown, the index of its view.
    """
    views: list[CellView] = []
    places: dict[int, int] = {}
    room = _Room()
    for index, (cell, run) in enumerate(zip(cells, runs, strict=True)):
        if not cell.student and not run.outputs:
            continue
        places[index] = len(views)
        outputs = room.keep(_by_place(shown, cell) for output in run.outputs for shown in _shown(output))
        if cell.role == "compare" and not cell.student:
            outputs = [_no_comparison(output) if output.kind == "error" else output for output in outputs]
        if run.status in ("timeout", "died", "skipped"):
            end = f"{_ENDED[run.status]}: {run.end}." if run.end else f"{_ENDED[run.status]}."
            outputs.append(CellOutput(kind="error", content=end))
        source = (cell.shown or cell.source) if cell.student else ""
        views.append(
            CellView(
                source=source,
                part=cell.part,
                outputs=outputs,
                seconds=run.seconds,
                number=cell.position,
                first_line=cell.first_line,
                label=cell.label,
            )
        )
    return views, places


def _by_place(output: CellOutput, cell: PlannedCell) -> CellOutput:
    """A traceback that speaks of this cell alone, with the notebook's number of it in place of the kernel's."""
    if output.kind != "error" or cell.position is None or len(set(_IN.findall(output.content))) != 1:
        return output
    text = _IN_LINE.sub(lambda found: cell.place(int(found[1])), output.content)
    return msgspec.structs.replace(output, content=text)


class _Room:
    """What a report has room for: so many outputs of a cell, and so many characters of outputs in all."""

    def __init__(self) -> None:
        self._left = MAX_SHOWN

    def keep(self, outputs: Iterable[CellOutput]) -> list[CellOutput]:
        """The outputs that are shown, and how many are not."""
        kept: list[CellOutput] = []
        dropped = 0
        for output in outputs:
            if len(kept) < MAX_OUTPUTS and len(output.content) <= self._left:
                self._left -= len(output.content)
                kept.append(output)
            else:
                dropped += 1
        if dropped:
            kept.append(CellOutput(kind="text", content=f"[cut: {dropped} more outputs of this cell are not shown]"))
        return kept


def _no_comparison(error: CellOutput) -> CellOutput:
    """An error in a comparison of the exercise's own, as where a student's loop has other names: it costs nothing."""
    last = error.content.strip().split("\n")[-1]
    text = f"The exercise's own comparison could not be made here ({last}). No mark depends on it."
    return CellOutput(kind="text", content=text)


_ENDED = {
    "timeout": "This cell was stopped: it ran out of time",
    "died": "The kernel died while it ran this cell",
    "skipped": "This cell was not run: the notebook had run out of time, or its kernel had died too often",
}


def _shown(output: Mapping[str, Any]) -> list[CellOutput]:
    """One nbformat output as plain text or a picture; every other kind of display is left out."""
    kind = output.get("output_type")
    if kind == "stream":
        return [CellOutput(kind="text", content=plain_text(output.get("text")))]
    if kind == "error":
        trace = output.get("traceback")
        rows = trace if isinstance(trace, list) else []
        text = as_written(plain_text("\n".join(str(row) for row in rows)))
        return [CellOutput(kind="error", content=text or plain_text(output.get("ename")))]
    data = output.get("data")
    if not isinstance(data, dict):
        return []
    picture = data.get("image/png")
    if isinstance(picture, str) and _is_png(picture):
        return [CellOutput(kind="image", content="".join(picture.split()))]
    shown = data.get("text/plain")
    return [CellOutput(kind="text", content=plain_text(shown))] if shown is not None else []


def _is_png(data: str) -> bool:
    try:
        return base64.b64decode("".join(data.split()), validate=True).startswith(b"\x89PNG\r\n\x1a\n")
    except ValueError:
        return False


def plain_text(text: object) -> str:
    """Text that a page or a terminal can show: no escape sequences, no control characters, and not too long."""
    if isinstance(text, list):
        text = "".join(part for part in text if isinstance(part, str))
    if not isinstance(text, str):
        return ""
    clean = _CONTROL.sub("", _ANSI.sub("", text))
    return clean if len(clean) <= MAX_TEXT else clean[:MAX_TEXT] + "\n[cut]"
