"""The page that proves a round, as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lineal.audit.catalog import Link, step_name
from lineal.audit.show.rounds import RoundProof, Trained
from lineal.audit.terminal import cut, facts_text, printable, table
from lineal.audit.trace.lineage import UNSAMPLED
from lineal.components.evaluators.reading import EvaluationNumbers, read_evaluation
from lineal.data.store import Artifact, Rows
from lineal.recipe.references import ArtifactKind

SHORT = 12


def as_json(proof: RoundProof) -> dict[str, Any]:
    """Returns the page for programs, with every digest in full."""
    git = proof.git and {"revision": proof.git[0], "changed": proof.git[1]}
    verified = (
        None
        if proof.verified is None
        else {
            "artifacts": proof.verified_count,
            "by_record": proof.recorded_only,
            "problems": dict(proof.verified),
        }
    )
    return {
        "key": proof.key,
        "git": git,
        "seeds": _seeds(proof),
        "checkpoints": [_trained_json(proof, one) for one in proof.trained],
        "evaluations": [_evaluation_json(one, found) for one, found in _evaluations(proof)],
        "verifiers": [{"key": one.key, "verifier": name} for one, name in _verifiers(proof)],
        "mixed_judges": [
            {
                "key": one.key,
                "field": one.field,
                "column": one.column,
                "judges": [str(judge) for judge in one.judges],
            }
            for one in proof.mixtures
        ],
        "artifacts": [_artifact_json(proof, one) for one in proof.artifacts],
        "verified": verified,
    }


def _trained_json(proof: RoundProof, one: Trained) -> dict[str, Any]:
    return {
        "key": one.artifact.key,
        "digest": one.artifact.digest,
        "init": one.init and _link_json(one.init),
        "base": _base_json(one.base),
        "other_models": [_link_json(link) for link in one.others],
        "mix": dict(one.mix),
        "nothing_to_learn": bool(one.artifact.manifest.nothing_to_learn),
        "tainted": dict(proof.tainted.get(one.artifact.key, {})),
    }


def _base_json(base: Artifact | Link) -> dict[str, Any]:
    if isinstance(base, Link):
        return {"key": None, "step": base.step, "digest": base.digest, "settings": None}
    return {"key": base.key, "digest": base.digest, "settings": base.manifest.settings}


def _link_json(link: Link) -> dict[str, Any]:
    return {
        "field": link.field,
        "step": link.step,
        "digest": link.digest,
        "key": link.artifact.key if link.artifact else None,
    }


def _artifact_json(proof: RoundProof, one: Artifact) -> dict[str, Any]:
    manifest, log = one.manifest, proof.logs[one.key]
    return {
        "key": one.key,
        "kind": str(manifest.kind),
        "component": manifest.component,
        "version": manifest.version,
        "source_digest": log.get("source_digest"),
        "packages": log.get("packages", {}),
        "made_with": manifest.made_with,
        "equal_bytes": manifest.equal_bytes,
        "settings": manifest.settings,
        "settings_from": manifest.settings_from,
        "seed": manifest.seed,
        "files_read": manifest.files_read,
        "inputs": [_link_json(link) for link in proof.links[one.key]],
        "rows": _row_count(one),
        "counts": manifest.counts,
        "digest": one.digest,
        "identity": manifest.identity,
        "dvc_md5": proof.recorded.get(one.key),
    }


def _row_count(one: Artifact) -> int | None:
    return Rows((one,)).count if one.manifest.columns else None


def _seeds(proof: RoundProof) -> list[int]:
    return sorted({one.manifest.seed for one in proof.artifacts})


def _verifiers(proof: RoundProof) -> Iterator[tuple[Artifact, str]]:
    """Yields the artifacts whose verdicts were made in this round, and their verifiers with version and settings."""
    for one in proof.artifacts:
        manifest = one.manifest
        judge = manifest.settings.get("verifier")
        if isinstance(judge, Mapping):
            yield one, _judge(judge)
        elif manifest.column("verdict") in manifest.columns and "pass" in manifest.counts:
            yield one, _judge({"use": manifest.component, "version": manifest.version, **manifest.settings})


def _judge(judge: Mapping[str, Any]) -> str:
    settings = {
        name: value for name, value in judge.items() if name not in ("use", "version") and value is not None
    }
    told = f" ({facts_text(settings)})" if settings else ""
    return f"{printable(str(judge.get('use')))}@{judge.get('version')}{told}"


def as_text(proof: RoundProof, width: int) -> str:
    """Formats the page for people."""
    lines = [proof.key, f"  git         {_git(proof)}", f"  seed        {', '.join(map(str, _seeds(proof)))}"]
    for one in proof.trained:
        lines += _trained_text(one)
        lines += [
            f"  TAINTED     by {name!r}: {why}"
            for name, why in proof.tainted.get(one.artifact.key, {}).items()
        ]
    lines += [f"  verifier    {name}  {one.key}" for one, name in _verifiers(proof)]
    lines += [f"  evaluation  {_figures(found)}  {one.key}" for one, found in _evaluations(proof)]
    lines += [f"  WARNING     {printable(str(one))}" for one in proof.mixtures]
    names = ["artifact", "made by", "source", "rows", "digest", "dvc md5", "counts"]
    lines += ["", *table(names, [_cells(proof, one) for one in proof.artifacts]), ""]
    return "\n".join(cut(line, width) for line in [*lines, *_verified(proof)])


def _evaluations(proof: RoundProof) -> Iterator[tuple[Artifact, EvaluationNumbers]]:
    """Yields the round's evaluations; one that cannot be read is among the problems of the verification."""
    for one in proof.artifacts:
        if one.manifest.kind is ArtifactKind.METRICS and not (proof.verified or {}).get(one.key):
            yield one, read_evaluation(one.directory)


