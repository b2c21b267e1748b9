"""All samples of a prompt in all rounds, with every verdict and every decision: why each was kept or dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from lineal.audit.catalog import Catalog, pipeline_of, step_name
from lineal.audit.query import Row, connection, fetched_records
from lineal.audit.terminal import cut, show_value, shown, table
from lineal.audit.trace.backward import DECISION_FACTS, SAMPLE_FACTS
from lineal.audit.trace.row_location import (
    added_columns,
    holders,
    holding,
    id_column,
    repeats_input,
    repetitions,
    row_artifacts,
    sources,
)
from lineal.audit.trace.target import Target, TargetKind
from lineal.components.base import merged
from lineal.data.sql import literal, parquet, quoted
from lineal.data.store import Artifact
from lineal.errors import UsageError
from lineal.recipe.compute import Compute

if TYPE_CHECKING:
    import duckdb

VERDICT_FACTS = ("verdict", "score", "detail")
TEXTS = ("completion", "chosen", "rejected")
TEXT_CELLS = 48
NOT_JUDGED = "not judged"
NOT_DECIDED = "no selection saw it"


@dataclass
class ShownSample:
    """One sample of a prompt, or a row made from samples that names the prompt.

    Attributes:
        sample_id: its id.
        made_in: the key of the artifact in which it begins.
        facts: round, index, seed, settings, checkpoint, parents and texts.
        verdicts: what each verifier said: `artifact`, `verdict`, `score`, `detail`.
        decisions: what each selection did: `artifact`, `decision`, `reason`, `weight`.
    """

    sample_id: str
    made_in: str
    facts: dict[str, Any]
    verdicts: list[Row] = field(default_factory=list)
    decisions: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class PromptSamples:
    """A prompt and all its samples, by round and index."""

    prompt_id: str
    prompt: Row
    pipeline: str
    samples: tuple[ShownSample, ...]


def prompt_samples(
    catalog: Catalog, target: Target, compute: Compute, pipeline: str | None = None
) -> PromptSamples:
    """Collects all samples of a prompt in the artifacts of one pipeline.

    Args:
        catalog: the project's artifacts.
        target: the prompt.
        compute: DuckDB's limits.
        pipeline: the pipeline to look in, where several hold the prompt; default: the catalog's first.

    Raises:
        UsageError: the target is no prompt.
        ArtifactError: rows cannot be read.
    """
    with connection(compute) as opened:
        first = [catalog.artifacts[key] for key in target.held_in]
        if target.kind is TargetKind.ROW and not first:
            first = holding(opened, sources(catalog), target.name)
        first = [artifact for artifact in first if id_column(artifact) == "prompt_id"]
        if not first:
            raise UsageError(
                f"{target.name} is no prompt; --samples takes a prompt's id. lineal trace {target.name} names it"
            )
        held = holders(catalog, opened, target.name, first, pipeline)
        chosen = pipeline_of(held[0][0].key)
        own = {one.key: one for artifact, _ in held for one in catalog.downstream([artifact.key])}
        held_here = [one for one in own.values() if pipeline_of(one.key) == chosen and _has_samples(one)]
        samples: dict[str, ShownSample] = {}
        for artifact, rows in _rows_of(catalog, opened, held_here, target.name):
            for row in rows:
                _note(catalog, samples, artifact, row)
    return PromptSamples(target.name, held[0][1], chosen, tuple(sorted(samples.values(), key=_place)))


def _has_samples(artifact: Artifact) -> bool:
    return bool(row_artifacts([artifact])) and {"sample_id", "prompt_id"} <= artifact.manifest.columns.keys()


def _rows_of(
    catalog: Catalog, opened: duckdb.DuckDBPyConnection, artifacts: Iterable[Artifact], prompt_id: str
) -> Iterator[tuple[Artifact, Iterable[Row]]]:
    """Yields an artifact's rows of a prompt, artifact by artifact, each after its inputs.

    An artifact whose rows another repeats is not read. This leaves a third to half of the rows to read.
    """
    ordered = sorted(artifacts, key=lambda one: (catalog.order[one.key], one.key))
    found: dict[str, dict[str, Row]] = {one.key: {} for one in ordered}
    source_of = {key: source for key, source in repetitions(catalog, ordered).items() if source.key in found}
    repeated = {source.key for source in source_of.values()}
    # Artifacts with the same columns are read by one query. By columns and the key of what is read: what each artifact of
    # the chain that it repeats (itself first) says that is new.
    queries: dict[tuple[str, ...], dict[str, dict[str, tuple[str, ...]]]] = {}
    for artifact in (one for one in ordered if one.key not in repeated):
        news = {one.key: _news(catalog, one) for one in _chain(artifact, source_of)}
        queries.setdefault(merged(*news.values()), {})[artifact.key] = news
    for columns, read in queries.items():
        for key, row in _prompt_rows(opened, [catalog.artifacts[key] for key in read], columns, prompt_id):
            for described, own in read[key].items():
                found[described][row["sample_id"]] = {name: row[name] for name in own}
    return ((one, found[one.key].values()) for one in ordered)


def _chain(artifact: Artifact, source_of: Mapping[str, Artifact]) -> list[Artifact]:
    """Returns an artifact, the one whose rows it repeats, the one whose rows that repeats, and so on."""
    chain = [artifact]
    while chain[-1].key in source_of:
        chain.append(source_of[chain[-1].key])
    return chain


def _prompt_rows(
    opened: duckdb.DuckDBPyConnection, artifacts: list[Artifact], names: Iterable[str], prompt_id: str
) -> Iterator[tuple[str, Row]]:
    """Reads some columns of a prompt's rows in artifacts that all have them, each with its artifact's key."""
    owners = {str(path): one.key for one in artifacts for path in one.parquet_files()}
    source = parquet(
        [path for one in artifacts for path in one.parquet_files()], ", filename = 'lineal_file'"
    )
    sql = f"SELECT lineal_file, {', '.join(map(quoted, names))} FROM {source} WHERE prompt_id = {literal(prompt_id)}"
    return ((owners[row.pop("lineal_file")], row) for row in fetched_records(opened, sql, artifacts))


def _news(catalog: Catalog, artifact: Artifact) -> tuple[str, ...]:
    """Returns the columns that are new in an artifact: for rows that are passed on, only the judgements on them."""
    columns = artifact.manifest.columns
    facts = () if repeats_input(catalog, artifact) else ("parents", "checkpoint", *SAMPLE_FACTS, *TEXTS)
    judged = [name for name in columns if name.endswith(tuple(f"_{fact}" for fact in VERDICT_FACTS))]
    wanted = ("sample_id", *facts, *VERDICT_FACTS, *DECISION_FACTS)
    return merged(tuple(name for name in wanted if name in columns), tuple(judged))


def _note(catalog: Catalog, samples: dict[str, ShownSample], artifact: Artifact, row: Row) -> None:
    """Adds one artifact's facts about one sample; a row that was only passed on adds nothing."""
    row_id = row["sample_id"]
    if row_id not in samples:
        names = ("parents", "checkpoint", *SAMPLE_FACTS, *TEXTS)
        facts = {name: row[name] for name in names if row.get(name) is not None}
        samples[row_id] = ShownSample(row_id, artifact.key, facts)
    sample, counts = samples[row_id], artifact.manifest.counts
    if "kept" in counts and row.get("decision") is not None:
        sample.decisions.append(
            {"artifact": artifact.key} | {name: row.get(name) for name in DECISION_FACTS if name in row}
        )
    else:  # a verifier's rows, and those that an evaluator drew and judged
        sample.verdicts += _verdicts(catalog, artifact, row)


