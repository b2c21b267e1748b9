"""The pages about methods, written from the pipelines and the results: a table with a plot, and the index of papers."""

from __future__ import annotations

import itertools
import json
import re
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from scratch import ROOT

from lineal.recipe.document import read_document
from lineal.recipe.nodes import Section
from lineal.recipe.pipeline import PAPER, read_pipeline
from lineal.recipe.policies import Policies

PIPELINES, RESULTS = ROOT / "pipelines", ROOT / "docs" / "methods"
INDEX, PAGE, PLOT = PIPELINES / "README.md", ROOT / "docs" / "methods.md", ROOT / "docs" / "methods.svg"
CONTROL = "control_unfiltered"
BEGIN, END = "<!-- written by bench/methods.py pages -->", "<!-- end -->"
DIFFERS = "Differs from the paper:"
"""Begins what the comment over a pipeline says of its paper, up to the comment's end."""
NOT_COMPARED = "not compared step by step; its comments say what is known."
STALE = " †"
"""Marks results of a laptop profile that has changed since; a new run of `bench/methods.py` takes the mark away."""
EARLIER_TRAINERS = " ‡"
"""Marks results of trainers of version 1; a new run takes the mark away."""
TRAINERS = 2
CLEAR_POINTS = 5.0
"""A gain under this on 300 prompts can be chance: two standard errors of a share near 20 % are 4.6 points."""

STUDENT = {3: 4.30, 4: 3.18, 5: 2.78}
"""By the number of seeds, the 97.5% quantile of Student's distribution with one degree of freedom less."""

Results = dict[str, dict[str, Any]]


def pages(check: bool) -> int:
    """Writes the pages, or says which of them are not current.

    Returns:
        the exit status: 1 when `check` finds a stale page.
    """
    stale = []
    current = {
        RESULTS / f"{path.stem}.md": method_page(path.stem) for path in sorted(PIPELINES.glob("*.yaml"))
    }
    for path, text in ((INDEX, index()), (PAGE, table())):
        head, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        current[path] = f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}"
    for path, text in current.items():
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            stale.append(path.relative_to(ROOT))
        elif not check:
            path.write_text(text, encoding="utf-8")
    if not check:
        plot()
    for path in stale:
        print(
            f"{path} is not what the pipelines and results say: run python bench/methods.py pages",
            file=sys.stderr,
        )
    return 1 if stale else 0


