"""What a student's report shows, worked out from a `Grading`: plain records that the template only has to write out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from grader.graph_svg import Layout, lay_out
from grader.png import checked_png, heat_map_png
from grader.records import VISIBLE, CellOutput, CellView, Check, Evidence, GraphNode, Grading, HeatMap, PartView, Record, Verdict


class VerdictWords(Record):
    """How a verdict is told: never by colour alone."""

    glyph: str
    meaning: str


WORDS = {
    Verdict.EXACT: VerdictWords(glyph="✓", meaning="The same as autograd’s, bit for bit."),
    Verdict.APPROXIMATE: VerdictWords(glyph="≈", meaning="The same within the tolerance for rounding."),
    Verdict.CARRIED: VerdictWords(glyph="→", meaning="This step is right; its value is off because of an earlier one."),
    Verdict.WRONG: VerdictWords(glyph="✗", meaning="The mistake is in this step."),
    Verdict.MISSING: VerdictWords(glyph="∅", meaning="There is no tensor of this name."),
    Verdict.UNCHECKED: VerdictWords(glyph="?", meaning="It could not be checked. This says nothing about your answer."),
}


class Picture(Record):
    """A heat map as base64 PNG of `rows` × `columns` pixels, `width` × `height` px on the page.

    `peak` is (column, row) of the largest difference, where that can be marked.
    """

    title: str
    png: str
    scale: float
    rows: int
    columns: int
    width: int
    height: int
    peak: tuple[int, int] | None


class Row(Record):
    """A check, and where everything about it is on the page. `first` marks the first wrong tensor of its part."""

    anchor: str
    check: Check
    first: bool
    evidence: Evidence | None
    cell: int | None
    line: int | None
    source: str | None
    pictures: list[Picture]

    @property
    def maxdiff(self) -> float | None:
        """The largest difference that may be shown: a hidden case's numbers stay hidden."""
        if self.evidence is not None and self.evidence.cmp is not None:
            return self.evidence.cmp.maxdiff
        return self.check.maxdiff if self.check.case == VISIBLE else None


class Line(Record):
    """A line of a student's cell, and the wrong tensors whose statement starts on it."""

    number: int
    text: str
    rows: list[Row]


class Output(Record):
    """An output to show: `text`, an `error`, an `image` (base64 of a PNG that was checked) or a `broken` one.

    `headline` is the line of a traceback that says what happened: its last one.
    """

    kind: str
    content: str
    headline: str | None = None


class Cell(Record):
    """A student's cell. `marked` counts its lines that hold a wrong tensor; `failed` where it ended with an error."""

    anchor: str
    number: int
    lines: list[Line]
    outputs: list[Output]
    seconds: float | None
    marked: int
    failed: bool


class Node(Record):
    """What the graph shows of a tensor: the row of its gradient, if that was checked."""

    label: str
    shape: list[int]
    inputs: list[str]
    row: Row | None


class Part(Record):
    """A part of the exercise."""

    anchor: str
    view: PartView
    points: float
    max_points: float
    counts: Mapping[Verdict, int]
    rows: list[Row]
    cells: list[Cell]
    layout: Layout
    nodes: Mapping[str, Node]


class Page(Record):
    """The whole report. `start` is where to begin: the first wrong tensor, else the first missing or unchecked one."""

    grading: Grading
    counts: Mapping[Verdict, int]
    parts: list[Part]
    other_cells: list[Cell]
    start: Row | None

    @property
    def other_wrong(self) -> list[Row]:
        """The wrong tensors besides `start`."""
        rows = [row for part in self.parts for row in part.rows if row.check.verdict == Verdict.WRONG]
        return [row for row in rows if row is not self.start]


def page_of(grading: Grading) -> Page:
    """Everything that the report of `grading` shows."""
    views = list(grading.parts)
    known = {view.id for view in views}
    checked = dict.fromkeys(check.part for check in grading.grade.checks)
    views += [PartView(id=part, title=part, graph=[]) for part in checked if part not in known]
    rows = {view.id: _rows(grading, view.id, f"p{number}") for number, view in enumerate(views, start=1)}
    cells = _cells(grading, list(chain.from_iterable(rows.values())))
    return Page(
        grading=grading,
        counts=_count(chain.from_iterable(rows.values())),
        parts=[
            _part(view, f"p{number}", rows[view.id], cells.pop(view.id, []))
            for number, view in enumerate(views, start=1)
        ],
        other_cells=sorted(chain.from_iterable(cells.values()), key=lambda cell: cell.number),
        start=_start(list(chain.from_iterable(rows.values()))),
    )


def _start(rows: Sequence[Row]) -> Row | None:
    for verdict in (Verdict.WRONG, Verdict.MISSING, Verdict.UNCHECKED):
        for row in rows:
            if row.check.verdict == verdict:
                return row
    return None


def _count(rows: Iterable[Row]) -> dict[Verdict, int]:
    counts = Counter(row.check.verdict for row in rows)
    return {verdict: counts[verdict] for verdict in Verdict}


