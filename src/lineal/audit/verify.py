"""Verifies artifacts from their files: digests, counts, identity, inputs and DVC's record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lineal.audit.catalog import Catalog, pipeline_of, step_name
from lineal.audit.query import UNITED, connection, fetched
from lineal.data.digests import Digests
from lineal.data.manifest import Manifest, content_digest, verify_files
from lineal.data.sql import parquet, quoted
from lineal.data.store import Artifact
from lineal.errors import ArtifactError
from lineal.orchestrate.dvc_record import DvcRecord
from lineal.recipe.nodes import STOP
from lineal.recipe.project import Project
from lineal.step.identity import Identity, made_by

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Damage:
    """Problems of artifacts.

    Attributes:
        wrong: by key, how an artifact differs from its manifest, its place or `dvc.lock`.
        uncached: by key, why DVC's cache cannot give back an artifact that is whole here.
    """

    wrong: Mapping[str, list[str]]
    uncached: Mapping[str, str]


def damage_of(project: Project, artifacts: Iterable[Artifact], fresh: bool = False) -> Damage:
    """Verifies artifacts by their manifests, their places, `dvc.lock` and DVC's cache.

    Args:
        project: the project that they lie in.
        artifacts: what to verify.
        fresh: read every byte; else files that nobody touched since they were read are taken as they were.

    Raises:
        ProjectError: `dvc.lock` is not as DVC writes it.
    """
    chosen = [one for one in artifacts if one.here]
    record, digests = DvcRecord(project.root), Digests(project.runs, fresh)
    digests.read_ahead(one.directory / name for one in chosen for name in one.manifest.files)
    wrong = {one.key: found for one in chosen if (found := list(_differences(project, one, record, digests)))}
    whole = [one for one in chosen if one.key not in wrong]
    uncached = {one.key: why for one in whole if (why := next(record.cache_problems(one, digests), None))}
    digests.save()
    return Damage(wrong, uncached)


def require_whole(project: Project, artifacts: Iterable[Artifact]) -> None:
    """Reads every byte of artifacts that leave the project.

    Raises:
        ArtifactError: one is not what its manifest, its place or `dvc.lock` says; names the first.
    """
    for key, problems in damage_of(project, artifacts, fresh=True).wrong.items():
        raise ArtifactError(
            f"{key}: {'; '.join(problems)}. Remake it: lineal run {key}, or restore it: dvc checkout"
        )


def _differences(project: Project, artifact: Artifact, record: DvcRecord, digests: Digests) -> Iterator[str]:
    yield from file_problems(artifact, digests)
    yield from _contents(artifact)
    yield from _place(project, artifact)
    yield from record.problems(artifact, digests)
    yield from _identity(artifact)


def manifest_problems(project: Project, artifact: Artifact) -> Iterator[str]:
    """Yields the reasons not to believe a manifest, whatever the files are."""
    yield from _contents(artifact)
    yield from _place(project, artifact)
    yield from _identity(artifact)


def problems_of(project: Project, catalog: Catalog, artifacts: Iterable[Artifact]) -> dict[str, list[str]]:
    """Returns the problems of artifacts by key; those without a problem are left out. Reads every byte that is here.

    Where the bytes are elsewhere, the recorded manifest is checked against itself and against its consumers.

    Args:
        project: the project.
        catalog: where their inputs lie.
        artifacts: what to verify.
    """
    chosen = list(artifacts)
    found = {key: list(problems) for key, problems in damage_of(project, chosen, fresh=True).wrong.items()}
    found |= {
        one.key: told for one in chosen if not one.here and (told := list(manifest_problems(project, one)))
    }
    with connection(project.params.compute) as opened:
        for artifact in chosen:
            problems = [*_inputs(catalog, artifact), *_rows(artifact, opened)]
            if problems:
                found.setdefault(artifact.key, []).extend(problems)
    return found


def file_problems(artifact: Artifact, digests: Digests) -> Iterator[str]:
    """Yields the files that differ from the manifest."""
    try:
        verify_files(artifact.directory, artifact.manifest, artifact.key, digests)
    except ArtifactError as error:
        yield str(error).removeprefix(f"{artifact.key}: ")


def _contents(artifact: Artifact) -> Iterator[str]:
    manifest = artifact.manifest
    got = content_digest(manifest.files)
    if got != manifest.digest:
        yield f"its manifest's digest is {manifest.digest[:12]}, that of the files it names {got[:12]}: the manifest was edited"


def _place(project: Project, artifact: Artifact) -> Iterator[str]:
    """Finds another step's artifact under this key; in a pipeline that may stop, later rounds repeat the best round's."""
    made, expected = made_by(artifact), step_name(artifact.key)
    rounds = project.artifacts / pipeline_of(artifact.key)
    if made != expected and not any(rounds.glob(f"round_*/{STOP}")):
        yield f"its manifest says that it is {made}: it lies in another artifact's directory"


def _identity(artifact: Artifact) -> Iterator[str]:
    manifest = artifact.manifest
    try:
        yield from _identity_problems(manifest)
    except TypeError as error:
        yield f"its settings cannot be ({error}): the manifest was edited"


def _identity_problems(manifest: Manifest) -> Iterator[str]:
    identity = Identity(
        manifest.step,
        manifest.component,
        manifest.version,
        manifest.settings,
        manifest.seed,
        manifest.inputs,
        manifest.files_read,
        manifest.settings_from,
    )
    if identity.digest != manifest.identity:
        got, given = manifest.identity[:12], identity.digest[:12]
        yield f"its identity is {got}, its settings and inputs give {given}: the manifest was edited"


def _inputs(catalog: Catalog, artifact: Artifact) -> Iterator[str]:
    for link in catalog.links(artifact):
        if link.artifact is None:
            yield f"it was made from {link.step}@{link.digest[:12]} ({link.field}), which does not lie here with these bytes"


def _rows(artifact: Artifact, opened: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Compares the row counts of the files and of the manifest with the rows themselves."""
    if not artifact.parquet_files():
        return
    try:
        for path in artifact.parquet_files():
            got = int(fetched(opened, f"SELECT count(*) FROM {parquet([path])}", artifact)[0][0])
            expected = artifact.manifest.files[path.name].rows
            if got != expected:
                yield f"{path.name} has {got:,} rows, its manifest says {expected:,}"
        counts, expected_counts = _counted(artifact, opened), artifact.manifest.counts
    except ArtifactError as error:
        yield str(error).removeprefix(f"{artifact.key}: ")
        return
    for (
        name,
        count,
    ) in counts.items():  # of many reasons to drop rows the manifest counts the most frequent ones alone
        if count != expected_counts.get(name, 0) and (
            name in expected_counts or not str(name).startswith("dropped: ")
        ):
            yield f"{count:,} rows are {name!r}, its manifest counts {expected_counts.get(name, 0):,}"


def _counted(artifact: Artifact, opened: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Returns the counts of the manifest that its own rows can confirm."""
    manifest, source = artifact.manifest, parquet(artifact.parquet_files(), UNITED)
    total = int(fetched(opened, f"SELECT count(*) FROM {source}", artifact)[0][0])
    if manifest.output == "dropped":
        sql = f"SELECT 'dropped: ' || coalesce(reason, 'None'), count(*) FROM {source} GROUP BY 1 ORDER BY 1"
        return {"dropped": total, **dict(fetched(opened, sql, artifact))}
    if manifest.output:
        return {}
    if "pass" in manifest.counts and manifest.column("verdict") in manifest.columns:
        sql = f"SELECT {quoted(manifest.column('verdict'))}, count(*) FROM {source} GROUP BY 1 ORDER BY 1"
        return {"out": total, **dict(fetched(opened, sql, artifact))}
    return {
        name: total for name in ("out" if "out" in manifest.counts else "kept",) if name in manifest.counts
    }