def index() -> str:
    """The table of papers: one line for each pipeline, its parts in the order of the round."""
    lines = ["| pipeline | method | paper | parts | on the laptop |", "|---|---|---|---|---|"]
    for path in sorted(PIPELINES.glob("*.yaml")):
        pipeline = read_pipeline(
            path.stem, read_document(path, f"pipelines/{path.name}"), PAPER, Policies.of(ROOT)
        )
        header = pipeline.header
        nodes = [
            node
            for part, own in pipeline.parts.items()
            if part.section is Section.ROUND
            for node in own.values()
        ]
        parts = dict.fromkeys(
            str(node.settings.get("sql")) if node.use == "select" else node.use for node in nodes
        )
        number = (header.paper or "").removeprefix("arXiv:")
        cells = (
            f"[{path.stem}]({path.name})",
            f"{header.method}: {' '.join(header.summary.split())}",
            f"[{number}](https://arxiv.org/abs/{number})" if number else "control",
            ", ".join(parts),
            f"[{_first_to_last(curves(path.stem, 'evaluation'))}](../docs/methods/{path.stem}.md){marks(path.stem)}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def method_page(name: str) -> str:
    """A method's own page: what differs from the paper, what it does, and what was measured."""
    pipeline = read_pipeline(
        name, read_document(PIPELINES / f"{name}.yaml", f"pipelines/{name}.yaml"), PAPER, Policies.of(ROOT)
    )
    header = pipeline.header
    number = (header.paper or "").removeprefix("arXiv:")
    parts = [
        f"# {header.method}",
        f"{DIFFERS} {difference(name)}" if number else "A control: no paper declares it.",
        " ".join(header.summary.split()),
        f"Declared in [{name}.yaml](../../pipelines/{name}.yaml)"
        + (f"; [paper](https://arxiv.org/abs/{number})." if number else "."),
        *on_the_laptop(name),
        "<!-- written by bench/methods.py pages -->",
    ]
    return "\n\n".join(parts) + "\n"


def on_the_laptop(name: str) -> list[str]:
    """What stands in for the paper's parts on two cores, and what was measured, beside the control."""
    comment = laptop_comment(name)
    measured = figures(name) if curves(name, "evaluation") else ["Not measured."]
    return ["## On two cores", *([comment] if comment else []), *measured]


def figures(name: str) -> list[str]:
    """A table of the accuracy by round, and the mean gain with its interval."""
    found, easy, control = curves(name, "evaluation"), curves(name, "easy"), same_base_control(name)
    rows = {f"evaluation prompts{marks(name)}": found}
    rows |= {"easy prompts (forgetting)": easy} if easy else {}
    rows |= {f"[control without a filter]({CONTROL}.md)": control} if control else {}
    rounds = max(len(curve) for own in rows.values() for curve in own)
    seeds = f"seed{'s' if len(found) > 1 else ''} {', '.join(results_of(name))}"
    head = [f"accuracy in %, {seeds}", *(f"round {number}" for number in range(rounds)), "gain by seed"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for label, own in rows.items():
        cells = [_mean_and_range(values) for values in zip(*own, strict=True)]
        cells += [""] * (rounds - len(cells))
        lines.append(f"| {label} | {' | '.join(cells)} | {_by_seed(gains(own))} |")
    return [
        "\n".join(lines),
        f"{mean_gain(found)} Marks, and how it was measured: [all methods](../methods.md).",
    ]


def mean_gain(found: list[list[float]]) -> str:
    """The mean gain over round 0 in words, with Student's interval over the seeds."""
    own = gains(found)
    if len(own) not in STUDENT:
        return f"{len(own)} seed{'s' if len(own) > 1 else ''}: too few for an interval."
    mean = statistics.mean(own)
    half = STUDENT[len(own)] * statistics.stdev(own) / len(own) ** 0.5
    return f"Mean gain: {mean:+.1f} points, 95% interval over {len(own)} seeds {mean - half:+.1f} to {mean + half:+.1f}."


def gains(found: list[list[float]]) -> list[float]:
    """By seed, the gain of the last round over round 0 in points."""
    return [100 * (curve[-1] - curve[0]) for curve in found]


def same_base_control(name: str) -> list[list[float]]:
    """The control's curves on a method's seeds; empty unless it starts from the same base with the same test prompts."""
    if name == CONTROL:
        return []
    own, control = results_of(name), results_of(CONTROL)
    pairs = [
        (own[seed]["accuracy"]["evaluation"], control[seed]["accuracy"]["evaluation"])
        for seed in own
        if seed in control
    ]
    is_same = len(pairs) == len(own) and all(mine[0] == its[0] for mine, its in pairs)
    return [its for _, its in pairs] if is_same else []


def laptop_comment(name: str) -> str:
    """Returns the comment over a pipeline's profiles."""
    lines = (PIPELINES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    above = reversed(lines[: lines.index("profiles:")])
    comment = [*itertools.takewhile(lambda line: line.startswith("#"), above)]
    text = " ".join(line.lstrip("# ") for line in reversed(comment))
    return re.sub(r"docs/(\w+\.md)", r"[docs/\1](../\1)", text)


def _by_seed(points: Sequence[float]) -> str:
    return ", ".join(f"{value:+.1f}" for value in points)


def _mean_and_range(values: Sequence[float]) -> str:
    mean, low, high = (f"{100 * value:.1f}" for value in (statistics.mean(values), min(values), max(values)))
    return mean if low == high else f"{mean} ({low}-{high})"


def difference(name: str) -> str:
    """Returns the difference from the paper in the comment at a pipeline's top."""
    lines = (PIPELINES / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    comment = " ".join(
        line.lstrip("# ") for line in itertools.takewhile(lambda line: line.startswith("#"), lines)
    )
    return comment.partition(DIFFERS)[2].strip() or NOT_COMPARED


def marks(name: str) -> str:
    """The marks of results that an earlier form of the laptop profile, or earlier trainers, gave."""
    results = results_of(name).values()
    stale = STALE if any(result.get("stale") for result in results) else ""
    return stale + (
        EARLIER_TRAINERS if any(result.get("trainers", 1) < TRAINERS for result in results) else ""
    )


def table() -> str:
    """Every measured pipeline: accuracy by round, gain over its own round 0, cost."""
    lines = [
        "| pipeline | seeds | accuracy by round (mean, %) | gain by seed (points) | easy split at the end (%) | sampled tokens "
        "| seconds in models | improves |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in measured():
        results, found, easy = results_of(name), curves(name, "evaluation"), curves(name, "easy")
        cells = (
            f"[{name}](methods/{name}.md){marks(name)}",
            ", ".join(results),
            " → ".join(f"{value:.1f}" for value in mean_curve(found)),
            _by_seed(gains(found)),
            f"{mean_curve(easy)[-1]:.0f}" if easy else "",
            f"{statistics.mean(result['tokens'] for result in results.values()):,.0f}",
            f"{statistics.mean(result['model_seconds'] for result in results.values()):.0f}",
            f"on {sum(gain >= CLEAR_POINTS for gain in gains(found))} of {len(found)} seeds",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def measured() -> list[str]:
    """The pipelines that have results, the greatest last accuracy first."""
    names = [path.stem for path in RESULTS.glob("*.json") if curves(path.stem, "evaluation")]
    return sorted(names, key=lambda name: (-mean_curve(curves(name, "evaluation"))[-1], name))


def results_of(name: str) -> Results:
    """By seed, what `bench/methods.py run` measured; empty when it has not run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def curves(name: str, node: str) -> list[list[float]]:
    """By seed, a node's accuracy in round 0, 1, ..."""
    return [result["accuracy"][node] for result in results_of(name).values() if node in result["accuracy"]]


def mean_curve(found: list[list[float]]) -> list[float]:
    """The mean over seeds, in percent."""
    return [100 * statistics.mean(values) for values in zip(*found, strict=True)]


def _first_to_last(found: list[list[float]]) -> str:
    return f"{mean_curve(found)[0]:.0f} → {mean_curve(found)[-1]:.0f} %" if found else "not measured"


def plot() -> None:
    """Draws each method's mean accuracy by round in a panel of its own, seeds as thin lines, the control behind it."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "lineal"
    from matplotlib import pyplot

    names = [name for name in measured() if not name.startswith("control_")]
    columns = 4
    rows = -(-len(names) // columns)
    figure, panels = pyplot.subplots(rows, columns, figsize=(10, 2.1 * rows), sharey=True, squeeze=False)
    for panel in panels.flat[len(names) :]:
        panel.set_visible(False)
    for name, panel in zip(names, panels.flat, strict=False):
        panel.plot(mean_curve(curves(CONTROL, "evaluation")), color="#bbbbbb", linewidth=2)
        for curve in curves(name, "evaluation"):
            panel.plot([100 * value for value in curve], color="#0072b2", alpha=0.35, linewidth=1)
        panel.plot(mean_curve(curves(name, "evaluation")), color="#0072b2", marker="o", markersize=3)
        panel.set_title(name, fontsize=9)
        panel.set_ylim(0, 101)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("round", fontsize=9)
    figure.supylabel("accuracy on hard prompts (%); grey: control, no filter", fontsize=9)
    figure.tight_layout()
    figure.savefig(PLOT, metadata={"Date": None})
