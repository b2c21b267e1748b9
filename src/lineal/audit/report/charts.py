"""Line charts as SVG: a value per round, a line per pipeline. Colours come from the page, so that they follow its theme."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from lineal.data.estimates import Estimate

LINE_HEIGHT = 15.0
LETTER_WIDTH = 6.7
TOP, BOTTOM, LEFT, RIGHT = 14.0, 40.0, 46.0, 60.0
SLOTS = 7
"""Colours and markers of the page's palette; further lines begin again, with the other dash."""


SHARES = (0.01, 0.04, 0.1, 0.2, 0.4, 1.0)
"""Tops of the axes of shares; a quarter of each is a number that people read."""


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes:
        name: the pipeline.
        values: for round 0, 1, ...; None leaves a gap.
        slot: its colour and marker, the same in every chart.
        dashed: for controls.
        estimates: the same with 95% intervals, which are drawn as bars; None or nothing where there are none.
    """

    name: str
    values: tuple[float | None, ...]
    slot: int
    dashed: bool
    estimates: tuple[Estimate | None, ...] = ()

    def estimate(self, number: int) -> Estimate | None:
        """Returns a round's value with its interval."""
        return self.estimates[number] if number < len(self.estimates) else None

    @property
    def has_values(self) -> bool:
        """True if there is anything to draw."""
        return any(value is not None for value in self.values)


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        title: what is drawn.
        note: one sentence that explains it.
        lines: the lines; those without any value are left out by `draw`.
        is_share: whether values are shares of one, told in percent.
    """

    title: str
    note: str
    lines: tuple[Line, ...]
    is_share: bool = True

    @property
    def has_values(self) -> bool:
        """True if there is anything to draw."""
        return any(line.has_values for line in self.lines)

    @property
    def rounds(self) -> int:
        """The last round on the axis."""
        return max(len(line.values) for line in self.lines) - 1

    def shown(self, value: float | None) -> str:
        """Formats a value for people."""
        if value is None:
            return "-"
        if self.is_share:
            return f"{100 * value:.1f}%"
        return f"{value:.2f}" if abs(value) < 10 else f"{value:,.1f}"

    def told(self, line: Line, number: int) -> str:
        """Formats a line's value in a round, with its interval."""
        value = line.values[number] if number < len(line.values) else None
        found = line.estimate(number)
        return self.shown(value) + (
            f" ({self.shown(found.low)} to {self.shown(found.high)})" if found else ""
        )


@dataclass(frozen=True)
class _Frame:
    """The drawing area and its scales."""

    chart: Chart
    width: float
    height: float
    right: float
    top_value: float

    def x(self, number: int) -> float:
        return LEFT + (self.width - LEFT - self.right) * (number / max(1, self.chart.rounds))

    def y(self, value: float) -> float:
        return TOP + (self.height - TOP - BOTTOM) * (1 - value / self.top_value)


def draw(chart: Chart, width: float, height: float, named: bool) -> str:
    """Draws the chart as an SVG element.

    Args:
        chart: what to draw; it must have a value.
        width, height: its size in CSS pixels at natural scale.
        named: whether lines carry their pipeline's name at their end, beside their last value.
    """
    lines = [line for line in chart.lines if line.has_values]
    longest = max(len(line.name) for line in lines) if named else 0
    frame = _Frame(chart, width, height, RIGHT + LETTER_WIDTH * longest, _top(chart))
    controls_first = sorted(lines, key=lambda line: not line.dashed)
    parts = [
        *_grid(frame),
        *(part for line in controls_first for part in _line(frame, line)),
        *_labels(frame, lines, named),
    ]
    label = quoteattr(f"{chart.title}: " + "; ".join(f"{line.name} {_spoken(chart, line)}" for line in lines))
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label={label}>{"".join(parts)}</svg>'


def _spoken(chart: Chart, line: Line) -> str:
    return ", ".join(chart.told(line, number) for number in range(len(line.values)))


def _top(chart: Chart) -> float:
    """Returns the value at the top of the axis: the next round number."""
    bounds = [found.high for line in chart.lines for found in line.estimates if found is not None]
    most = (
        max([*bounds, *(value for line in chart.lines for value in line.values if value is not None)]) or 1.0
    )
    if chart.is_share:
        return next(share for share in SHARES if share >= min(most, 1.0))
    unit = 10.0 ** math.floor(math.log10(most))
    return next(step * unit for step in (1, 2, 4, 6, 8, 10) if step * unit >= most)


