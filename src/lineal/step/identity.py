"""The identity of a step: everything that decides its bytes, and its digest. The same parts explain why a step is stale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lineal.components.base import Component
from lineal.components.controllers.values import values_of
from lineal.data.ids import digest_of, file_digest
from lineal.data.manifest import InputEntry, Manifest
from lineal.data.store import Artifact
from lineal.errors import ArtifactError, DeclarationError
from lineal.plan import Step

LAYOUT = 1
"""The layout of an identity; another number would make every step stale (docs/upgrades.md)."""
RETRACTIONS = "retractions"
"""The setting under which a selection's manifest names the retractions that were in force."""


@dataclass(frozen=True)
class Identity:
    """Everything that decides a step's bytes. No path, pipeline name, time or execution setting is in it.

    Attributes:
        step: `round_01/generated`.
        component, version: what runs.
        settings: its resolved identity settings.
        seed: the run's seed.
        inputs: by field, the input artifacts' steps and digests.
        files_read: by name, SHA-256 of project files.
        settings_from: by setting, the step and value that gave it (`round_01/tuned.temperature`).
        whole_files: by name, SHA-256 of all bytes of the files, where the identity leaves some of them out; manifests were
            written with these before it did.
    """

    step: str
    component: str
    version: int
    settings: dict[str, Any]
    seed: int
    inputs: dict[str, list[InputEntry]]
    files_read: dict[str, str]
    settings_from: dict[str, str]
    whole_files: dict[str, str] = field(default_factory=dict)

    def is_of(self, manifest: Manifest) -> bool:
        """Tells whether the step makes an artifact with this manifest."""
        if manifest.identity == self.digest:
            return True
        return (
            bool(self.whole_files) and manifest.identity == replace(self, files_read=self.whole_files).digest
        )

    @property
    def digest(self) -> str:
        """SHA-256 over all parts."""
        inputs = {
            field: [[entry.step, entry.digest] for entry in entries] for field, entries in self.inputs.items()
        }
        return digest_of(
            [
                LAYOUT,
                self.step,
                self.component,
                self.version,
                self.settings,
                self.seed,
                inputs,
                self.files_read,
                self.settings_from,
            ]
        )

    def of_saved_work(self, rereads: frozenset[str]) -> str:
        """Returns the digest of what decides the step's saved work: all but the settings that only say how it is read."""
        return replace(
            self, settings={name: value for name, value in self.settings.items() if name not in rereads}
        ).digest

    def differences(self, manifest: Manifest) -> list[str]:
        """Lists why an artifact with this manifest is not what the step would make now: which key, old -> new."""
        found = []
        if (manifest.component, manifest.version) != (self.component, self.version):
            found.append(
                f"component {manifest.component} version {manifest.version} -> {self.component} version {self.version}"
            )
        if manifest.seed != self.seed:
            found.append(f"seed {manifest.seed} -> {self.seed}")
        found += _retracted(manifest.settings.get(RETRACTIONS, []), self.settings.get(RETRACTIONS, []))
        found += _changed("", _but_retractions(manifest.settings), _but_retractions(self.settings))
        found += _changed("file ", _short(manifest.files_read), _short(self.files_read))
        found += _changed("source of ", manifest.settings_from, self.settings_from)
        old = {
            field: [(entry.step, entry.digest[:12]) for entry in entries]
            for field, entries in manifest.inputs.items()
        }
        new = {
            field: [(entry.step, entry.digest[:12]) for entry in entries]
            for field, entries in self.inputs.items()
        }
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                found.append(f"input {name}: {_listed(old.get(name, []))} -> {_listed(new.get(name, []))}")
        return found


def _short(digests: Mapping[str, str]) -> dict[str, str]:
    return {name: digest[:12] for name, digest in digests.items()}


def _listed(entries: list[tuple[str, str]]) -> str:
    return ", ".join(f"{step}@{digest}" for step, digest in entries) or "nothing"


def _retracted(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[str]:
    gone, come = (
        [rule["reason"] for rule in one if rule not in other] for one, other in ((old, new), (new, old))
    )
    return [f"retraction taken back: {reason}" for reason in gone] + [
        f"retracted: {reason}" for reason in come
    ]


def _but_retractions(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != RETRACTIONS}


def _changed(label: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    names = sorted({*old, *new})
    return [
        f"{label}{name} {old.get(name)!r} -> {new.get(name)!r}"
        for name in names
        if old.get(name) != new.get(name)
    ]


def identify(
    step: Step,
    component: Component,
    seed: int,
    inputs: Mapping[str, tuple[Artifact, ...]],
    known: Mapping[str, str] | None = None,
) -> Identity:
    """Computes the identity of a step with these opened inputs.

    Args:
        step: the step.
        component: its component, with all settings filled in.
        seed: the run's seed.
        inputs: by field, its inputs.
        known: by name, the digests of files that the component reads and that are not here.

    Raises:
        DeclarationError: a project file that the component reads is missing.
    """
    files, whole = dict(known or {}), dict(known or {})
    for name, path in component.files().items():
        if name in files:
            continue
        try:
            files[name] = component.file_identity(path)
            whole[name] = files[name] if path.is_dir() else file_digest(path)
        except OSError as error:
            raise DeclarationError(
                f"{step.key} reads {path}, which cannot be opened: {error.strerror}"
            ) from error
    entries = {
        field: [InputEntry(step=made_by(artifact), digest=artifact.digest) for artifact in artifacts]
        for field, artifacts in inputs.items()
    }
    given = {
        setting: f"{key.partition('/')[2]}.{part}"
        for setting, (key, part) in sorted(step.settings_from.items())
    }
    settings = component.identity()
    if step.retractions:
        settings[RETRACTIONS] = [rule.identity() for rule in step.retractions]
    whole = {} if whole == files else whole
    return Identity(step.name, component.use, component.version, settings, seed, entries, files, given, whole)


def made_by(artifact: Artifact) -> str:
    """Returns the step and output that made an artifact: `round_01/filtered.dropped`."""
    output = artifact.manifest.output
    return f"{artifact.manifest.step}.{output}" if output else artifact.manifest.step


def read_value(artifact: Artifact, name: str) -> Any:
    """Reads a value from a controller's `settings.json` or an evaluator's `metrics.json`.

    Raises:
        ArtifactError: the artifact has no such value.
    """
    values = values_of(artifact)
    if name not in values:
        raise ArtifactError(
            f"{artifact.key} has no value {name!r}; it has {', '.join(sorted(values)) or 'none'}"
        )
    return values[name]
