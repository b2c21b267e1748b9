"""The picture in README.md: the demo's lineage, drawn from its records; docs/lineage.svg.

    python bench/lineage.py

Every box is an artifact with its count and the beginning of its digest. Highlighted is what a row of `round_02/filtered`
descends from. Evaluations are not drawn: their accuracy stands in the box of their checkpoint.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
RECORDS, PICTURE = ROOT / "records" / "rest_em", ROOT / "docs" / "lineage.svg"
TRACED = "round_02/filtered"
ROUND = ["generated", "verified", "filtered", "mixed", "checkpoint"]
COLUMNS = [
    ["tasks/train", "", "", "tasks/base", "start/checkpoint"],
    *([f"round_{number:02d}/{name}" for name in ROUND] for number in (1, 2, 3)),
]
WIDTH, HEIGHT, ACROSS, DOWN, EDGE, HEAD = 190, 46, 56, 26, 14, 46
STYLE = """text{font:12px system-ui,sans-serif;fill:#57606a} .name{font-weight:600} .head{font-size:13px;font-weight:600}
rect{fill:#f6f8fa;stroke:#d0d7de} path{fill:none;stroke:#d0d7de;stroke-width:1.3}
.traced rect{fill:#e7f1fb;stroke:#0072b2} .traced .name{fill:#0a3d62} path.traced{stroke:#0072b2;stroke-width:1.8}"""


@dataclass(frozen=True)
class Box:
    """An artifact and its place in the picture."""

    step: str
    manifest: dict[str, Any]
    x: int
    y: int

    @property
    def inputs(self) -> list[str]:
        """The steps that it was made from."""
        return [source["step"] for sources in self.manifest["inputs"].values() for source in sources]


def record(step: str) -> Path:
    """The record of a step's main artifact."""
    (found,) = RECORDS.glob(f"{step}@*")
    return found


def read_boxes() -> dict[str, Box]:
    """All boxes, by step."""
    return {
        step: Box(
            step=step,
            manifest=json.loads((record(step) / "manifest.json").read_text()),
            x=EDGE + column * (WIDTH + ACROSS),
            y=HEAD + row * (HEIGHT + DOWN),
        )
        for column, steps in enumerate(COLUMNS)
        for row, step in enumerate(steps)
        if step
    }


def ancestors(boxes: dict[str, Box], step: str) -> set[str]:
    """The step and everything that it was made from."""
    parents = (name for name in boxes[step].inputs if name in boxes)
    return {step}.union(*(ancestors(boxes, parent) for parent in parents))


def fact(box: Box) -> str:
    """The one number that a box shows."""
    counts, name = box.manifest["counts"], box.step.partition("/")[2]
    if name == "checkpoint":
        metrics = record(box.step.replace("checkpoint", "evaluation")) / "metrics.json"
        return f"solves {100 * json.loads(metrics.read_text())['accuracy']:.1f}%"
    if name == "verified":
        return f"{counts['pass']} pass, {counts['fail']} fail"
    if name == "filtered":
        return f"{counts['kept']} rows kept"
    return f"{counts['out']:,} rows"


def drawn_box(box: Box, traced: set[str]) -> str:
    """A box as SVG."""
    mark = ' class="traced"' if box.step in traced else ""
    return (
        f'<g{mark}><rect x="{box.x}" y="{box.y}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text class="name" x="{box.x + 10}" y="{box.y + 19}">{escape(box.step.partition("/")[2])}</text>'
        f'<text x="{box.x + 10}" y="{box.y + 36}">{escape(fact(box))} · {box.manifest["digest"][:7]}</text></g>'
    )


def drawn_line(source: Box, target: Box, traced: set[str]) -> str:
    """The line from an artifact to what was made from it; one that skips a column runs between the rows of boxes."""
    mark = ' class="traced"' if {source.step, target.step} <= traced else ""
    if source.x == target.x:
        x = source.x + WIDTH / 2
        return f'<path{mark} d="M{x:g} {source.y + HEIGHT}V{target.y}" marker-end="url(#head)"/>'
    start, end = source.x + WIDTH, target.x
    y, to = source.y + HEIGHT / 2, target.y + HEIGHT / 2
    if end - start == ACROSS:
        middle = (start + end) / 2
        return f'<path{mark} d="M{start} {y:g}C{middle:g} {y:g} {middle:g} {to:g} {end} {to:g}" marker-end="url(#head)"/>'
    lane = target.y - DOWN / 2
    return (
        f'<path{mark} d="M{start} {y:g}C{start + 25} {y:g} {start + 25} {lane:g} {start + 50} {lane:g}H{end - 40}'
        f'C{end - 15} {lane:g} {end - 30} {to:g} {end} {to:g}" marker-end="url(#head)"/>'
    )


def draw() -> str:
    """The picture."""
    boxes = read_boxes()
    traced = ancestors(boxes, TRACED)
    lines = sorted(
        (
            drawn_line(boxes[source], box, traced)
            for box in boxes.values()
            for source in dict.fromkeys(box.inputs)
            if source in boxes
        ),
        key=lambda line: "traced" in line,  # highlighted lines over the others
    )
    heads = [
        f'<text class="head" x="{EDGE + column * (WIDTH + ACROSS)}" y="20">{text}</text>'
        for column, text in enumerate(["tasks and start", "round 1", "round 2", "round 3"])
    ]
    width, height = 2 * EDGE + 4 * WIDTH + 3 * ACROSS, HEAD + 5 * (HEIGHT + DOWN) - 8
    arrow = '<path d="M0 0L7 3L0 6z" style="fill:context-stroke;stroke:none"/>'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
            "<title>The demo's lineage: three rounds of ReST-EM</title>",
            f'<style>{STYLE}</style><defs><marker id="head" markerWidth="7" markerHeight="6" refX="7" refY="3" orient="auto" '
            f'markerUnits="userSpaceOnUse">{arrow}</marker></defs>',
            f'<rect width="{width}" height="{height}" style="fill:#fff;stroke:none"/>',
            *heads,
            *lines,
            *(drawn_box(box, traced) for box in boxes.values()),
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(draw())
