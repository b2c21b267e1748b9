"""The page as HTML. Everything that models or users wrote is escaped by the templates, or by what draws the SVG."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from lineal.audit.catalog import main_key
from lineal.audit.report.charts import Chart, draw, marker
from lineal.audit.report.facts import RunFacts
from lineal.audit.report.figures import spoken, titled
from lineal.audit.report.graph import draw_lineage, printable_lines, told
from lineal.audit.report.page import ReportPage
from lineal.audit.report.sparklines import sparkline
from lineal.audit.summary import NodeSummary, PipelineSummary, accuracy_table, named
from lineal.audit.terminal import show_value
from lineal.components.base import Role
from lineal.data.estimates import Estimate

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

LONGEST_TEXT = 1200
"""Letters of a prompt or completion; the page says how many more there are."""
SHORT_TEXT = 160
"""Letters of the same in a row's one line."""
WIDE, NARROW = (1120.0, 360.0), (330.0, 230.0)
MOST_MODELS = 12
"""Models that a row's ancestry names, the latest first; the page says how many more there are."""
MOST_DEPTH = 6
"""Generations of rows that an ancestry goes back."""
TEMPLATES = ("page", "samples", "trees", "episodes", "ancestry", "lineage", "run")


def render(page: ReportPage, facts: RunFacts, revision: tuple[str, bool] | None = None) -> str:
    """Renders the page as HTML; from the same artifacts the same text, except for the section of run facts."""
    return (
        _environment()
        .get_template("page")
        .render(
            page=page,
            summary=page.summary,
            facts=facts,
            revision=revision,
            table=accuracy_table(page.summary),
            rounds=page.summary.rounds,
            groups={pipeline.name: _groups(pipeline) for pipeline in page.summary.pipelines},
            keys={node.key for pipeline in page.summary.pipelines for node in pipeline.nodes},
            roles=_roles(page),
            most_models=MOST_MODELS,
            most_depth=MOST_DEPTH,
            claims=[claim for pipeline in page.summary.pipelines if (claim := _claim(pipeline)) is not None],
            slots={
                one.name: slot
                for slot, seeds in enumerate(page.summary.by_declaration.values())
                for one in seeds
            },
            legend=[
                (slot, named(seeds), seeds[0].is_control)
                for slot, seeds in enumerate(page.summary.by_declaration.values())
            ],
        )
    )


def _claim(pipeline: PipelineSummary) -> tuple[PipelineSummary, float, float, int] | None:
    """Describes a pipeline's first evaluation: its first and its last value, and the rounds between them."""
    for label in pipeline.labels(Role.EVALUATOR)[:1]:
        made = [(number, value) for number, value in enumerate(pipeline.series(label)) if value is not None]
        if len(made) > 1:
            return pipeline, made[0][1], made[-1][1], made[-1][0] - made[0][0]
    return None


def _roles(page: ReportPage) -> list[Role]:
    """Returns the roles of the steps on the page."""
    found = {node.role for pipeline in page.summary.pipelines for node in pipeline.nodes}
    return [role for role in Role if role in found]


def _groups(pipeline: PipelineSummary) -> dict[str, list[NodeSummary]]:
    found: dict[str, list[NodeSummary]] = {}
    for node in pipeline.nodes:
        found.setdefault(node.group, []).append(node)
    return found


def _environment() -> Environment:
    from jinja2 import DictLoader, Environment, StrictUndefined

    folder = files("lineal.audit.report").joinpath("templates")
    texts = {name: folder.joinpath(f"{name}.html.j2").read_text(encoding="utf-8") for name in TEMPLATES}
    texts["style"] = folder.joinpath("style.css").read_text(encoding="utf-8")
    environment = Environment(
        loader=DictLoader(texts),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(_filters())
    return environment


def _filters() -> dict[str, Callable[..., object]]:
    return {
        "wide": lambda chart: _drawn(chart, WIDE, named=True),
        "narrow": lambda chart: _drawn(chart, NARROW, named=False),
        "spark": lambda values, name: _markup(sparkline(values, name)),
        "marker": lambda slot: _markup(marker(slot)),
        "graph": lambda pipeline: _markup(draw_lineage(pipeline)),
        "percent": lambda value: "-" if value is None else f"{100 * value:.1f}%",
        "bounds": _bounds,
        "points": lambda value: f"{100 * value:+.1f}",
        "number": lambda value: f"{value:,}",
        "seconds": lambda value: f"{value:,.1f}",
        "visible": visible,
        "short": short,
        "value": show_value,
        "main_key": main_key,
        "told": told,
        "titled": titled,
        "spoken": spoken,
        "group_name": lambda name: name.replace("_", " "),
    }


def _bounds(estimate: Estimate | None) -> str:
    """Formats an interval of a share in percent; nothing where there is none."""
    return "" if estimate is None else f"{100 * estimate.low:.1f}-{100 * estimate.high:.1f}"


def _drawn(chart: Chart, size: tuple[float, float], named: bool) -> Markup:
    return _markup(draw(chart, *size, named=named))


def _markup(svg: str) -> Markup:
    """SVG of our own: what draws it has escaped every name in it."""
    from markupsafe import Markup

    return Markup(svg)  # noqa: S704


def visible(text: Any) -> str:
    """Returns text with its line ends, but with control characters spelled out, and cut at a length that it says."""
    rest = len(str(text)) - LONGEST_TEXT
    shown = printable_lines(str(text)[:LONGEST_TEXT])
    return f"{shown} … ({rest:,} more letters)" if rest > 0 else shown


def short(text: Any) -> str:
    """Returns the beginning of a text, on one line."""
    beginning = " ".join(printable_lines(str(text)[: SHORT_TEXT + 1]).split())
    return beginning[:SHORT_TEXT] + "…" if len(beginning) > SHORT_TEXT else beginning