def _verdicts(catalog: Catalog, artifact: Artifact, row: Row) -> Iterable[Row]:
    """Yields the verdicts that an artifact adds; a verifier may put its name before its columns."""
    added = added_columns(catalog, artifact)
    for prefix in (
        name.removesuffix("verdict") for name in added if name == "verdict" or name.endswith("_verdict")
    ):
        told = {name: row.get(prefix + name) for name in VERDICT_FACTS}
        if told["verdict"] is not None:
            yield {"artifact": artifact.key, **({"by": prefix.rstrip("_")} if prefix else {}), **told}


def _place(sample: ShownSample) -> tuple[Any, ...]:
    facts = sample.facts
    return (
        facts.get("round") or 0,
        sample.made_in,
        facts.get("temperature") or 0.0,
        facts.get("sample_index") or 0,
        sample.sample_id,
    )


def samples_json(found: PromptSamples) -> dict[str, Any]:
    """Returns everything, for programs."""
    told = [
        {
            "sample_id": sample.sample_id,
            "made_in": sample.made_in,
            **sample.facts,
            "verdicts": list(sample.verdicts),
            "decisions": list(sample.decisions),
        }
        for sample in found.samples
    ]
    return {
        "prompt_id": found.prompt_id,
        "prompt": dict(found.prompt),
        "pipeline": found.pipeline,
        "samples": told,
    }