def _evaluation_json(one: Artifact, found: EvaluationNumbers) -> dict[str, Any]:
    intervals = {name: [estimate.low, estimate.high] for name, estimate in found.estimates.items()}
    return {
        "key": one.key,
        "headline": found.headline,
        "numbers": dict(found.numbers),
        "intervals": intervals,
    }


def _figures(found: EvaluationNumbers) -> str:
    """Formats the headline with its interval."""
    if found.headline not in found.estimates:
        return facts_text(found.numbers)
    estimate = found.estimates[found.headline]
    return f"{printable(found.headline)} {estimate.value:.4g} ({estimate.low:.4g} to {estimate.high:.4g})"


def _git(proof: RoundProof) -> str:
    if proof.git is None:
        return "not in a git repository"
    return proof.git[0] + (" and changes that are not committed" if proof.git[1] else "")


def _trained_text(one: Trained) -> Iterator[str]:
    yield f"  checkpoint  {_named(one.artifact)}"
    if one.artifact.manifest.nothing_to_learn:
        yield f"  WARNING     {one.artifact.manifest.nothing_to_learn}"
    yield f"  base        {_base(one.base)}"
    for link in [*([one.init] if one.init else []), *one.others]:
        yield f"  {link.field:<10}  {link.artifact.key if link.artifact else link.step + ' (not here)'}  @{link.digest[:SHORT]}"
    for field, parts in one.mix.items():
        for part in parts:
            sampled = f"sampled by {part['sampled_by']} in round {part['round']}"
            origin = sampled if part["sampled_by"] else UNSAMPLED[bool(part.get("unknown"))]
            yield f"  {field:<10}  {part['rows']:,} {origin}"


def _base(base: Artifact | Link) -> str:
    if isinstance(base, Link):
        return f"unknown: it comes from {base.step} @{base.digest[:SHORT]}, which is not here"
    return f"{_named(base)}  ({facts_text(_told(base.manifest.settings), 60)})"


def _told(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _named(one: Artifact) -> str:
    return f"{one.key}  {one.manifest.component}@{one.manifest.version}  @{one.digest[:SHORT]}"


def _cells(proof: RoundProof, one: Artifact) -> list[str]:
    manifest, rows = one.manifest, _row_count(one)
    source = str(proof.logs[one.key].get("source_digest") or "-")[:SHORT]
    md5 = proof.recorded.get(one.key, "-")[:SHORT]
    made = f"{manifest.component}@{manifest.version}" + (f" ({manifest.engine})" if manifest.engine else "")
    counts = facts_text(manifest.counts)
    return [
        step_name(one.key),
        printable(made),
        source,
        "-" if rows is None else f"{rows:,}",
        one.digest[:SHORT],
        md5,
        counts,
    ]


def _verified(proof: RoundProof) -> Iterator[str]:
    if proof.verified is None:
        yield "not verified: --verify recomputes digests and counts from the files"
        return
    for key, problems in proof.verified.items():
        yield from (f"WRONG {printable(key)}: {printable(problem)}" for problem in problems)
    if proof.recorded_only:
        yield f"by their records: {proof.recorded_only} artifacts, whose bytes are not here; only their manifests were verified"
    whole = proof.verified_count - proof.recorded_only
    if not proof.verified and whole:
        yield f"verified: {whole} artifacts, of the round's and all that they were made from, are what they say"
