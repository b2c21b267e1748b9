"""The provenance on an artifact's cards: its ancestors, by the role that each step played."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lineal.audit.catalog import Catalog, Link, pipeline_of
from lineal.audit.summary import scores_of
from lineal.components.base import Role
from lineal.components.evaluators.reading import read_evaluation
from lineal.components.registry import Registry
from lineal.data.estimates import Estimate
from lineal.data.store import Artifact
from lineal.errors import LinealError
from lineal.recipe.pipeline import Header
from lineal.recipe.project import Project
from lineal.recipe.references import ArtifactKind


@dataclass(frozen=True)
class Training:
    """One checkpoint on the way to a model, and what went into it."""

    checkpoint: Artifact
    links: tuple[Link, ...]


@dataclass(frozen=True)
class EvaluationResults:
    """The results of one evaluation of a model.

    Attributes:
        artifact: the evaluation.
        prompts: what it was asked, as its manifest names it.
        values: its flat numbers.
        estimates: those of them that have an interval.
    """

    artifact: Artifact
    prompts: tuple[Link, ...]
    values: Mapping[str, float]
    estimates: Mapping[str, Estimate]


@dataclass(frozen=True)
class Provenance:
    """The origin of an artifact.

    Attributes:
        artifact: the artifact.
        header: what its pipeline says of itself; None when its file is gone or cannot be read.
        steps: by role, the artifacts that its rows went through (itself among them), each after what it was made from.
        bases: the models at the beginning, made from no other model.
        trainings: the checkpoints on the way, oldest first (itself among them).
        evaluations: what was measured of it.
    """

    artifact: Artifact
    header: Header | None
    steps: Mapping[Role, tuple[Artifact, ...]]
    bases: tuple[Artifact, ...]
    trainings: tuple[Training, ...]
    evaluations: tuple[EvaluationResults, ...]


def provenance_of(project: Project, catalog: Catalog, artifact: Artifact) -> Provenance:
    """Reads an artifact's provenance from manifests.

    Raises:
        ArtifactError: an evaluation of it cannot be read.
    """
    models = [found for found in catalog.upstream(artifact) if found.manifest.kind.is_model]
    return Provenance(
        artifact,
        _header(project, artifact),
        _by_role(_row_steps(catalog, artifact)),
        tuple(model for model in models if not _model_links(catalog, model)),
        tuple(Training(model, catalog.links(model)) for model in models),
        tuple(_evaluations(catalog, artifact)),
    )


def _header(project: Project, artifact: Artifact) -> Header | None:
    try:
        return project.pipeline(pipeline_of(artifact.key)).header
    except LinealError:
        return None


def _model_links(catalog: Catalog, artifact: Artifact) -> list[Link]:
    return [
        link for link in catalog.links(artifact) if link.artifact and link.artifact.manifest.kind.is_model
    ]


def _row_steps(catalog: Catalog, artifact: Artifact) -> list[Artifact]:
    """Returns the artifact and the steps that its rows came through; the walk back ends at models."""
    found, waiting = {artifact.key: artifact}, [artifact]
    while waiting:
        for link in catalog.links(waiting.pop()):
            source = link.artifact
            if source and source.key not in found and not source.manifest.kind.is_model:
                found[source.key] = source
                waiting.append(source)
    return sorted(found.values(), key=lambda one: (catalog.order[one.key], one.key))


def _by_role(artifacts: list[Artifact]) -> dict[Role, tuple[Artifact, ...]]:
    registry = Registry()
    found: dict[Role, tuple[Artifact, ...]] = {}
    for artifact in artifacts:
        role = registry.role_of(artifact.manifest.component)
        if role is not None:
            found[role] = (*found.get(role, ()), artifact)
    return found


def _evaluations(catalog: Catalog, artifact: Artifact) -> list[EvaluationResults]:
    consumers = [catalog.artifacts[key] for key in catalog.consumers.get(artifact.key, [])]
    return [
        _evaluation(catalog, one)
        for one in sorted(consumers, key=lambda one: one.key)
        if one.manifest.kind is ArtifactKind.METRICS and artifact.manifest.kind.is_model
    ]


def _evaluation(catalog: Catalog, artifact: Artifact) -> EvaluationResults:
    found = read_evaluation(artifact.directory)
    links = tuple(link for link in catalog.links(artifact) if link.field != "model")
    return EvaluationResults(artifact, links, scores_of(found), found.estimates)
