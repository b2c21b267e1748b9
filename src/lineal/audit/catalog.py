"""Every artifact in a project, and which was made from which, read from their manifests alone.

No pipeline file is read, so artifacts of pipelines that are inactive, changed or gone can be audited too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lineal.data.manifest import MANIFEST, InputEntry
from lineal.data.records import is_known, lies_here, open_known
from lineal.data.store import Artifact, open_artifact
from lineal.errors import ArtifactError
from lineal.recipe.project import Project


@dataclass(frozen=True)
class Link:
    """One input of an artifact, as its manifest names it.

    Attributes:
        field: the input field: `init`, `rows`.
        step: what made it, without the pipeline: `round_01/filtered`.
        digest: its bytes then.
        artifact: an artifact of that step with those bytes, of the same pipeline where there is one; else None.
    """

    field: str
    step: str
    digest: str
    artifact: Artifact | None


@dataclass(frozen=True)
class Catalog:
    """The artifacts of a project.

    Attributes:
        artifacts: by key; the pipelines that come first are named first where several hold equal bytes.
        problems: what is wrong with directories whose manifest cannot be read.
        unknown: keys that `dvc.lock` records and of which not even a record is here.
    """

    artifacts: Mapping[str, Artifact]
    problems: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()

    @cached_property
    def _by_step(self) -> dict[tuple[str, str], list[Artifact]]:
        found: dict[tuple[str, str], list[Artifact]] = {}
        for artifact in self.artifacts.values():
            found.setdefault((step_name(artifact.key), artifact.digest), []).append(artifact)
        return found

    def links(self, artifact: Artifact) -> tuple[Link, ...]:
        """Returns an artifact's inputs, in the manifest's order."""
        return tuple(
            Link(field, entry.step, entry.digest, self._maker(entry, artifact))
            for field, entries in artifact.manifest.inputs.items()
            for entry in entries
        )

    def _maker(self, entry: InputEntry, artifact: Artifact) -> Artifact | None:
        """Finds the artifact that an input names; never the artifact itself, nor one that only copies the same step's bytes."""
        found = self._by_step.get((entry.step, entry.digest), [])
        if (step_name(artifact.key), artifact.digest) == (entry.step, entry.digest):
            found = [one for one in found if not _stands_for_its_like(one)]
        return self._nearest(found, artifact.key)

    def name_of(self, digest: str | None, near: str) -> str | None:
        """Returns the key of the artifact with this digest, or the digest where none is here; see `with_digest`."""
        found = self.with_digest(digest, near) if digest else None
        return found.key if found else digest

    def with_digest(self, digest: str, near: str) -> Artifact | None:
        """Finds an artifact with these bytes, in the pipeline of the key `near` where there is one."""
        return self._nearest([found for found in self.artifacts.values() if found.digest == digest], near)

    def _nearest(self, candidates: list[Artifact], near: str) -> Artifact | None:
        own = [artifact for artifact in candidates if pipeline_of(artifact.key) == pipeline_of(near)]
        return next(iter([*own, *candidates]), None)

    @cached_property
    def consumers(self) -> dict[str, list[str]]:
        """By key, the keys of the artifacts that were made from it."""
        found: dict[str, list[str]] = {}
        for artifact in self.artifacts.values():
            for key in {link.artifact.key: None for link in self.links(artifact) if link.artifact}:
                found.setdefault(key, []).append(artifact.key)
        return found

    @cached_property
    def order(self) -> dict[str, int]:
        """By key, its place in an order in which every artifact follows those that it was made from.

        A step's further outputs share its main output's place.
        """
        placed: dict[str, int] = {}
        for start in self.artifacts:
            stack = [start]
            while stack:
                waiting = [key for key in self._needed_before(stack[-1]) if key not in placed]
                if waiting:
                    stack.append(waiting[0])
                else:
                    placed.setdefault(stack.pop(), len(placed))
        return {key: placed.get(main_key(key), place) for key, place in placed.items()}

    def _needed_before(self, key: str) -> list[str]:
        main = main_key(key)
        return self._input_keys(key) + ([main] if main != key and main in self.artifacts else [])

    def _input_keys(self, key: str) -> list[str]:
        return [link.artifact.key for link in self.links(self.artifacts[key]) if link.artifact]

    def downstream(self, keys: Iterable[str]) -> list[Artifact]:
        """Returns the artifacts with these keys and all that was made from them, each after its inputs."""
        return self._closure(keys, self.consumers)

    def upstream(self, artifact: Artifact) -> list[Artifact]:
        """Returns the artifact and all that it was made from, each after its inputs."""
        return self._closure([artifact.key], {key: self._input_keys(key) for key in self.artifacts})

    def _closure(self, keys: Iterable[str], neighbours: Mapping[str, list[str]]) -> list[Artifact]:
        found, waiting = set(keys), list(keys)
        while waiting:
            fresh = set(neighbours.get(waiting.pop(), [])) - found
            found |= fresh
            waiting += fresh
        return [self.artifacts[key] for key in sorted(found, key=lambda key: (self.order[key], key))]


def pipeline_of(key: str) -> str:
    """Returns `rest_em` for `rest_em/round_01/filtered`."""
    return key.partition("/")[0]


def step_name(key: str) -> str:
    """Returns `round_01/filtered` for `rest_em/round_01/filtered`: the name in manifests."""
    return key.partition("/")[2]


def _stands_for_its_like(artifact: Artifact) -> bool:
    """Tells whether it copies another pipeline's step of this name: a `same_model` of `pipelines.NAME.start.X` called X."""
    own = (step_name(artifact.key), artifact.digest)
    return any(
        (entry.step, entry.digest) == own
        for entries in artifact.manifest.inputs.values()
        for entry in entries
    )


def main_key(key: str) -> str:
    """Returns `rest_em/round_01/filtered` for `rest_em/round_01/filtered.dropped`."""
    place, slash, name = key.rpartition("/")
    return place + slash + name.partition(".")[0]


def read_catalog(project: Project, pipeline: str | None = None) -> Catalog:
    """Opens every artifact of a project, or of one of its pipelines; active pipelines come first.

    What `project.recorded` names and is not here is in it by its record (`Artifact.here`), where there is one.
    """
    active = {name: place for place, name in enumerate(project.active)}
    found, problems, unknown = {}, [], set()
    for path in sorted(_artifact_directories(project.artifacts)):
        key = path.relative_to(project.artifacts).as_posix()
        if pipeline is not None and pipeline_of(key) != pipeline:
            continue
        try:
            found[key] = open_artifact(key, path)
        except ArtifactError as error:
            problems.append(str(error))
    absent = [
        key
        for key in project.recorded
        if pipeline in (None, pipeline_of(key)) and not lies_here(project, key)
    ]
    for key in absent:
        if not is_known(project, key):
            unknown.add(key)
            continue
        try:
            found[key] = open_known(project, key)
        except ArtifactError as error:
            problems.append(str(error))
    keys = sorted(found, key=lambda key: (active.get(pipeline_of(key), len(active)), key))
    return Catalog({key: found[key] for key in keys}, tuple(problems), frozenset(unknown))


def _artifact_directories(root: Path) -> Iterable[Path]:
    """Finds directories that hold a manifest; hidden ones are unfinished work."""
    for path in root.rglob(MANIFEST):
        directory = path.parent
        if not any(part.startswith(".") for part in directory.relative_to(root).parts):
            yield directory
