"""What a student's report shows, worked out from a `Grading`: plain records that the template only has to write out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from grader.notebook.gradient_names import gradient_of
from grader.records import (
    VISIBLE,
    CellOutput,
    CellView,
    Check,
    Comment,
    Evidence,
    Flag,
    Grading,
    GraphNode,
    PartView,
    Record,
    Verdict,
    count_verdicts,
)
from grader.reports.cell_names import cell_name, cell_number, code_lines, line_name, line_number
from grader.reports.graph_layout import Layout, lay_out
from grader.reports.heat_map_png import Gallery, NoRoom, Picture, pictures_of


class Row(Record, frozen=True):
    """A check, and where everything about it is on the page. `first` marks the first wrong tensor of its part.

    `place` is the student's line in words, by the notebook's numbers.
    """

    anchor: str
    check: Check
    first: bool
    evidence: Evidence | None
    cell: int | None
    line: int | None
    place: str | None
    source: str | None
    pictures: list[Picture]
    comments: list[Comment]

    @property
    def maxdiff(self) -> float | None:
        """The largest difference that may be shown: a hidden case's numbers stay hidden."""
        if self.evidence is not None and self.evidence.cmp is not None:
            return self.evidence.cmp.maxdiff
        return self.check.maxdiff if self.check.case == VISIBLE else None


class Line(Record, frozen=True):
    """A line of a student's cell, the wrong tensors whose statement starts on it, and what a person wrote to it.

    `number` counts the lines shown, `shown` those of the notebook's cell.
    """

    number: int
    shown: int
    text: str
    rows: list[Row]
    comments: list[Comment]


class Output(Record, frozen=True):
    """An output to show: `text`, an `error`, an `image` (base64 of a PNG that was checked) or a `broken` one.

    `headline` is the line of a traceback that says what happened: its last one.
    """

    kind: str
    content: str
    headline: str | None = None


class Cell(Record, frozen=True):
    """A student's cell. `marked` counts its lines that hold a wrong tensor; `failed` where it ended with an error."""

    anchor: str
    number: int | None
    name: str
    lines: list[Line]
    outputs: list[Output]
    seconds: float | None
    marked: int
    failed: bool

    @property
    def commented(self) -> bool:
        """Whether a person wrote something to a line of it."""
        return any(line.comments for line in self.lines)


class Node(Record, frozen=True):
    """What the graph shows of a tensor: the row of its gradient, if that was checked."""

    label: str
    shape: list[int]
    inputs: list[str]
    row: Row | None


class Part(Record, frozen=True):
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


class FlagGroup(Record, frozen=True):
    """The flags of one kind in one part."""

    code: str
    part: str | None
    flags: list[Flag]


class Page(Record, frozen=True):
    """The whole report. `start` is where to begin."""

    grading: Grading
    counts: Mapping[Verdict, int]
    parts: list[Part]
    other_cells: list[Cell]
    start: Row | None
    comments: list[Comment]
    """Those about a part or the whole, and those whose check or line isn't there."""

    @property
    def titles(self) -> dict[str, str]:
        """Part → its title."""
        return {part.view.id: part.view.title for part in self.parts}

    @property
    def flags(self) -> list[FlagGroup]:
        """The flags, those of a kind together."""
        groups: dict[tuple[str, str | None], list[Flag]] = defaultdict(list)
        for flag in self.grading.grade.flags:
            groups[flag.code, flag.part].append(flag)
        return [FlagGroup(code=code, part=part, flags=flags) for (code, part), flags in groups.items()]

    @property
    def other_wrong(self) -> list[tuple[Row, str | None]]:
        """The wrong tensors besides `start`, and the title of their part where it is another one."""
        return [
            (row, part.view.title if self.start is None or row.check.part != self.start.check.part else None)
            for part in self.parts
            for row in part.rows
            if row.check.verdict == Verdict.WRONG and row is not self.start
        ]


def page_of(grading: Grading) -> Page:
    """Everything that the report of `grading` shows."""
    views = list(grading.parts)
    known = {view.id for view in views}
    checked = dict.fromkeys(check.part for check in grading.grade.checks)
    views += [PartView(id=part, title=part, graph=[]) for part in checked if part not in known]
    rows = {view.id: _rows(grading, view.id, f"p{number}") for number, view in enumerate(views, start=1)}
    cells = _cells(grading, list(chain.from_iterable(rows.values())))
    shown = [comment for row in chain.from_iterable(rows.values()) for comment in row.comments]
    shown += [comment for line in _lines_of(cells) for comment in line.comments]
    return Page(
        grading=grading,
        counts=count_verdicts(row.check for row in chain.from_iterable(rows.values())),
        parts=[
            _part(view, f"p{number}", rows[view.id], cells.pop(view.id, []), grading.grade.points_of(view.id))
            for number, view in enumerate(views, start=1)
        ],
        other_cells=sorted(chain.from_iterable(cells.values()), key=lambda cell: int(cell.anchor[1:])),
        start=next((row for row in chain.from_iterable(rows.values()) if row.check is grading.grade.start), None),
        comments=[comment for comment in grading.grade.comments if comment not in shown],
    )


