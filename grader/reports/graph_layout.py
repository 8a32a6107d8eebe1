"""Lays out a part's computation graph as layers, for the report's picture.

The method is the usual one for layered drawings (Sugiyama, Tagawa and Toda, 1981): a layer a rank, a waypoint on every
layer that a long edge crosses, a few barycentre sweeps against crossings, then x positions by least squares. The loss
is on top, so that reading downwards follows the backward pass.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate, combinations, pairwise

import msgspec

from grader.records import GraphNode, Record

_PITCH = 40.0
_NODE_HEIGHT = 26.0
_GLYPH_WIDTH = 7.3
_PADDING = 18.0
_GAP = 14.0
_WAYPOINT_WIDTH = 6.0
_MARGIN = 6.0
_SWEEPS = 8

Item = tuple[str, ...]
"""A thing on a layer: `(node,)`, or `(input, consumer, layer)` for a waypoint of that edge."""


class PlacedNode(Record, frozen=True):
    """A node's box: centre `x`, `y` and `width`, in px."""

    name: str
    x: float
    y: float
    width: float


class PlacedEdge(Record, frozen=True):
    """An edge in the direction of the gradient. `path` is SVG path data; it ends at (`x`, `y`), pointing down."""

    consumer: str
    input: str
    path: str
    x: float
    y: float


class Layout(Record, frozen=True):
    """A drawing of `width` × `height` px."""

    width: float
    height: float
    nodes: list[PlacedNode]
    edges: list[PlacedEdge]
    node_height: float = _NODE_HEIGHT


def lay_out(graph: Sequence[GraphNode], labels: Mapping[str, str]) -> Layout:
    """Place every node of `graph`; `labels` (node name → text) decide how wide each box is.

    Most submissions of an exercise have the same picture, so the last ones are kept.
    """
    return _laid_out(msgspec.json.encode((graph, labels)))


@functools.lru_cache(maxsize=64)
def _laid_out(told: bytes) -> Layout:
    graph, labels = msgspec.json.decode(told, type=tuple[list[GraphNode], dict[str, str]])
    layer_of = _layers(graph)
    chains = _chains(graph, layer_of)
    layers = _initial_order(graph, layer_of, chains)
    above, below = _neighbours(chains)
    layers = _uncross(layers, above, below)
    widths: dict[Item, float] = {item: _WAYPOINT_WIDTH for layer in layers for item in layer}
    for node in graph:
        widths[(node.name,)] = len(labels.get(node.name, node.name)) * _GLYPH_WIDTH + _PADDING
    x_of = _x_positions(layers, above, below, widths)
    y_of = {item: _MARGIN + _NODE_HEIGHT / 2 + row * _PITCH for row, layer in enumerate(layers) for item in layer}
    return Layout(
        width=max((x_of[item] + widths[item] / 2 for item in x_of), default=0.0) + _MARGIN,
        height=len(layers) * _PITCH - _PITCH + _NODE_HEIGHT + 2 * _MARGIN if layers else 0.0,
        nodes=[
            PlacedNode(name=node.name, x=x_of[item], y=y_of[item], width=widths[item])
            for node in graph
            for item in [(node.name,)]
        ],
        edges=[_edge(chain, x_of, y_of) for chain in chains],
    )


def _layers(graph: Sequence[GraphNode]) -> dict[str, int]:
    """Each node's layer: its rank, but a leaf sits right below the first tensor that it is used for."""
    rank = {node.name: node.rank for node in graph}
    used_at: dict[str, list[int]] = defaultdict(list)
    for node in graph:
        for name in node.inputs:
            used_at[name].append(node.rank)
    return {
        node.name: min(used_at[node.name]) - 1 if not node.inputs and used_at[node.name] else rank[node.name]
        for node in graph
    }


def _chains(graph: Sequence[GraphNode], layer_of: Mapping[str, int]) -> list[list[Item]]:
    """Every edge as the items it passes, from the consumer down to its input. Edges that don't go down are left out."""
    return [
        [(node.name,), *((name, node.name, str(layer)) for layer in range(top - 1, layer_of[name], -1)), (name,)]
        for node in graph
        for top in [layer_of[node.name]]
        for name in dict.fromkeys(node.inputs)
        if name in layer_of and layer_of[name] < top
    ]


