"""Judges of rows, found by their lineage: component and version, and the digests of the models that judged.

The rows do not hold it, which would cost every pipeline a column: manifests already do (docs/decisions/0018).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from lineal.components.base import Role
from lineal.components.registry import Registry
from lineal.components.verifiers.holding import VERIFIER
from lineal.data.manifest import Manifest
from lineal.data.store import Artifact

Inputs = Callable[[Artifact], Iterable[tuple[str, Artifact]]]
"""The existing inputs of an artifact, each with its field."""


@dataclass(frozen=True, order=True)
class ScoreSource:
    """The source of a score.

    Attributes:
        component, version: the verifier.
        models: the digests of the checkpoints that it asked, by field; empty for a verifier that needs none.
    """

    component: str
    version: int
    models: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        asked = ", ".join(f"{field} @{digest[:12]}" for field, digest in self.models)
        return f"{self.component}@{self.version}" + (f" ({asked})" if asked else "")


@dataclass(frozen=True)
class Mixture:
    """Rows of one input field whose scores in one column come from different judges.

    Attributes:
        key: the artifact that was made from them.
        field: the field.
        column: the score's column.
        judges: who gave them.
    """

    key: str
    field: str
    column: str
    judges: tuple[ScoreSource, ...]

    def __str__(self) -> str:
        judges = ", ".join(map(str, self.judges))
        return f"{self.key} puts together, in {self.field}, {self.column}s of different judges: {judges}"


def judges_of(artifact: Artifact, inputs: Inputs) -> dict[str, frozenset[ScoreSource]]:
    """Returns the judges of each score column of an artifact's rows, as far as the inputs are here."""
    found: dict[str, frozenset[ScoreSource]] = {}
    for field, source in inputs(artifact):
        if source.manifest.columns:
            for column, judges in judges_of(source, inputs).items():
                beside = f"{field}_{column}"  # the name that a join gives to the columns that it adds
                name = beside if beside in artifact.manifest.columns else column
                found[name] = found.get(name, frozenset()) | judges
    own = _judge(artifact.manifest, inputs(artifact))
    if own is not None:
        found[artifact.manifest.column("score")] = frozenset({own})
    return {column: judges for column, judges in found.items() if column in artifact.manifest.columns}


def mixtures(artifact: Artifact, inputs: Inputs) -> list[Mixture]:
    """Finds where an artifact is the first to mix rows of different judges."""
    by_field: dict[str, dict[str, list[frozenset[ScoreSource]]]] = {}
    for field, source in inputs(artifact):
        for column, judges in judges_of(source, inputs).items() if source.manifest.columns else ():
            by_field.setdefault(field, {}).setdefault(column, []).append(judges)
    return [
        Mixture(artifact.key, field, column, tuple(sorted(frozenset().union(*parts))))
        for field, columns in by_field.items()
        for column, parts in columns.items()
        if len(frozenset().union(*parts)) > 1 and all(len(part) == 1 for part in parts)
    ]


def _judge(manifest: Manifest, inputs: Iterable[tuple[str, Artifact]]) -> ScoreSource | None:
    """Returns the judge of an artifact's rows in the step that made it; None where it judged none."""
    embedded = manifest.settings.get(VERIFIER)
    if isinstance(embedded, Mapping):
        place = f"{VERIFIER}."
        asked = sorted(
            (field.removeprefix(place), one.digest) for field, one in inputs if field.startswith(place)
        )
        return ScoreSource(str(embedded.get("use")), int(embedded.get("version", 1)), tuple(asked))
    if (
        manifest.output
        or "joined" in manifest.counts
        or Registry().role_of(manifest.component) is not Role.VERIFIER
    ):
        return None
    models = sorted((field, source.digest) for field, source in inputs if not source.manifest.columns)
    return ScoreSource(manifest.component, manifest.version, tuple(models))
