"""Dataset and model cards: YAML for programs in front, the method, the counts and the digests for people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lineal.audit.catalog import Link
from lineal.audit.export.provenance import EvaluationResults, Provenance
from lineal.audit.markdown import code, prose, section, settings, table
from lineal.components.base import Role
from lineal.data.manifest import FileEntry
from lineal.data.schema import COLUMNS
from lineal.data.store import Artifact, Rows
from lineal.engines.models.checkpoints import ADAPTER_CONFIG, BASE_FIELDS

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_SPLITS = ("train", "validation", "test")


def dataset_card(told: Provenance) -> str:
    """Writes the README.md of exported rows, which lie under `data/`."""
    artifact, split = told.artifact, _split(told.artifact)
    front = {
        "pretty_name": artifact.key,
        "base_model": _bases(told),
        "source_datasets": _hub_ids(told.steps.get(Role.SOURCE, ())) or ["original"],
        "task_categories": ["text-generation"],
        "size_categories": [_size_category(Rows((artifact,)).count)],
        "tags": _tags(told),
        "configs": [{"config_name": "default", "data_files": [{"split": split, "path": "data/*.parquet"}]}],
    }
    load = [
        "```python",
        "from datasets import load_dataset",
        "",
        f'rows = load_dataset("PATH", split="{split}")',
        "```",
    ]
    return _card(
        front,
        told,
        [
            *section("Use", load),
            *section("Counts", _counts(artifact)),
            *section("Sampled by", _steps(told, Role.GENERATOR)),
            *section("Verified by", _steps(told, Role.VERIFIER)),
            *section("Selected by", _steps(told, Role.SELECTOR)),
            *section("Prompts and data from", _steps(told, Role.SOURCE)),
            *section("Models", _trainings(told)),
            *section("Columns", _columns(artifact)),
            *section("Digests", _digests(artifact)),
        ],
    )


def model_card(told: Provenance) -> str:
    """Writes the README.md of an exported checkpoint."""
    artifact, adapted = told.artifact, _adapted(told)
    trained_on = [
        link
        for training in told.trainings
        for link in training.links
        if link.field not in ("init", "model", "models")
    ]
    front = {
        "base_model": [_model_name(adapted)]
        if adapted
        else [base for base in _bases(told) if base != artifact.key],
        "base_model_relation": "adapter" if adapted else None,
        "library_name": "peft" if adapted else "transformers",
        "pipeline_tag": "text-generation",
        "datasets": _hub_ids([link.artifact for link in trained_on if link.artifact]),
        "tags": _tags(told),
        "model-index": _model_index(told),
    }
    return _card(
        {name: value for name, value in front.items() if value},
        told,
        [
            *section("Use", _use_of_model(told)),
            *section(
                "Training", [f"{_made(artifact)}: {settings(artifact.manifest.settings)}", *_inputs(told)]
            ),
            *section("Dataset versions, over all rounds", _trainings(told)),
            *section("Metrics", _metrics(told)),
            *section("Digests", _digests(artifact)),
        ],
    )


def _card(front: dict[str, Any], told: Provenance, body: Sequence[str]) -> str:
    import yaml

    text = yaml.safe_dump(front, sort_keys=False, allow_unicode=False, width=120)
    return (
        "\n".join(
            ["---", text.rstrip(), "---", "", f"# {prose(told.artifact.key)}", "", *_method(told), *body]
        ).rstrip()
        + "\n"
    )


def description_of(told: Provenance) -> str:
    """Returns one line of plain text for metadata."""
    method = f" of {told.header.method}: {' '.join(told.header.summary.split())}" if told.header else ""
    return f"{told.artifact.key}, made by {told.artifact.manifest.component}@{told.artifact.manifest.version}{method}"


def _method(told: Provenance) -> list[str]:
    if told.header is None:
        return []
    paper = f" ({prose(told.header.paper)})" if told.header.paper else ""
    return [f"**{prose(told.header.method)}**{paper}. {prose(told.header.summary)}", ""]


def _split(artifact: Artifact) -> str:
    """Returns the split to load it as: a test set must not load as `train`."""
    name = artifact.key.rpartition("/")[2]
    return name if "/tasks/" in artifact.key and name in _SPLITS else "train"


def _bases(told: Provenance) -> list[str]:
    """Lists the base models: their names on the Hub, else the keys of what was made here."""
    return [str(base.manifest.settings.get("id") or base.key) for base in told.bases]


def _model_name(link: Link) -> str:
    """Returns a model's name on the Hub, else its key."""
    return str((link.artifact and link.artifact.manifest.settings.get("id")) or _name(link))


def _adapted(told: Provenance) -> Link | None:
    """Returns the full model that an adapter belongs to, which need not be its pipeline's first base; None for a full model."""
    links = {
        link.field: link
        for one in told.trainings
        if one.checkpoint.key == told.artifact.key
        for link in one.links
    }
    found = next((links[field] for field in BASE_FIELDS if field in links), None)
    return found if ADAPTER_CONFIG in told.artifact.manifest.files else None


def _hub_ids(artifacts: Sequence[Artifact]) -> list[str]:
    return sorted({str(one.manifest.settings["id"]) for one in artifacts if one.manifest.settings.get("id")})


