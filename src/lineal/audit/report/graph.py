"""A pipeline's lineage as SVG: a column per round, a box per step, a line from everything to what was made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from lineal.audit.catalog import main_key
from lineal.audit.summary import NodeSummary, PipelineSummary
from lineal.audit.terminal import cut, printable
from lineal.components.base import Role
from lineal.errors import number_of

WIDTH, HEIGHT = 150.0, 46.0
ACROSS, DOWN = 44.0, 24.0
"""Room between columns and between rows; lines run there and nowhere else, so that they cross no box."""
EDGE, HEAD = 20.0, 26.0
ROUND = 5.0
"""Radius of a line's corners."""
LETTERS, SMALL_LETTERS = 18, 21
"""Letters that a box has room for."""


@dataclass(frozen=True)
class _Place:
    """The position of a step's box."""

    node: NodeSummary
    column: int
    row: int

    @property
    def x(self) -> float:
        return EDGE + self.column * (WIDTH + ACROSS)

    @property
    def y(self) -> float:
        return HEAD + self.row * (HEIGHT + DOWN)

    @property
    def middle(self) -> float:
        return self.y + HEIGHT / 2


def draw_lineage(pipeline: PipelineSummary) -> str:
    """Draws the pipeline's steps as an SVG element that keeps its natural size. Each box links to `#KEY`.

    A step is drawn together with the lines to what it was made from, so that a page can highlight both.
    """
    columns: dict[str, list[NodeSummary]] = {}
    for node in pipeline.nodes:
        columns.setdefault(node.group, []).append(node)
    places = {
        node.key: _Place(node, column, row)
        for column, nodes in enumerate(columns.values())
        for row, node in enumerate(nodes)
    }
    rows = max(map(len, columns.values()), default=0)
    width = 2 * EDGE + len(columns) * (WIDTH + ACROSS) - ACROSS
    height = HEAD + rows * (HEIGHT + DOWN)
    heads = "".join(
        f'<text class="column" x="{EDGE + column * (WIDTH + ACROSS):g}" y="14">{escape(group.replace("_", " "))}</text>'
        for column, group in enumerate(columns)
    )
    steps = "".join(_step(place, places) for place in places.values())
    label = quoteattr(
        f"Lineage of {pipeline.name}: {len(places)} steps in {len(columns)} columns; the list below says the same"
    )
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    return f'<svg class="lineage" {size} role="group" aria-label={label}>{heads}{steps}</svg>'


def _step(place: _Place, places: Mapping[str, _Place]) -> str:
    node = place.node
    sources = dict.fromkeys(main_key(key) for key in node.inputs)
    found = [places[key] for key in sources if key in places]
    lines = "".join(
        f'<path class="edge role-{source.node.role}" d="{_line(source, place)}"/>' for source in found
    )
    title = f"{node.key}: {node.component}" + "".join(f"\n\u2190 {key}" for key in node.inputs)
    state = "" if node.digest else " missing"
    box = (
        f'<rect class="box" x="{place.x:g}" y="{place.y:g}" width="{WIDTH:g}" height="{HEIGHT:g}" rx="7"/>'
        f'<rect class="stripe" x="{place.x:g}" y="{place.y + 8:g}" width="4" height="{HEIGHT - 16:g}"/>'
        f'<text class="label" x="{place.x + 13:g}" y="{place.y + 19:g}">{escape(cut(printable(node.label), LETTERS))}</text>'
        f'<text class="told" x="{place.x + 13:g}" y="{place.y + 36:g}">{escape(cut(told(node), SMALL_LETTERS))}</text>'
    )
    link = f"<a href={quoteattr('#' + node.key)}><title>{escape(printable_lines(title))}</title>{box}</a>"
    return f'<g class="step role-{node.role}{state}">{lines}{link}</g>'


def printable_lines(text: str) -> str:
    """Returns text with its line ends, all other control characters spelled out."""
    return "\n".join(printable(line) for line in text.split("\n"))


def told(node: NodeSummary) -> str:
    """Returns a step's most important number, in a few words."""
    if node.digest is None or node.trouble:
        return "cannot be read" if node.trouble else "not made yet"
    counts, score = (
        node.counts or {},
        node.value(node.headline or "") if node.role is Role.EVALUATOR else None,
    )
    if score is not None:
        found = node.estimates.get(node.headline or "")
        bounds = f" ({100 * found.low:.0f}-{100 * found.high:.0f})" if found and 0 <= score <= 1 else ""
        return f"{100 * score:.1f}%{bounds}" if 0 <= score <= 1 else f"{score:.4g}"
    if node.role is Role.VERIFIER and node.value("pass_share") is not None:
        return f"{100 * (node.value('pass_share') or 0):.1f}% pass"
    if "kept" in counts and "out" not in counts:
        return f"{counts['kept']:,} kept ({counts['kept'] / max(1, counts['in']):.0%})"
    return number_of(node.rows, "row") if node.rows is not None else f"{node.component} {node.digest[:8]}"


def _line(source: _Place, target: _Place) -> str:
    """Draws the way from a box to one that was made from it."""
    if source.column == target.column:
        if target.row == source.row + 1:
            x = target.x + WIDTH / 2
            return f"M{x:g} {source.y + HEIGHT:g}V{target.y - 1:g}m-3.5-4l3.5 4l3.5-4"
        side = target.x - 4 - 4 * min(abs(target.row - source.row), 3)  # further steps bend further out
        begin, end = source.middle + 6, target.middle - 6
        return _rounded([(source.x, begin), (side, begin), (side, end), (target.x - 1, end)])
    leave, arrive = _gutter(source, source.x + WIDTH), _gutter(source, target.x - ACROSS)
    if target.column == source.column + 1:
        corners = [(leave, source.middle), (leave, target.middle)]
    else:  # along the room under the source's row, where lines from one row to several rounds lie on each other
        lane = source.y + HEIGHT + DOWN / 2
        corners = [(leave, source.middle), (leave, lane), (arrive, lane), (arrive, target.middle)]
    return _rounded([(source.x + WIDTH, source.middle), *corners, (target.x - 1, target.middle)])


def _gutter(source: _Place, begin: float) -> float:
    """Returns where a line from a row goes up or down in the gap between two columns: a place for each row."""
    return begin + 6 + (source.row * 5) % (ACROSS - 24)


def _rounded(points: list[tuple[float, float]]) -> str:
    """Draws a path along right-angled corners, rounded, that ends in an arrow to the right."""
    return f"M{points[0][0]:g} {points[0][1]:g}{''.join(_bends(points))}m-4-3.5l4 3.5l-4 3.5"


def _bends(points: list[tuple[float, float]]) -> Iterator[str]:
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        reach = min(ROUND, _distance(before, corner) / 2, _distance(corner, after) / 2)
        first, second = _towards(corner, before, reach), _towards(corner, after, reach)
        yield f"L{first[0]:g} {first[1]:g}Q{corner[0]:g} {corner[1]:g} {second[0]:g} {second[1]:g}"
    yield f"L{points[-1][0]:g} {points[-1][1]:g}"


def _distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _towards(corner: tuple[float, float], other: tuple[float, float], reach: float) -> tuple[float, float]:
    """Returns the point so far from a corner on the straight line to another."""
    part = reach / (_distance(corner, other) or 1.0)
    return corner[0] + (other[0] - corner[0]) * part, corner[1] + (other[1] - corner[1]) * part
