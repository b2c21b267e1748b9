"""The records of artifacts in `dvc.lock` and DVC's cache, read without loading DVC: half a second less for every command.

A directory's MD5 in `dvc.lock` is that of a listing in DVC's cache: the MD5 of each file by name. The listing that has this MD5
names the manifest's MD5, and the manifest the SHA-256 of every other file, so no large file is read for its MD5.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import shutil
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import mkdtemp

from lineal.data.digests import Digests
from lineal.data.manifest import MANIFEST, Manifest
from lineal.data.store import Artifact
from lineal.orchestrate.dvc_lock import locked_artifacts


class DvcRecord:
    """The record of one project.

    Args:
        root: the project's root, or that of a view of it.
        recorded: by artifact key, the MD5 of its directory; default: what `dvc.lock` says.

    Attributes:
        recorded: by artifact key, the MD5 of its directory in `dvc.lock`.
    """

    def __init__(self, root: Path, recorded: Mapping[str, str] | None = None) -> None:
        self.recorded: Mapping[str, str] = locked_artifacts(root) if recorded is None else recorded
        self._cache = cache_directory(root) / "files" / "md5" if self.recorded else root
        self._kept: dict[str, Artifact | None] = {}
        self._view: Path | None = None

    def manifest(self, key: str) -> Manifest | None:
        """Returns the recorded manifest of an artifact; None where DVC's cache lacks it."""
        listing = self._listing(self.recorded[key]) if key in self.recorded else None
        if listing is None or MANIFEST not in listing:
            return None
        try:
            return Manifest.model_validate_json(self._object(listing[MANIFEST]).read_bytes())
        except (OSError, ValueError):
            return None

    def kept(self, key: str, digests: Digests) -> Artifact | None:
        """Opens a recorded artifact from DVC's cache; None where the cache lacks a byte of it."""
        if key not in self._kept:
            self._kept[key] = self._linked(key, digests)
        return self._kept[key]

    def _linked(self, key: str, digests: Digests) -> Artifact | None:
        manifest = self.manifest(key)
        if manifest is None:
            return None
        artifact = Artifact(key, self._directory_of_links() / key, manifest)
        if any(self.cache_problems(artifact, digests)):
            return None
        for name, md5 in (self._listing(self.recorded[key]) or {}).items():
            (artifact.directory / name).parent.mkdir(parents=True, exist_ok=True)
            (artifact.directory / name).symlink_to(self._object(md5).resolve())
        return artifact

    def _directory_of_links(self) -> Path:
        """Makes a temporary directory that is removed with the record."""
        if self._view is None:
            self._view = Path(mkdtemp(prefix="lineal-kept-"))
            weakref.finalize(self, shutil.rmtree, self._view, ignore_errors=True)
        return self._view

    def problems(self, artifact: Artifact, digests: Digests) -> Iterator[str]:
        """Yields the ways in which an artifact differs from the record in `dvc.lock`."""
        expected = self.recorded.get(artifact.key)
        if expected is None:
            return
        listing = self._listing(expected)
        if listing is None:
            got = directory_md5(artifact.directory, digests)
            same = got == expected
        else:
            got = digests.of(artifact.directory / MANIFEST, "md5")
            same = listing.get(MANIFEST) == got and listing.keys() == {MANIFEST, *artifact.manifest.files}
        if not same:
            yield f"dvc.lock records another directory under this key, with MD5 {expected}"

    def cache_problems(self, artifact: Artifact, digests: Digests) -> Iterator[str]:
        """Yields the reasons why DVC's cache cannot restore an artifact."""
        expected = self.recorded.get(artifact.key)
        if expected is None:
            return
        listing = self._listing(expected)
        if listing is None:
            yield "not in DVC's cache"
            return
        for name, md5 in listing.items():
            cached = self._object(md5)
            entry = artifact.manifest.files.get(name)
            if not cached.is_file():
                yield f"{name} is not in DVC's cache"
            elif (digests.of(cached) != entry.sha256) if entry else (digests.of(cached, "md5") != md5):
                yield f"{name} is corrupted in DVC's cache ({cached})"

    def listing_text(self, md5: str, directory: Path, digests: Digests) -> bytes | None:
        """Returns DVC's list of a directory's files: from its cache, else from the directory, if it still has this MD5."""
        cached = self._listing_bytes(md5)
        if cached is not None:
            return cached
        text = _listing_of(directory, digests)
        return text if _named(text) == md5 else None

    def objects(self, md5: str) -> dict[str, Path]:
        """Returns by MD5 where the cache has (or would have) a directory's files, and the list of them."""
        return {one: self._object(one) for one in (md5, *(self._listing(md5) or {}).values())}

    def _object(self, md5: str) -> Path:
        return self._cache / md5[:2] / md5[2:]

    def _listing(self, md5: str) -> dict[str, str] | None:
        """Returns by file name its MD5 in a directory; None where the cache lacks the listing, or has another under its name."""
        text = self._listing_bytes(md5)
        return None if text is None else {entry["relpath"]: entry["md5"] for entry in json.loads(text)}

    def _listing_bytes(self, md5: str) -> bytes | None:
        """Returns the listing as DVC wrote it, checked against its MD5."""
        try:
            text = self._object(md5).read_bytes()
        except OSError:
            return None
        return text if _named(text) == md5 else None


def directory_md5(directory: Path, digests: Digests) -> str:
    """Computes the MD5 that DVC gives a directory: that of the list of its files' MD5s and names."""
    return _named(_listing_of(directory, digests))


def _named(listing: bytes) -> str:
    return hashlib.md5(listing, usedforsecurity=False).hexdigest() + ".dir"


def _listing_of(directory: Path, digests: Digests) -> bytes:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    entries = [
        {"md5": digests.of(path, "md5"), "relpath": path.relative_to(directory).as_posix()} for path in files
    ]
    entries.sort(key=lambda entry: entry["relpath"])
    return json.dumps(entries, sort_keys=True).encode()


def cache_directory(root: Path) -> Path:
    """Returns the directory of DVC's cache by the project's configuration; DVC is asked only where nothing is there."""
    dvc = (root / ".dvc").resolve()
    for name in ("config.local", "config"):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(dvc / name, encoding="utf-8")
            written = parser.get("cache", "dir", fallback=None)
        except (configparser.Error, UnicodeDecodeError):
            written = None
        if written:
            return dvc / written
    default = dvc / "cache"
    return default if default.is_dir() or not dvc.is_dir() else _asked(dvc, default)


def _asked(dvc: Path, default: Path) -> Path:
    """Returns the cache directory of the user's or the machine's own configuration."""
    from dvc.config import Config, ConfigError

    try:
        return Path(Config(str(dvc)).get("cache", {}).get("dir") or default)
    except ConfigError:
        return default