def samples_text(found: PromptSamples, width: int) -> str:
    """Formats a table of the samples, round by round."""
    texts = {name: found.prompt[name] for name in ("prompt", "answer") if found.prompt.get(name) is not None}
    lines = [
        f"{found.prompt_id}  prompt of {found.pipeline}",
        *(f"  {name}: {show_value(text)}" for name, text in texts.items()),
    ]
    if not found.samples:
        lines.append("no sample of it here")
    for made_in, group in groupby(found.samples, key=lambda sample: sample.made_in):
        samples = list(group)
        lines += [
            "",
            f"{step_name(made_in)}: {_counted(samples)}",
            *table(_HEAD, [_cells(one) for one in samples]),
        ]
    return "\n".join(cut(line, width) for line in lines)


def _counted(samples: list[ShownSample]) -> str:
    """Says how many rows begin in an artifact; where no model sampled them, a selection decided when it made them."""
    some = "s"[: len(samples) - 1]
    if not any(_sampled(sample) for sample in samples):
        return f"{len(samples)} row{some} made"
    kept = sum(any(told["decision"] == "kept" for told in sample.decisions) for sample in samples)
    return f"{len(samples)} sample{some}, {kept} kept"


def _sampled(sample: ShownSample) -> bool:
    return "checkpoint" in sample.facts


_HEAD = ("#", "id", "verdicts", "decisions", "text")


def _cells(sample: ShownSample) -> list[str]:
    verdicts = "; ".join(_verdict(told) for told in sample.verdicts) or (
        NOT_JUDGED if _sampled(sample) else "-"
    )
    made = f"made from {', '.join(map(show_value, sample.facts.get('parents') or ('nothing here',)))}"
    decisions = "; ".join(_decision(told) for told in sample.decisions) or (
        NOT_DECIDED if _sampled(sample) else made
    )
    text = next((sample.facts[name] for name in TEXTS if sample.facts.get(name) is not None), None)
    return [
        show_value(sample.facts.get("sample_index")),
        show_value(sample.sample_id),
        verdicts,
        decisions,
        shown(text, TEXT_CELLS),
    ]


def _verdict(told: Row) -> str:
    by = f"{show_value(told['by'])} " if "by" in told else ""
    score = "" if told["score"] is None else f" {show_value(told['score'])}"
    detail = f" ({shown(told['detail'], TEXT_CELLS)})" if told["detail"] else ""
    return f"{by}{show_value(told['verdict'])}{score}{detail}"


def _decision(told: Row) -> str:
    reason = f": {shown(told['reason'], TEXT_CELLS)}" if told.get("reason") else ""
    where = step_name(told["artifact"]).removesuffix(".dropped")
    return f"{show_value(told['decision'])} by {where}{reason}"