def _size_category(rows: int) -> str:
    return next((name for limit, name in _SIZES if rows < limit), "n>10M")


def _tags(told: Provenance) -> list[str]:
    method = re.sub(r"[^a-z0-9]+", "-", told.header.method.lower()).strip("-") if told.header else ""
    return ["lineal", "self-improvement", *([method] if method else [])]


def _counts(artifact: Artifact) -> list[str]:
    counts = {"rows": Rows((artifact,)).count, **artifact.manifest.counts}
    return table(["count", "rows"], [[code(name), f"{count:,}"] for name, count in counts.items()])


def _steps(told: Provenance, role: Role) -> list[str]:
    rows = [
        [
            code(one.key),
            _made(one),
            settings(one.manifest.settings),
            settings(one.manifest.counts),
            code(one.digest[:16]),
        ]
        for one in told.steps.get(role, ())
    ]
    return table(["step", "by", "settings", "counts", "digest"], rows)


def _made(artifact: Artifact) -> str:
    manifest = artifact.manifest
    engine = f" with {code(manifest.engine)}" if manifest.engine else ""
    return f"{code(f'{manifest.component}@{manifest.version}')}{engine}, seed {manifest.seed}"


def _trainings(told: Provenance) -> list[str]:
    rows = [
        [
            code(one.checkpoint.key),
            _made(one.checkpoint),
            "<br>".join(map(_link, one.links)) or "-",
            code(one.checkpoint.digest),
        ]
        for one in told.trainings
    ]
    return table(["checkpoint", "by", "made from", "digest"], rows)


def _link(link: Link) -> str:
    return f"{prose(link.field)}: {code(_name(link))} {code(link.digest)}"


def _name(link: Link) -> str:
    return link.artifact.key if link.artifact else link.step


def _inputs(told: Provenance) -> list[str]:
    links = next((one.links for one in told.trainings if one.checkpoint.key == told.artifact.key), ())
    rows = [
        [
            prose(link.field),
            code(link.artifact.key if link.artifact else link.step),
            _rows(link),
            code(link.digest),
        ]
        for link in links
    ]
    return ["", *table(["input", "artifact", "rows", "digest"], rows)] if rows else []


def _rows(link: Link) -> str:
    holds_rows = link.artifact is not None and not link.artifact.manifest.kind.is_model
    return f"{Rows((link.artifact,)).count:,}" if link.artifact and holds_rows else "-"


def _use_of_model(told: Provenance) -> list[str]:
    lines = ["from transformers import AutoModelForCausalLM, AutoTokenizer", ""]
    adapted = _adapted(told)
    if adapted is None:
        said, lines = [], [*lines, 'model = AutoModelForCausalLM.from_pretrained("PATH")']
    else:
        said = [
            f"A LoRA adapter on {code(_model_name(adapted))}, digest {code(adapted.digest)}; BASE is that model.",
            "",
        ]
        lines = ["from peft import PeftModel", *lines, 'base = AutoModelForCausalLM.from_pretrained("BASE")']
        lines.append('model = PeftModel.from_pretrained(base, "PATH")')
    return [*said, "```python", *lines, 'tokenizer = AutoTokenizer.from_pretrained("PATH")', "```"]


def _metrics(told: Provenance) -> list[str]:
    rows = [
        [
            code(one.artifact.key),
            _made(one.artifact),
            "<br>".join(map(_link, one.prompts)),
            code(name),
            *_value(one, name),
        ]
        for one in told.evaluations
        for name in one.values
    ]
    return table(["evaluation", "by", "asked", "metric", "value", "95% interval"], rows)


def _value(one: EvaluationResults, name: str) -> tuple[str, str]:
    """Formats a number, with its interval where it has one."""
    found = one.estimates.get(name)
    return f"{one.values[name]:.4g}", f"{found.low:.4g} to {found.high:.4g}" if found else ""


def _model_index(told: Provenance) -> list[dict[str, Any]]:
    results = [
        {
            "task": {"type": "text-generation"},
            "dataset": {"name": _asked(one.prompts), "type": _asked(one.prompts)},
            "metrics": [{"type": name, "value": value} for name, value in one.values.items()],
        }
        for one in told.evaluations
        if one.values
    ]
    return [{"name": told.artifact.key, "results": results}] if results else []


def _asked(prompts: Sequence[Link]) -> str:
    return ", ".join(map(_name, prompts))


def _columns(artifact: Artifact) -> list[str]:
    rows = [
        [
            code(name),
            code(kind),
            prose(COLUMNS[name][1]) if name in COLUMNS else "added by the selector's SQL",
        ]
        for name, kind in artifact.manifest.columns.items()
    ]
    return table(["column", "type", "meaning"], rows)


def _digests(artifact: Artifact) -> list[str]:
    manifest = artifact.manifest
    said = [
        f"Content {code(manifest.digest)}, identity {code(manifest.identity)}, both in `manifest.json`.",
        "",
    ]
    read = [[code(name), "read", code(digest)] for name, digest in manifest.files_read.items()]
    return said + table(["file", "bytes", "sha256"], [*map(_file, manifest.files.items()), *read])


def _file(item: tuple[str, FileEntry]) -> list[str]:
    name, entry = item
    return [code(name), f"{entry.size_bytes:,}", code(entry.sha256)]