def _grid(frame: _Frame) -> Iterator[str]:
    right = frame.width - frame.right
    for quarter in range(5):
        value = frame.top_value * quarter / 4
        y = frame.y(value)
        text = f"{100 * value:g}%" if frame.chart.is_share else f"{value:g}"
        yield f'<line class="grid" x1="{LEFT:g}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{LEFT - 8:g}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    every = max(1, math.ceil((frame.chart.rounds + 1) / 12))
    for number in range(0, frame.chart.rounds + 1, every):
        yield f'<text class="tick" x="{frame.x(number):.1f}" y="{frame.height - 22:.1f}" text-anchor="middle">{number}</text>'
    middle = (LEFT + right) / 2
    yield f'<text class="axis" x="{middle:.1f}" y="{frame.height - 4:.1f}" text-anchor="middle">round</text>'


def _line(frame: _Frame, line: Line) -> Iterator[str]:
    points = [
        (frame.x(number), frame.y(value), number, value)
        for number, value in enumerate(line.values)
        if value is not None
    ]
    for run in _runs(line.values):
        path = " ".join(f"{frame.x(number):.1f},{frame.y(line.values[number] or 0.0):.1f}" for number in run)
        yield f'<polyline class="line s{line.slot % SLOTS}{" dashed" if line.dashed else ""}" points="{path}"/>'
    for number in range(len(line.values)):
        yield from _bar(frame, line, number)
    for x, y, number, _ in points:
        title = f"<title>{escape(line.name)}, round {number}: {frame.chart.told(line, number)}</title>"
        yield f'<g class="mark s{line.slot % SLOTS}" transform="translate({x:.1f} {y:.1f})">{title}{marker(line.slot)}</g>'


def _bar(frame: _Frame, line: Line, number: int) -> Iterator[str]:
    """Draws the interval of one value as a bar with ends."""
    found = line.estimate(number)
    if found is not None and line.values[number] is not None:
        x, low, high = frame.x(number), frame.y(max(0.0, found.low)), frame.y(found.high)
        path = f"M{x:.1f} {low:.1f}V{high:.1f}M{x - 3:.1f} {low:.1f}h6M{x - 3:.1f} {high:.1f}h6"
        yield f'<path class="bounds s{line.slot % SLOTS}" d="{path}"/>'


def _runs(values: Sequence[float | None]) -> Iterator[list[int]]:
    """Yields numbers of consecutive rounds that have a value."""
    run: list[int] = []
    for number, value in enumerate([*values, None]):
        if value is not None:
            run.append(number)
        elif run:
            yield run
            run = []


def marker(slot: int) -> str:
    """Draws a marker around the origin; shapes differ as colours do."""
    shapes = (
        '<circle r="4"/>',
        '<rect x="-3.6" y="-3.6" width="7.2" height="7.2"/>',
        '<path d="M0-4.8 4.4 3.4H-4.4Z"/>',
        '<path d="M0-5 5 0 0 5-5 0Z"/>',
        '<path d="M0 4.8 4.4-3.4H-4.4Z"/>',
        '<path d="M-4-4 4 4M-4 4 4-4" class="open"/>',
        '<path d="M-5 0H5M0-5V5" class="open"/>',
    )
    return shapes[slot % SLOTS]


def _labels(frame: _Frame, lines: list[Line], named: bool) -> Iterator[str]:
    """Draws each line's last value (and name) at its end, moved apart where they would touch."""
    ends = []
    for line in lines:
        number = max(number for number, value in enumerate(line.values) if value is not None)
        value = line.values[number]
        assert value is not None
        ends.append((frame.y(value), frame.x(number), line, value))
    ends.sort(key=lambda end: (end[0], end[2].slot))
    for y, (_, x, line, value) in zip(
        _apart([end[0] for end in ends], frame.height - BOTTOM), ends, strict=True
    ):
        name = f'<tspan class="name"> {escape(line.name)}</tspan>' if named else ""
        yield f'<text class="end s{line.slot % SLOTS}" x="{x + 9:.1f}" y="{y + 4:.1f}">{frame.chart.shown(value)}{name}</text>'


def _apart(wanted: list[float], lowest: float) -> list[float]:
    """Moves sorted heights down until they are a line apart, then up again where they left the frame."""
    placed: list[float] = []
    for y in wanted:
        placed.append(max(y, placed[-1] + LINE_HEIGHT) if placed else y)
    limit = lowest
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - LINE_HEIGHT
    return placed
