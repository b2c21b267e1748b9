"""docs/real.md's table and docs/real.svg, from docs/real.json."""

from __future__ import annotations

import json
import sys
from typing import Any

from real import CONTROL, LEAST_GAIN, METHODS, RESULTS
from scratch import ROOT

from lineal.data.estimates import Comparison, Estimate, compared, wilson

PAGE, PLOT = ROOT / "docs" / "real.md", ROOT / "docs" / "real.svg"
BEGIN, END = "<!-- written by bench/real.py --page -->", "<!-- end -->"
COLOURS = {"rest_em": "#0072b2", "irpo": "#009e73", "control_unfiltered": "#d55e00"}

Results = dict[str, dict[str, dict[str, Any]]]


def accuracy(solved: str) -> Estimate:
    """The share of held-out prompts that are solved, with its 95% interval."""
    return wilson(solved.count("1") / len(solved), len(solved))


def gain(figures: dict[str, Any]) -> Comparison:
    """Returns the gain of the last round over round 0, on the same prompts."""
    return difference(figures["solved"][0], figures["solved"][-1])


def difference(before: str, now: str) -> Comparison:
    """Returns the gain of `now` over `before`, prompt by prompt."""
    earlier, later = (
        {str(index): float(mark) for index, mark in enumerate(solved)} for solved in (before, now)
    )
    found = compared(earlier, later)
    assert found is not None
    return found


def claims(results: Results) -> dict[str, bool]:
    """Every claim, and whether it holds."""
    found = {}
    for name in METHODS:
        for seed, figures in results.get(name, {}).items():
            own = gain(figures)
            enough = own.difference.value >= LEAST_GAIN and own.rose
            found[f"{name}, seed {seed}: gains {100 * LEAST_GAIN:.0f} points or more, clear of noise"] = (
                enough
            )
            if beside := results.get(CONTROL, {}).get(seed):
                more = difference(beside["solved"][-1], figures["solved"][-1])
                found[f"{name}, seed {seed}: ends above the control, clear of noise"] = more.rose
    return found


def holds(results: Results) -> bool:
    """Tells whether all claims hold."""
    return all(claims(results).values())


def lines(results: Results) -> list[str]:
    """The table and the claims."""
    rounds = max(len(figures["solved"]) for seeds in results.values() for figures in seeds.values())
    found = [
        f"| pipeline | seed |{''.join(f' round {number} |' for number in range(rounds))} gain (points) | samples accepted | rows "
        "| processor minutes |",
        "|---|---|" + "---|" * (rounds + 4),
    ]
    for name, seeds in results.items():
        for seed, figures in seeds.items():
            cells = [
                f"[{name}](../pipelines/{name}.yaml)",
                seed,
                *(_share(accuracy(solved)) for solved in figures["solved"]),
                *[""] * (rounds - len(figures["solved"])),
                _points(gain(figures).difference),
                " → ".join(f"{100 * share:.0f}%" for share in figures["passed"]),
                ", ".join(map(str, figures["rows"])),
                f"{figures['cpu_seconds'] / 60:.0f}",
            ]
            found.append(f"| {' | '.join(cells)} |")
    found.append("")
    found += [
        f"- {'holds' if held else '**does not hold**'}: {claim}" for claim, held in claims(results).items()
    ]
    return found


def _share(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.0f} ({100 * estimate.low:.0f}-{100 * estimate.high:.0f})"


def _points(estimate: Estimate) -> str:
    return f"{100 * estimate.value:+.0f} ({100 * estimate.low:+.0f} to {100 * estimate.high:+.0f})"


def page(check: bool) -> int:
    """Writes table and plot, or says that the table is not current; the exit status."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    new = "\n".join([f"{head}{BEGIN}", *lines(results), f"{END}{rest.partition(END)[2]}"])
    if check and new != text:
        print(
            f"{PAGE.relative_to(ROOT)} is not what the results say: run python bench/real.py --page",
            file=sys.stderr,
        )
        return 1
    if not check:
        PAGE.write_text(new, encoding="utf-8")
        _plot(results)
    return 0


def _plot(results: Results) -> None:
    """Accuracy by round with 95% intervals, a line for each seed."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "lineal"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.6))
    places = [(name, seed, figures) for name, seeds in results.items() for seed, figures in seeds.items()]
    for place, (name, seed, figures) in enumerate(places):
        found = [accuracy(solved) for solved in figures["solved"]]
        values = [100 * estimate.value for estimate in found]
        margins = [[100 * (e.value - e.low) for e in found], [100 * (e.high - e.value) for e in found]]
        shifted = [
            number + 0.03 * (place - len(places) / 2) for number in range(len(found))
        ]  # bars beside one another
        label = name if seed == min(results[name]) else None
        axes.errorbar(
            shifted,
            values,
            margins,
            color=COLOURS.get(name),
            marker="o",
            markersize=4,
            capsize=2,
            label=label,
        )
    axes.set(xlabel="round", ylabel="held-out prompts solved (%)", ylim=(0, 100))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left")
    figure.tight_layout()
    figure.savefig(PLOT, metadata={"Date": None})
    PLOT.write_text("\n".join(line.rstrip() for line in PLOT.read_text().splitlines()) + "\n")
