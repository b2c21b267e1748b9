"""`lineal show PIPELINE/round_02`: the base, reference, init, data mix, seeds, verifiers, versions and digests of a round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.audit.catalog import Catalog, Link, pipeline_of
from lineal.audit.query import connection
from lineal.audit.trace.origins import origins
from lineal.audit.verify import problems_of
from lineal.data.git import git
from lineal.data.manifest import INIT
from lineal.data.store import Artifact
from lineal.errors import CheckFailure, ProjectError, UsageError, did_you_mean
from lineal.orchestrate.dvc_lock import locked_artifacts
from lineal.plan import make_plan
from lineal.recipe.project import Project
from lineal.recipe.references import ArtifactKind
from lineal.step.judges import Mixture, mixtures
from lineal.step.runlog import log_of
from lineal.step.tainted import tainted_checkpoints

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Trained:
    """One checkpoint of the round.

    Attributes:
        artifact: the checkpoint.
        init: what its training began with; None when it began with nothing.
        base: where the chain of inits ends; what comes next in it, where that is not known here.
        others: further models that went in, by field: a reference model, a judge.
        mix: by field, the training rows by who sampled them in which round.
    """

    artifact: Artifact
    init: Link | None
    base: Artifact | Link
    others: tuple[Link, ...]
    mix: Mapping[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class RoundProof:
    """Everything that made a round.

    Attributes:
        key: `star/round_02`.
        git: the revision that it is seen at, and whether files differ from it; None outside a repository.
        artifacts: the round's artifacts, each after what it was made from.
        links: by key, their inputs.
        trained: the round's checkpoints.
        recorded: by key, the MD5 that `dvc.lock` records.
        logs: by key, the run that made it, here or elsewhere; it holds source digest and package versions.
        verified: by key, what is wrong with an artifact; None when nothing was verified.
        verified_count: how many artifacts were verified.
        recorded_only: of how many of them only the record is here, so that their manifests were verified and not their bytes.
        tainted: by checkpoint and retraction, why it descends from retracted rows.
        mixtures: where scores of different judges are put together.
    """

    key: str
    git: tuple[str, bool] | None
    artifacts: tuple[Artifact, ...]
    links: Mapping[str, tuple[Link, ...]]
    trained: tuple[Trained, ...]
    recorded: Mapping[str, str]
    logs: Mapping[str, Mapping[str, Any]]
    verified: Mapping[str, list[str]] | None = None
    verified_count: int = 0
    recorded_only: int = 0
    tainted: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    mixtures: tuple[Mixture, ...] = ()


def is_round(catalog: Catalog, key: str) -> bool:
    """Tells whether a key is a round's, or `star/start`, `star/tasks`, ...: the first two parts of artifacts' keys."""
    return key.strip("/") in _rounds(catalog)


def prove_round(
    project: Project, catalog: Catalog, key: str, verify: bool, revision: tuple[str, bool] | None
) -> RoundProof:
    """Collects what made a round.

    Args:
        project: the project.
        catalog: its artifacts.
        key: `star/round_02`; `star/start` and `star/tasks` will do too.
        verify: whether to read every byte of the round and of everything that it was made from.
        revision: the git revision that the project is seen at, and whether files differ from it; None outside a repository.

    Raises:
        UsageError: no artifact lies under the key.
        ArtifactError: rows cannot be read, and `verify` was not asked for.
    """
    key = key.strip("/")
    artifacts = _round_artifacts(catalog, key)
    recorded = locked_artifacts(project.root)
    upstream = {one.key: one for artifact in artifacts for one in catalog.upstream(artifact)}
    wrong = problems_of(project, catalog, upstream.values()) if verify else None
    if wrong is not None:
        wrong |= {
            problem.partition(":")[0].partition(" ")[0]: [problem] for problem in _unreadable(catalog, key)
        }
    with connection(project.params.compute) as opened:
        models = [one for one in artifacts if one.manifest.kind is ArtifactKind.MODEL]
        trained = tuple(_trained(catalog, one, opened, readable=not wrong) for one in models)
    return RoundProof(
        key,
        revision,
        tuple(artifacts),
        {one.key: catalog.links(one) for one in artifacts},
        trained,
        {one.key: recorded[one.key] for one in artifacts if one.key in recorded},
        {one.key: log_of(project, one) for one in artifacts},
        wrong,
        len(upstream),
        sum(not one.here for one in upstream.values()),
        _tainted(project, pipeline_of(key)),
        tuple(found for one in artifacts if not one.manifest.output for found in _mixtures(catalog, one)),
    )


def require_verified(proof: RoundProof) -> None:
    """Refuses a round in which an artifact is not what it says.

    Raises:
        CheckFailure: names the artifacts.
    """
    if proof.verified:
        named = ", ".join(proof.verified)
        raise CheckFailure(
            "round_verified",
            f"{proof.key} is not proven: {named}. Remake them: lineal run, or restore: dvc checkout",
        )


def _mixtures(catalog: Catalog, artifact: Artifact) -> list[Mixture]:
    def inputs(one: Artifact) -> list[tuple[str, Artifact]]:
        return [(link.field, link.artifact) for link in catalog.links(one) if link.artifact is not None]

    return mixtures(artifact, inputs)


def _tainted(project: Project, pipeline: str) -> Mapping[str, Mapping[str, str]]:
    """Finds tainted checkpoints; none where no row is retracted, or where the pipeline is no longer declared."""
    if not project.retractions.declared or pipeline not in project.pipeline_names():
        return {}
    return tainted_checkpoints(make_plan(project, [pipeline]))


def _rounds(catalog: Catalog) -> set[str]:
    return {"/".join(key.split("/")[:2]) for key in catalog.artifacts}


def _round_artifacts(catalog: Catalog, key: str) -> list[Artifact]:
    found = [one for one in catalog.artifacts.values() if one.key.startswith(f"{key}/")]
    groups = _rounds(catalog)
    if key not in groups or not found:
        raise UsageError(f"no round {key!r} here. {did_you_mean(key, groups)}")
    return sorted(found, key=lambda one: (catalog.order[one.key], one.key))


def _unreadable(catalog: Catalog, key: str) -> list[str]:
    """Lists the problems of unreadable manifests of the same pipeline, whose artifacts are therefore unknown."""
    return [problem for problem in catalog.problems if problem.startswith(f"{pipeline_of(key)}/")]


def _trained(
    catalog: Catalog, artifact: Artifact, opened: duckdb.DuckDBPyConnection, readable: bool
) -> Trained:
    links = catalog.links(artifact)
    init = next((link for link in links if link.field == INIT), None)
    others = [
        link
        for link in links
        if link.field != INIT and not (link.artifact and link.artifact.manifest.columns)
    ]
    mix: dict[str, list[dict[str, Any]]] = {}
    for link in links:
        if readable and link.artifact is not None and link.artifact.manifest.columns:
            parts = origins(catalog, link.artifact, opened)
            mix.setdefault(link.field, []).extend(
                {**part, "sampled_by": _name(catalog, part, artifact)} for part in parts
            )
    return Trained(artifact, init, _base(catalog, artifact), tuple(others), mix)


def _name(catalog: Catalog, part: Mapping[str, Any], near: Artifact) -> str | None:
    """Returns the key of the checkpoint that sampled some rows, or its digest where it is no longer here."""
    if part["checkpoint"] is None:
        return None
    found = catalog.with_digest(part["checkpoint"], near.key)
    return found.key if found else f"@{part['checkpoint'][:12]}"


def _base(catalog: Catalog, artifact: Artifact) -> Artifact | Link:
    """Finds the end of the chain of inits, or its first link of which nothing is here."""
    init = next((link for link in catalog.links(artifact) if link.field == INIT), None)
    if init is None:
        return artifact
    return init if init.artifact is None else _base(catalog, init.artifact)


def git_revision(root: Path) -> tuple[str, bool] | None:
    """Returns the checked-out revision, and whether tracked files differ from it."""
    try:
        revision = git(root, "rev-parse", "HEAD").decode().strip()
        return revision, bool(git(root, "status", "--porcelain", "--untracked-files=no"))
    except ProjectError:
        return None
