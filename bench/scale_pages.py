"""The tables and the plot of docs/scale.md: what simulated projects cost here, and what a round costs on paper."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

from scratch import ROOT

from lineal.data.store import ROWS_PER_FILE

FIGURES, PAGE, PLOT = ROOT / "docs" / "scale.json", ROOT / "docs" / "scale.md", ROOT / "docs" / "scale.svg"
SIMULATED = ("<!-- simulated: written by bench/scale.py pages -->", "<!-- end of simulated -->")
PAPER = ("<!-- on paper: written by bench/scale.py pages -->", "<!-- end of on paper -->")

SAMPLES, PROMPT_TOKENS, COMPLETION_TOKENS, KEPT = 8, 128, 512, 0.4
"""Samples per prompt, tokens of each, and the share of samples that a trainer reads, once."""
ROW_BYTES, BYTES_PER_TOKEN = 80, 1.7
"""Of a row in zstd Parquet: ids, seeds and verdicts; and text, of four letters to a token."""
ROW_ARTIFACTS = 3.5
"""How often a round writes its samples: generated, verified, filtered with dropped, and a share that is mixed."""
SHARD_BYTES = 5e9
"""Of one file of a checkpoint."""
PEAK_FLOPS, UTILISATION = 989e12, 0.4
HASH_PASSES = 5
"""A checkpoint is read whole for its manifest, by DVC, and by each of the three steps that open it."""
SELECTED_ROWS_PER_SECOND = 4e5
"""bench/selection.py on two cores: 10 million rows in 26 s."""


@dataclass(frozen=True)
class Model:
    """A model size: parameters, GPUs that one copy takes for sampling, tokens sampled per second on one GPU."""

    name: str
    parameters: float
    tokens_per_second: float


MODELS = (Model("0.5 B", 0.5e9, 30_000), Model("7 B", 7e9, 8_000), Model("70 B", 70e9, 900))
SIZES = ((1, 10_000), (8, 100_000), (64, 1_000_000), (1_000, 10_000_000))
"""(GPUs, prompts of a round)."""


@dataclass(frozen=True)
class Round:
    """One round on paper; seconds are of one machine where nothing else is said."""

    gpus: int
    prompts: int
    model: Model
    hash_rate: float

    @property
    def samples(self) -> float:
        return self.prompts * SAMPLES

    @property
    def tokens(self) -> float:
        return self.samples * COMPLETION_TOKENS

    @property
    def sampling_hours(self) -> float:
        return self.tokens / self.model.tokens_per_second / 3600

    @property
    def training_hours(self) -> float:
        trained = self.samples * KEPT * (PROMPT_TOKENS + COMPLETION_TOKENS)
        return 6 * self.model.parameters * trained / (PEAK_FLOPS * UTILISATION) / 3600

    @property
    def wall_seconds(self) -> float:
        return 3600 * (self.sampling_hours + self.training_hours) / self.gpus

    @property
    def row_bytes(self) -> float:
        return (
            self.samples * ROW_ARTIFACTS * (ROW_BYTES + BYTES_PER_TOKEN * (PROMPT_TOKENS + COMPLETION_TOKENS))
        )

    @property
    def checkpoint_bytes(self) -> float:
        return 2 * self.model.parameters

    @property
    def files(self) -> float:
        rows = 5 * max(1, -(-self.samples // ROWS_PER_FILE))
        return rows + max(1, -(-self.checkpoint_bytes // SHARD_BYTES)) + 6

    @property
    def one_machine(self) -> dict[str, float]:
        return {
            "selection": self.samples / SELECTED_ROWS_PER_SECOND,
            "hashing rows": 4 * self.row_bytes / self.hash_rate,
            "hashing the checkpoint": HASH_PASSES * self.checkpoint_bytes / self.hash_rate,
        }


def paper_table(hash_rate: float) -> str:
    """A line for each number of GPUs and model."""
    lines = [
        "| GPUs | prompts | model | tokens sampled | GPU hours: sampling, training | wall | rows | checkpoint | files "
        "| on one machine meanwhile | share of the wall |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for gpus, prompts in SIZES:
        for model in MODELS:
            made = Round(gpus, prompts, model, hash_rate)
            serial = made.one_machine
            worst = max(serial, key=serial.__getitem__)
            cells = (
                f"{gpus:,}",
                f"{prompts:,}",
                model.name,
                f"{made.tokens / 1e6:,.0f} M",
                f"{made.sampling_hours:,.1f}, {made.training_hours:,.1f}",
                duration(made.wall_seconds),
                size(made.row_bytes),
                size(made.checkpoint_bytes),
                f"{made.files:,.0f}",
                f"{duration(sum(serial.values()))}, most of it {worst}",
                f"{sum(serial.values()) / made.wall_seconds:.0%}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """In the largest unit of which there are two."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: float) -> str:
    """Bytes in decimal units."""
    for unit, length in (("TB", 1e12), ("GB", 1e9)):
        if count >= length:
            return f"{count / length:,.1f} {unit}"
    return f"{count / 1e6:,.0f} MB"


def simulated_table(figures: dict) -> str:
    """A line for each simulated project: processor seconds, and the largest peak of memory."""
    names = list(next(iter(figures.values()))["measures"])
    lines = [
        f"| rounds | shards | files | {' | '.join(names)} | peak |",
        f"|---|---|---|{'---|' * (len(names) + 1)}",
    ]
    for entry in figures.values():
        found = entry["measures"]
        cells = [f"{entry['rounds']:,}", f"{entry['shards']:,}", f"{entry['files']:,}"]
        cells += [f"{found[name]['cpu_seconds']:.1f} s" for name in names]
        lines.append(f"| {' | '.join([*cells, size(1e9 * max(one['gb'] for one in found.values()))])} |")
    return "\n".join(lines)


def plot(figures: dict) -> None:
    """Processor seconds by files, a line for each measure."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "lineal"
    from matplotlib import pyplot

    entries = sorted(figures.values(), key=lambda entry: entry["files"])
    figure, panel = pyplot.subplots(figsize=(7, 4))
    for name in entries[0]["measures"]:
        seconds = [entry["measures"][name]["cpu_seconds"] for entry in entries]
        panel.plot([entry["files"] for entry in entries], seconds, marker="o", markersize=3, label=name)
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("files of the project")
    panel.set_ylabel("processor seconds")
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(PLOT, metadata={"Date": None})


def pages(check: bool) -> int:
    """Writes the page's tables and the plot, or says that the page is not current; the exit status."""
    data = json.loads(FIGURES.read_text(encoding="utf-8"))
    text = PAGE.read_text(encoding="utf-8")
    new = text
    tables = {
        SIMULATED: simulated_table(data["projects"]),
        PAPER: paper_table(1e9 * data["hash_gb_per_second"]),
    }
    for (begin, end), table in tables.items():
        head, _, rest = new.partition(begin)
        new = f"{head}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    if check and new != text:
        print("docs/scale.md is not what the figures say: run python bench/scale.py pages", file=sys.stderr)
        return 1
    if not check:
        PAGE.write_text(new, encoding="utf-8")
        plot(data["projects"])
    return 0