def _rows(grading: Grading, part: str, prefix: str) -> list[Row]:
    evidence = {item.name: item for item in grading.evidence if item.part == part}
    rows: list[Row] = []
    for number, check in enumerate((check for check in grading.grade.checks if check.part == part), start=1):
        first = check.verdict == Verdict.WRONG and not any(row.first for row in rows)
        rows.append(_row(check, evidence.get(check.name), f"{prefix}-t{number}", first, grading.cells))
    return rows


def _row(check: Check, evidence: Evidence | None, anchor: str, first: bool, cells: Sequence[CellView]) -> Row:
    cell, line, source = None, None, None
    if evidence is not None and evidence.cell is not None and evidence.line is not None:
        lines = _lines(cells[evidence.cell].source) if 0 <= evidence.cell < len(cells) else []
        if 0 < evidence.line <= len(lines):
            cell, line, source = evidence.cell, evidence.line, lines[evidence.line - 1]
    return Row(
        anchor=anchor,
        check=check,
        first=first,
        evidence=evidence,
        cell=cell,
        line=line,
        source=source,
        pictures=_pictures(evidence) if evidence is not None and not check.verdict.is_right else [],
    )


def _lines(source: str) -> list[str]:
    """The lines as Python counts them; `str.splitlines` would also split at form feeds and Unicode separators."""
    if not source:
        return []
    return source.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")


def _pictures(evidence: Evidence) -> list[Picture]:
    maps = {"Yours": evidence.student, "Expected": evidence.expected, "Difference": evidence.difference}
    peak = _peak(evidence.difference)
    drawn = {title: each for title, each in maps.items() if each is not None and each.values and each.values[0]}
    # The two that are to be compared by eye share a scale.
    common = max((each.scale for title, each in drawn.items() if title != "Difference"), default=0.0)
    return [
        _picture(title, HeatMap(values=each.values, scale=each.scale if title == "Difference" else common), peak)
        for title, each in drawn.items()
    ]


def _peak(difference: HeatMap | None) -> tuple[int, int, int, int] | None:
    """The largest difference's column and row, and the number of columns and rows that these count in."""
    if difference is None or not difference.values or not difference.values[0]:
        return None
    # A NaN compares as nothing at all; as the largest it is what the eye should be led to.
    size = [[abs(value) if value == value else float("inf") for value in row] for row in difference.values]
    row = max(range(len(size)), key=lambda index: max(size[index]))
    return size[row].index(max(size[row])), row, len(size[0]), len(size)


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
    )


def _cells(grading: Grading, rows: Sequence[Row]) -> dict[str | None, list[Cell]]:
    """The cells by part, in the notebook's order."""
    marks: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows:
        if row.check.verdict == Verdict.WRONG and row.cell is not None and row.line is not None:
            marks[row.cell, row.line].append(row)
    cells: dict[str | None, list[Cell]] = defaultdict(list)
    for index, view in enumerate(grading.cells):
        lines = [
            Line(number=number, text=text, rows=marks.get((index, number), []))
            for number, text in enumerate(_lines(view.source), start=1)
        ]
        cells[view.part].append(
            Cell(
                anchor=f"c{index}",
                number=index + 1,
                lines=lines,
                outputs=[_output(output) for output in view.outputs],
                seconds=view.seconds,
                marked=sum(bool(line.rows) for line in lines),
                failed=any(output.kind == "error" for output in view.outputs),
            )
        )
    return cells


def _output(output: CellOutput) -> Output:
    if output.kind == "image":
        picture = checked_png(output.content)
        return Output(kind="broken", content="") if picture is None else Output(kind="image", content=picture)
    lines = output.content.strip().splitlines()
    headline = lines[-1] if output.kind == "error" and len(lines) > 1 else None
    return Output(kind=output.kind, content=output.content, headline=headline)


def _part(view: PartView, anchor: str, rows: list[Row], cells: list[Cell]) -> Part:
    nodes = _nodes(view.graph, rows)
    labels = {
        name: f"{node.label}  " + (" first" if node.row and node.row.first else "")
        for name, node in nodes.items()
    }
    return Part(
        anchor=anchor,
        view=view,
        points=sum(row.check.points for row in rows),
        max_points=sum(row.check.max_points for row in rows),
        counts=_count(rows),
        rows=rows,
        cells=cells,
        layout=lay_out(view.graph, labels),
        nodes=nodes,
    )


def _nodes(graph: Sequence[GraphNode], rows: Sequence[Row]) -> dict[str, Node]:
    """By tensor: `X` shows the check on `dX`, or where only its value is checked, that."""
    by_name = {row.check.name: row for row in rows}
    nodes = {}
    for node in graph:
        row = by_name.get(f"d{node.name}", by_name.get(node.name))
        label = row.check.name if row is not None else node.name
        nodes[node.name] = Node(label=label, shape=node.shape, inputs=node.inputs, row=row)
    return nodes