def _rows(grading: Grading, part: str, prefix: str) -> list[Row]:
    evidence = {item.name: item for item in grading.evidence if item.part == part}
    rows: list[Row] = []
    for number, check in enumerate((check for check in grading.grade.checks if check.part == part), start=1):
        first = check.verdict == Verdict.WRONG and not any(row.first for row in rows)
        rows.append(_row(check, evidence.get(check.name), f"{prefix}-t{number}", first, grading))
    return rows


def _row(check: Check, evidence: Evidence | None, anchor: str, first: bool, grading: Grading) -> Row:
    cells: Sequence[CellView] = grading.cells
    cell, line, source = None, None, None
    if evidence is not None and evidence.cell is not None and evidence.line is not None:
        lines = code_lines(cells[evidence.cell].source) if 0 <= evidence.cell < len(cells) else []
        if 0 < evidence.line <= len(lines):
            cell, line, source = evidence.cell, evidence.line, lines[evidence.line - 1]
    return Row(
        anchor=anchor,
        check=check,
        first=first,
        evidence=evidence,
        cell=cell,
        line=line,
        place=None if cell is None or line is None else line_name(cells, cell, line),
        source=source,
        pictures=pictures_of(evidence) if evidence is not None and not check.verdict.is_right else [],
        comments=[each for each in grading.grade.comments if (each.part, each.name) == (check.part, check.name)],
    )


def _cells(grading: Grading, rows: Sequence[Row]) -> dict[str | None, list[Cell]]:
    """The cells by part, in the notebook's order."""
    marks: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows:
        if row.check.verdict == Verdict.WRONG and row.cell is not None and row.line is not None:
            marks[row.cell, row.line].append(row)
    written: dict[tuple[int | None, int | None], list[Comment]] = defaultdict(list)
    for comment in grading.grade.comments:
        written[comment.cell, comment.line].append(comment)
    cells: dict[str | None, list[Cell]] = defaultdict(list)
    gallery = Gallery()
    for index, view in enumerate(grading.cells):
        lines = [
            Line(
                number=number,
                shown=line_number(view, number),
                text=text,
                rows=marks.get((index, number), []),
                comments=written.get((cell_number(grading.cells, index), line_number(view, number)), []),
            )
            for number, text in enumerate(code_lines(view.source), start=1)
        ]
        cells[view.part].append(
            Cell(
                anchor=f"c{index}",
                number=cell_number(grading.cells, index),
                name=cell_name(grading.cells, index),
                lines=lines,
                outputs=[_output(output, gallery) for output in view.outputs],
                seconds=view.seconds,
                marked=sum(bool(line.rows) for line in lines),
                failed=any(output.kind == "error" for output in view.outputs),
            )
        )
    return cells


def _lines_of(cells: Mapping[str | None, Sequence[Cell]]) -> Iterator[Line]:
    for each in chain.from_iterable(cells.values()):
        yield from each.lines


def _output(output: CellOutput, gallery: Gallery) -> Output:
    if output.kind == "image":
        try:
            picture = gallery.add(output.content)
        except NoRoom:
            return Output(kind="text", content="[cut: the pictures on this page have too many pixels already]")
        return Output(kind="broken", content="") if picture is None else Output(kind="image", content=picture)
    lines = output.content.strip().splitlines()
    headline = lines[-1] if output.kind == "error" and len(lines) > 1 else None
    return Output(kind=output.kind, content=output.content, headline=headline)


def _part(view: PartView, anchor: str, rows: list[Row], cells: list[Cell], points: float) -> Part:
    nodes = _nodes(view.graph, rows)
    labels = {
        name: f"{node.label}  " + (" first" if node.row and node.row.first else "") for name, node in nodes.items()
    }
    return Part(
        anchor=anchor,
        view=view,
        points=points,
        max_points=sum(row.check.max_points for row in rows),
        counts=count_verdicts(row.check for row in rows),
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
        row = by_name.get(gradient_of(node.name), by_name.get(node.name))
        label = row.check.name if row is not None else node.name
        nodes[node.name] = Node(label=label, shape=node.shape, inputs=node.inputs, row=row)
    return nodes
