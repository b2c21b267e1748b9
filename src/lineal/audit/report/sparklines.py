"""A training's figure over its optimizer steps, as a small SVG."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

WIDTH, HEIGHT, EDGE = 190.0, 40.0, 2.0


def sparkline(values: Sequence[float], name: str) -> str:
    """Draws a line from the lowest to the highest value; its label holds the name, the first and the last value.

    Args:
        values: one for each step shown.
        name: what they are.
    """
    lowest, highest = min(values), max(values)
    spread = highest - lowest or 1.0
    across = (WIDTH - 2 * EDGE) / max(1, len(values) - 1)
    down = HEIGHT - 2 * EDGE
    points = [
        (EDGE + number * across, EDGE + down * (highest - value) / spread)
        for number, value in enumerate(values)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    label = quoteattr(
        f"{name} from {values[0]:.3g} to {values[-1]:.3g}, between {lowest:.3g} and {highest:.3g}"
    )
    line = (
        f'<polyline class="line" points="{path}"/>'
        if len(points) > 1
        else f'<circle class="mark" cx="{EDGE}" cy="{EDGE}" r="2"/>'
    )
    return (
        f'<svg class="spark s0" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label={label}>{line}</svg>'
    )
