"""`manifest.json`: an artifact's deterministic description. A matching manifest is the only meaning of "done"."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, StrictInt, ValidationError

from lineal.data.digests import Digests
from lineal.data.ids import digest_of, file_digest
from lineal.errors import ArtifactError
from lineal.recipe.compute import Strict
from lineal.recipe.references import ArtifactKind

MANIFEST = "manifest.json"
FORMAT = 1
"""The layout of manifests that is written. Every older one stays readable (docs/upgrades.md); the first is 1."""
MADE_UP = "fake"
"""The engine that answers without a model."""
INIT = "init"
"""The field of the checkpoint that a training starts from."""
TAUGHT = "taught"
"""In a training's counts: 0 where no row gave a gradient; not there otherwise."""


class FileEntry(Strict):
    """One file of an artifact."""

    sha256: str
    size_bytes: int
    rows: int | None = None


class InputEntry(Strict):
    """One input artifact: which step made it, and its bytes."""

    step: str
    digest: str


class Manifest(Strict):
    """An artifact's identity and contents; holds no time, host, path or user name.

    Attributes:
        format: version of this layout.
        step: the step without its pipeline's name (`round_01/filtered`), so equal work has equal bytes.
        output: '' for the main output, else its name (`dropped`).
        kind: rows, model, served, settings or metrics.
        component, version: what made it.
        identity: digest of everything that decides the bytes.
        settings: the resolved identity settings.
        seed: the run's seed.
        made_with: the sampler, or the processes of a training, where not every choice promises the same bytes.
        equal_bytes: false where that does not promise the same bytes on a rerun; else absent.
        arithmetic: device or processor whose arithmetic the bytes depend on; absent where any x86-64 processor gives the same.
        inputs: by field, the artifacts that went in.
        files_read: by name, SHA-256 of project files that went in (SQL, data).
        settings_from: by setting, the step and value that gave it (`round_01/tuned.temperature`).
        counts: rows in, out, kept, dropped and by reason.
        columns: name to Arrow type.
        files: by name, digest and size.
        digest: digest of `files`: the artifact's content.
    """

    format: int = FORMAT
    step: str
    output: str = ""
    kind: ArtifactKind
    component: str
    version: int
    identity: str
    settings: dict[str, Any]
    seed: int
    made_with: str | None = None
    equal_bytes: bool | None = None
    arithmetic: str | None = None
    inputs: dict[str, list[InputEntry]]
    files_read: dict[str, str]
    settings_from: dict[str, str] = {}
    counts: dict[str, int]
    columns: dict[str, str]
    files: dict[str, FileEntry]
    digest: str

    def column(self, name: str) -> str:
        """Returns the column in which this artifact's verifier wrote its verdict, score, ...: prefixed by its setting `name`."""
        own = self.settings.get("name")
        return f"{own}_{name}" if own else name

    @property
    def engine(self) -> str:
        """The engine and its device, for people; empty where the bytes do not depend on it."""
        where = f" on {self.arithmetic}" if self.arithmetic else ""
        return f"{self.made_with or ''}{where}{' (equal bytes not promised)' if self.equal_bytes is False else ''}".strip()

    @property
    def made_up(self) -> bool:
        """True if the fake engine made it up to show the plan's shape: it is never taken for real work."""
        return self.made_with == MADE_UP

    @property
    def nothing_to_learn(self) -> str:
        """Of a training that no row came into, or whose rows gave no gradient: which weights stand here; else empty."""
        if self.kind is not ArtifactKind.MODEL or INIT not in self.inputs:
            return ""
        init = self.inputs[INIT][0].step
        if self.counts.get("in") == 0:
            return f"nothing to learn, 0 rows came in: {init} stands here unchanged"
        if self.counts.get(TAUGHT) == 0:
            return f"nothing learnt, {self.counts['in']:,} rows gave no gradient: these are the weights of {init}"
        return ""

    def write(self, directory: Path) -> None:
        """Writes `manifest.json` into the directory."""
        text = json.dumps(
            self.model_dump(mode="json", exclude_none=True), indent=2, sort_keys=True, ensure_ascii=False
        )
        (directory / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read_manifest(directory: Path, key: str) -> Manifest:
    """Reads an artifact's manifest.

    Raises:
        ArtifactError: it is missing, is not a manifest, or is of a format that this version of lineal does not know.
    """
    path = directory / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
        _require_known_format(text, path, key)
        return Manifest.model_validate_json(text)
    except FileNotFoundError:
        state = "is half-written: it has no manifest" if directory.exists() else "is not there"
        raise ArtifactError(
            f"{key} {state} ({path}). Make it: lineal run {key}, or bring it: dvc pull artifacts/{key}"
        ) from None
    except (ValidationError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{key}: {path} is not a manifest of this format. Remake it: lineal run {key}"
        ) from error


class _Layout(BaseModel):
    format: StrictInt = FORMAT


def _require_known_format(text: str, path: Path, key: str) -> None:
    got = _Layout.model_validate_json(text).format
    if got > FORMAT:
        raise ArtifactError(
            f"{key}: {path}: format: got {got}, expected {FORMAT} or less: a newer lineal made it. "
            "Upgrade lineal: pip install --upgrade lineal"
        )
    if got < 1:
        raise ArtifactError(
            f"{key}: {path}: format: got {got}, expected 1 to {FORMAT}. Remake it: lineal run {key}"
        )


def list_files(directory: Path, row_counts: dict[str, int]) -> dict[str, FileEntry]:
    """Lists all files under an artifact's directory except the manifest, by relative name."""
    entries = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and name != MANIFEST:
            entries[name] = FileEntry(
                sha256=file_digest(path), size_bytes=path.stat().st_size, rows=row_counts.get(name)
            )
    return entries


def content_digest(files: dict[str, FileEntry]) -> str:
    """Returns the digest of an artifact's content: names and bytes of its files."""
    return digest_of({name: entry.sha256 for name, entry in files.items()})


def verify_files(directory: Path, manifest: Manifest, key: str, digests: Digests | None = None) -> None:
    """Compares an artifact's files with its manifest: names and sizes, then digests.

    Args:
        directory: where it lies.
        manifest: what it should hold.
        key: its key, for messages.
        digests: a record of digests that were read before; default: every file is read.

    Raises:
        ArtifactError: a file is missing, extra or different; names the first.
    """
    digests = digests or Digests(fresh=True)
    found = {
        path.relative_to(directory).as_posix(): path
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
    for name, entry in manifest.files.items():
        if name not in found:
            raise ArtifactError(
                f"{key}: file {name} is missing. Remake it: lineal run {key}, or restore it: dvc checkout"
            )
        size, expected = found[name].stat().st_size, f"expected {entry.size_bytes} bytes, {entry.sha256[:12]}"
        if size != entry.size_bytes:
            raise _differing(directory, name, key, f"got {size} bytes; {expected}")
        try:
            sha256 = digests.of(found[name])
        except OSError as error:
            raise ArtifactError(
                f"{key}: {directory / name} cannot be read: {error.strerror}. Mend that, then run again"
            ) from error
        if sha256 != entry.sha256:
            raise _differing(directory, name, key, f"got {size} bytes, sha256 {sha256[:12]}; {expected}")
    extra = {name for name in found.keys() - manifest.files.keys() - {MANIFEST} if not _is_lock(name)}
    if extra:
        raise ArtifactError(
            f"{key}: {directory} holds files that its manifest does not name: {', '.join(sorted(extra))}"
        )


def lock_of(directory: Path) -> Path:
    """Returns the file beside an artifact's directory that a step holds while it makes the artifact."""
    return directory.with_name(f".{directory.name}.lock")


def _is_lock(name: str) -> bool:
    """Tells whether a file is the lock of a deeper key's step: a node that takes turns in another plan leaves it in here."""
    return name.startswith(".") and name.endswith(".lock") and "/" not in name


def _differing(directory: Path, name: str, key: str, how: str) -> ArtifactError:
    return ArtifactError(
        f"{key}: {directory / name} is not what its manifest says ({how}): truncated, edited or "
        f"a corrupted cache object. Delete {directory} and remake it: lineal run {key}"
    )
