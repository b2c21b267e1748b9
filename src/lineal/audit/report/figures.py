"""The charts of the report: one per number that some pipeline has, grouped by theme."""

from __future__ import annotations

from collections.abc import Iterator

from lineal.audit.report.charts import Chart, Line
from lineal.audit.report.difficulty import thirds
from lineal.audit.summary import Summary, named, over_seeds
from lineal.components.base import Role

EVALUATION, SAMPLING, SELECTION = "Evaluation", "Sampling", "Verifying and selecting"
_G, _V, _S, _E = Role.GENERATOR, Role.VERIFIER, Role.SELECTOR, Role.EVALUATOR
_NODE_CHARTS: tuple[tuple[str, Role, str, str, str, bool], ...] = (
    (
        EVALUATION,
        _E,
        "error_share",
        "Errors of {label}",
        "Share of the completions that the evaluation could not judge.",
        True,
    ),
    (
        SAMPLING,
        _G,
        "tokens_mean",
        "Length of {label}",
        "Mean tokens of a completion, the end token included.",
        False,
    ),
    (
        SAMPLING,
        _G,
        "truncated_share",
        "Truncated in {label}",
        "Share of the completions that reached the token limit.",
        True,
    ),
    (
        SAMPLING,
        _G,
        "distinct_per_prompt",
        "Distinct completions in {label}",
        "Different ones of a prompt, on average.",
        False,
    ),
    (
        SAMPLING,
        _V,
        "answers_per_prompt",
        "Distinct answers in {label}",
        "Different ones in a prompt's vote, on average.",
        False,
    ),
    (
        SAMPLING,
        _G,
        "distinct_ngrams",
        "Distinct 3-grams of {label}",
        "Of the runs of three words in some thousand rows.",
        True,
    ),
    (
        SAMPLING,
        _G,
        "seen_before_share",
        "Seen before in {label}",
        "Completions that a prompt had in an earlier round.",
        True,
    ),
    (SELECTION, _V, "pass_share", "Passes of {label}", "Share of the rows whose verdict is pass.", True),
    (
        SELECTION,
        _V,
        "solved_share",
        "Prompts solved in {label}",
        "Share of the prompts with a sample that passes.",
        True,
    ),
    (
        SELECTION,
        _V,
        "vote_margin",
        "Vote margin of {label}",
        "Lead of the first answer, in shares of the votes.",
        True,
    ),
    (
        SELECTION,
        _V,
        "error_share",
        "Errors of {label}",
        "Share of the rows that the verifier could not judge.",
        True,
    ),
    (SELECTION, _S, "kept_share", "Yield of {label}", "Share of the rows that selection kept.", True),
)
_ONLY_IF_ANY = ("error_share", "truncated_share")
"""Drawn only where they are not zero throughout."""
AT_K = "_at_"


def charts_of(summary: Summary) -> dict[str, list[Chart]]:
    """Returns charts by theme, evaluations first; numbers that no pipeline has are left out, and so are themes without charts."""
    found: dict[str, list[Chart]] = {EVALUATION: list(_evaluations(summary)), SAMPLING: [], SELECTION: []}
    for theme, role, name, title, note, is_share in _NODE_CHARTS:
        for label in summary.labels(role):
            chart = Chart(title.format(label=label), note, _lines(summary, label, name), is_share)
            if name not in _ONLY_IF_ANY or any(value for line in chart.lines for value in line.values):
                found[theme].append(chart)
    charts = {theme: [chart for chart in charts if chart.has_values] for theme, charts in found.items()}
    return {theme: own for theme, own in charts.items() if own}


def _evaluations(summary: Summary) -> Iterator[Chart]:
    """Yields every score of every evaluation, its headline first; of the first one also its easiest and its hardest prompts."""
    labels = summary.labels(Role.EVALUATOR)
    for label in labels[:1]:
        yield from _scores(summary, label)
        for third, note, values in thirds(summary, label):
            lines = tuple(
                Line(p.name, values[p.name], slot, p.is_control)
                for slot, seeds in enumerate(summary.by_declaration.values())
                for p in seeds
            )
            yield Chart(f"{titled(label)}: {third}", note, lines)
    for label in labels[1:]:
        yield from _scores(summary, label)


def _scores(summary: Summary, label: str) -> Iterator[Chart]:
    nodes = [
        node
        for pipeline in summary.pipelines
        for node in pipeline.nodes
        if node.label == label and node.headline
    ]
    scores = dict.fromkeys(
        [*(node.headline or "" for node in nodes), *(name for node in nodes for name in node.scores)]
    )
    for place, name in enumerate(scores):
        values = [value for node in nodes if (value := node.value(name)) is not None]
        note = f"{spoken(name).capitalize()} of each round's checkpoint; round 0 is the base."
        title = titled(label) + (f": {spoken(name)}" if place else "")
        yield Chart(title, note, _lines(summary, label, name), all(0 <= value <= 1 for value in values))


def titled(label: str) -> str:
    """Formats a node's name as a heading."""
    return label.replace("_", " ").capitalize()


def spoken(name: str) -> str:
    """Formats a metric's name as people write it: `pass_at_4` is `pass@4`."""
    return name.replace(AT_K, "@").replace("_", " ")


def _lines(summary: Summary, label: str, name: str) -> tuple[Line, ...]:
    """Returns a line per pipeline; of several seeds their mean, with a bar from the lowest to the highest."""
    lines = []
    for slot, seeds in enumerate(summary.by_declaration.values()):
        values, estimates = over_seeds(seeds, label, name)
        lines.append(Line(named(seeds), values, slot, seeds[0].is_control, estimates))
    return tuple(lines)