def _initial_order(
    graph: Sequence[GraphNode], layer_of: Mapping[str, int], chains: Sequence[Sequence[Item]]
) -> list[list[Item]]:
    """The layers from the top one down: the tensors that are computed in the middle, the parameters on both sides."""
    inner: dict[int, list[Item]] = defaultdict(list)
    leaves: dict[int, list[Item]] = defaultdict(list)
    for node in graph:
        (inner if node.inputs else leaves)[layer_of[node.name]].append((node.name,))
    for chain in chains:
        for item in chain[1:-1]:
            inner[int(item[2])].append(item)
    return [
        [*leaves[layer][::2], *inner[layer], *leaves[layer][1::2]] for layer in sorted({*inner, *leaves}, reverse=True)
    ]


Neighbours = dict[Item, list[Item]]


def _neighbours(chains: Sequence[Sequence[Item]]) -> tuple[Neighbours, Neighbours]:
    above: Neighbours = defaultdict(list)
    below: Neighbours = defaultdict(list)
    for chain in chains:
        for upper, lower in pairwise(chain):
            above[lower].append(upper)
            below[upper].append(lower)
    return above, below


def _uncross(layers: list[list[Item]], above: Neighbours, below: Neighbours) -> list[list[Item]]:
    """Sort each layer by its neighbours' mean position, down and up in turn, and keep the order that crosses least."""
    best, fewest = layers, _crossings(layers, below)
    for sweep in range(_SWEEPS):
        layers = [list(layer) for layer in layers]
        order = range(1, len(layers)) if sweep % 2 == 0 else range(len(layers) - 2, -1, -1)
        step, neighbours = (-1, above) if sweep % 2 == 0 else (1, below)
        for index in order:
            place = {item: float(position) for position, item in enumerate(layers[index + step])}
            own = {item: float(position) for position, item in enumerate(layers[index])}
            layers[index].sort(key=lambda item: _mean([place[n] for n in neighbours[item] if n in place], own[item]))
        crossings = _crossings(layers, below)
        if crossings < fewest:
            best, fewest = layers, crossings
    return best


def _crossings(layers: Sequence[Sequence[Item]], below: Neighbours) -> int:
    total = 0
    for upper, lower in pairwise(layers):
        place = {item: position for position, item in enumerate(lower)}
        ends = [(i, place[n]) for i, item in enumerate(upper) for n in below[item] if n in place]
        total += sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in combinations(ends, 2))
    return total


def _x_positions(
    layers: Sequence[Sequence[Item]], above: Neighbours, below: Neighbours, widths: Mapping[Item, float]
) -> dict[Item, float]:
    """Centre every item over its neighbours as far as the boxes beside it allow; the leftmost edge is the margin."""
    x_of: dict[Item, float] = {item: 0.0 for layer in layers for item in layer}
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted = [_mean([x_of[each] for each in (*above[item], *below[item])], x_of[item]) for item in layer]
            x_of.update(zip(layer, _spread(wanted, _gaps(layer, widths)), strict=True))
    left = min((x_of[item] - widths[item] / 2 for item in x_of), default=0.0)
    return {item: round(x - left + _MARGIN, 1) for item, x in x_of.items()}


def _gaps(layer: Sequence[Item], widths: Mapping[Item, float]) -> list[float]:
    return [(widths[a] + widths[b]) / 2 + _GAP for a, b in pairwise(layer)]


def _spread(wanted: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """The positions nearest to `wanted` in least squares, with neighbours at least `gaps` apart.

    Less the gaps so far, this is isotonic regression, which pooling adjacent violators solves exactly.
    """
    offsets = [0.0, *accumulate(gaps)]
    blocks: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=False):
        mean, count = want - offset, 1
        while blocks and blocks[-1][0] > mean:
            other, others = blocks.pop()
            mean, count = (mean * count + other * others) / (count + others), count + others
        blocks.append((mean, count))
    fitted = [mean for mean, count in blocks for _ in range(count)]
    return [value + offset for value, offset in zip(fitted, offsets, strict=False)]


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _edge(chain: Sequence[Item], x_of: Mapping[Item, float], y_of: Mapping[Item, float]) -> PlacedEdge:
    """A smooth line that leaves the consumer downwards and reaches the input from above."""
    points = [(x_of[item], y_of[item]) for item in chain]
    points[0] = (points[0][0], points[0][1] + _NODE_HEIGHT / 2)
    points[-1] = (points[-1][0], points[-1][1] - _NODE_HEIGHT / 2 - 2)
    path = f"M{points[0][0]:g} {points[0][1]:g}"
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        path += f"C{x0:g} {middle:g} {x1:g} {middle:g} {x1:g} {y1:g}"
    return PlacedEdge(consumer=chain[0][0], input=chain[-1][0], path=path, x=points[-1][0], y=points[-1][1])
